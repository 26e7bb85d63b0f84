"""SIGINT and SIGTERM, noticed even while the main thread is deep in compiled code.

Python runs its signal handlers in the main thread, between two of its instructions. While XLA
compiles there, for a minute maybe, none runs. But the signal also writes a byte to a socket, and a
thread that reads it can end the process.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from types import TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BLOCK_S = 2.0


class StopSignals:
    """Turns the signals into an event; a context manager, to be used in the main thread.

    Until `started` is called there is nothing that would have to be brought to rest: then a
    process whose main thread does not come back soon after a signal is ended as it is.
    """

    def __init__(self, ending: threading.Event, log: Callable[[str], Any]) -> None:
        """Prepares it.

        Args:
            ending: set by a signal.
            log: told when the process is ended as it is.
        """
        self._ending = ending
        self._log = log
        self._past_start = threading.Event()
        self._told = threading.Event()
        self._previous: dict[int, Any] = {}
        self._wakeup = -1
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)

    def __enter__(self) -> 'StopSignals':
        self._previous = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        self._wakeup = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name='signals', daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._past_start.set()
        signal.set_wakeup_fd(self._wakeup)
        # After one signal, a second one must not kill a process that is taking its leave.
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_IGN if self._told.is_set() else handler)
        self._theirs.close()  # the thread reads the end, and ends

    def started(self) -> None:
        """Says that from now on an end takes the time it needs."""
        self._past_start.set()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._told.set()
        self._ending.set()

    def _watch(self) -> None:
        with self._ours:
            if not self._ours.recv(1):
                return
            self._ending.set()
            if not self._past_start.wait(_BLOCK_S):
                self._log('Told to stop during a step that cannot be interrupted: ends as it is')
                end_now()
            # Python complains of a signal whose byte nobody can read any more.
            while self._ours.recv(1):
                pass


def end_now(code: int = 0) -> None:
    """Ends the process at once; threads in compiled code would hold up any other end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
