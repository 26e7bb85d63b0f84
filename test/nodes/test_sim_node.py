"""The simulator over real DDS: topics, commands, services, lockstep."""

import functools
import importlib.util
import json
import re
import threading

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from geometry_msgs.msg import TwistStamped
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_msgs.msg import String
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from trajectory_msgs.msg import JointTrajectoryPoint

from octo_ros.errors import OctoError
from octo_ros.messages.conversions import decode_image
from octo_ros.messages.conversions import stamp_ns
from octo_ros.nodes import tables
from octo_ros.nodes.sim_node import SimNode
from octo_ros.nodes.spin import Spinner
from octo_ros.policy.poses import rotation_vector
from octo_ros.sim import gl
from octo_ros.sim.arm import STEP_S
from octo_ros.sim.expert import expert_action
from octo_ros.sim.tasks import task_named

if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
    pytest.skip("the extra 'sim' (mujoco, gym-aloha) is not installed", allow_module_level=True)
if gl.backend() == 'disable':
    pytest.skip('neither EGL nor OSMesa is installed', allow_module_level=True)

PRIMARY = '/camera_primary/image_raw'
COMMAND = 'octo_controller/command/'
NAN = float('nan')
FAST = {'mode': 'stepped', 'patience_s': 0.1}


class Sim:
    """The node as its process runs it; the thread that starts it owns the simulator."""

    def __init__(self, ros, values):
        self.node = SimNode(context=ros.context, parameter_overrides=[
            Parameter(name, value=value) for name, value in values.items()])
        self.error = None
        self._spinner = Spinner(self.node)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self.node.start(self._stopping)
        except OctoError as error:
            self.error = error

    def stop(self):
        self._stopping.set()
        self._thread.join(20.0)
        assert not self._thread.is_alive()
        self.node.stop()
        self._spinner.stop()
        self.node.destroy_node()


@pytest.fixture
def make_sim(ros):
    made = []

    def make(**values):
        made.append(Sim(ros, values))
        return made[-1]

    yield make
    for sim in made:
        sim.stop()


def state(ros):
    """Returns what ~/success tells."""
    return json.loads(ros.call(Trigger, '/octo_sim/success').message)


def set_parameters(ros, **values):
    return ros.call(SetParameters, '/octo_sim/set_parameters', parameters=[
        Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]).results


def position(message):
    point = message.pose.position
    return np.array([point.x, point.y, point.z])


def test_the_tables_of_the_simulator_name_its_topics_and_services(ros, make_sim):
    node = make_sim(clock=True).node
    own = ('octo_sim', '/')
    state(ros)  # it has started
    live = {
        tables.SIM_INPUTS: node.get_subscriber_names_and_types_by_node(*own),
        tables.SIM_OUTPUTS: node.get_publisher_names_and_types_by_node(*own),
        tables.SIM_SERVICES: node.get_service_names_and_types_by_node(*own)}
    for rows, found in live.items():
        named = {}
        for name, types in found:
            shown = name.replace('/octo_sim/', '~/').removeprefix('/')
            shown = re.sub('(?<=image_|amera_)(primary|wrist)', 'CAMERA', shown)
            named[shown.replace('octo_controller/', 'CONTROLLER/')] = types
        for row in rows:
            assert row.type in named.pop(row.name.removeprefix('/')), row
        assert all(re.search('parameter|rosout|type_desc', name) for name in named), named


def test_cameras_joints_and_pose_come_as_from_a_robot(ros, make_sim):
    make_sim()
    raw = ros.collect(Image, PRIMARY)
    small = ros.collect(CompressedImage, '/camera_wrist/image_raw/compressed')
    joints = ros.collect(JointState, '/joint_states')
    states = ros.collect(JointState, '/state')
    poses = ros.collect(PoseStamped, '/ee_pose')
    ros.wait_until(lambda: len(raw) > 3 and len(small) > 3 and len(poses) > 10, 'messages')
    assert decode_image(raw[-1]).shape == (256, 256, 3)
    assert decode_image(raw[-1]).std() > 20
    assert decode_image(small[-1]).shape == (128, 128, 3)
    assert joints[0].name[-1] == 'gripper'
    assert len(joints[0].position) == 7
    assert list(states[0].name) == ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper']
    np.testing.assert_allclose(states[-1].position[:3], position(poses[-1]), atol=0.01)
    now_ns = ros.node.get_clock().now().nanoseconds
    assert abs(now_ns - stamp_ns(raw[-1])) < 2e9
    stamps = [stamp_ns(message) for message in raw]
    assert stamps == sorted(set(stamps))


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


def test_reset_takes_seed_and_task_from_parameters(ros, make_sim):
    make_sim(**FAST, seed=3, task='reach_red')
    views = ros.collect(Image, PRIMARY)
    ros.wait_until(lambda: views, 'a view')
    first = decode_image(views[-1])
    assert (state(ros)['seed'], state(ros)['task']) == (3, 'reach_red')
    assert all(result.successful for result in set_parameters(ros, seed=4, task='lift_blue'))
    answer = ros.call(Trigger, '/octo_sim/reset')
    assert answer.success
    assert json.loads(answer.message)['task'] == 'lift_blue'
    seen = len(views)
    ros.wait_until(lambda: len(views) > seen + 1, 'another view')
    assert np.abs(decode_image(views[-1]).astype(int) - first).max() > 50
    set_parameters(ros, seed=3)
    ros.call(Trigger, '/octo_sim/reset')
    seen = len(views)
    ros.wait_until(lambda: len(views) > seen + 1, 'the first view again')
    np.testing.assert_array_equal(decode_image(views[-1]), first)


def test_what_does_not_fit_is_refused_with_the_fix(ros, make_sim):
    make_sim(**FAST)
    assert not ros.call(Trigger, '/octo_sim/success').success
    set_parameters(ros, task='lift_rad')
    answer = ros.call(Trigger, '/octo_sim/reset')
    assert not answer.success
    assert "did you mean 'lift_red'" in answer.message
    frozen = set_parameters(ros, mode='real_time')[0]
    assert not frozen.successful


@pytest.mark.parametrize(('values', 'words'), [
    ({'rate': 2.0}, "'rate' must be 1 without 'clock'"),
    ({'mode': 'steped'}, 'stepped'),
    ({'scene.max_distractor': 1}, "did you mean 'scene.max_distractors'"),
    ({'task': 'fly'}, 'task must be one of'),
])
def test_wrong_parameters_end_the_start_with_the_fix(ros, make_sim, values, words):
    sim = make_sim(**values)
    ros.wait_until(lambda: sim.error, 'the error')
    assert words in str(sim.error)


def test_goal_images_show_the_solved_scene_and_leave_the_scene_alone(ros, make_sim):
    make_sim(**FAST, seed=5, task='lift_green', announce=True)
    views = ros.collect(Image, PRIMARY)
    goals = ros.collect(Image, 'goal/image_primary', 'latched')
    texts = ros.collect(String, 'instruction', 'latched')
    ros.wait_until(lambda: views and texts, 'a view and the instruction')
    assert 'green' in texts[-1].data
    answer = ros.call(Trigger, '/octo_sim/publish_goal')
    assert answer.success, answer.message
    ros.wait_until(lambda: goals, 'the goal image')
    seen = len(views)
    ros.wait_until(lambda: len(views) > seen + 1, 'another view')
    np.testing.assert_array_equal(decode_image(views[-1]), decode_image(views[0]))
    difference = np.abs(decode_image(goals[-1]).astype(int) - decode_image(views[0]))
    assert cv2.countNonZero((difference.max(axis=2) > 40).astype(np.uint8)) > 500


def test_a_halted_world_shows_the_new_scene_as_soon_as_it_is_reset(ros, make_sim):
    make_sim(seed=3, clock=True)
    views = ros.collect(Image, PRIMARY)
    ros.wait_until(lambda: views, 'a view')
    ros.call(SetBool, '/octo_sim/pause', data=True)
    state(ros)  # what was on its way has come
    before = views[-1]
    set_parameters(ros, seed=4)
    ros.call(Trigger, '/octo_sim/reset')
    ros.wait_until(lambda: np.abs(decode_image(views[-1]).astype(int)
                                  - decode_image(before)).max() > 50, 'the new scene')
    assert stamp_ns(views[-1]) > stamp_ns(before)


def test_time_can_be_halted(ros, make_sim):
    make_sim(mode='stepped', patience_s=0.05, paused=True)
    clock = ros.collect(Clock, '/clock')
    assert ros.call(SetBool, '/octo_sim/pause', data=True).success
    assert not clock
    ros.call(SetBool, '/octo_sim/pause', data=False)
    ros.wait_until(lambda: len(clock) > 3, 'the clock')
    ros.call(SetBool, '/octo_sim/pause', data=True)
    stopped = len(clock)
    for _ in range(3):
        state(ros)
    assert len(clock) <= stopped + 1


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
