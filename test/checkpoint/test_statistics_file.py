"""Tests of reading statistics, whole and damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from octo_ros.checkpoint.statistics_file import to_arrays
from octo_ros.errors import CheckpointError

FILE = Path('dataset_statistics.json')


def test_lists_become_arrays_and_counts_stay():
    arrays = to_arrays({'bridge': {
        'action': {'mean': [1, 2], 'std': [1.0, 0.5], 'mask': [True, False]},
        'num_transitions': 3}}, FILE)
    action = arrays['bridge']['action']
    assert action['mean'].dtype == np.float64
    assert action['mask'].tolist() == [True, False]
    assert arrays['bridge']['num_transitions'] == 3


@pytest.mark.parametrize(('text', 'message'), [
    ('{"a": {"action": "abc"}}', "a.action must be a mapping, got 'abc'"),
    ('{"action": {"mean": "abc"}}', 'action.mean must be a list of numbers'),
    ('{"action": {"mean": 1.0}}', 'action.mean must be a list of numbers, got 1.0'),
    ('{"action": {"std": [1.0, NaN]}}', 'action.std must be finite, got [1.0, nan]'),
    ('{"action": {"mask": ["true", "false"]}}', 'action.mask must be a list of true and false'),
    ('{"action": {"mask": true}}', 'action.mask must be a list of true and false, got True'),
    ('{"action": {"mean": [[1.0, 2.0]]}}', 'action.mean must be a flat list of numbers, got [[1.'),
])
def test_wrong_entries_name_the_file_and_their_path(text, message):
    with pytest.raises(CheckpointError) as caught:
        to_arrays(json.loads(text), FILE)
    assert str(caught.value).startswith(f'{FILE}: {message}')


@pytest.mark.parametrize(('group', 'message'), [
    ({'mean': [0, 0], 'std': [1, 1], 'p01': [0]},
     'must have lists of one length, got mean 2, std 2, p01 1'),
    ({'mean': [0, 0], 'mask': [True]}, 'must have lists of one length, got mean 2, mask 1'),
    ({'std': [0.0, -0.5]}, 'std must not be negative, got [0.0, -0.5]'),
    ({'p01': [0.0, 0.3], 'p99': [1.0, 0.2]},
     'p01 must not be greater than p99, got [0.0, 0.3] and [1.0, 0.2]'),
])
@pytest.mark.parametrize('name', ['action', 'proprio', 'velocity'])
def test_statistics_that_no_data_can_have_are_refused(name, group, message):
    with pytest.raises(CheckpointError) as caught:
        to_arrays({'bridge': {name: group}}, FILE)
    assert str(caught.value).startswith(f'{FILE}: bridge.{name}')
    assert message in str(caught.value)


@pytest.mark.parametrize('group', [
    {'mean': [0.1, 0.0], 'std': [1.0, 0.0]},
    {'mean': [0.1], 'std': [1.0], 'p01': [0.2], 'p99': [0.2], 'mask': [False]},
    {'mean': [0.1], 'std': [1.0], 'p99': [0.2]},
])
def test_what_never_moved_and_what_has_no_percentiles_is_read(group):
    read = to_arrays({'action': group}, FILE)['action']
    assert {key: value.tolist() for key, value in read.items()} == group


def test_statistics_of_every_golden_checkpoint_are_read(golden):
    files = sorted(golden.glob('tiny_*/ckpt/dataset_statistics.json'))
    assert files
    for file in files:
        assert to_arrays(json.loads(file.read_text()), file)
