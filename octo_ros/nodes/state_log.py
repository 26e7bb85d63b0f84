"""Says in the log when a controller starts to hold and when it runs again, without flooding it."""

import re
from collections.abc import Callable

_INTERVAL_S = 1.0
_NUMBERS = re.compile(r'\d+(\.\d+)?')


class StateLog:
    """Logs changes of the reason to hold, so that the last line always becomes the true one.

    Each tick tells the reason. A hold is logged at most once in a while; one that lasts is logged
    when that time is over. The end of a hold that was logged is logged at once. A robot that ran
    and holds though nobody meant it to, as when it lost its camera, is worth a warning.
    """

    def __init__(self, say: Callable[[str], object], warn: Callable[[str], object]) -> None:
        """Keeps what writes a line, and what writes a warning."""
        self._say = say
        self._warn = warn
        self.restart()

    def restart(self) -> None:
        """Makes the next state a change, whatever it is."""
        self._kind: str | None = None
        self._held_s = float('-inf')
        self._ran = False

    def note(self, reason: str, now_s: float, *, meant: bool = False) -> None:
        """Takes the state of a tick.

        Args:
            reason: why it holds, '' while it runs.
            now_s: time of a steady clock [s].
            meant: whether somebody told it to hold.
        """
        kind = _NUMBERS.sub('', reason)  # an age that grows is no news
        if kind == self._kind or (reason and now_s - self._held_s < _INTERVAL_S):
            return
        self._kind = kind
        if reason:
            self._held_s = now_s
        line = f'Holding: {reason}' if reason else 'Running'
        unmeant = bool(reason) and self._ran and not meant
        # Two places in the code, for rclpy lets each have but one severity.
        if unmeant:
            self._warn(line)
        else:
            self._say(line)
        self._ran = not reason or unmeant
