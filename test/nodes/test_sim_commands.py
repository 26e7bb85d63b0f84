"""Commands for the simulated arm, one by one."""

import importlib.util
import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from geometry_msgs.msg import TwistStamped
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory
from trajectory_msgs.msg import JointTrajectoryPoint

from octo_ros.errors import OctoError
from octo_ros.nodes.sim_commands import Motion
from octo_ros.nodes.sim_commands import SimCommands
from test.processes import wait_until

if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
    pytest.skip("the extra 'sim' (mujoco, gym-aloha) is not installed", allow_module_level=True)

NAN = float('nan')
STEP_S = 0.2


def twist(field, value=NAN):
    message = TwistStamped()
    part = message.twist.angular if field.startswith('turn_') else message.twist.linear
    setattr(part, field[-1], value)
    return message


def pose(field, value=NAN):
    message = PoseStamped()
    message.pose.orientation.w = 1.0
    part = message.pose.orientation if field.startswith('turn_') else message.pose.position
    setattr(part, field[-1], value)
    return message


def numbers(place, count=7):
    return Float64MultiArray(data=[NAN if index == place else 0.1 for index in range(count)])


def trajectory(*points, names=('waist',)):
    return JointTrajectory(joint_names=list(names), points=[
        JointTrajectoryPoint(positions=list(positions)) for positions in points])


@pytest.fixture(scope='module')
def simulator():
    from octo_ros.sim.simulator import Simulator

    made = Simulator()
    yield made
    made.close()


@pytest.fixture
def arm(simulator):
    simulator.reset(0)
    return simulator.arm


@pytest.fixture
def make_commands(ros):
    def make(raw_joints=False):
        return SimCommands(ros.node, 'octo_controller', raw_joints=raw_joints,
                           now_ns=time.time_ns)

    return make


@pytest.mark.parametrize(('kind', 'message'), [
    *(('twist', twist(field)) for field in ('x', 'y', 'z', 'turn_x', 'turn_y', 'turn_z')),
    *(('pose', pose(field)) for field in ('x', 'y', 'z', 'turn_x', 'turn_y', 'turn_z', 'turn_w')),
    *(('multi_array', numbers(place)) for place in range(7)),
    *(('joints', numbers(place)) for place in range(7)),
    ('multi_array', numbers(None, 5)),
    ('joint_trajectory', trajectory([NAN])),
    ('joint_trajectory', trajectory([])),
    ('joint_trajectory', trajectory([0.0, 0.1])),
    ('joint_trajectory', trajectory([0.0], [])),
    ('joint_trajectory', trajectory()),
    ('joint_trajectory', trajectory([0.0], names=['wrist'])),
])
def test_a_command_that_makes_no_sense_leaves_the_arm_alone(make_commands, arm, kind, message):
    commands = make_commands(raw_joints=kind == 'joints')
    motion = Motion('multi_array' if kind == 'joints' else kind, 0, 0, 0.0, message)
    before = arm.target.copy()
    with pytest.raises(OctoError):
        commands.move(arm, motion, STEP_S, time.time_ns())
    for name in ('position', 'rotation', 'joints', 'gripper'):
        np.testing.assert_array_equal(getattr(arm.target, name), getattr(before, name))
    assert arm.remaining_s() == 0.0


@pytest.mark.parametrize(('kind', 'message'), [
    ('twist', twist('turn_z', 0.3)), ('pose', pose('z', 0.1)), ('multi_array', numbers(None)),
    ('joint_trajectory', trajectory([0.2]))])
def test_a_command_that_makes_sense_moves_the_target(make_commands, arm, kind, message):
    before = arm.target.copy()
    make_commands().move(arm, Motion(kind, 0, 0, 0.0, message), STEP_S, time.time_ns())
    assert np.abs(arm.target.joints - before.joints).max() > 0.01
    assert arm.remaining_s() == STEP_S


def test_a_trajectory_without_a_stamp_begins_when_it_comes_and_runs_to_its_end(
        ros, make_commands, arm):
    publisher = ros.node.create_publisher(
        JointTrajectory, '/octo_controller/command/joint_trajectory', 1)
    commands = make_commands()
    wait_until(publisher.get_subscription_count, 'the subscription')
    message = trajectory([0.2], [0.4], [-0.3])
    for number, point in enumerate(message.points, start=1):
        point.time_from_start.sec = number
    publisher.publish(message)
    wait_until(commands.arrived.is_set, 'the command')
    motion = commands.newest()
    reached = []
    for ahead_s in (-2.0, -1.0, -0.5, 0.0):
        commands.move(arm, motion, STEP_S, motion.stamp_ns + int(ahead_s * 1e9))
        reached.append(arm.target.joints[0])
    np.testing.assert_allclose(reached, [0.2, 0.4, 0.05, -0.3], atol=1e-6)
