"""Worker processes that end when the process that started them does, and what ends that one."""

import multiprocessing
import multiprocessing.pool
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any


def worker_pool(processes: int, prepare: Callable[..., Any] | None = None,
                arguments: Sequence[Any] = ()) -> multiprocessing.pool.Pool:
    """Returns new processes, which leave Ctrl-C to this one; a context manager that ends them.

    They also end when this one is killed: else they would go on with what is waiting in the pool,
    beside those of a command that was run again.

    Args:
        processes: how many.
        prepare: what each calls first; it must be importable by name.
        arguments: for that.
    """
    # A forked child would share the locks, OpenGL state and JAX threads of this process.
    return multiprocessing.get_context('spawn').Pool(
        processes, _begin, (prepare, tuple(arguments)))


def ending_signals() -> tuple[signal.Signals, ...]:
    """Returns the signals that end a command in good order.

    Not SIGHUP where it is ignored: a command that `nohup` started outlives its terminal.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def keep_resource_tracker() -> None:
    """Has the process that frees shared memory after all others outlive a closed terminal."""
    if threading.current_thread() is not threading.main_thread():
        return  # signals belong to the main thread
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a process inherits
    multiprocessing.resource_tracker.ensure_running()
    signal.signal(signal.SIGHUP, before)


def follow_parent() -> None:
    """Leaves Ctrl-C to the parent of this worker, and ends it when that one ends or is killed.

    A terminal sends Ctrl-C, and SIGHUP when it is closed, to all processes; they are for the
    parent. To be called in a process that `multiprocessing` started.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _begin(prepare: Callable[..., Any] | None, arguments: tuple[Any, ...]) -> None:
    follow_parent()
    if prepare is not None:
        prepare(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
