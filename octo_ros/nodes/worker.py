"""One thread that does the slow work, a job at a time, the newest job first."""

import threading
from collections.abc import Callable
from typing import Generic
from typing import TypeVar

_Job = TypeVar('_Job')


class Worker(Generic[_Job]):
    """Runs `work(job)` in a thread of its own; a job that waits is replaced by a newer one."""

    def __init__(self, work: Callable[[_Job], None],
                 on_error: Callable[[_Job, Exception], None], *,
                 name: str = 'octo-inference') -> None:
        """Starts the thread.

        Args:
            work: the slow work.
            on_error: told of the job and of what `work` raised; the thread lives on.
            name: of the thread.
        """
        self._work = work
        self._on_error = on_error
        self._condition = threading.Condition()
        self._job: _Job | None = None
        self._busy = False
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: _Job) -> None:
        """Hands a job over; returns at once."""
        with self._condition:
            self._job = job
            self._condition.notify_all()

    def rest(self, timeout_s: float) -> bool:
        """Drops a job that waits, and waits for the one in hand; False when that took too long.

        The next job to be submitted then begins after the one in hand, never beside it.
        """
        with self._condition:
            self._job = None
            return self._condition.wait_for(lambda: not self._busy, timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread after the job in hand; returns False when that took too long."""
        with self._condition:
            self._stopped = True
            self._job = None
            self._condition.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _next(self) -> _Job | None:
        with self._condition:
            self._busy = False
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._stopped or self._job is not None)
            job, self._job = self._job, None
            self._busy = job is not None and not self._stopped
            return job if self._busy else None

    def _loop(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._work(job)
            except Exception as error:  # whatever it is, the robot needs the node
                self._on_error(job, error)
