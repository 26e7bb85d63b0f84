"""From a sample of raw messages to the frame that the policy takes."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import UInt8
from octo_ros.errors import ObservationError
from octo_ros.messages.conversions import decode_image
from octo_ros.messages.conversions import decode_joint_state
from octo_ros.messages.ingest import Sample
from octo_ros.messages.stream import Stamped
from octo_ros.policy.proprio import PROPRIO
from octo_ros.policy.types import Frame


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

    def frame(self, sample: Sample, *, images: bool = True) -> Decoded:
        """Decodes a sample, or only its proprio; what cannot be decoded is left out and named."""
        values: dict[str, np.ndarray] = {}
        problems: dict[str, str] = {}
        seen = []
        for name, message in sample.messages.items():
            if name != PROPRIO and not (images and name in self._image_keys):
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
        state = sample.messages.get(PROPRIO)
        frame = None if unusable else Frame(
            sample.stamp_ns, values, proprio, None if state is None else state.stamp_ns)
        return Decoded(frame, problems, tuple(seen))

    def goal(self, key: str, message: Any) -> UInt8[np.ndarray, 'ih iw 3']:
        """Decodes a goal image and resizes it. Slow for a photograph; any thread may call it.

        Raises:
            ObservationError: the image cannot be decoded.
            TaskError: the policy has no goal of that key.
        """
        return self._preprocess(key, decode_image(message, self._fallback)).copy()

    def _decode(self, name: str, message: Stamped) -> np.ndarray | ObservationError:
        value: np.ndarray | ObservationError
        if id(message) not in self._cache:
            try:
                value = self._decode_now(name, message.message)
            except ObservationError as error:
                value = error
        else:
            value = self._cache.pop(id(message))[1]
        # The least recently used goes first: a good frame stays in the history for as long as
        # only bad ones come. Keeping the message keeps its id taken.
        self._cache[id(message)] = (message, value)
        while len(self._cache) > self._size:
            del self._cache[next(iter(self._cache))]
        return value

    def _decode_now(self, name: str, message: Any) -> np.ndarray:
        if name == PROPRIO:
            return decode_joint_state(message, self._proprio_names, length=self._proprio_dim)
        return self._preprocess(name, decode_image(message, self._fallback))
