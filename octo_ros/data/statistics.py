"""Statistics of actions and proprio, and the normalisation that training applies with them.

`policy.normalization` is the way back. The two differ in one detail that Octo's weights were
trained with: training divides by the deviation plus a small number, the way back has none.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.errors import DataError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.policy.normalization import NORMALIZATION_TYPES

_EPSILON = 1e-8
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
    actions: Float[np.ndarray, 'n ad'], proprio: Float[np.ndarray, 'n p'] | None,
    episodes: int, action_mask: Sequence[bool] | None = None,
) -> dict[str, Any]:
    """Returns the whole entry of a data set: `action`, perhaps `proprio`, and the counts.

    Args:
        actions: actions of all steps.
        proprio: proprio of all steps, or None.
        episodes: number of episodes.
        action_mask: which action dimensions are normalised (not grippers, mostly).
    """
    entry: dict[str, Any] = {'action': summarize(actions, action_mask)}
    if proprio is not None:
        entry['proprio'] = summarize(proprio)
    return entry | {'num_transitions': len(actions), 'num_trajectories': episodes}


def gripper_mask(dimensions: int, grippers: Sequence[int]) -> Bool[np.ndarray, 'ad']:
    """Returns the mask that leaves the gripper dimensions as they are."""
    mask = np.ones(dimensions, bool)
    mask[list(grippers)] = False
    return mask


def normalize(
    values: Float[np.ndarray, '*s d'], statistics: Mapping[str, Any], kind: str = 'normal'
) -> Float[np.ndarray, '*s d']:
    """Normalises values for training.

    Args:
        values: actions or proprio in the robot's units.
        statistics: their entry, see `summarize`.
        kind: 'normal' (zero mean, unit deviation) or 'bounds' (p01..p99 becomes -1..1, clipped).

    Raises:
        ParameterError: the kind is unknown.
        DataError: the number of dimensions differs from the statistics'.
    """
    if kind not in NORMALIZATION_TYPES:
        raise ParameterError(
            f"'normalization_type' must be one of {', '.join(NORMALIZATION_TYPES)}, got "
            f"'{kind}'{closest(kind, NORMALIZATION_TYPES)}")
    first, second = ('mean', 'std') if kind == 'normal' else ('p01', 'p99')
    low, high = (np.asarray(statistics[name], np.float64) for name in (first, second))
    if values.shape[-1] != len(low):
        raise DataError(
            f'values must have {len(low)} dimensions as their statistics, got '
            f'{values.shape[-1]}; use the statistics of this data set')
    if kind == 'normal':
        result = (values - low) / (high + _EPSILON)
    else:
        result = np.clip(2 * (values - low) / (high - low + _EPSILON) - 1, -1, 1)
    mask = np.asarray(statistics.get('mask', np.ones(len(low), bool)), bool)
    return np.where(mask, result, values).astype(np.float32)
