"""Whether commands may go out: armed, disarmed, or stopped in an emergency."""

import threading

from octo_ros.errors import OctoError


class Arming:
    """Holds the two switches; safe to call from several threads.

    An emergency stop disarms. Taking it back does not arm again: that needs `arm`.
    """

    def __init__(self) -> None:
        """Starts disarmed, without an emergency."""
        self._lock = threading.Lock()
        self._armed = False
        self._emergency = False

    @property
    def hold_reason(self) -> str:
        """Why no command may go out, '' when it may."""
        with self._lock:
            if self._emergency:
                return 'emergency stop: clear it, then call ~/arm'
            return '' if self._armed else 'disarmed: call ~/arm'

    def start(self, armed: bool) -> None:
        """Starts armed or not; a standing emergency stop keeps it disarmed."""
        with self._lock:
            self._armed = armed and not self._emergency

    def arm(self) -> None:
        """Lets commands out. Raises OctoError while the emergency stop is set."""
        with self._lock:
            if self._emergency:
                raise OctoError('the emergency stop must be cleared before arming, it is set; '
                                'publish false on emergency_stop')
            self._armed = True

    def disarm(self) -> None:
        """Lets no more commands out."""
        with self._lock:
            self._armed = False

    def set_emergency(self, stop: bool) -> bool:
        """Sets or clears the emergency stop; returns True when that changed anything."""
        with self._lock:
            changed = stop != self._emergency
            self._emergency = stop
            self._armed = self._armed and not stop
            return changed
