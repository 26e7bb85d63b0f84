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
])
def test_wrong_entries_name_the_file_and_their_path(text, message):
    with pytest.raises(CheckpointError) as caught:
        to_arrays(json.loads(text), FILE)
    assert str(caught.value).startswith(f'{FILE}: {message}')
