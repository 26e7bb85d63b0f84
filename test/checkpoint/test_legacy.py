"""Tests of the names of December 2023."""

import pytest

from octo_ros.checkpoint.legacy import update_config
from octo_ros.checkpoint.legacy import update_example_batch


def test_every_head_gets_todays_name_of_the_horizon():
    config = {'seed': 42, 'model': {'heads': {
        'action': {'name': 'MSEActionHead', 'kwargs': {'pred_horizon': 4, 'action_dim': 7}},
        'second': {'name': 'L1ActionHead', 'kwargs': {'pred_horizon': 2}}}, 'max_horizon': 10}}
    updated = update_config(config)
    assert updated['model']['heads']['action']['kwargs'] == {'action_horizon': 4, 'action_dim': 7}
    assert updated['model']['heads']['second']['kwargs'] == {'action_horizon': 2}
    assert updated['seed'] == 42
    assert updated['model']['max_horizon'] == 10
    assert 'pred_horizon' in config['model']['heads']['action']['kwargs']


def test_a_new_name_wins_over_the_old_one():
    config = {'model': {'heads': {'action': {'kwargs': {
        'pred_horizon': 4, 'action_horizon': 8}}}}}
    assert update_config(config)['model']['heads']['action']['kwargs'] == {'action_horizon': 8}


def test_the_order_of_tokenizers_is_kept():
    tokenizers = {'wrist': {}, 'primary': {}, 'instruction': {}}
    updated = update_config({'model': {'observation_tokenizers': tokenizers, 'heads': {}}})
    assert [*updated['model']['observation_tokenizers']] == [*tokenizers]


def test_an_old_batch_gets_todays_names():
    old = {'observation': {'pad_mask': 1, 'image_primary': 2}, 'tasks': {'x': 3}, 'action': 4}
    assert update_example_batch(old) == {
        'observation': {'timestep_pad_mask': 1, 'image_primary': 2}, 'task': {'x': 3},
        'action': 4}


def test_a_batch_of_today_is_left_alone():
    batch = {'observation': {'timestep_pad_mask': 1}, 'task': {}, 'action': 4}
    assert update_example_batch(batch) == batch


@pytest.mark.parametrize(('old', 'new'), [
    ('pred_horizon', 'action_horizon'), ('', ''),
    ('action_dim_and_pred_horizon', 'action_dim_and_action_horizon')])
def test_what_a_token_stands_for_has_its_new_name(old, new):
    heads = {'action': {'name': 'DiscreteActionHead', 'kwargs': {'token_per': old}}}
    found = update_config({'model': {'heads': heads}})
    assert found['model']['heads']['action']['kwargs'] == {'token_per': new}
