"""Full-size configurations, in the form of config.json, and the shapes of their inputs."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.errors import closest

_SIZES: Mapping[str, Mapping[str, int]] = {
    'octo-small-1.5': {'token': 384, 'layers': 12, 'mlp': 1536, 'heads': 6},
    'octo-base-1.5': {'token': 768, 'layers': 12, 'mlp': 3072, 'heads': 12},
}
PRESETS: tuple[str, ...] = tuple(_SIZES)
IMAGE_SIZES: Mapping[str, tuple[int, int]] = {'image_primary': (256, 256),
                                              'image_wrist': (128, 128)}
WINDOW = 2
LANGUAGE_TOKENS = 16


def preset(name: str) -> dict[str, Any]:
    """Returns the `model` entry of a released configuration.

    Args:
        name: one of `PRESETS`.

    Raises:
        ParameterError: there is no preset of this name.
    """
    if name not in _SIZES:
        raise ParameterError(f'the preset must be one of {", ".join(PRESETS)}, got {name!r}'
                             f'{closest(name, PRESETS)}')
    sizes = _SIZES[name]
    return {
        'observation_tokenizers': {key.removeprefix('image_'): _camera(key)
                                   for key in IMAGE_SIZES},
        'task_tokenizers': {'language': _spec('tokenizers', 'LanguageTokenizer',
                                              encoder='t5-base', finetune_encoder=False)},
        'heads': {'action': _spec('action_heads', 'DiffusionActionHead',
                                  readout_key='readout_action', use_map=False, action_horizon=4,
                                  action_dim=7, n_diffusion_samples=1, dropout_rate=0.0)},
        'readouts': {'action': 1},
        'token_embedding_size': sizes['token'],
        'transformer_kwargs': {
            'num_layers': sizes['layers'], 'mlp_dim': sizes['mlp'],
            'num_attention_heads': sizes['heads'], 'dropout_rate': 0.0,
            'attention_dropout_rate': 0.0, 'add_position_embedding': False},
        'max_horizon': 10,
        'repeat_task_tokens': True,
        'use_correct_attention': True,
    }


def example_batch(window: int = WINDOW) -> dict[str, Any]:
    """Returns a batch of one, all zeros, with the inputs that the presets take.

    Args:
        window: number of time steps.

    Returns:
        `observation` and `task` as in a checkpoint's example_batch.msgpack.
    """
    steps = (1, window)
    images = {key: np.zeros((*steps, *size, 3), np.uint8) for key, size in IMAGE_SIZES.items()}
    goals = {key: np.zeros((1, *size, 3), np.uint8) for key, size in IMAGE_SIZES.items()}
    ids = np.zeros((1, LANGUAGE_TOKENS), np.int32)
    return {
        'observation': {
            **images, 'timestep_pad_mask': np.ones(steps, bool),
            'pad_mask_dict': {key: np.ones(steps, bool) for key in images}},
        'task': {
            **goals, 'language_instruction': {'input_ids': ids, 'attention_mask': ids + 1},
            'pad_mask_dict': {key: np.ones(1, bool) for key in (*goals, 'language_instruction')}},
    }


def example_shapes(window: int = WINDOW) -> dict[str, Any]:
    """Returns shapes and types of `example_batch`, for `jax.eval_shape`."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
                        example_batch(window))


def _camera(key: str) -> dict[str, Any]:
    return _spec('tokenizers', 'ImageTokenizer', obs_stack_keys=[key], task_stack_keys=[key],
                 encoder=_spec('vit_encoders', 'SmallStem16'))


def _spec(module: str, name: str, **kwargs: Any) -> dict[str, Any]:
    return {'module': f'octo.model.components.{module}', 'name': name, 'args': [],
            'kwargs': kwargs}
