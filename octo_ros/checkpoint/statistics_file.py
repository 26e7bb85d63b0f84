"""From the JSON of dataset_statistics.json to checked arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.errors import CheckpointError

_GROUPS = ('action', 'proprio', 'velocity')
_NUMBERS = ('mean', 'std', 'max', 'min', 'p01', 'p99')
_USED = ('mean', 'std', 'p01', 'p99')  # what actions and joint states are normalised by
_MASK = 'mask'
_AGAIN = 'compute the statistics again'


def to_arrays(tree: Mapping[str, Any], file: Path, prefix: str = '') -> dict[str, Any]:
    """Returns the statistics with lists as arrays: masks bool, everything else float64.

    Args:
        tree: content of the file, by dataset or of the only one.
        file: where it came from, for messages.
        prefix: path of `tree` in the file, with a dot at its end.

    Raises:
        CheckpointError: an entry is of the wrong kind or not finite, lengths differ, a deviation
            is negative, or p01 is above p99.
    """
    arrays: dict[str, Any] = {}
    for key, value in tree.items():
        path = f'{file}: {prefix}{key}'
        if isinstance(value, Mapping):
            arrays[key] = to_arrays(value, file, f'{prefix}{key}.')
            if key in _GROUPS:
                _check_group(arrays[key], path)
        elif key in _GROUPS:
            raise CheckpointError(f'{path} must be a mapping, got {value!r:.80}')
        elif key == _MASK:
            arrays[key] = _mask(value, path)
        elif key in _NUMBERS or isinstance(value, list):
            arrays[key] = _numbers(value, path, finite=key in _USED)
        else:
            arrays[key] = value
    return arrays


def _check_group(group: Mapping[str, Any], path: str) -> None:
    """Refuses numbers that no data can have: they would turn a robot or unleash it."""
    lengths = {key: len(group[key]) for key in (*_USED, _MASK) if key in group}
    if len(set(lengths.values())) > 1:
        found = ', '.join(f'{key} {length}' for key, length in lengths.items())
        raise CheckpointError(f'{path} must have lists of one length, got {found}; {_AGAIN}')
    if (group.get('std', np.zeros(0)) < 0).any():  # 0 is what never moved
        raise CheckpointError(
            f"{path}.std must not be negative, got {group['std'].tolist()!s:.200}; {_AGAIN}")
    if 'p01' in group and 'p99' in group and (group['p01'] > group['p99']).any():
        raise CheckpointError(
            f"{path}: p01 must not be greater than p99, got {group['p01'].tolist()!s:.200} and "
            f"{group['p99'].tolist()!s:.200}; {_AGAIN}")


def _mask(value: Any, path: str) -> np.ndarray:
    # numpy would take every text, 'false' too, for True.
    if not isinstance(value, list) or not all(isinstance(item, bool) for item in value):
        raise CheckpointError(f'{path} must be a list of true and false, got {value!r:.80}')
    return np.array(value, bool)


def _numbers(value: Any, path: str, *, finite: bool) -> np.ndarray:
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f'{path} must be a list of numbers ({error})') from error
    if not isinstance(value, list):
        raise CheckpointError(f'{path} must be a list of numbers, got {value!r:.80}')
    if finite and array.ndim != 1:
        raise CheckpointError(f'{path} must be a flat list of numbers, got {value!r:.80}')
    if finite and not np.isfinite(array).all():
        raise CheckpointError(
            f'{path} must be finite, got {value!r:.80}; {_AGAIN}')
    return array
