"""One way in for messages, from live topics and from recordings alike.

Callbacks only `store`. At a policy step `sample` picks what belongs together, still as raw
messages. `FrameDecoder.frame` decodes a sample when the policy really uses it, each message once.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import UInt8
from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.messages.conversions import decode_image
from octo_ros.messages.conversions import decode_joint_state
from octo_ros.messages.stream import Stamped
from octo_ros.messages.stream import Stream
from octo_ros.messages.stream import StreamHealth
from octo_ros.policy.types import Frame

PROPRIO = 'proprio'
MEASURED_POSE = 'measured_pose'


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
    camera whose newest message is too old is left out of the sample, so it is masked.
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
        self._streams = {name: Stream(name) for name in (*image_keys, *others)}

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

    def sample(self, now_ns: int) -> Sample | None:
        """Returns what belongs to this moment, or None while a required stream has nothing."""
        fresh = {name: stream.newest for name, stream in self._streams.items()
                 if stream.newest is not None and not self._stale(stream.newest, now_ns)}
        if any(name not in fresh for name in self._required):
            return None
        return Sample(fresh[self.image_keys[0]].stamp_ns, fresh)

    def waiting_for(self, now_ns: int) -> str:
        """Says in one line which required stream holds the policy up, '' when none does."""
        for name in self._required:
            newest = self._streams[name].newest
            if newest is None:
                return f"no message on '{name}' yet"
            if self._stale(newest, now_ns):
                age_s = (now_ns - newest.stamp_ns) / 1e9
                return (f"newest message on '{name}' is {age_s:.2f} s old, "
                        f'the limit is {self._max_age_ns / 1e9:g} s')
        return ''

    def clear(self) -> None:
        """Forgets all messages, as after a jump of the clock."""
        for stream in self._streams.values():
            stream.clear()

    def health(self, now_ns: int) -> dict[str, StreamHealth]:
        """Returns the state of every stream."""
        return {name: stream.health(now_ns) for name, stream in self._streams.items()}

    def _stale(self, message: Stamped, now_ns: int) -> bool:
        # A stamp far ahead of the clock is as wrong as an old one: the clock was set back.
        return abs(now_ns - message.stamp_ns) > self._max_age_ns


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A decoded sample and what could not be decoded of it.

    Attributes:
        frame: what the policy gets, or None when the reference camera or proprio is unusable.
        problems: stream name to what is wrong with its message.
        seen: streams whose message was decoded for this result, well or not.
    """

    frame: Frame | None
    problems: Mapping[str, str]
    seen: tuple[str, ...]


class FrameDecoder:
    """Decodes samples into frames, each message once. For one thread at a time."""

    def __init__(self, image_keys: Sequence[str], *,
                 preprocess: Callable[[str, np.ndarray], UInt8[np.ndarray, 'ih iw 3']],
                 proprio_names: Sequence[str] = (), proprio_dim: int = 0, window: int = 1,
                 fallback: Callable[[Any], np.ndarray] | None = None) -> None:
        """Keeps how to decode.

        Args:
            image_keys: the mapped observation keys; the first is the reference.
            preprocess: observation key and RGB image to the image that the policy takes.
            proprio_names: joints to take from the joint state, in order; all when empty.
            proprio_dim: number of proprio values that the policy wants.
            window: number of frames that one inference uses; that many are remembered.
            fallback: see `decode_image`.
        """
        self._image_keys = tuple(image_keys)
        self._preprocess = preprocess
        self._proprio_names = tuple(proprio_names)
        self._proprio_dim = proprio_dim
        self._fallback = fallback
        self._size = 2 * window * (len(self._image_keys) + 1)
        self._cache: dict[int, tuple[Stamped, np.ndarray | ObservationError]] = {}

    def frame(self, sample: Sample) -> Decoded:
        """Decodes a sample; what cannot be decoded is left out and named."""
        values: dict[str, np.ndarray] = {}
        problems: dict[str, str] = {}
        seen = []
        for name, message in sample.messages.items():
            if name not in self._image_keys and name != PROPRIO:
                continue
            if id(message) not in self._cache:
                seen.append(name)
            value = self._decode(name, message)
            if isinstance(value, ObservationError):
                problems[name] = str(value)
            else:
                values[name] = value
        proprio = values.pop(PROPRIO, None)
        unusable = self._image_keys[0] in problems or PROPRIO in problems
        frame = None if unusable else Frame(sample.stamp_ns, values, proprio)
        return Decoded(frame, problems, tuple(seen))

    def _decode(self, name: str, message: Stamped) -> np.ndarray | ObservationError:
        if id(message) not in self._cache:
            try:
                value: np.ndarray | ObservationError = self._decode_now(name, message.message)
            except ObservationError as error:
                value = error
            self._cache[id(message)] = (message, value)  # keeps the message, so the id stays taken
            while len(self._cache) > self._size:
                del self._cache[next(iter(self._cache))]
        return self._cache[id(message)][1]

    def _decode_now(self, name: str, message: Any) -> np.ndarray:
        if name == PROPRIO:
            return decode_joint_state(message, self._proprio_names, length=self._proprio_dim)
        return self._preprocess(name, decode_image(message, self._fallback))
