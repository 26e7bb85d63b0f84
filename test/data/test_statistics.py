"""Statistics and normalisation, there and back."""

import numpy as np
import pytest

from octo_ros.data.statistics import dataset_statistics
from octo_ros.data.statistics import gripper_mask
from octo_ros.data.statistics import summarize
from octo_ros.errors import DataError
from octo_ros.errors import ParameterError
from octo_ros.policy.normalization import normalize
from octo_ros.policy.normalization import unnormalize_actions


@pytest.fixture
def actions():
    return np.random.default_rng(0).normal(3.0, [1.0, 0.01, 5.0], (1000, 3))


def test_entries_are_those_of_a_released_checkpoint(actions):
    entry = dataset_statistics(
        actions, {'proprio': actions[:, :2]}, 7, [True, True, False])
    assert set(entry) == {'action', 'proprio', 'num_transitions', 'num_trajectories'}
    assert set(entry['action']) == {'mean', 'std', 'max', 'min', 'p99', 'p01', 'mask'}
    assert (entry['num_transitions'], entry['num_trajectories']) == (1000, 7)
    np.testing.assert_allclose(entry['action']['p01'], np.quantile(actions, 0.01, axis=0))
    np.testing.assert_allclose(entry['action']['std'], actions.std(axis=0))


@pytest.mark.parametrize('kind', ['normal', 'bounds'])
def test_unnormalising_gives_the_actions_back(actions, kind):
    statistics = summarize(actions, [True, True, False])
    inside = np.clip(actions, statistics['p01'], statistics['p99'])
    normalized = normalize(inside, statistics, kind)
    np.testing.assert_array_equal(normalized[:, 2], inside[:, 2].astype(np.float32))
    assert np.abs(normalized[:, :2]).max() < 5.0
    np.testing.assert_allclose(unnormalize_actions(normalized, statistics, kind), inside,
                               rtol=1e-4)


def test_bounds_clip_what_lies_outside(actions):
    normalized = normalize(actions, summarize(actions), 'bounds')
    assert normalized.min() == -1.0
    assert normalized.max() == 1.0


def test_a_constant_dimension_stays_finite():
    values = np.ones((10, 1))
    for kind in ('normal', 'bounds'):
        assert np.isfinite(normalize(values, summarize(values), kind)).all()


def test_gripper_mask_leaves_grippers_alone():
    np.testing.assert_array_equal(gripper_mask(4, [3]), [True, True, True, False])


def test_wrong_sizes_and_kinds_are_refused(actions):
    with pytest.raises(DataError, match='3 entries'):
        summarize(actions, [True])
    with pytest.raises(ParameterError, match='3 numbers'):
        normalize(actions[:, :2], summarize(actions))
    with pytest.raises(ParameterError, match="did you mean 'bounds'"):
        normalize(actions, summarize(actions), 'bound')
