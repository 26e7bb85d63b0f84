"""Messages for controllers: types, stamps, frames and numbers, written and read back."""

import numpy as np
import pytest

from octo_ros.messages.commands import CommandMessages
from octo_ros.messages.inference import AcceptedChunk
from octo_ros.messages.postprocess import Command
from octo_ros.params import from_flat
from octo_ros.policy.poses import Pose
from octo_ros.policy.profile import RobotProfile

STAMP_NS = 1_700_000_000_200_000_001
STEP_NS = 200_000_000
JOINTS = {'action.names': ['a', 'b', 'grip'], 'action.space': 'joint', 'gripper.indices': [2]}


@pytest.fixture
def build(messages):
    """Builds messages of a profile and reads them back from their bytes."""
    class Builder:
        def __init__(self, values):
            self.made = CommandMessages(
                messages.types, from_flat(RobotProfile, values), step_ns=STEP_NS)
            self.topics = self.made.topics

        def __getattr__(self, name):
            def call(*args):
                made = getattr(self.made, name)(*args)
                return {topic: messages.round_trip(message, self.topics[topic])
                        for topic, message in made.items()}
            return call
    return Builder


def _command(**values):
    defaults = {
        'action': np.arange(7.0), 'clipped': np.zeros(7, bool), 'linear': None, 'angular': None,
        'pose': None, 'positions': None, 'whole_chunk': False, 'grippers': (1.0,), 'chunk_id': 0,
        'step_index': 0, 'observed_ns': 5, 'due_ns': STAMP_NS, 'stamp_ns': STAMP_NS + 7,
        'new_step': True}
    return Command(**{**defaults, **values})


def _stamp_ns(message):
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def _times_ns(trajectory):
    return [point.time_from_start.sec * 1_000_000_000 + point.time_from_start.nanosec
            for point in trajectory.points]


def test_action_chunk_is_a_trajectory_from_the_observation_on(build):
    actions = np.arange(42, dtype=np.float32).reshape(6, 7)
    message = build({}).chunk(AcceptedChunk(0, actions, STAMP_NS, {}))['action_chunk']
    assert _stamp_ns(message) == STAMP_NS
    assert message.joint_names == ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper']
    assert _times_ns(message) == [0, 200_000_000, 400_000_000, 600_000_000, 800_000_000,
                                  1_000_000_000]
    np.testing.assert_array_equal([point.positions for point in message.points], actions)


@pytest.mark.parametrize(('frame', 'frame_id'), [('base', 'world'), ('tool', 'hand')])
def test_twist_names_the_frame_of_its_axes(build, frame, frame_id):
    builder = build({'action.frame': frame, 'action.frame_id': 'world',
                     'action.ee_frame_id': 'hand'})
    made = builder.command(_command(linear=np.array([1.0, 2, 3]), angular=np.array([4.0, 5, 6])))
    twist = made['command/twist']
    assert (_stamp_ns(twist), twist.header.frame_id) == (STAMP_NS + 7, frame_id)
    assert (twist.twist.linear.y, twist.twist.angular.z) == (2.0, 6.0)
    assert made['command/gripper'].data.tolist() == [1.0]


def test_pose_has_ros_order_of_the_quaternion(build):
    pose = Pose(np.array([1.0, 2, 3]), np.array([0.0, 0, 0, 1]))
    made = build({'command.type': 'pose'}).command(_command(pose=pose))['command/pose']
    assert (made.pose.position.z, made.pose.orientation.z, made.pose.orientation.w) == (3, 1, 0)
    assert made.header.frame_id == 'base_link'


def test_whole_joint_trajectory_goes_out_with_its_chunk_and_without_grippers(build):
    builder = build({**JOINTS, 'action.delta': False, 'command.type': 'joint_trajectory'})
    positions = np.array([[0.1, 0.2], [0.3, 0.4]])
    made = builder.chunk(AcceptedChunk(0, np.zeros((2, 3)), STAMP_NS, {}, positions))
    trajectory = made['command/joint_trajectory']
    assert (_stamp_ns(trajectory), trajectory.joint_names) == (STAMP_NS, ['a', 'b'])
    np.testing.assert_array_equal(trajectory.points[1].positions, [0.3, 0.4])
    assert trajectory.points[1].velocities.size == 0
    command = _command(action=np.zeros(3), positions=positions[0], whole_chunk=True)
    assert set(builder.command(command)) == {'command/gripper'}


def test_single_joint_targets_are_due_at_the_end_of_their_step(build):
    builder = build({**JOINTS, 'command.type': 'joint_trajectory'})
    command = _command(action=np.zeros(3), positions=np.array([0.1, 0.2]))
    trajectory = builder.command(command)['command/joint_trajectory']
    assert (_stamp_ns(trajectory), _times_ns(trajectory)) == (STAMP_NS, [STEP_NS])
    repeated = _command(action=np.zeros(3), positions=np.array([0.1, 0.2]), new_step=False)
    assert 'command/joint_trajectory' not in builder.command(repeated)


@pytest.mark.parametrize(('values', 'command', 'expected'), [
    ({}, _command(), [0, 1, 2, 3, 4, 5]),
    (JOINTS, _command(positions=np.array([0.1, 0.2])), [0.1, 0.2]),
])
def test_multi_array_holds_motion_without_grippers(build, values, command, expected):
    made = build({**values, 'command.type': 'multi_array'}).command(command)
    assert made['command/multi_array'].data.tolist() == expected


def test_cartesian_deltas_as_multi_array_are_not_repeated_within_a_step(build):
    builder = build({'command.type': 'multi_array'})
    repeated = builder.command(_command(new_step=False, grippers=(1.0,)))
    assert set(repeated) == {'command/gripper'}
    absolute = build({'command.type': 'multi_array', 'action.delta': False})
    assert 'command/multi_array' in absolute.command(_command(new_step=False))
    joints = build({**JOINTS, 'command.type': 'multi_array'})
    assert 'command/multi_array' in joints.command(
        _command(positions=np.array([0.1, 0.2]), new_step=False))


def test_profile_without_gripper_or_command_has_fewer_topics(build):
    assert set(build({'command.type': 'none'}).topics) == {'action_chunk'}
    assert build({'command.type': 'none'}).command(_command()) == {}
    names = ['x', 'y', 'z', 'roll', 'pitch', 'yaw']
    bare = build({'action.names': names, 'gripper.indices': []})
    assert set(bare.topics) == {'action_chunk', 'command/twist'}


def test_stop_of_a_twist_is_zero(build):
    builder = build({})
    twist = builder.stop(STAMP_NS)['command/twist']
    assert (_stamp_ns(twist), twist.twist.linear.x, twist.twist.angular.z) == (STAMP_NS, 0, 0)
    assert build({'command.stop': 'none'}).stop(STAMP_NS) == {}


def test_stop_of_a_pose_is_the_last_target(build):
    builder = build({'command.type': 'pose'})
    assert builder.stop(STAMP_NS) == {}
    builder.command(_command(pose=Pose(np.array([1.0, 2, 3]), np.array([1.0, 0, 0, 0]))))
    assert builder.stop(STAMP_NS)['command/pose'].pose.position.x == 1.0


@pytest.mark.parametrize('kind', ['joint_trajectory', 'multi_array'])
def test_stop_of_joints_is_where_they_are(build, kind):
    builder = build({**JOINTS, 'command.type': kind})
    assert builder.stop(STAMP_NS) == {}
    builder.command(_command(positions=np.array([0.1, 0.2])))

    def held(*joints):
        message = builder.stop(STAMP_NS, *joints)[f'command/{kind}']
        return (message.points[0].positions if kind == 'joint_trajectory' else
                message.data).tolist()

    assert held() == [0.1, 0.2]
    assert held(np.array([0.5, 0.6])) == [0.5, 0.6]


def test_stop_of_cartesian_numbers_is_no_motion(build):
    stop = build({'command.type': 'multi_array'}).stop(STAMP_NS)['command/multi_array']
    assert stop.data.tolist() == [0.0] * 6
