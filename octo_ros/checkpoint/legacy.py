"""Brings configs and example batches of older Octo versions to today's names.

December 2023 (version 1.0) checkpoints call the action horizon `pred_horizon`, the task entry of
a batch `tasks`, and the mask of padded time steps `pad_mask`.
"""

from collections.abc import Mapping
from typing import Any

_HEAD_ARGUMENTS = {'pred_horizon': 'action_horizon'}
_TOKEN_PER = {'pred_horizon': 'action_horizon',
              'action_dim_and_pred_horizon': 'action_dim_and_action_horizon'}
_BATCH = {'tasks': 'task'}
_OBSERVATION = {'pad_mask': 'timestep_pad_mask'}


def update_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config with every head's arguments under today's names; the rest is kept."""
    model = config['model']
    given = model.get('heads')
    # Anything but a mapping is reported by those who build the model.
    heads = {name: _update_head(spec) for name, spec in given.items()} if (
        isinstance(given, Mapping)) else {}
    # Assigning to present keys keeps the order of the file, which is the order of token groups.
    return {**config, 'model': {**model, **({'heads': heads} if heads else {})}}


def update_example_batch(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the example batch with its entries under today's names."""
    renamed = _rename(batch, _BATCH)
    if isinstance(renamed.get('observation'), Mapping):
        renamed['observation'] = _rename(renamed['observation'], _OBSERVATION)
    return renamed


def _update_head(spec: Any) -> Any:
    if not isinstance(spec, Mapping) or not isinstance(spec.get('kwargs'), Mapping):
        return spec
    kwargs = _rename(spec['kwargs'], _HEAD_ARGUMENTS)
    if 'token_per' in kwargs:
        kwargs['token_per'] = _TOKEN_PER.get(kwargs['token_per'], kwargs['token_per'])
    return {**spec, 'kwargs': kwargs}


def _rename(mapping: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Renames old keys in place of their position; a key that has its new name already wins."""
    return {
        names.get(key, key): value for key, value in mapping.items()
        if names.get(key, key) == key or names[key] not in mapping}
