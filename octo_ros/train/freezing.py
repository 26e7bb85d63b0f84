"""Which parameters a training mode touches, as a split of the parameter tree in two."""

import fnmatch
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from octo_ros.checkpoint.merge import flatten
from octo_ros.checkpoint.merge import unflatten
from octo_ros.errors import ParameterError

LANGUAGE_MODEL = '*hf_model*'
_TRANSFORMER = 'octo_transformer.*'
_MODES: Mapping[str, tuple[str, ...]] = {
    'full': (),
    'head_only': (_TRANSFORMER,),
    'head_mlp_only': (
        _TRANSFORMER, 'heads_*.map_head.probe',
        'heads_*.map_head.MultiHeadDotProductAttention_0.*'),
}


def frozen_keys(mode: str, *, finetune_language: bool) -> tuple[str, ...]:
    """Returns the patterns of a mode, to be matched with `.`-joined parameter paths.

    Args:
        mode: one of `params.MODES`.
        finetune_language: False keeps the language model as it is, as Octo does.
    """
    return _MODES[mode] + (() if finetune_language else (LANGUAGE_MODEL,))


def split(params: Mapping[str, Any], patterns: Sequence[str]
          ) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the trained and the frozen part of a parameter tree.

    Raises:
        ParameterError: nothing is left to train.
    """
    trained: dict[str, Any] = {}
    frozen: dict[str, Any] = {}
    for path, leaf in flatten(params).items():
        name = path.replace('/', '.')
        hit = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        (frozen if hit else trained)[path] = leaf
    if not trained:
        raise ParameterError(
            f"some parameters must be trained, but all match {', '.join(patterns)}")
    return unflatten(trained), unflatten(frozen)


def join(trained: Mapping[str, Any], frozen: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the whole tree again."""
    return unflatten({**flatten(trained), **flatten(frozen)})
