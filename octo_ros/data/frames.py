"""Frames of a camera, with what is wrong with some of them."""

from typing import NamedTuple

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import UInt8


class Trouble(NamedTuple):
    """A fault of a frame or of a reading: the row, or None for all, and what is wrong."""

    row: int | None
    kind: str
    text: str


class Frames(NamedTuple):
    """Frames of a camera, all of one size; None where there is none."""

    images: list[UInt8[np.ndarray, 'ih iw 3'] | None]
    troubles: list[Trouble]

    def stacked(self) -> tuple[UInt8[np.ndarray, 't ih iw 3'], Bool[np.ndarray, 't']] | None:
        """Returns the frames, zero where there is none, and which are there; None if none is."""
        there = np.array([image is not None for image in self.images])
        if not there.any():
            return None
        shape = next(image.shape for image in self.images if image is not None)
        empty = np.zeros(shape, np.uint8)
        return np.stack([empty if image is None else image for image in self.images]), there
