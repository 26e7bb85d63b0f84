"""A small checkpoint on disk."""

import numpy as np
import pytest

from octo_ros.checkpoint.save import save_checkpoint

_CONFIG = {
    'model': {'observation_tokenizers': {}, 'heads': {}, 'max_horizon': 10},
    'text_processor': None, 'window_size': 2}
_BATCH = {
    'observation': {'image_primary': np.zeros((1, 2, 4, 4, 3), np.uint8),
                    'timestep_pad_mask': np.ones((1, 2), bool)},
    'task': {'language_instruction': {'input_ids': np.ones((1, 16), np.int64)}},
    'action': np.zeros((1, 2, 4, 7), np.float32)}
_STATISTICS = {'bridge_dataset': {
    'action': {'mean': [0.25, 0.5], 'std': [1.0, 2.0], 'mask': [True, False]},
    'num_transitions': 12}}


@pytest.fixture
def small_params():
    """Two parameters, in an order that is not the alphabet's."""
    return {
        'stem': {'kernel': np.arange(6, dtype=np.float32).reshape(2, 3)},
        'head': {'bias': np.array([1.0, -1.0], np.float32)}}


@pytest.fixture
def save_small(small_params):
    """A function that adds a step, with all its parameters scaled by `scale`, to a folder."""
    def save(folder, step=7, scale=1.0):
        params = {
            module: {name: leaf * np.float32(scale) for name, leaf in leaves.items()}
            for module, leaves in small_params.items()}
        save_checkpoint(
            folder, step, params=params, config=_CONFIG, example_batch=_BATCH,
            dataset_statistics=_STATISTICS)
        return folder
    return save


@pytest.fixture
def small_checkpoint(save_small, tmp_path):
    """A folder with one checkpoint, step 7."""
    return save_small(tmp_path / 'small')
