"""Statistics of a LeRobot data set: of each episode, and of all of them together.

LeRobot wants minimum, maximum, mean, deviation, count and, since version 3.0, five quantiles of
every feature; those of pictures by channel, with values from 0 to 1 and the shape (3, 1, 1).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.array_typing import UInt8

QUANTILES = {'q01': 0.01, 'q10': 0.10, 'q50': 0.50, 'q90': 0.90, 'q99': 0.99}
_LEVELS = 256
_MOST_FRAMES = 100  # of an episode: LeRobot samples about as many

Stats = dict[str, Any]


def number_stats(values: Float[np.ndarray, 't d'], *, quantiles: bool) -> Stats:
    """Returns the statistics of the numbers of a feature, as lists."""
    values = np.asarray(values, np.float64)
    found: dict[str, Any] = {
        'min': values.min(axis=0), 'max': values.max(axis=0), 'mean': values.mean(axis=0),
        'std': values.std(axis=0), 'count': np.array([len(values)])}
    if quantiles:
        levels = np.quantile(values, list(QUANTILES.values()), axis=0)
        found |= dict(zip(QUANTILES, levels, strict=True))
    return {name: value.tolist() for name, value in found.items()}


class PictureCounts:
    """How often each value occurs in each channel: enough for all statistics, and they add up."""

    def __init__(self) -> None:
        self.counts: Int[np.ndarray, '3 256'] = np.zeros((3, _LEVELS), np.int64)
        self.frames = 0

    @classmethod
    def of(cls, frames: UInt8[np.ndarray, 't ih iw 3']) -> 'PictureCounts':
        """Counts an episode's frames, or an even sample of many."""
        found = cls()
        count = min(len(frames), _MOST_FRAMES)
        rows = np.linspace(0, len(frames) - 1, count).round().astype(int)
        for row in rows:
            for channel in range(3):
                found.counts[channel] += np.bincount(
                    frames[row, ..., channel].ravel(), minlength=_LEVELS)
        found.frames = len(rows)
        return found

    def add(self, other: 'PictureCounts') -> None:
        """Adds another's counts."""
        self.counts += other.counts
        self.frames += other.frames

    def stats(self, *, quantiles: bool) -> Stats:
        """Returns the statistics with the shape (3, 1, 1), as lists."""
        values = np.arange(_LEVELS) / (_LEVELS - 1)
        total = self.counts.sum(axis=1, keepdims=True)
        parts = self.counts / total
        mean = parts @ values
        found: dict[str, Any] = {
            'min': values[(self.counts > 0).argmax(axis=1)],
            'max': values[::-1][(self.counts[:, ::-1] > 0).argmax(axis=1)],
            'mean': mean, 'std': np.sqrt(np.maximum(parts @ values**2 - mean**2, 0.0))}
        if quantiles:
            below = self.counts.cumsum(axis=1)
            found |= {name: values[(below >= level * total).argmax(axis=1)]
                      for name, level in QUANTILES.items()}
        shaped = {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()}
        return shaped | {'count': [self.frames]}


def flat_stats(stats: Mapping[str, Stats]) -> dict[str, Any]:
    """Returns statistics by the names of their columns, `stats/action/mean`."""
    return {f'stats/{feature}/{name}': value for feature, entry in stats.items()
            for name, value in entry.items()}
