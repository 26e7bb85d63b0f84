"""Windows, goals and dropouts against hand-written tables."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from octo_ros.data.tasks import TaskParams
from octo_ros.data.tasks import draw_tasks
from octo_ros.data.windows import make_windows
from octo_ros.data.windows import task_completed


def test_windows_at_the_start_in_the_middle_and_at_the_end():
    found = make_windows(np.array([0, 2, 4]), np.array([5, 5, 5]), window=2, action_horizon=3)
    np.testing.assert_array_equal(found.observations, [[0, 0], [1, 2], [3, 4]])
    np.testing.assert_array_equal(
        found.timestep_pad_mask, [[False, True], [True, True], [True, True]])
    np.testing.assert_array_equal(found.actions, [
        [[0, 1, 2], [0, 1, 2]], [[1, 2, 3], [2, 3, 4]], [[3, 4, 4], [4, 4, 4]]])


def test_actions_count_as_past_the_goal_from_the_second_step_behind_it():
    found = make_windows(np.array([2, 4]), np.array([5, 5]), window=2, action_horizon=4)
    np.testing.assert_array_equal(task_completed(found.action_steps, np.array([2, 4])), [
        [[False, False, False, True], [False, False, True, True]],
        [[False, False, False, True], [False, False, True, True]]])


def test_padded_history_counts_from_before_the_episode():
    found = make_windows(np.array([0]), np.array([9]), window=3, action_horizon=2)
    np.testing.assert_array_equal(found.action_steps, [[[-2, -1], [-1, 0], [0, 1]]])


@given(st.integers(1, 40), st.integers(0, 9), st.sampled_from(
    ['image_conditioned', 'language_conditioned', 'multimodal']), st.integers(0, 3))
def test_goals_lie_ahead_and_one_kind_of_task_is_kept(length, seed, modality, choices):
    steps = np.arange(length)
    tasks = draw_tasks(np.random.default_rng(seed), TaskParams(modality=modality), steps,
                       np.full(length, length), np.full(length, choices))
    assert (tasks.goal_steps >= steps).all()
    assert (tasks.goal_steps < length).all()
    assert (tasks.goal_steps[~tasks.keep_goal] == length - 1).all()
    assert (tasks.instructions < max(choices, 1)).all()
    if modality == 'language_conditioned':
        assert not tasks.keep_goal.any()
    elif modality == 'image_conditioned' or choices == 0:
        assert tasks.keep_goal.all()


def test_goals_are_uniform_over_the_rest_of_the_episode():
    steps, lengths = np.full(20000, 6), np.full(20000, 10)
    tasks = draw_tasks(np.random.default_rng(0), TaskParams(modality='image_conditioned'), steps,
                       lengths, np.ones(20000, int))
    _, counts = np.unique(tasks.goal_steps, return_counts=True)
    assert len(counts) == 4
    assert np.abs(counts / 20000 - 0.25).max() < 0.01


def test_half_of_multimodal_examples_keep_the_goal_and_half_are_rephrased():
    count = 20000
    tasks = draw_tasks(np.random.default_rng(1), TaskParams(), np.zeros(count, int),
                       np.full(count, 10), np.full(count, 5))
    assert abs(tasks.keep_goal.mean() - 0.5) < 0.02
    assert abs((tasks.instructions > 0).mean() - 0.5 * 4 / 5) < 0.02


def test_a_goal_may_be_kept_near():
    tasks = draw_tasks(
        np.random.default_rng(2), TaskParams(modality='image_conditioned', max_goal_distance=3),
        np.full(500, 2), np.full(500, 50), np.ones(500, int))
    assert set(tasks.goal_steps) == {2, 3, 4}
