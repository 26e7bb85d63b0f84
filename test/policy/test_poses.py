"""Pose targets add up deltas by the stated axes, within workspace and speed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transforms3d import euler
from transforms3d import quaternions

from octo_ros.errors import ObservationError
from octo_ros.policy.poses import Pose
from octo_ros.policy.poses import PoseTarget
from octo_ros.policy.poses import angles_of_vector
from octo_ros.policy.poses import rotation_vector
from octo_ros.policy.poses import twist
from octo_ros.policy.profile import ActionParams
from octo_ros.policy.profile import LimitParams
from octo_ros.policy.profile import RobotProfile

QUARTER = np.pi / 2
FAST = LimitParams(max_speed=10.0, max_rotation_speed=20.0)
# A quarter turn about z: the tool's x axis points along the base's y axis.
TURNED = Pose.from_euler(np.array([0.3, 0.0, 0.2]), np.array([0.0, 0.0, QUARTER]), 'sxyz')


def make_target(limits=FAST, **action):
    return PoseTarget(RobotProfile(action=ActionParams(**action), limits=limits))


def rotation(pose):
    return quaternions.quat2mat(pose.quaternion_wxyz)


def test_a_base_delta_moves_along_the_axes_of_the_base() -> None:
    pose = make_target().step(np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0]), TURNED)
    np.testing.assert_allclose(pose.position, [0.31, 0.0, 0.2], atol=1e-12)


def test_a_tool_delta_moves_along_the_axes_of_the_tool() -> None:
    pose = make_target(frame='tool').step(np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0]), TURNED)
    np.testing.assert_allclose(pose.position, [0.3, 0.01, 0.2], atol=1e-12)


def test_a_base_rotation_turns_about_the_end_effector_with_the_axes_of_the_base() -> None:
    pose = make_target().step(np.array([0.0, 0.0, 0.0, 0.1, 0.0, 0.0]), TURNED)
    expected = euler.euler2mat(0.1, 0.0, 0.0) @ euler.euler2mat(0.0, 0.0, QUARTER)
    np.testing.assert_allclose(rotation(pose), expected, atol=1e-12)
    np.testing.assert_allclose(pose.position, TURNED.position)


def test_a_tool_rotation_turns_about_the_axes_of_the_tool() -> None:
    pose = make_target(frame='tool').step(np.array([0.0, 0.0, 0.0, 0.1, 0.0, 0.0]), TURNED)
    expected = euler.euler2mat(0.0, 0.0, QUARTER) @ euler.euler2mat(0.1, 0.0, 0.0)
    np.testing.assert_allclose(rotation(pose), expected, atol=1e-12)


@pytest.mark.parametrize('frame', ['base', 'tool'])
def test_the_motion_from_one_pose_to_another_leads_there(frame) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = (Pose.from_euler(rng.normal(size=3), 3 * rng.normal(size=3), 'sxyz')
                         for _ in range(2))
        reached = first.moved(*first.motion_to(second, frame), frame)
        np.testing.assert_allclose(reached.position, second.position, atol=1e-12)
        np.testing.assert_allclose(rotation(reached), rotation(second), atol=1e-12)


@pytest.mark.parametrize(('integration', 'x'), [('target', 0.32), ('measured', 0.31)])
def test_deltas_add_to_the_previous_target_or_to_the_measured_pose(
    integration: str, x: float
) -> None:
    target = make_target(integration=integration)
    for _ in range(2):  # the robot does not move at all
        pose = target.step(np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0]), TURNED)
    assert pose.position[0] == pytest.approx(x)


def test_without_a_measured_pose_targets_wait_or_start_from_the_start_pose() -> None:
    assert make_target().step(np.zeros(6), None) is None
    started = make_target(start_pose=(0.1, 0.2, 0.3, 0.0, 0.0, QUARTER)).step(np.zeros(6), None)
    np.testing.assert_allclose(started.position, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(started.quaternion_xyzw, [0, 0, np.sqrt(0.5), np.sqrt(0.5)])


def test_a_measured_pose_that_is_lost_does_not_throw_the_target_back_to_the_start() -> None:
    target = make_target(start_pose=(0.3, 0.0, 0.2, 0.0, 0.0, QUARTER), integration='measured')
    target.step(np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0]), TURNED)
    assert target.step(np.zeros(6), None).position[0] == pytest.approx(0.31)


def test_absolute_actions_are_the_target() -> None:
    action = np.array([0.31, 0.0, 0.2, 0.0, 0.0, QUARTER])
    pose = make_target(delta=False).step(action, TURNED)
    np.testing.assert_allclose(pose.position, action[:3])


def test_after_a_reset_the_target_starts_from_the_measured_pose() -> None:
    target = make_target()
    target.step(np.array([0.05, 0.0, 0.0, 0.0, 0.0, 0.0]), TURNED)
    target.reset()
    assert target.step(np.zeros(6), TURNED).position[0] == pytest.approx(0.3)


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 6), min_size=1, max_size=20), st.booleans())
def test_targets_stay_in_the_box_and_below_the_speeds(steps: list, delta: bool) -> None:
    limits = LimitParams(
        workspace_min=(0.2, -0.1, 0.1), workspace_max=(0.4, 0.1, 0.3),
        max_speed=0.25, max_rotation_speed=1.0)
    target = make_target(limits, delta=delta)
    previous = TURNED
    for step in steps:
        pose = target.step(np.array(step), TURNED)
        assert (pose.position >= np.array(limits.workspace_min) - 1e-12).all()
        assert (pose.position <= np.array(limits.workspace_max) + 1e-12).all()
        assert np.linalg.norm(pose.position - previous.position) <= 0.25 * 0.2 + 1e-9
        turned = abs(float(previous.quaternion_wxyz @ pose.quaternion_wxyz))
        assert 2 * np.arccos(min(1.0, turned)) <= 1.0 * 0.2 + 1e-6
        assert np.linalg.norm(pose.quaternion_wxyz) == pytest.approx(1.0)
        previous = pose


def test_a_target_that_starts_outside_the_box_returns_to_it_no_faster_than_allowed() -> None:
    limits = LimitParams(workspace_min=(0.5, -0.1, 0.1), workspace_max=(0.8, 0.1, 0.3),
                         max_speed=0.25)
    target = make_target(limits)
    xs = [target.step(np.zeros(6), TURNED).position[0] for _ in range(6)]
    np.testing.assert_allclose(xs, [0.35, 0.4, 0.45, 0.5, 0.5, 0.5])


def test_a_thousand_small_turns_leave_a_unit_quaternion() -> None:
    target = make_target()
    for _ in range(1000):
        pose = target.step(np.array([0.0, 0.0, 0.0, 0.01, 0.02, -0.03]), TURNED)
    assert np.linalg.norm(pose.quaternion_wxyz) == pytest.approx(1.0, abs=1e-12)


def test_the_twist_is_the_delta_by_the_step() -> None:
    linear, angular = twist(np.array([0.01, -0.02, 0.03, 0.0, 0.0, 0.1, 1.0]), 'sxyz', 0.2)
    np.testing.assert_allclose(linear, [0.05, -0.1, 0.15])
    np.testing.assert_allclose(angular, [0.0, 0.0, 0.5], atol=1e-12)


@pytest.mark.parametrize('order', ['sxyz', 'rzyx', 'szyx'])
@given(st.tuples(*[st.floats(-1.2, 1.2)] * 3))
def test_angles_and_rotation_vectors_are_two_ways_to_write_one_rotation(
    order: str, angles: tuple
) -> None:
    vector = rotation_vector(np.array(angles), order)
    back = angles_of_vector(vector, order)
    # A turn of 1e-8 is none to transforms3d.
    np.testing.assert_allclose(
        euler.euler2mat(*back, axes=order), euler.euler2mat(*angles, axes=order), atol=1e-7)


def test_a_large_rotation_vector_goes_the_short_way_round() -> None:
    np.testing.assert_allclose(
        rotation_vector(np.array([0.0, 0.0, 1.5 * np.pi]), 'sxyz'), [0.0, 0.0, -QUARTER])


def test_a_ros_pose_is_read_with_its_own_order_and_normalised() -> None:
    pose = Pose.from_ros(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 2.0, 0.0]))
    np.testing.assert_allclose(pose.quaternion_wxyz, [0, 0, 0, 1])
    np.testing.assert_allclose(pose.quaternion_xyzw, [0, 0, 1, 0])


@pytest.mark.parametrize(
    ('position', 'quaternion'), [([np.nan, 0, 0], [0, 0, 0, 1]), ([0, 0, 0], [0, 0, 0, 0])])
def test_a_pose_that_is_none_is_refused(position: list, quaternion: list) -> None:
    with pytest.raises(ObservationError, match='unit quaternion'):
        Pose.from_ros(np.array(position), np.array(quaternion))


def test_the_step_of_the_profile_sets_the_speed() -> None:
    slow = dataclasses.replace(RobotProfile(), step_s=1.0)
    pose = PoseTarget(slow).step(np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]), TURNED)
    assert pose.position[0] - TURNED.position[0] == pytest.approx(0.5)
