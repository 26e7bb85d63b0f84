"""Frames and states at policy steps, read from the messages of a topic, and their faults."""

import functools
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.bags.recorded_stream import RecordedStream
from octo_ros.data.frames import Frames
from octo_ros.data.frames import Trouble
from octo_ros.errors import ObservationError
from octo_ros.messages.conversions import decode_image
from octo_ros.messages.conversions import decode_joint_state
from octo_ros.policy.images import preprocess


def read_frames(stream: RecordedStream, index: Int[np.ndarray, 't'],
                size: tuple[int, int] | None) -> Frames:
    """Returns the frame of every step, and each step whose frame cannot be used.

    Args:
        stream: the topic of a camera.
        index: which message each step takes; -1 for none.
        size: height and width to resize to; when None, frames that are not of the size of most
            are faults.
    """
    def decode(message: Any) -> np.ndarray:
        image = decode_image(message)
        return image if size is None else preprocess(image, size)

    return Frames(*_read(stream, index, decode, 'image', 'image'))


def read_states(stream: RecordedStream, index: Int[np.ndarray, 't'], names: Sequence[str] = ()
                ) -> tuple[Float[np.ndarray, 't p'] | None, list[Trouble]]:
    """Returns the state at every step, the last good one where there is none, and the faults.

    States are None when there is no good one. Before the first good one it is taken itself.

    Args:
        stream: the topic of the state.
        index: which message each step takes; -1 for none.
        names: joints to take, in this order; all as they come when empty.
    """
    rows, troubles = _read(
        stream, index, functools.partial(decode_joint_state, names=names), 'nan', 'state')
    good = [place for place, row in enumerate(rows) if row is not None]
    if not good:
        return None, troubles
    last = np.searchsorted(good, np.arange(len(rows)), side='right') - 1
    return np.stack([rows[good[max(place, 0)]] for place in last]), troubles


def _read(stream: RecordedStream, index: Int[np.ndarray, 't'],
          decode: Callable[[Any], np.ndarray], kind: str, odd_kind: str
          ) -> tuple[list[np.ndarray | None], list[Trouble]]:
    """Returns what each step reads, each message being decoded once, and the faults.

    What is of another size than most is a fault of `odd_kind`, and left out like one of `kind`.
    """
    numbers = index.tolist()
    found: dict[int, np.ndarray] = {}
    faults: dict[int, tuple[str, str]] = {}
    for number in dict.fromkeys(number for number in numbers if number >= 0):
        try:
            found[number] = decode(stream.messages[number])
        except ObservationError as error:
            faults[number] = kind, str(error)
    usual = Counter(values.shape for values in found.values()).most_common(1)
    for number in [number for number, values in found.items() if values.shape != usual[0][0]]:
        faults[number] = odd_kind, (f'must be of size {_size(usual[0][0])} as most of the others, '
                                    f'got {_size(found.pop(number).shape)}')
    return [found.get(number) for number in numbers], [
        Trouble(place, *faults[number]) for place, number in enumerate(numbers)
        if number in faults]


def _size(shape: tuple[int, ...]) -> str:
    return 'x'.join(str(length) for length in shape[:2])
