"""Holds a loaded parameter tree against the one a model wants, and says how they differ."""

import collections
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import flax.traverse_util

Shape = tuple[int, ...]

_LONGEST_LIST = 20

_log = logging.getLogger('octo_ros.checkpoint')


@dataclasses.dataclass(frozen=True)
class MergeReport:
    """How a loaded tree differs from the wanted one, by `/`-joined parameter path.

    Attributes:
        missing: wanted by the model, not taken from the file: path to shape.
        unexpected: in the file, not taken for the model: path to shape.
        reshaped: in both with different shapes: path to (wanted, loaded).
        copied: number of parameters taken over.
    """

    missing: Mapping[str, Shape]
    unexpected: Mapping[str, Shape]
    reshaped: Mapping[str, tuple[Shape, Shape]]
    copied: int

    @property
    def exact(self) -> bool:
        """True when the trees agree in every path and shape."""
        return not (self.missing or self.unexpected or self.reshaped)

    def text(self, limit: int = _LONGEST_LIST) -> str:
        """Returns one line a parameter: `-` the model wants it, `+` the file holds it."""
        lines = []
        for path in sorted({*self.missing, *self.unexpected, *self.reshaped}):
            wanted, loaded = self.reshaped.get(
                path, (self.missing.get(path), self.unexpected.get(path)))
            lines += [] if wanted is None else [f'  - {path} {wanted}']
            lines += [] if loaded is None else [f'  + {path} {loaded}']
        if len(lines) > limit:
            lines[limit:] = [f'  … and {len(lines) - limit} more']
        return '\n'.join(lines)


def merge_params(
    target: Mapping[str, Any], loaded: Mapping[str, Any], *, without: tuple[str, ...] = (),
) -> tuple[dict[str, Any], MergeReport]:
    """Copies every loaded parameter whose path and shape the target has.

    Args:
        target: nested mappings whose leaves have `shape` and `dtype`: `jax.ShapeDtypeStruct`s, or
            arrays when parameters that the file lacks are to keep their values.
        loaded: nested mappings of arrays.
        without: how paths begin that are not copied, though they fit; the report tells of them
            as missing and as unexpected.

    Returns:
        The merged tree, in the target's structure and data types, and the report. Leaves that
        were not copied are those of the target.
    """
    wanted = flatten(target)
    given = flatten(loaded)
    shared = {path for path in wanted.keys() & given.keys() if not path.startswith(without)}
    fitting = {path for path in shared if wanted[path].shape == given[path].shape}
    report = MergeReport(
        missing={path: wanted[path].shape for path in wanted.keys() - shared},
        unexpected={path: given[path].shape for path in given.keys() - shared},
        reshaped={path: (wanted[path].shape, given[path].shape) for path in shared - fitting},
        copied=len(fitting))
    converted = collections.Counter(
        f'{given[path].dtype.name} to {wanted[path].dtype.name}' for path in fitting
        if given[path].dtype != wanted[path].dtype)
    if converted:
        _log.warning('parameters are converted to the data type of the model: %s', ', '.join(
            f'{count} from {types}' for types, count in sorted(converted.items())))
    merged = {
        path: _as_dtype(given[path], leaf.dtype) if path in fitting else leaf
        for path, leaf in wanted.items()}
    return unflatten(merged), report


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Turns nested mappings into `/`-joined paths; empty mappings vanish."""
    return flax.traverse_util.flatten_dict(tree, sep='/')


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turns `/`-joined paths back into nested dicts."""
    return flax.traverse_util.unflatten_dict(dict(flat), sep='/')


def _as_dtype(leaf: Any, dtype: Any) -> Any:
    return leaf if leaf.dtype == dtype else leaf.astype(dtype)
