"""Weights and places of chunks, by hand-made numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_ros.policy.chunking import Chunk
from octo_ros.policy.chunking import ensemble_action
from octo_ros.policy.chunking import ensemble_weights
from octo_ros.policy.poses import Pose


def make_chunk(placed_ns: int, actions: list[float]) -> Chunk:
    return Chunk(0, placed_ns, placed_ns, np.array(actions)[:, None])


def test_the_weights_fall_from_the_oldest_prediction_on() -> None:
    np.testing.assert_allclose(ensemble_weights(3, np.log(2)), [4 / 7, 2 / 7, 1 / 7])
    np.testing.assert_allclose(ensemble_weights(4, 0.0), [0.25] * 4)


@given(st.integers(1, 50), st.floats(-10, 10))
def test_the_weights_sum_to_one_and_are_never_negative(count: int, weight: float) -> None:
    weights = ensemble_weights(count, weight)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()


def test_a_chunk_knows_which_step_is_due_when() -> None:
    chunk = make_chunk(1000, [0.0, 1.0])
    assert [chunk.index_at(now, 100) for now in (999, 1000, 1099, 1100, 1250)] == [-1, 0, 0, 1, 2]
    assert chunk.due_ns(2, 100) == 1200


def test_an_ensemble_takes_from_each_chunk_the_step_nearest_in_time() -> None:
    chunks = [
        make_chunk(0, [0.0, 1.0, 2.0]),     # its step 2 is due at 200
        make_chunk(130, [10.0, 11.0, 12.0]),  # its step 1 is due at 230, step 0 at 130
        make_chunk(200, [20.0, 21.0, 22.0])]
    assert ensemble_action(chunks, 200, 100, 0.0, 3) == pytest.approx([(2 + 11 + 20) / 3])
    assert ensemble_action(chunks, 200, 100, 0.0, 2) == pytest.approx([(11 + 20) / 2])
    assert ensemble_action(chunks, 300, 100, 0.0, 3) == pytest.approx([(12 + 21) / 2])


def pose_chunks(*angles: tuple[float, float, float]) -> list[Chunk]:
    return [Chunk(0, 0, 0, np.array([[0.1 * index, 0.0, 0.0, *triple, 1.0]]))
            for index, triple in enumerate(angles)]


def test_an_ensemble_of_poses_on_both_sides_of_a_half_turn_does_not_turn_the_arm_over() -> None:
    chunks = pose_chunks((3.13, 0.0, 0.0), (-3.13, 0.0, 0.0))
    action = ensemble_action(chunks, 0, 100, 0.0, 1, 'sxyz')
    np.testing.assert_allclose(action, [0.05, 0.0, 0.0, -np.pi, 0.0, 0.0, 1.0], atol=1e-12)
    assert ensemble_action(chunks, 0, 100, 0.0, 1)[3] == 0.0  # joints are plain numbers


@given(*(st.tuples(*[st.floats(-7, 7)] * 3) for _ in range(2)),
       st.sampled_from(['sxyz', 'rzyx', 'sxzy']))
def test_an_ensemble_of_one_attitude_written_in_two_ways_is_that_attitude(
        angles: tuple[float, float, float], turns: tuple[float, float, float], order: str) -> None:
    whole = np.round(np.array(turns) / 3.5) * 2 * np.pi
    flipped = (angles[0] + np.pi, np.pi - angles[1], angles[2] - np.pi)
    for other in (tuple(angles + whole), flipped):
        action = ensemble_action(pose_chunks(other, angles), 0, 100, 0.5, 1, order)
        expected, got = (Pose.from_euler(np.zeros(3), triple, order).quaternion_wxyz
                         for triple in (angles, action[3:6]))
        assert abs(expected @ got) == pytest.approx(1.0)
        if abs(np.cos(angles[1])) > 1e-3:  # else roll and yaw turn about one axis
            np.testing.assert_allclose(action[3:6], angles, atol=1e-6)


def test_angles_that_one_chunk_alone_gives_stay_as_they_are() -> None:
    chunks = pose_chunks((4.0, 2.0, -5.0))
    np.testing.assert_array_equal(
        ensemble_action(chunks, 0, 100, 0.0, 1, 'sxyz'), chunks[0].actions[0])
