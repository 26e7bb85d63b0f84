"""How signals end a command: as Ctrl-C does, and not in the middle of an import."""

import contextlib
import signal
import threading
from collections.abc import Callable
from collections.abc import Iterator
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]
_OTHERS = (signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """The process was told to stop in another way than by Ctrl-C."""

    def __init__(self, number: int) -> None:
        """Keeps the number of the signal."""
        super().__init__()
        self.number = number


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Has SIGTERM and SIGHUP end a command as Ctrl-C does: what it started is ended with it."""
    with _handled(_OTHERS, _stop):
        yield


@contextlib.contextmanager
def kept_until_imported() -> Iterator[None]:
    """Lets signals end a command only after a block that imports.

    Compiled modules would make a traceback and an ImportError of them.
    """
    come: list[int] = []
    with _handled((signal.SIGINT, *_OTHERS), lambda number, _frame: come.append(number)):
        yield
    if come and come[0] == signal.SIGINT:
        raise KeyboardInterrupt
    if come:
        raise Stopped(come[0])


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


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
