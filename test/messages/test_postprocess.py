"""Actions become commands: twists, pose and joint targets, grippers; state moves once a step."""

import dataclasses

import numpy as np
import pytest

from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.messages.postprocess import ActionShaper
from octo_ros.params import from_flat
from octo_ros.policy.control_loop import Tick
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.poses import Pose
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.profile import load_profile

TWO_JOINTS = {'action.names': ['a', 'b', 'grip'], 'action.space': 'joint',
              'gripper.indices': [2], 'gripper.binarize': False}


def _spec(action_dim):
    return dataclasses.replace(
        DEFAULT_SPEC, action_dim=action_dim, action_low=(-np.inf,) * action_dim,
        action_high=(np.inf,) * action_dim)


def _shaper(values, *, action_dim=7, step_s=0.2, whole_chunks=False):
    return ActionShaper(from_flat(RobotProfile, values), _spec(action_dim), step_s=step_s,
                        whole_chunks=whole_chunks)


def _tick(*action, new_step=True):
    return Tick(np.array(action), None, new_step, 3, 1, 100, 200)


def _pose(x):
    return Pose(np.array([x, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0]))


def test_twist_makes_the_delta_within_a_step_of_the_loop():
    command = _shaper({'step_s': 5.0}).command(_tick(0.02, 0, 0, 0, 0, 0.1, 1), 250)
    np.testing.assert_allclose(command.linear, [0.1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(command.angular, [0, 0, 0.5], atol=1e-12)
    assert (command.pose, command.positions) == (None, None)
    assert (command.chunk_id, command.step_index) == (3, 1)
    assert (command.observed_ns, command.due_ns, command.stamp_ns) == (100, 200, 250)


def test_gripper_counts_steps_and_not_ticks():
    shaper = _shaper({'gripper.sticky_count': 2, 'gripper.open_value': 0.8})
    openings = [shaper.command(_tick(0, 0, 0, 0, 0, 0, value, new_step=new), 0).grippers
                for value, new in ((1, True), (0, True), (0, False), (0, False), (0, True))]
    assert openings == [(0.8,), (0.8,), (0.8,), (0.8,), (0.0,)]


def test_pose_target_adds_up_once_a_step():
    shaper = _shaper({'command.type': 'pose'})
    tick = _tick(0.01, 0, 0, 0, 0, 0, 0)
    xs = [shaper.command(dataclasses.replace(tick, new_step=new), 0, pose=_pose(1.0))
          .pose.position[0] for new in (True, False, True, False)]
    np.testing.assert_allclose(xs, [1.01, 1.01, 1.02, 1.02])


def test_pose_target_without_a_start_says_what_to_do():
    shaper = _shaper({'command.type': 'pose'})
    with pytest.raises(ObservationError, match="publish the pose on 'measured_pose'"):
        shaper.command(_tick(0.01, 0, 0, 0, 0, 0, 0), 0)
    command = shaper.command(_tick(0.01, 0, 0, 0, 0, 0, 0, new_step=False), 0, pose=_pose(1.0))
    np.testing.assert_allclose(command.pose.position[0], 1.01)


def test_measured_integration_holds_when_the_measurement_is_lost():
    shaper = _shaper({'command.type': 'pose', 'action.integration': 'measured'})
    tick = _tick(0.01, 0, 0, 0, 0, 0, 0)
    np.testing.assert_allclose(
        shaper.command(tick, 0, pose=_pose(2.0)).pose.position[0], 2.01)
    with pytest.raises(ObservationError, match='need a start'):
        shaper.command(tick, 0)


def test_absolute_joints_follow_as_fast_as_the_limit_allows():
    shaper = _shaper({**TWO_JOINTS, 'action.delta': False, 'limits.per_step': [0.1, 0.1, 1.0],
                      'command.type': 'multi_array'}, action_dim=3)
    positions = [shaper.command(_tick(1.0, 0.05, 0.3, new_step=new), 0, joints=np.zeros(2))
                 for new in (True, False, True)]
    np.testing.assert_allclose(
        [command.positions for command in positions], [[0.1, 0.05], [0.1, 0.05], [0.2, 0.05]])
    np.testing.assert_allclose(positions[0].grippers, [0.3])


def test_joint_deltas_start_from_the_measured_joints():
    shaper = _shaper({**TWO_JOINTS, 'command.type': 'multi_array'}, action_dim=3)
    with pytest.raises(ObservationError, match="publish the joints on 'measured_joints'"):
        shaper.command(_tick(0.1, 0.2, 1.0), 0)
    commands = [shaper.command(_tick(0.1, 0.2, 1.0), 0, joints=np.array([1.0, 2.0]))
                for _ in range(2)]
    np.testing.assert_allclose(commands[0].positions, [1.1, 2.2])
    np.testing.assert_allclose(commands[1].positions, [1.2, 2.4])  # integration: target
    assert commands[1].grippers == (1.0,)


def test_trajectory_of_a_whole_chunk_starts_from_the_measured_joints():
    shaper = _shaper({**TWO_JOINTS, 'action.delta': False, 'limits.per_step': [0.1, 0.1, 1.0],
                      'command.type': 'joint_trajectory'}, action_dim=3, whole_chunks=True)
    chunk = np.array([[1.0, 0.0, 0.5]] * 3)
    np.testing.assert_allclose(
        shaper.trajectory(chunk, np.zeros(2)), [[0.1, 0.0], [0.2, 0.0], [0.3, 0.0]])
    np.testing.assert_allclose(shaper.trajectory(chunk)[0], [1.0, 0.0])


def test_trajectory_of_a_late_chunk_does_not_jump_to_the_row_that_is_due_now():
    shaper = _shaper({**TWO_JOINTS, 'action.delta': False, 'limits.per_step': [0.1, 0.1, 1.0],
                      'command.type': 'joint_trajectory'}, action_dim=3, whole_chunks=True)
    chunk = np.stack([np.linspace(1.0, 2.0, 12), np.zeros(12), np.zeros(12)], axis=1)
    rows = shaper.trajectory(chunk, np.zeros(2), now_ns=1_700_000_000, observed_ns=0)
    np.testing.assert_allclose(rows[8:, 0], [0.1, 0.2, 0.3, 0.4])
    assert np.abs(np.diff(rows, axis=0)).max() <= 0.1 + 1e-9
    past = shaper.trajectory(chunk, np.zeros(2), now_ns=99_000_000_000, observed_ns=0)
    assert past[-1, 0] == pytest.approx(0.1)


def test_first_row_for_the_aloha_arms_does_not_jump():
    shaper = ActionShaper(load_profile('aloha'), _spec(14), step_s=0.02, whole_chunks=True)
    rows = shaper.trajectory(np.ones((50, 14)), np.zeros(12), now_ns=160_000_000)
    assert rows[8].max() <= 0.07
    assert np.abs(np.diff(rows, axis=0)).max() <= 0.07


def test_trajectory_without_a_limit_is_the_chunk_however_late():
    shaper = _shaper({**TWO_JOINTS, 'action.delta': False, 'command.type': 'joint_trajectory'},
                     action_dim=3, whole_chunks=True)
    chunk = np.arange(12.0).reshape(4, 3)
    np.testing.assert_allclose(
        shaper.trajectory(chunk, np.zeros(2), now_ns=500_000_000), chunk[:, :2])


def test_trajectory_after_a_hold_starts_from_the_measured_joints():
    shaper = _shaper({**TWO_JOINTS, 'action.delta': False, 'limits.per_step': [0.1, 0.1, 1.0],
                      'command.type': 'joint_trajectory'}, action_dim=3, whole_chunks=True)
    shaper.command(_tick(0.0, 0.0, 0.5), 0, joints=np.zeros(2))
    now_ns = 60 * 10**9
    rows = shaper.trajectory(
        np.zeros((3, 3)), np.ones(2), now_ns=now_ns, observed_ns=now_ns)
    np.testing.assert_allclose(rows[:, 0], [0.9, 0.8, 0.7])


def test_reset_forgets_targets_and_grippers():
    shaper = _shaper({'command.type': 'pose', 'gripper.sticky_count': 5})
    tick = _tick(0.01, 0, 0, 0, 0, 0, 1)
    shaper.command(tick, 0, pose=_pose(1.0))
    shaper.reset()
    command = shaper.command(_tick(0.01, 0, 0, 0, 0, 0, 0), 0, pose=_pose(5.0))
    np.testing.assert_allclose(command.pose.position[0], 5.01)
    assert command.grippers == (0.0,)


START = {'command.type': 'pose', 'action.start_pose': [0.3, 0.0, 0.2, 0.0, 0.0, 0.0]}


def test_target_does_not_jump_back_to_the_start_pose_after_a_reset():
    shaper = _shaper(START)
    tick = _tick(0.05, 0, 0, 0, 0, 0, 1)
    xs = [shaper.command(tick, 0).pose.position[0] for _ in range(8)]
    shaper.reset()
    np.testing.assert_allclose(shaper.command(tick, 0).pose.position[0], xs[-1] + 0.05)
    assert xs[0] == pytest.approx(0.35)


@pytest.mark.parametrize('values', [{'command.type': 'pose'}, START])
def test_target_starts_from_the_measured_pose_after_a_hold(values):
    shaper = _shaper(values)
    tick = _tick(0.05, 0, 0, 0, 0, 0, 1)
    times_s = (0.0, 0.2, 0.9, 3.0, 3.2)
    xs = [shaper.command(tick, round(time_s * 1e9), pose=_pose(1.0 if time_s < 1 else 0.5))
          .pose.position[0] for time_s in times_s]
    np.testing.assert_allclose(xs, [1.05, 1.1, 1.15, 0.55, 0.6])


def test_target_goes_on_after_a_hold_without_a_measured_pose():
    shaper = _shaper(START)
    tick = _tick(0.05, 0, 0, 0, 0, 0, 1)
    xs = [shaper.command(tick, time_s * 10**9).pose.position[0] for time_s in (0, 5)]
    np.testing.assert_allclose(xs, [0.35, 0.4])


@pytest.mark.parametrize('delta', [True, False])
def test_joint_targets_start_from_the_measured_joints_after_a_hold(delta):
    shaper = _shaper({**TWO_JOINTS, 'action.delta': delta, 'limits.per_step': [0.1, 0.1, 1.0],
                      'command.type': 'multi_array'}, action_dim=3)
    tick = _tick(5.0, 5.0, 1.0)
    positions = [shaper.command(tick, round(time_s * 1e9), joints=np.full(2, place)).positions[0]
                 for time_s, place in ((0.0, 1.0), (0.2, 1.0), (3.0, 2.0), (3.2, 2.0))]
    np.testing.assert_allclose(positions, [1.1, 1.2, 2.1, 2.2])


def test_absolute_joints_do_not_jump_after_a_reset_without_measured_joints():
    shaper = _shaper({**TWO_JOINTS, 'action.delta': False, 'limits.per_step': [0.1, 0.1, 1.0],
                      'command.type': 'multi_array'}, action_dim=3)
    shaper.command(_tick(0.5, 0.5, 1.0), 0)
    shaper.reset()
    np.testing.assert_allclose(
        shaper.command(_tick(1.5, 1.5, 1.0), 0).positions, [0.6, 0.6])


def test_profile_with_another_number_of_actions_is_refused():
    with pytest.raises(ParameterError, match=r"'action.names'.*must name the 8"):
        _shaper({}, action_dim=8)


@pytest.mark.parametrize('kind', ['pose', 'multi_array'])
def test_step_that_cannot_begin_for_a_bad_measurement_begins_later_grippers_too(kind):
    values = {'action.integration': 'measured', 'command.type': kind, 'gripper.sticky_count': 2}
    dims = 7
    if kind == 'multi_array':
        values, dims = {**TWO_JOINTS, **values, 'gripper.binarize': True}, 3
    shaper = _shaper(values, action_dim=dims)
    known = {'pose': _pose(1.0), 'joints': np.ones(2)}
    openings = []
    for value, new, good in ((1, True, True), (0, True, False), (0, False, True),
                             (0, False, True), (0, True, True)):
        tick = _tick(*[0.01] * (dims - 1), value, new_step=new)
        if not good:
            with pytest.raises(ObservationError, match='is NaN'):
                shaper.command(tick, 0, problem='the state is NaN')
            continue
        command = shaper.command(tick, 0, **known)
        openings.append((command.new_step, command.grippers))
    assert openings == [
        (True, (1.0,)), (True, (1.0,)), (False, (1.0,)), (True, (0.0,))]


def test_problem_of_the_measurement_is_no_matter_while_targets_need_none():
    shaper = _shaper({'command.type': 'pose'})
    tick = _tick(0.01, 0, 0, 0, 0, 0, 0)
    shaper.command(tick, 0, pose=_pose(1.0))
    command = shaper.command(tick, 0, problem='the pose is NaN')
    np.testing.assert_allclose(command.pose.position[0], 1.02)
    with pytest.raises(ObservationError, match='is NaN'):
        shaper.command(tick, 5 * 10**9, problem='the pose is NaN')
