"""How signals end a command: as Ctrl-C does, and not in the middle of an import."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable
from collections.abc import Iterator
from types import FrameType

from octo_ros.workers import ending_signals

_Handler = Callable[[int, FrameType | None], None]
_AGAIN_S = 0.01


class Stopped(KeyboardInterrupt):
    """The process was told to stop in another way than by Ctrl-C."""

    def __init__(self, number: int) -> None:
        """Keeps the number of the signal."""
        super().__init__()
        self.number = number


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Has SIGTERM and SIGHUP end a command as Ctrl-C does: what it started is ended with it.

    None of them is lost where Python swallows what a handler raises, as in a callback of the
    garbage collector (JAX has one): it comes again, until it finds the command elsewhere.
    """
    with _handled(_others(), _stop), _swallowed_come_again():
        yield


@contextlib.contextmanager
def kept_until_imported() -> Iterator[None]:
    """Lets signals end a command only after a block that imports.

    Compiled modules would make a traceback and an ImportError of them.
    """
    come: list[int] = []
    with _handled(ending_signals(), lambda number, _frame: come.append(number)):
        yield
    if come and come[0] == signal.SIGINT:
        raise KeyboardInterrupt
    if come:
        raise Stopped(come[0])


def _others() -> tuple[signal.Signals, ...]:
    return tuple(number for number in ending_signals() if number != signal.SIGINT)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


@contextlib.contextmanager
def _swallowed_come_again() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    lost: list[int] = []
    otherwise = sys.unraisablehook

    def note(unraisable: 'sys.UnraisableHookArgs') -> None:
        stop = unraisable.exc_value
        if not isinstance(stop, KeyboardInterrupt):
            otherwise(unraisable)
            return
        lost.append(stop.number if isinstance(stop, Stopped) else signal.SIGINT)
        # Raised here it would be swallowed again; a thread for it could wait for a lock.
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)

    def again(_number: int, _frame: FrameType | None) -> None:
        while lost:
            signal.raise_signal(lost.pop())

    with _handled((signal.SIGALRM,), again):
        sys.unraisablehook = note
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            sys.unraisablehook = otherwise


@contextlib.contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: _Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
