"""The simulated arm moves as commands over real DDS tell it, in real time and stepped."""

import functools
import json

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from geometry_msgs.msg import TwistStamped
from rcl_interfaces.msg import Log
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_msgs.msg import String
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from trajectory_msgs.msg import JointTrajectoryPoint

from octo_ros.messages.conversions import decode_image
from octo_ros.messages.conversions import stamp_ns
from octo_ros.policy.poses import rotation_vector
from octo_ros.sim.arm import STEP_S
from octo_ros.sim.expert import expert_action
from octo_ros.sim.tasks import task_named
from test.nodes.sims import COMMAND
from test.nodes.sims import FAST
from test.nodes.sims import PRIMARY
from test.nodes.sims import position
from test.nodes.sims import state

NAN = float('nan')


def test_a_twist_moves_the_arm_until_it_ends(ros, make_sim):
    make_sim()
    poses = ros.collect(PoseStamped, '/ee_pose')
    publisher = ros.publisher(TwistStamped, COMMAND + 'twist')
    ros.wait_until(lambda: poses, 'a pose')
    start = position(poses[-1])

    def moved():
        message = TwistStamped()
        message.header.stamp = ros.node.get_clock().now().to_msg()
        message.twist.linear.z = -0.05
        publisher.publish(message)
        return position(poses[-1])[2] < start[2] - 0.03

    ros.wait_until(moved, 'the arm to go down')
    assert np.abs(position(poses[-1]) - start)[:2].max() < 0.02

    def at_rest():
        latest = [position(message) for message in poses[-20:]]
        return np.ptp(latest, axis=0).max() < 1e-4

    ros.wait_until(at_rest, 'the arm to stop')


def test_a_pose_is_reached_and_the_gripper_closes(ros, make_sim):
    make_sim()
    poses = ros.collect(PoseStamped, '/ee_pose')
    states = ros.collect(JointState, '/state')
    target = PoseStamped()
    target.pose.position.x, target.pose.position.y, target.pose.position.z = 0.3, 0.05, 0.15
    target.pose.orientation.w = 1.0
    ros.publisher(PoseStamped, COMMAND + 'pose').publish(target)
    ros.publisher(Float64MultiArray, COMMAND + 'gripper').publish(
        Float64MultiArray(data=[0.0]))
    ros.wait_until(lambda: poses and np.abs(
        position(poses[-1]) - [0.3, 0.05, 0.15]).max() < 0.006, 'the pose')
    ros.wait_until(lambda: states[-1].position[6] < 0.1, 'a closed gripper')


def test_a_raw_change_moves_the_arm_by_as_much_and_once(ros, make_sim):
    make_sim()
    poses = ros.collect(PoseStamped, '/ee_pose')
    publisher = ros.publisher(Float64MultiArray, COMMAND + 'multi_array')
    ros.wait_until(lambda: publisher.get_subscription_count() and len(poses) > 20, 'a pose')
    start = position(poses[-1])

    def at_rest_since(seen):
        latest = [position(message) for message in poses[-20:]]
        return len(poses) > seen + 30 and np.ptp(latest, axis=0).max() < 1e-4

    for number in (1, 2):
        publisher.publish(Float64MultiArray(data=[0.0, 0.03, 0.0, 0.0, 0.0, 0.0]))
        ros.wait_until(functools.partial(at_rest_since, len(poses)), 'rest')
        moved = position(poses[-1]) - start
        assert moved[1] == pytest.approx(0.03 * number, abs=0.003)


def test_a_raw_change_is_not_done_again_after_a_short_pause(ros, make_sim):
    make_sim(command_timeout_s=10.0)
    poses = ros.collect(PoseStamped, '/ee_pose')
    publisher = ros.publisher(Float64MultiArray, COMMAND + 'multi_array')
    ros.wait_until(lambda: publisher.get_subscription_count() and len(poses) > 20, 'a pose')
    start = position(poses[-1])
    publisher.publish(Float64MultiArray(data=[0.0, 0.03, 0.0, 0.0, 0.0, 0.0]))
    ros.wait_until(lambda: position(poses[-1])[1] > start[1] + 0.025, 'motion')
    for paused in (True, False):
        ros.call(SetBool, '/octo_sim/pause', data=paused)
    seen = len(poses)
    ros.wait_until(lambda: len(poses) > seen + 30, 'further poses')
    assert position(poses[-1])[1] - start[1] == pytest.approx(0.03, abs=0.003)


def test_joint_trajectories_and_raw_joints_are_followed(ros, make_sim):
    make_sim(raw_space='joint')
    joints = ros.collect(JointState, '/joint_states')
    ros.wait_until(lambda: joints, 'joints')
    waist = joints[-1].position[0]
    message = JointTrajectory(joint_names=['waist'])
    message.header.stamp = ros.node.get_clock().now().to_msg()
    for index in range(3):
        point = JointTrajectoryPoint(positions=[waist + 0.05 * index])
        point.time_from_start.nanosec = 200_000_000 * index
        message.points.append(point)
    ros.publisher(JointTrajectory, COMMAND + 'joint_trajectory').publish(message)
    ros.wait_until(lambda: abs(joints[-1].position[0] - waist - 0.1) < 0.01, 'the waist to turn')
    wanted = list(joints[-1].position[:6])
    wanted[0] = waist
    publisher = ros.publisher(Float64MultiArray, COMMAND + 'multi_array')

    def back():
        publisher.publish(Float64MultiArray(data=wanted))
        return abs(joints[-1].position[0] - waist) < 0.01

    ros.wait_until(back, 'the waist to turn back')


@pytest.mark.parametrize(('kind', 'message', 'reason'), [
    ('multi_array', Float64MultiArray(data=[0.0, 0.0]), 'six numbers, or seven with the gripper'),
    ('multi_array', Float64MultiArray(data=[0.0] * 6 + [NAN]), 'gripper must hold 1 finite'),
    ('gripper', Float64MultiArray(data=[NAN]), 'gripper must hold 1 finite number, got nan'),
    ('gripper', Float64MultiArray(), 'gripper command must hold'),
    ('joint_trajectory', JointTrajectory(joint_names=['waist'], points=[JointTrajectoryPoint()]),
     'as many positions as there are joints'),
])
def test_a_command_that_makes_no_sense_is_named_and_ignored(
        ros, make_sim, kind, message, reason):
    sim = make_sim()
    logs = ros.collect(Log, '/rosout', 'latched')  # told once: a read of stderr may miss it
    poses = ros.collect(PoseStamped, '/ee_pose')
    publisher = ros.publisher(type(message), COMMAND + kind)

    def named():
        publisher.publish(message)
        return any(reason in log.msg for log in logs)

    ros.wait_until(named, 'the reason')
    seen = len(poses)
    ros.wait_until(lambda: len(poses) > seen + 5, 'the simulation to go on')
    assert sim.node._world.sim.arm.target.gripper == 1.0
    assert sim._thread.is_alive()


def test_a_stepped_world_stands_still_without_commands_and_steps_by_them(ros, make_sim):
    make_sim(**FAST)
    views = ros.collect(Image, PRIMARY)
    clock = ros.collect(Clock, '/clock')
    ros.wait_until(lambda: len(views) > 3 and clock, 'views')
    assert state(ros)['steps'] == 0
    np.testing.assert_array_equal(decode_image(views[0]), decode_image(views[-1]))
    gaps = np.diff([stamp_ns(message) for message in views])
    assert set(gaps) == {200_000_000}
    times = [message.clock.sec * 10**9 + message.clock.nanosec for message in clock]
    assert times == sorted(times)
    publisher = ros.publisher(TwistStamped, COMMAND + 'twist')
    before, commands = len(views), 0
    while state(ros)['steps'] < 3:
        commands += 1
        message = TwistStamped(header=views[-1].header)
        message.twist.linear.z = -0.1
        seen = len(views)
        publisher.publish(message)
        ros.wait_until(lambda seen=seen: len(views) > seen, 'the next view')
    assert commands >= 3
    assert np.abs(decode_image(views[before - 1]).astype(int) - decode_image(views[-1])).max() > 50


def test_an_old_command_is_no_answer(ros, make_sim):
    make_sim(**FAST)
    views = ros.collect(Image, PRIMARY)
    ros.wait_until(lambda: len(views) > 1, 'views')
    message = TwistStamped(header=views[0].header)
    message.twist.linear.z = -0.1
    ros.publisher(TwistStamped, COMMAND + 'twist').publish(message)
    seen = len(views)
    ros.wait_until(lambda: len(views) > seen + 2, 'more views')
    assert state(ros)['steps'] == 0


@pytest.mark.parametrize('task', ['lift_red', 'put_green_plate'])
def test_the_experts_twists_and_gripper_commands_do_the_task(ros, make_sim, task):
    sim = make_sim(mode='stepped', patience_s=10.0, seed=11, task=task, paused=True)
    views = ros.collect(Image, PRIMARY)
    results = ros.collect(String, '/octo_sim/result', 'latched')
    gripper = ros.publisher(Float64MultiArray, COMMAND + 'gripper')
    twist = ros.publisher(TwistStamped, COMMAND + 'twist')
    ros.call(SetBool, '/octo_sim/pause', data=False)
    for step in range(40):
        ros.wait_until(lambda step=step: len(views) > step, 'the view of the step')
        if results:
            break
        # The world stands still until it is answered, so its state may be read.
        action = expert_action(task_named(task), sim.node._world.sim.state())
        message = TwistStamped(header=views[step].header)
        turn = rotation_vector(action[3:6], 'sxyz') / STEP_S
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, linear.y, linear.z = (float(value) for value in action[:3] / STEP_S)
        angular.x, angular.y, angular.z = (float(value) for value in turn)
        twist.publish(message)
        gripper.publish(Float64MultiArray(data=[float(action[6])]))
    ros.wait_until(lambda: results, 'the result')
    result = json.loads(results[-1].data)
    assert (result['success'], result['chosen']) == (True, task.split('_')[1])
    assert ros.call(Trigger, '/octo_sim/success').success
