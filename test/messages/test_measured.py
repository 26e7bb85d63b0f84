"""Measured joints and pose as they come: in parts, from several publishers, now and then bad."""

import dataclasses
import logging

import numpy as np
import pytest

from octo_ros.params import from_flat
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.fakes import FakePolicy
from octo_ros.policy.profile import RobotProfile
from test.messages.rigs import MS
from test.messages.rigs import START
from test.messages.rigs import Rig

ARMS = {'action.names': ['left_a', 'left_b', 'left_grip', 'right_a', 'right_grip'],
        'action.space': 'joint', 'action.delta': False, 'gripper.indices': [2, 4],
        'gripper.binarize': False, 'limits.envelope': 'none',
        'limits.per_step': [0.1, 0.1, 1.0, 0.1, 1.0]}
LEFT, RIGHT, GRIP = ['left_a', 'left_b'], ['right_a'], ['left_grip']
KINDS = ['joint_trajectory', 'multi_array']
TICK_MS = 20


class Arm(Rig):
    """A rig that is ticked at 50 Hz; `measure(time_ms)` tells what the robot says of itself."""

    def __init__(self, messages, values, policy=None):
        super().__init__(messages, policy, image_keys=['image_primary'],
                         profile=from_flat(RobotProfile, values))
        self.runtime.set_instruction('fold the towel')

    def joints(self, time_ms, names, value=0.0):
        stamp_ns = START + time_ms * MS
        self.runtime.store('measured_joints', self.messages.joints(
            names, [value] * len(names), stamp_ns=stamp_ns), stamp_ns)

    def pose(self, time_ms, x, frame_id=''):
        stamp_ns = START + time_ms * MS
        self.runtime.store('measured_pose', self.messages.pose(
            [x, 0.0, 0.2], [0.0, 0.0, 0.0, 1.0], stamp_ns=stamp_ns, frame_id=frame_id), stamp_ns)

    def run(self, measure, until_ms, from_ms=0):
        """Returns chunks and outputs of every tick."""
        results = []
        for time_ms in range(from_ms, until_ms, TICK_MS):
            if time_ms % 100 == 0:
                self.look(time_ms)
            measure(time_ms)
            results.append(self.work(time_ms))
        return [chunk for chunk, _ in results if chunk], [output for _, output in results]


@pytest.fixture
def arms(messages):
    def make(kind='joint_trajectory', **values):
        spec = dataclasses.replace(DEFAULT_SPEC, action_dim=5, action_low=(), action_high=())
        return Arm(messages, {**ARMS, 'command.type': kind, **values}, FakePolicy(spec))
    return make


def _held(outputs):
    return [output.reason for output in outputs if output.command is None]


@pytest.mark.parametrize('kind', KINDS)
def test_joints_that_come_arm_by_arm_move_the_robot(arms, kind):
    rig = arms(kind)

    def measure(time_ms):
        rig.joints(time_ms, RIGHT if time_ms // TICK_MS % 2 else LEFT)

    _, outputs = rig.run(measure, 2000)
    assert all("'right_a'" in reason for reason in _held(outputs[:10]))
    assert _held(outputs[10:]) == []
    assert rig.runtime.measured_joints(START + 2000 * MS).tolist() == [0.0, 0.0, 0.0]


def test_chunk_that_comes_before_all_arms_are_known_does_not_go_out(arms):
    rig = arms()
    chunks, outputs = rig.run(lambda time_ms: rig.joints(time_ms, LEFT, 2.0), 1000)
    assert chunks == []
    assert all("must hold the joint 'right_a', got left_a, left_b" in reason
               for reason in _held(outputs))

    def measure(time_ms):
        rig.joints(time_ms, LEFT, 2.0)
        rig.joints(time_ms, RIGHT, 2.0)

    chunks, outputs = rig.run(measure, 1400, from_ms=1000)
    assert outputs[-1].command is not None
    assert np.abs(chunks[0].positions[0] - 2.0).max() <= 0.1 + 1e-6


@pytest.mark.parametrize('kind', KINDS)
def test_foreign_joint_states_among_the_robots_do_not_stop_it(arms, caplog, kind):
    rig = arms(kind)

    def measure(time_ms):
        rig.joints(time_ms, LEFT + RIGHT)
        rig.joints(time_ms, GRIP)

    with caplog.at_level(logging.INFO):
        _, outputs = rig.run(measure, 4000)
    assert _held(outputs) == []
    assert caplog.records == []
    assert rig.runtime.health(START)['measured_joints'].bad == 0


@pytest.mark.parametrize('kind', KINDS)
def test_nan_in_a_joint_now_and_then_does_not_stop_the_robot_and_is_told_once(
        arms, caplog, kind):
    rig = arms(kind)

    def measure(time_ms):
        rig.joints(time_ms, LEFT + RIGHT, np.nan if 1000 <= time_ms < 1100 else 0.0)

    with caplog.at_level(logging.INFO):
        _, outputs = rig.run(measure, 4000)
    assert _held(outputs) == []
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith('measured_joints: joint state must be finite')
    assert 'left_a, left_b, right_a' in told[0]
    assert told[1].startswith('measured_joints: recovered')
    assert rig.runtime.health(START)['measured_joints'].bad == 5


@pytest.mark.parametrize('kind', KINDS)
def test_joints_under_other_names_hold_the_robot_and_are_told_once(arms, caplog, kind):
    rig = arms(kind)
    with caplog.at_level(logging.INFO):
        chunks, outputs = rig.run(lambda time_ms: rig.joints(time_ms, ['lefta', 'leftb']), 3000)
    assert [chunk for chunk in chunks if chunk.positions is not None] == []
    assert len(_held(outputs)) == len(outputs)
    assert "did you mean 'lefta'" in outputs[-1].reason
    assert len(caplog.records) == 1
    told = caplog.records[0].getMessage()
    assert told.startswith("measured_joints: joint states must hold the joint 'left_a', got lefta")
    assert rig.runtime.health(START)['measured_joints'].problem


def test_arm_that_falls_silent_is_no_longer_known(arms, caplog):
    rig = arms()

    def measure(time_ms):
        rig.joints(time_ms, LEFT)
        if not 1000 <= time_ms < 3000:
            rig.joints(time_ms, RIGHT)

    with caplog.at_level(logging.INFO):
        _, outputs = rig.run(measure, 2500)
        assert rig.runtime.measured_joints(START + 2500 * MS) is None
        _, after = rig.run(measure, 4000, from_ms=2500)
    assert _held(outputs + after) == []  # targets go on from the last one
    assert [record.levelname for record in caplog.records] == ['WARNING', 'INFO']
    assert rig.runtime.measured_joints(START + 4000 * MS) is not None


def test_joints_from_after_a_jump_back_of_the_clock_are_forgotten(arms):
    rig = arms()
    rig.runtime.tick(START + 300 * MS)
    rig.joints(300, LEFT + RIGHT)
    assert rig.runtime.measured_joints(START + 300 * MS) is not None
    rig.runtime.tick(START)
    assert rig.runtime.measured_joints(START) is None


def test_joint_deltas_without_all_joints_name_the_one_that_lacks(arms):
    rig = arms('multi_array', **{'action.delta': True})
    _, outputs = rig.run(lambda time_ms: rig.joints(time_ms, LEFT), 400)
    assert "must hold the joint 'right_a'" in outputs[-1].reason


BAD_POSE_MS = (200, 400, 600)  # the first tick of a policy step


@pytest.mark.parametrize('integration', ['target', 'measured'])
def test_nan_in_a_pose_at_the_begin_of_a_step_does_not_lose_the_step(
        messages, caplog, integration):
    ends = []
    for bad in (False, True):
        rig = Arm(messages, {'command.type': 'pose', 'action.integration': integration,
                             'gripper.sticky_count': 2, 'limits.envelope': 'none'})

        def measure(time_ms, rig=rig, bad=bad):
            rig.pose(time_ms, np.nan if bad and time_ms in BAD_POSE_MS else 0.3)

        with caplog.at_level(logging.INFO):
            _, outputs = rig.run(measure, 1200)
        assert _held(outputs) == []
        ends.append(outputs[-1].command)
    np.testing.assert_allclose(ends[1].pose.position, ends[0].pose.position)
    assert ends[1].grippers == ends[0].grippers
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(':')[0] for text in told] == ['measured_pose'] * len(told)
    assert 'must be finite' in told[0]
    assert rig.runtime.health(START)['measured_pose'].bad == len(BAD_POSE_MS)


def test_step_that_had_no_pose_to_start_from_is_made_up_for_when_one_comes(messages):
    rig = Arm(messages, {'command.type': 'pose', 'limits.envelope': 'none',
                         'action.integration': 'measured'})

    def measure(time_ms):
        rig.pose(time_ms, 0.3 if time_ms > 0 else np.nan)

    _, outputs = rig.run(measure, 100)
    assert 'must be finite' in outputs[0].reason
    assert [output.command.new_step for output in outputs[1:]] == [True, False, False, False]


def test_poses_that_are_never_good_hold_even_with_a_start_pose(messages):
    rig = Arm(messages, {'command.type': 'pose', 'limits.envelope': 'none',
                         'action.start_pose': [0.3, 0.0, 0.2, 0.0, 0.0, 0.0]})
    _, outputs = rig.run(lambda time_ms: rig.pose(time_ms, np.nan), 400)
    assert len(_held(outputs)) == len(outputs)
    assert 'must be finite' in outputs[-1].reason


FRANKA = {'command.type': 'pose', 'limits.envelope': 'none', 'action.frame_id': 'fr3_link0'}


def test_a_pose_in_another_frame_is_no_pose_of_the_base_and_is_told_once(messages, caplog):
    rig = Arm(messages, FRANKA)
    with caplog.at_level(logging.INFO):
        _, outputs = rig.run(lambda time_ms: rig.pose(time_ms, 7.3, 'map'), 1000)
        assert len(_held(outputs)) == len(outputs)
        assert "must be in the frame 'fr3_link0' of the robot's base, got 'map'" in (
            outputs[-1].reason)
        assert len(caplog.records) == 1
        _, outputs = rig.run(
            lambda time_ms: rig.pose(time_ms, 0.3, 'fr3_link0'), 2000, from_ms=1000)
    assert outputs[-1].command.pose.position[0] < 1.0
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith('measured_pose: pose must be in the frame')
    assert "'action.frame_id'" in told[0]
    assert told[1].startswith('measured_pose: recovered')
    assert len(told) == 2


@pytest.mark.parametrize('frame_id', ['fr3_link0', '/fr3_link0', ''])
def test_a_pose_in_the_frame_of_the_base_or_in_none_said_is_taken(messages, caplog, frame_id):
    rig = Arm(messages, FRANKA)
    _, outputs = rig.run(lambda time_ms: rig.pose(time_ms, 0.3, frame_id), 400)
    assert _held(outputs) == []
    assert caplog.records == []
