"""Between the model's numbers and the robot's, by the statistics of the training data.

A checkpoint carries statistics per dataset (`bridge_dataset: {action: ..., proprio: ...}`), a
fine-tuned one those of its only dataset without the name. Where `mask` is False (grippers,
mostly) the numbers were never normalised.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.policy.proprio import PROPRIO
from octo_ros.policy.proprio import VELOCITY

NORMALIZATION_TYPES = ('normal', 'bounds')
# Where Octo's configurations of a fine-tuning say it, in `dataset_kwargs`; released ones do not.
TYPE_KEY = 'action_proprio_normalization_type'
_EPSILON = 1e-8


def select_statistics(
    dataset_statistics: Mapping[str, Any], key: str | None = None
) -> Mapping[str, Any]:
    """Returns the statistics of one dataset: a mapping with `action` and perhaps `proprio`.

    Args:
        dataset_statistics: of a checkpoint, by dataset name or those of its only dataset.
        key: name of the dataset; empty or None where there is only one.

    Raises:
        ParameterError: the key is unknown, or missing where there are several datasets.
    """
    entries = dataset_entries(dataset_statistics)
    if '' in entries:
        return entries['']
    names = list(entries)
    if not names:
        raise ParameterError(
            'The checkpoint holds no action statistics, so its actions cannot be un-normalised; '
            'add them to its dataset_statistics.json')
    listed = ', '.join(names)
    if key and key not in names:
        raise ParameterError(
            f"'statistics_key' must be one of {listed}, got '{key}'{closest(key, names)}")
    if not key and len(names) > 1:
        raise ParameterError(
            f"'statistics_key' must name one of the checkpoint's {len(names)} datasets, got "
            f'nothing; set it to one of {listed}')
    return entries[key or names[0]]


def stated_type(config: Mapping[str, Any]) -> str:
    """Returns how a checkpoint says that its actions were normalised; empty if it does not.

    Raises:
        CheckpointError: the configuration is damaged.
    """
    training = config.get('dataset_kwargs') or {}
    if not isinstance(training, Mapping):
        raise CheckpointError(f"config.json: 'dataset_kwargs' must be a mapping, got "
                              f'{training!r:.60}; correct it, or take it out')
    stated = training.get(TYPE_KEY)
    return stated if stated in NORMALIZATION_TYPES else ''


def chosen_type(config: Mapping[str, Any], wanted: str = '') -> str:
    """Returns how actions are un-normalised: as wanted, as the checkpoint says, or 'normal'.

    Args:
        config: of the checkpoint.
        wanted: 'normal', 'bounds' or, for what the checkpoint says, empty.

    Raises:
        ParameterError: the checkpoint says that it was trained otherwise.
    """
    stated = stated_type(config)
    if wanted and stated and wanted != stated:
        raise ParameterError(
            f"'normalization_type' must be '{stated}', as this checkpoint was trained, got "
            f"'{wanted}': its actions would be wrong; set it so in the robot profile, or leave "
            'it empty')
    return wanted or stated or 'normal'


def dataset_entries(dataset_statistics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns the entries that have statistics of actions, by dataset; by '' that of the only one.

    Args:
        dataset_statistics: of a checkpoint, by dataset name or those of its only dataset.
    """
    if 'action' in dataset_statistics:
        return {'': dataset_statistics}
    return {name: entry for name, entry in dataset_statistics.items() if _is_dataset(entry)}


def entry_size(statistics: Any) -> int:
    """Returns for how many numbers the statistics of actions or proprio are; 0 if for none."""
    for name in ('mean', 'p01', 'p99'):
        if isinstance(statistics, Mapping) and name in statistics:
            return int(np.size(statistics[name]))
    return 0


def entry_sizes(entry: Mapping[str, Any]) -> dict[str, int]:
    """Returns the `entry_size` of everything in a dataset's statistics that is normalised."""
    return {name: entry_size(entry[name])
            for name in ('action', PROPRIO, VELOCITY) if name in entry}


def action_size(statistics: Mapping[str, Any], kind: str = 'normal') -> int:
    """Returns the number of action dimensions that statistics are for.

    Args:
        statistics: the `action` entry of a dataset: lists or arrays `mean` and `std`, or `p01` and
            `p99`, and optionally `mask`.
        kind: 'normal' (zero mean, unit deviation) or 'bounds' (p01..p99 is -1..1).

    Raises:
        ParameterError: the kind is unknown, or the statistics lack what it takes.
    """
    return len(_checked(statistics, kind)[0])


def check_head(size: int, head_dim: int) -> None:
    """Raises ParameterError for statistics of more dimensions than an action head has."""
    if size > head_dim:
        raise ParameterError(
            f'The action statistics must have at most the {head_dim} dimensions of the '
            f'action head, got {size}; choose the statistics of the right dataset')


def unnormalize_actions(
    actions: Float[Array, '*s ah ad'],
    statistics: Mapping[str, Any],
    kind: str = 'normal',
) -> Float[Array, '*s ah ad']:
    """Turns the model's actions into those of the robot.

    Args:
        actions: normalised actions, numpy or jax; more dimensions than the statistics have are
            cut off (a head serves embodiments with fewer).
        statistics: the `action` entry of a dataset.
        kind: 'normal' or 'bounds'.

    Raises:
        ParameterError: see `action_size`; or the statistics have more dimensions than the actions.
    """
    first, second, mask = _checked(statistics, kind)
    first, second = first.astype(np.float32), second.astype(np.float32)
    check_head(len(mask), actions.shape[-1])
    actions = actions[..., :len(mask)]
    if kind == 'normal':
        real = actions * second + first
    else:
        real = (actions + 1) * (second - first) / 2 + first
    where = np.where if isinstance(actions, np.ndarray) else jnp.where
    return where(mask, real, actions)


def normalize(
    values: Float[np.ndarray, '*s d'], statistics: Mapping[str, Any], kind: str = 'normal'
) -> Float[np.ndarray, '*s d']:
    """Normalises actions or proprio for the model, in training and at run time, where masked.

    This is not to the letter the way back of `unnormalize_actions`: as in Octo's training, a
    small number is added to what is divided by.

    Args:
        values: in the robot's units.
        statistics: their entry, `action` or `proprio`, of a dataset.
        kind: 'normal', (x - mean) / (std + 1e-8), or 'bounds', p01..p99 to -1..1 and clipped.

    Returns:
        Normalised values, float32.

    Raises:
        ParameterError: the lengths differ, or the statistics lack what it takes.
    """
    first, second, mask = _checked(statistics, kind)
    if values.shape[-1] != len(mask):
        raise ParameterError(
            f'Actions or proprio must have {len(mask)} numbers, as their statistics, got '
            f'{values.shape[-1]}; correct the list of joint names, or take the statistics of this '
            'robot')
    if kind == 'normal':
        normalized = (values - first) / (second + _EPSILON)
    else:
        normalized = np.clip(2 * (values - first) / (second - first + _EPSILON) - 1, -1, 1)
    return np.where(mask, normalized, values).astype(np.float32)


def _is_dataset(entry: Any) -> bool:
    return isinstance(entry, Mapping) and 'action' in entry


def _checked(statistics: Mapping[str, Any], kind: str) -> tuple[np.ndarray, ...]:
    """Returns mean, deviation and mask, or p01, p99 and mask."""
    if kind not in NORMALIZATION_TYPES:
        raise ParameterError(
            f"'normalization_type' must be one of {', '.join(NORMALIZATION_TYPES)}, got "
            f"'{kind}'{closest(kind, NORMALIZATION_TYPES)}")
    if not isinstance(statistics, Mapping):
        raise ParameterError(
            'The statistics must be a mapping, the action entry of a dataset, got '
            f"{type(statistics).__name__} {statistics!r:.60}; pass "
            "model.dataset_statistics['NAME']['action']")
    names = ('mean', 'std') if kind == 'normal' else ('p01', 'p99')
    first, second = (_entry(statistics, name) for name in names)
    wanted = _entry({'mask': np.ones(len(first)), **statistics}, 'mask')
    if np.isnan(wanted).any():
        raise ParameterError("The statistics must have true or false as 'mask', got "
                             f"{statistics['mask']!r:.60}")
    mask = wanted != 0.0
    if not len(first) == len(second) == len(mask):
        raise ParameterError(
            f'The statistics must have one length, got {len(first)}, {len(second)} and '
            f'a mask of {len(mask)}; correct dataset_statistics.json')
    for name, values in zip(names, (first, second), strict=True):
        if not np.isfinite(values[mask]).all():
            raise ParameterError(
                f"The statistics must be finite where masked, got '{name}' {values.tolist()}; "
                'compute them again')
    return first, second, mask


def _entry(statistics: Mapping[str, Any], name: str) -> Float[np.ndarray, 'ad']:
    if name in statistics:
        try:
            found = np.atleast_1d(np.asarray(statistics[name], dtype=np.float64))
        except (TypeError, ValueError):
            found = np.empty(0)
        if found.ndim != 1 or not found.size:
            raise ParameterError(f"The statistics must have numbers as '{name}', got "
                                 f'{statistics[name]!r:.60}')
        return found
    hint = ''
    if 'action' in statistics:
        hint = "; this is the entry of a whole dataset, pass its ['action']"
    elif any(_is_dataset(entry) for entry in statistics.values()):
        hint = "; these are the statistics of all datasets, pass those of one and its ['action']"
    raise ParameterError(
        f"The statistics must have '{name}', got {', '.join(map(str, statistics)) or 'nothing'}"
        f'{hint}')
