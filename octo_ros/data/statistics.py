"""Statistics of actions and proprio; `policy.normalization` applies them."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.errors import DataError

_LOW = 1
_HIGH = 99


def summarize(
    values: Float[np.ndarray, 'n d'], mask: Sequence[bool] | None = None
) -> dict[str, np.ndarray]:
    """Returns the statistics of every dimension, as dataset_statistics.json holds them.

    Args:
        values: all steps of all episodes.
        mask: which dimensions are normalised; all when None.

    Raises:
        DataError: there are no values, or the mask has another length.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not len(values):
        raise DataError(f'statistics must come from values (n, d), got the shape {values.shape}')
    low, high = np.percentile(values, [_LOW, _HIGH], axis=0)
    entry = {
        'mean': values.mean(axis=0), 'std': values.std(axis=0), 'max': values.max(axis=0),
        'min': values.min(axis=0), 'p99': high, 'p01': low}
    if mask is not None:
        if len(mask) != values.shape[1]:
            raise DataError(
                f'the normalisation mask must have {values.shape[1]} entries, one for each '
                f'dimension of the action, got {len(mask)}')
        entry['mask'] = np.asarray(mask, bool)
    return entry


def dataset_statistics(
    actions: Float[np.ndarray, 'n ad'], vectors: Mapping[str, Float[np.ndarray, 'n p']],
    episodes: int, action_mask: Sequence[bool] | None = None,
) -> dict[str, Any]:
    """Returns the whole entry of a data set: `action`, what `vectors` hold, and the counts.

    Args:
        actions: actions of all steps.
        vectors: `proprio`, `velocity` or neither, of all steps.
        episodes: number of episodes.
        action_mask: which action dimensions are normalised (not grippers, mostly).
    """
    entry: dict[str, Any] = {'action': summarize(actions, action_mask)}
    entry |= {key: summarize(values) for key, values in vectors.items()}
    return entry | {'num_transitions': len(actions), 'num_trajectories': episodes}


def gripper_mask(dimensions: int, grippers: Sequence[int]) -> Bool[np.ndarray, 'ad']:
    """Returns the mask that leaves the gripper dimensions as they are."""
    mask = np.ones(dimensions, bool)
    mask[list(grippers)] = False
    return mask
