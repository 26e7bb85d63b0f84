"""One way in for messages, from live topics and from recordings alike.

Callbacks only `store`. At a policy step `sample` picks what belongs together, still as raw
messages. See `frames` for what happens when the policy really uses one, and `measured` for the
state of the robot, which is read as it comes.
"""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.messages.stream import Stamped
from octo_ros.messages.stream import Stream
from octo_ros.messages.stream import StreamHealth
from octo_ros.policy.proprio import PROPRIO

MEASURED_POSE = 'measured_pose'
MEASURED_JOINTS = 'measured_joints'


@dataclasses.dataclass(frozen=True)
class Sample:
    """The messages that belong to one policy step, not decoded.

    Attributes:
        stamp_ns: stamp of the reference camera's message [ns].
        messages: stream name to message; a stream that had nothing fresh is absent.
    """

    stamp_ns: int
    messages: Mapping[str, Stamped]


class Ingest:
    """The newest message of every stream. Not thread safe: its owner holds a lock.

    The first image key is the reference: its stamp is the stamp of the observation. Another
    camera whose newest message is too old is left out of the sample, so it is masked; when that
    lasts, it is said once.
    """

    def __init__(self, image_keys: Sequence[str], *, others: Sequence[str] = (),
                 max_age_s: float) -> None:
        """Takes the observation keys in the checkpoint's order, and further streams by name.

        Raises:
            ParameterError: no camera is mapped.
        """
        if not image_keys:
            raise ParameterError('at least one camera must be mapped to an image key, got none')
        self.image_keys = tuple(image_keys)
        self._required = self.image_keys[:1] + ((PROPRIO,) if PROPRIO in others else ())
        self._max_age_ns = round(max_age_s * 1e9)
        self._streams = {name: Stream(name, periodic=name in image_keys)
                         for name in (*image_keys, *others)}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all streams."""
        return tuple(self._streams)

    def store(self, name: str, message: Any, received_ns: int) -> None:
        """Keeps a message as the newest of its stream; O(1), nothing is decoded.

        Raises:
            ParameterError: there is no such stream.
        """
        self.stream(name).store(message, received_ns)

    def stream(self, name: str) -> Stream:
        """Returns a stream by name. Raises ParameterError when there is none."""
        if name not in self._streams:
            raise ParameterError(
                f"stream must be one of {', '.join(self._streams)}, got '{name}'"
                f'{closest(name, self._streams)}')
        return self._streams[name]

    def fresh(self, name: str, now_ns: int) -> Stamped | None:
        """Returns the newest message of a stream, or None when there is none or it is too old."""
        newest = self.stream(name).newest
        return None if newest is None or self.too_old(newest.stamp_ns, now_ns) else newest

    def too_old(self, stamp_ns: int, now_ns: int) -> bool:
        """Tells whether a stamp is too far from now to be used."""
        # A stamp far ahead of the clock is as wrong as an old one: the clock was set back.
        return abs(now_ns - stamp_ns) > self._max_age_ns

    def sample(self, now_ns: int) -> Sample | None:
        """Returns what belongs to this moment, or None while a required stream has nothing."""
        found = ((name, self.fresh(name, now_ns)) for name in self._streams)
        fresh = {name: message for name, message in found if message is not None}
        if any(name not in fresh for name in self._required):
            return None
        for name in self.image_keys[1:]:
            self._streams[name].note_use(name in fresh, now_ns, self._max_age_ns)
        return Sample(fresh[self.image_keys[0]].stamp_ns, fresh)

    def waiting_for(self, now_ns: int) -> str:
        """Says in one line which required stream holds the policy up, '' when none does."""
        for name in self._required:
            newest = self._streams[name].newest
            if newest is None:
                return f"no message on '{name}' yet"
            if self.too_old(newest.stamp_ns, now_ns):
                age_s = (now_ns - newest.stamp_ns) / 1e9
                limit = f'the limit is {self._max_age_ns / 1e9:g} s'
                if age_s > 0:
                    return f"newest message on '{name}' is {age_s:.2f} s old, {limit}"
                return (f"newest message on '{name}' is stamped {-age_s:.2f} s ahead of the "
                        f'clock, {limit}')
        return ''

    def drop_later_than(self, now_ns: int) -> None:
        """Forgets messages received later than now: the clock was set back."""
        for stream in self._streams.values():
            if stream.newest is not None and stream.newest.received_ns > now_ns:
                stream.clear()

    def health(self, now_ns: int) -> dict[str, StreamHealth]:
        """Returns the state of every stream."""
        return {name: dataclasses.replace(stream.health(now_ns), required=name in self._required)
                for name, stream in self._streams.items()}
