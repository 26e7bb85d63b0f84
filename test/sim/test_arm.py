import numpy as np
import pytest

from octo_ros.errors import ParameterError
from octo_ros.sim.arm import STEP_S
from octo_ros.sim.arm import WORKSPACE


def action(x=0.0, y=0.0, z=0.0, roll=0.0, pitch=0.0, yaw=0.0, gripper=1.0):
    return np.array([x, y, z, roll, pitch, yaw, gripper])


@pytest.fixture
def ready(sim):
    sim.reset(0)
    return sim


def test_the_gripper_starts_straight_down_open_and_where_the_layout_says(ready):
    seen = ready.observe(cameras=())
    assert np.allclose(seen.ee_position, ready.layout.ee_position, atol=1e-3)
    assert np.allclose(seen.ee_rpy, 0.0, atol=2e-3)
    assert seen.gripper == pytest.approx(1.0)


@pytest.mark.parametrize('delta', [
    {'x': 0.04}, {'y': -0.04}, {'z': -0.04}, {'x': 0.02, 'y': 0.03, 'z': 0.01}])
def test_a_step_moves_the_end_effector_by_its_delta(ready, delta):
    before = ready.observe(cameras=()).ee_position
    ready.step(action(**delta))
    ready.step(action())
    moved = ready.observe(cameras=()).ee_position - before
    assert np.allclose(moved, action(**delta)[:3], atol=1.5e-3)


def test_rotations_turn_about_the_base_axes(ready):
    ready.step(action(yaw=0.3))
    ready.step(action(roll=0.2))
    ready.step(action())
    from transforms3d import euler
    expected = euler.mat2euler(euler.euler2mat(0.2, 0, 0) @ euler.euler2mat(0, 0, 0.3))
    assert np.allclose(ready.observe(cameras=()).ee_rpy, expected, atol=5e-3)


def test_commands_add_to_the_target_and_not_to_the_measured_pose(ready):
    start = ready.arm.target.position.copy()
    for _ in range(10):
        ready.arm.move_by(action(x=0.005))  # no time passes, so nothing is measured yet
    assert np.allclose(ready.arm.target.position - start, [0.05, 0.0, 0.0])


def test_targets_stay_in_the_workspace(ready):
    for _ in range(12):
        ready.step(action(x=-0.1, y=0.1, z=-0.1))
    low, high = np.transpose(WORKSPACE)
    assert (ready.arm.target.position >= low - 1e-3).all()
    assert (ready.arm.target.position <= high + 1e-3).all()


def test_the_arm_comes_back_from_full_stretch(ready):
    for _ in range(8):
        ready.step(action(x=0.05, y=0.05, pitch=0.1))
    stretched = ready.observe(cameras=()).ee_position
    for _ in range(3):
        ready.step(action(x=-0.04, y=-0.04, pitch=-0.1))
    moved = ready.observe(cameras=()).ee_position - stretched
    assert (moved[:2] < -0.08).all()


def test_the_gripper_closes_in_three_steps(ready):
    for _ in range(3):
        ready.step(action(gripper=0.0))
    assert ready.observe(cameras=()).gripper < 0.03


def test_joint_commands_are_followed(ready):
    wanted = ready.arm.joints() + np.array([0.1, -0.05, 0.05, 0.0, 0.05, 0.1])
    ready.arm.move_joints(wanted, 1.0)
    ready.advance(2 * STEP_S)
    assert np.allclose(ready.observe(cameras=()).joints, wanted, atol=5e-3)
    assert np.allclose(ready.arm.target.position, ready.observe(cameras=()).ee_position, atol=5e-3)


def test_set_points_go_straight_to_the_target(ready):
    before = ready.arm.joints()
    ready.arm.move_joints(before + 0.1, 1.0, duration_s=0.4)
    ready.advance(0.2)
    assert ready.arm.remaining_s() == pytest.approx(0.2)
    ready.advance(0.4)
    assert ready.arm.remaining_s() == 0.0


@pytest.mark.parametrize('bad', [np.zeros(6), np.full(7, np.nan), 'left'])
def test_an_action_that_is_not_seven_finite_numbers_is_refused(ready, bad):
    with pytest.raises(ParameterError, match='action must hold 7 finite numbers'):
        ready.step(bad)


@pytest.mark.parametrize(('place', 'words'), [
    ('position', 'position must hold 3 finite numbers'),
    ('rotation', 'rotation must hold 9 finite numbers'),
    ('gripper', 'gripper must hold 1 finite number, got nan')])
def test_a_pose_with_a_number_that_is_none_leaves_the_target_alone(ready, place, words):
    wanted = {'position': np.array([0.3, 0.0, 0.1]), 'rotation': np.eye(3), 'gripper': 1.0}
    wanted[place] = wanted[place] * np.nan
    before = ready.arm.target.copy()
    with pytest.raises(ParameterError, match=words):
        ready.arm.move_to(**wanted)
    assert ready.arm.remaining_s() == 0.0
    assert np.array_equal(ready.arm.target.position, before.position)
    assert np.array_equal(ready.arm.target.joints, before.joints)


@pytest.mark.parametrize(('joints', 'gripper', 'words'), [
    (np.full(6, np.nan), 1.0, 'joint command must hold 6 finite numbers'),
    (np.zeros(6), np.nan, 'gripper must hold 1 finite number')])
def test_joints_with_a_number_that_is_none_leave_the_target_alone(ready, joints, gripper, words):
    before = ready.arm.target.copy()
    with pytest.raises(ParameterError, match=words):
        ready.arm.move_joints(joints, gripper)
    assert ready.arm.remaining_s() == 0.0
    assert np.array_equal(ready.arm.target.joints, before.joints)
    assert ready.arm.target.gripper == before.gripper


def test_time_advances_by_what_was_asked(ready):
    ready.step(action())
    ready.advance(0.06)
    assert ready.time_ns == 260_000_000
    with pytest.raises(ParameterError, match='duration must be finite'):
        ready.advance(-1.0)
