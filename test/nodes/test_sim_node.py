"""The simulator over real DDS: topics, services and parameters."""

import json
import re

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

from octo_ros.messages.conversions import decode_image
from octo_ros.messages.conversions import stamp_ns
from octo_ros.nodes import tables
from octo_ros.policy.profile import load_profile
from test.nodes.sims import FAST
from test.nodes.sims import PRIMARY
from test.nodes.sims import position
from test.nodes.sims import set_parameters
from test.nodes.sims import state


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
    # A controller with the arm's profile takes it as its measured pose.
    assert poses[-1].header.frame_id == load_profile('viperx_sim').action.frame_id
    now_ns = ros.node.get_clock().now().nanoseconds
    assert abs(now_ns - stamp_ns(raw[-1])) < 2e9
    stamps = [stamp_ns(message) for message in raw]
    assert stamps == sorted(set(stamps))


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
    assert frozen.reason == "'mode' is read when the node starts; start it anew with the new value"


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
