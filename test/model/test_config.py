"""The full-size presets, without their weights."""

import functools
import re

import jax
import pytest
from flax import traverse_util

from octo_ros.checkpoint.spec_registry import build_module
from octo_ros.errors import ParameterError
from octo_ros.model import config

LISTS = {'octo-small-1.5': 'params_small.txt', 'octo-base-1.5': 'params_base.txt'}
PARAMETERS = {'octo-small-1.5': 136_670_604, 'octo-base-1.5': 202_458_636}


@functools.cache
def shapes(name):
    batch = config.example_shapes()
    observations = batch['observation']
    module = build_module(config.preset(name))
    found = jax.eval_shape(module.init, jax.random.key(0), observations, batch['task'],
                           observations['timestep_pad_mask'])
    return traverse_util.flatten_dict(found['params'], sep='/')


@pytest.mark.parametrize('name', config.PRESETS)
def test_preset_has_the_released_parameters(shared, name):
    text = (shared / 'reference' / LISTS[name]).read_text()
    wanted = {path: (tuple(int(number) for number in re.findall(r'\d+', shape)), dtype)
              for path, shape, dtype in re.findall(r'^(\S+)\s+(\(.*\))\s+(\S+)$', text, re.M)}
    assert len(wanted) == 366
    assert {path: (leaf.shape, str(leaf.dtype)) for path, leaf in shapes(name).items()} == wanted


@pytest.mark.parametrize('name', config.PRESETS)
def test_preset_has_the_released_number_of_parameters(name):
    assert sum(leaf.size for leaf in shapes(name).values()) == PARAMETERS[name]


@pytest.mark.parametrize('window', [1, 2, 10])
def test_preset_lays_out_the_released_sequence(window):
    batch = config.example_shapes(window)
    observations = batch['observation']
    layout = build_module(config.preset('octo-base-1.5')).layout(
        observations, batch['task'], observations['timestep_pad_mask'])
    assert [(group.name, group.size) for group in layout.groups] == [
        ('task_language', 16), ('obs_primary', 256), ('obs_wrist', 64),
        ('obs_task_language', 16), ('readout_action', 1)]
    assert layout.length == 16 + window * 337


def test_unknown_preset_is_refused_with_the_closest():
    with pytest.raises(ParameterError, match=r"octo-bsae-1\.5.*did you mean 'octo-base-1\.5'"):
        config.preset('octo-bsae-1.5')
