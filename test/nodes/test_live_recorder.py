"""Episodes of a robot that publishes, recorded over DDS."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_msgs.msg import String

from octo_ros.bags.demonstrations import SamplingParams
from octo_ros.bags.demonstrations import read_demonstration
from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.reader import BagReader
from octo_ros.errors import BagError
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.nodes import qos
from octo_ros.nodes.live_recorder import LiveRecorder
from octo_ros.nodes.live_recorder import LiveTopics
from octo_ros.policy.profile import load_profile

PROFILE = load_profile('widowx')
TWIST = '/teleop/twist'
GRIPPER = '/teleop/gripper'


class Robot:
    """Publishes a camera, a state and commands at 50 Hz."""

    def __init__(self, ros):
        self._ros = ros
        node = ros.node
        self._image = node.create_publisher(Image, '/cam', qos.named('sensor'))
        self._state = node.create_publisher(JointState, '/state', qos.named('reliable'))
        self._twist = node.create_publisher(TwistStamped, TWIST, qos.named('reliable'))
        self._gripper = node.create_publisher(Float64MultiArray, GRIPPER, qos.named('reliable'))
        self.camera_on = True
        self.frame_id = ''
        self.gripper = 0.25
        node.create_timer(0.02, self._publish)

    def _publish(self):
        stamp = self._ros.node.get_clock().now().to_msg()
        image = Image(height=2, width=2, step=6, encoding='rgb8', data=bytes(range(12)))
        image.header.stamp = stamp
        if self.camera_on:
            self._image.publish(image)
        state = JointState(name=['x'], position=[1.0])
        state.header.stamp = stamp
        self._state.publish(state)
        twist = TwistStamped()
        twist.header.stamp, twist.header.frame_id = stamp, self.frame_id
        twist.twist.linear.x, twist.twist.angular.z = 0.1, 0.5
        self._twist.publish(twist)
        self._gripper.publish(Float64MultiArray(data=[self.gripper]))


@pytest.fixture
def robot(ros):
    return Robot(ros)


def make():
    return LiveRecorder(LiveTopics(('/cam',), TWIST, '/state', GRIPPER), PROFILE)


def test_an_episode_holds_what_came_between_start_and_stop(ros, robot, tmp_path):
    with make() as recorder:
        recorder.start(tmp_path / 'one', 'pick it up', {'robot': 'widowx'})
        ros.wait_until(lambda: min(recorder.counts.values()) > 60, 'messages')
        counts = recorder.stop(True)
    with BagReader(tmp_path / 'one') as bag:
        assert not bag.damage
        assert {topic: bag.counts[topic] for topic in counts} == counts
        messages = list(bag.messages())
    content = {item.topic: item.message for item in messages}
    assert content['/instruction'].data == 'pick it up'
    assert content['/success'].data
    assert json.loads(content['/episode'].data) == {'robot': 'widowx'}
    assert bytes(content['/cam'].data) == bytes(range(12))
    actions = [item.message for item in messages if item.topic == '/expert_action']
    assert len(actions) >= 2
    # The last step may have ended before it was over.
    np.testing.assert_allclose(actions[-2].position, [0.02, 0, 0, 0, 0, 0.1, 0.25], atol=1e-9)
    read = read_demonstration(
        tmp_path / 'one', TopicMap({'image_primary': '/cam'}, None, TWIST, gripper=GRIPPER),
        PROFILE.action.names, SamplingParams(), robot=PROFILE).episode.actions
    np.testing.assert_allclose(read[1:-1], [actions[-2].position] * (len(read) - 2), atol=1e-7)
    stamps = [action.header.stamp.sec + action.header.stamp.nanosec / 1e9 for action in actions]
    np.testing.assert_allclose(np.diff(stamps), 0.2, atol=1e-6)


def test_a_silent_topic_drops_the_episode_and_the_next_one_is_good(ros, robot, tmp_path):
    with make() as recorder:
        ros.wait_until(lambda: recorder.counts['/cam'], 'an image')
        robot.camera_on = False
        before = recorder.counts['/state']
        ros.wait_until(lambda: recorder.counts['/state'] > before + 10, 'the camera to be off')
        recorder.start(tmp_path / 'one', 'pick it up', {})
        ros.wait_until(lambda: recorder.counts['/state'] > 10, 'messages')
        with pytest.raises(OctoError, match='/cam'):
            recorder.stop(True)
        robot.camera_on = True
        recorder.start(tmp_path / 'one', 'pick it up', {})
        ros.wait_until(lambda: recorder.counts['/cam'] > 3 and recorder.counts[TWIST], 'images')
        assert recorder.stop(False)
        with pytest.raises(BagError, match='must be new'):
            recorder.start(tmp_path / 'one', 'pick it up', {})
        recorder.start(tmp_path / 'two', 'pick it up', {})
    assert [item.name for item in tmp_path.iterdir()] == ['one']


def test_twists_of_another_frame_do_not_become_actions_of_the_robot_s(ros, robot, tmp_path):
    def twists(count):
        ros.wait_until(lambda: recorder.counts[TWIST] > count, 'twists')

    with make() as recorder:
        robot.frame_id = PROFILE.action.frame_id
        twists(0)
        recorder.start(tmp_path / 'base', 'pick it up', {})
        ros.wait_until(lambda: min(recorder.counts.values()) > 20, 'messages')
        assert recorder.stop(True)
        recorder.start(tmp_path / 'turned', 'pick it up', {})
        ros.wait_until(lambda: min(recorder.counts.values()) > 5, 'messages')
        robot.frame_id = 'ee_link'
        twists(recorder.counts[TWIST] + 5)
        words = f"{TWIST}: twists must be in the frame 'wx250s/base_link' .* got 'ee_link'"
        with pytest.raises(OctoError, match=f'{words}.*the episode is dropped'):
            recorder.stop(True)
        twists(recorder.counts[TWIST] + 2)
        with pytest.raises(OctoError, match=words):
            recorder.start(tmp_path / 'tool', 'pick it up', {})
        robot.frame_id = PROFILE.action.frame_id
        twists(recorder.counts[TWIST] + 5)
        recorder.start(tmp_path / 'again', 'pick it up', {})
        assert recorder.stop(None) == {}
    assert [item.name for item in tmp_path.iterdir()] == ['base']


def test_a_gripper_in_other_units_is_told_once_and_recorded_as_it_is(ros, robot, tmp_path, caplog):
    robot.gripper = 255.0
    with make() as recorder:
        recorder.start(tmp_path / 'one', 'go', {})
        ros.wait_until(lambda: min(recorder.counts.values()) > 30, 'messages')
        recorder.stop(True)
    [message] = [item.getMessage() for item in caplog.records if item.name == 'octo_ros.record']
    assert f"'{GRIPPER}': commands of the gripper must be from 0 (closed) to 1 (open)" in message
    assert 'got 255' in message
    with BagReader(tmp_path / 'one') as bag:
        actions = [item.message.position for item in bag.messages(['/expert_action'])]
    assert {action[6] for action in actions} == {255.0}


def test_a_topic_that_is_not_there_is_named_with_the_closest(ros, robot):
    ros.wait_until(lambda: ros.node.count_publishers('/cam'), 'the camera')
    with pytest.raises(ParameterError, match="did you mean '/state'"):
        LiveRecorder(LiveTopics(('/cam',), TWIST, '/stat'), PROFILE, wait_s=0.5)


@pytest.mark.parametrize(('topics', 'robot_name', 'words'), [
    (LiveTopics(('/state',), TWIST), 'widowx', "'/state' must have the type .*/Image"),
    (LiveTopics(('/cam',), '/cam'), 'widowx', "'/cam' must have the type .*TwistStamped"),
    (LiveTopics(('/cam',), '/pose'), 'widowx', 'poses must come with --gripper'),
    (LiveTopics(('/cam',), TWIST, '/cam'), 'widowx', "'/cam' must have the type .*JointState"),
    (LiveTopics(('/cam',), TWIST, gripper='/state'), 'widowx', "'/state' must have the type std_"),
    (LiveTopics(('/cam',), TWIST), 'widowx', 'twists must come with --gripper'),
    (LiveTopics(('/cam',), TWIST, gripper=GRIPPER), 'aloha', 'twists must go with .* left_waist'),
])
def test_what_no_training_could_use_is_refused_at_the_start(ros, robot, topics, robot_name, words):
    ros.node.create_publisher(PoseStamped, '/pose', qos.named('reliable'))
    with pytest.raises(ParameterError, match=words):
        LiveRecorder(topics, load_profile(robot_name))


def test_other_topics_may_be_silent_and_latched_messages_are_in_every_episode(
        ros, robot, tmp_path):
    latched = ros.node.create_publisher(String, '/description', qos.named('latched'))
    latched.publish(String(data='arm'))
    ros.node.create_publisher(String, '/quiet', qos.named('reliable'))
    topics = LiveTopics(('/cam',), TWIST, '/state', GRIPPER, ('/description', '/quiet'))
    with LiveRecorder(topics, PROFILE) as recorder:
        ros.wait_until(lambda: recorder.counts['/description'], 'the latched message')
        for name in ('one', 'two'):
            recorder.start(tmp_path / name, 'go', {})
            ros.wait_until(lambda: min(recorder.counts[topic] for topic in topics.needed) > 3,
                           'messages')
            counts = recorder.stop(True)
            assert (counts['/description'], counts['/quiet']) == (1, 0)
            with BagReader(tmp_path / name) as bag:
                assert [item.message.data for item in bag.messages(['/description'])] == ['arm']


def test_the_command_records_by_keyboard(ros, robot, tmp_path):
    command = [Path(sys.executable).parent / 'octo-ros', 'record', tmp_path, '--live', '--camera',
               '/cam', '--state', '/state', '--action', TWIST, '--gripper', GRIPPER,
               '--topic', '/quiet', '--instruction', 'pick it up']
    ros.node.create_publisher(String, '/quiet', qos.named('reliable'))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        assert 'Enter: begin' in process.stdout.readline()
        for answer, word in (('s', 'saved'), ('d', 'dropped'), ('f', 'saved')):
            process.stdin.write('\n')
            process.stdin.flush()
            assert 'Recording' in process.stdout.readline()
            process.stdout.readline()
            folders = {item.name for item in tmp_path.iterdir()}
            stamp = ros.node.get_clock().now().nanoseconds
            ros.wait_until(
                lambda stamp=stamp: ros.node.get_clock().now().nanoseconds > stamp + 5e8, 'time')
            process.stdin.write(answer + '\n')
            process.stdin.flush()
            assert word in process.stdout.readline(), folders
            process.stdout.readline()
        output, errors = process.communicate('q\n', timeout=30)
    assert process.returncode == 0, (output, errors)
    assert errors.splitlines() == ['warning: nothing came on /quiet'] * 2
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        '.lock', 'episode_0000', 'episode_0001']
    with BagReader(tmp_path / 'episode_0001') as bag:
        assert [item.message.data for item in bag.messages(['/success'])] == [False]


@pytest.mark.parametrize(('duration', 'answer', 'success'), [
    ([], 's', True),
    (['--duration', '60'], 'f', False),
])
def test_ctrl_c_in_an_episode_asks_what_becomes_of_it(
        ros, robot, tmp_path, duration, answer, success):
    command = [Path(sys.executable).parent / 'octo-ros', 'record', tmp_path, '--live', '--camera',
               '/cam', '--action', TWIST, '--gripper', GRIPPER, '--instruction', 'go', *duration]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        if not duration:
            assert 'Enter: begin' in process.stdout.readline()
            process.stdin.write('\n')
            process.stdin.flush()
        assert 'Recording' in process.stdout.readline()
        start_ns = ros.node.get_clock().now().nanoseconds
        ros.wait_until(
            lambda: ros.node.get_clock().now().nanoseconds > start_ns + 5e8, 'some messages')
        process.send_signal(signal.SIGINT)
        while 'Interrupted' not in process.stdout.readline():
            assert process.poll() is None
        assert 'f: failure' in process.stdout.readline()
        output, errors = process.communicate(answer + '\n', timeout=30)
    assert process.returncode == 130, (output, errors)
    assert 'Traceback' not in errors
    assert [item.name for item in tmp_path.glob('episode*')] == ['episode_0000'], (output, errors)
    with BagReader(tmp_path / 'episode_0000') as bag:
        assert [item.message.data for item in bag.messages(['/success'])] == [success]


def test_two_recorders_in_one_folder_do_not_take_each_other_s_names(ros, robot, tmp_path):
    (tmp_path / '.partial-killed').mkdir()
    command = [Path(sys.executable).parent / 'octo-ros', 'record', tmp_path, '--live', '--camera',
               '/cam', '--action', TWIST, '--gripper', GRIPPER, '--instruction', 'go']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as first:
        assert 'Enter: begin' in first.stdout.readline()
        assert [item.name for item in tmp_path.iterdir()] == ['.lock']
        second = subprocess.run([*command, '--duration', '1'], capture_output=True, text=True,
                                check=False)
        assert second.returncode == 2
        assert 'must be used by one command at a time' in second.stderr
        first.communicate('q\n', timeout=30)
    assert [item.name for item in tmp_path.iterdir()] == ['.lock']


@pytest.mark.parametrize(('options', 'words'), [
    (['--camera', '/cam', '--instruction', 'go'], 'give --camera (once for each) and --action'),
    (['--camera', '/cam', '--action', '/a'], '--instruction must say'),
    (['--camera', '/cam', '--action', '/a', '--instruction', 'go', '--robot', 'widow'],
     "did you mean 'widowx'"),
])
def test_options_that_do_not_fit_are_refused(tmp_path, capsys, options, words):
    from octo_ros.cli.main import main
    assert main(['record', str(tmp_path), '--live', *options]) == 2
    assert words in capsys.readouterr().err
