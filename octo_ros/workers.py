"""Worker processes that end when the process that started them does."""

import multiprocessing
import multiprocessing.pool
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


def follow_parent() -> None:
    """Leaves Ctrl-C to the parent of this worker, and ends it when that one ends or is killed.

    A terminal sends Ctrl-C to all processes; it is for the parent. To be called in a process that
    `multiprocessing` started.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
