"""Whether commands may go out: armed, disarmed, or stopped in an emergency."""

import threading

from octo_ros.errors import OctoError


class Arming:
    """Holds the two switches; safe to call from several threads.

    An emergency stop disarms. Taking it back does not arm again, nor does a new start: whoever
    was told to stop needs `arm`.
    """

    def __init__(self) -> None:
        """Starts disarmed, without an emergency."""
        self._lock = threading.Lock()
        self._armed = False
        self._emergency = False
        self._told_to_stop = False

    @property
    def hold_reason(self) -> str:
        """Why no command may go out, '' when it may."""
        with self._lock:
            if self._emergency:
                return 'emergency stop: clear it, then call ~/arm'
            return '' if self._armed else 'disarmed: call ~/arm'

    def start(self, armed: bool) -> None:
        """Starts armed or not; disarmed in any case after a stop that `arm` did not end."""
        with self._lock:
            self._armed = armed and not self._told_to_stop

    def arm(self) -> None:
        """Lets commands out. Raises OctoError while the emergency stop is set."""
        with self._lock:
            if self._emergency:
                raise OctoError('the emergency stop must be cleared before arming, it is set; '
                                'publish false on emergency_stop')
            self._armed = True
            self._told_to_stop = False

    def disarm(self) -> None:
        """Lets no more commands out."""
        with self._lock:
            self._armed = False
            self._told_to_stop = True

    def set_emergency(self, stop: bool) -> bool:
        """Sets or clears the emergency stop; returns True when that changed anything."""
        with self._lock:
            changed = stop != self._emergency
            self._emergency = stop
            self._armed = self._armed and not stop
            self._told_to_stop = self._told_to_stop or stop
            return changed
