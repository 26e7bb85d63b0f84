"""Small models with image tokenizers as a test wants them, of random weights."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros import OctoModel

_COMPONENTS = 'octo.model.components.'
_STATISTICS = {'mean': [0.0] * 7, 'std': [1.0] * 7, 'p01': [-1.0] * 7, 'p99': [1.0] * 7,
               'mask': [True] * 6 + [False]}


def image_tokenizer(observations: Sequence[str], goals: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the config of a tokenizer that stacks these images and goal images."""
    return _spec('tokenizers', 'ImageTokenizer', obs_stack_keys=[*observations],
                 task_stack_keys=[*goals],
                 encoder=_spec('vit_encoders', 'SmallStem16', num_features=32))


def make_model(
    observation_tokenizers: Mapping[str, Any], task_tokenizers: Mapping[str, Any], *,
    cameras: Sequence[str] = ('image_primary', 'image_wrist'), head_dim: int = 7,
) -> OctoModel:
    """Returns a model with one layer whose statistics are for 7 dimensions.

    Args:
        observation_tokenizers: their configs by name.
        task_tokenizers: likewise.
        cameras: images and goal images (64, 64, 3) of the example batch.
        head_dim: dimensions of the action head.
    """
    config = {'model': {
        'observation_tokenizers': {**observation_tokenizers},
        'task_tokenizers': {**task_tokenizers},
        'heads': {'action': _spec('action_heads', 'MSEActionHead', readout_key='readout_action',
                                  action_horizon=4, action_dim=head_dim, use_map=False)},
        'readouts': {'action': 1}, 'token_embedding_size': 32, 'max_horizon': 5,
        'transformer_kwargs': {'num_layers': 1, 'mlp_dim': 32, 'num_attention_heads': 2},
        'repeat_task_tokens': True, 'use_correct_attention': True}}
    batch: dict[str, Any] = {
        'observation': {key: np.zeros((1, 2, 64, 64, 3), np.uint8) for key in cameras},
        'task': {key: np.zeros((1, 64, 64, 3), np.uint8) for key in cameras},
        'action': np.zeros((1, 2, 4, head_dim), np.float32)}
    batch['observation']['timestep_pad_mask'] = np.ones((1, 2), bool)
    batch['observation']['pad_mask_dict'] = {key: np.ones((1, 2), bool) for key in cameras}
    batch['task']['pad_mask_dict'] = {key: np.ones(1, bool) for key in cameras}
    return OctoModel.from_config(config, batch, dataset_statistics={'action': _STATISTICS})


def _spec(module: str, name: str, **kwargs: Any) -> dict[str, Any]:
    return {'module': _COMPONENTS + module, 'name': name, 'args': [], 'kwargs': kwargs}
