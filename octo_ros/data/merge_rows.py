"""Rows that come faster than policy steps: one action for each step."""

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import Int


def merge_rows(values: Float[np.ndarray, 'n ad'], edges: Int[np.ndarray, 's'],
               deltas: Int[np.ndarray, 'k']) -> Float[np.ndarray, 't ad']:
    """Returns for each step what its deltas add up to, and the last of its other numbers.

    Args:
        values: the actions of all rows.
        edges: row at which each step begins, ascending, and the row behind the last step.
        deltas: numbers that are changes.
    """
    merged = values[edges[1:] - 1].copy()
    merged[:, deltas] = np.add.reduceat(values[:edges[-1]], edges[:-1], axis=0)[:, deltas]
    return merged
