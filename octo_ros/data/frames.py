"""Frames of a camera, with what is wrong with some of them."""

import itertools
import re
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import UInt8


class Trouble(NamedTuple):
    """A fault of a frame or of a reading: the row, or None for all, and what is wrong."""

    row: int | None
    kind: str
    text: str


class Run(NamedTuple):
    """One fault in steps that follow each other.

    Attributes:
        row: of the first, or None for all.
        kind: of the fault.
        text: what is wrong with the first, and for how many it is so if it is for several.
        steps: how many.
    """

    row: int | None
    kind: str
    text: str
    steps: int


def in_runs(troubles: Sequence[Trouble], rows: Sequence[int], unit: str) -> Iterator[Run]:
    """Yields faults that follow each other as one; they may differ in numbers, such as of bytes.

    Args:
        troubles: the faults in order of their rows.
        rows: the row that each step takes.
        unit: what is counted, in the plural.
    """
    places = {row: place for place, row in enumerate(rows)}

    def run(item: tuple[int, Trouble]) -> tuple[str, str, int | None]:
        number, (row, kind, text) = item
        return kind, re.sub(r'\d+', '#', text), None if row is None else places[row] - number

    for _, items in itertools.groupby(enumerate(troubles), run):
        found = [trouble for _, trouble in items]
        (row, kind, text), count = found[0], len(found)
        yield Run(row, kind, text + (f', for {count} {unit}' if count > 1 else ''), count)


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
