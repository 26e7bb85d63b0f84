"""The camera player, on the recording that ships with the package."""

import threading
import time

import pytest
from rclpy.parameter import Parameter
from rosbags.rosbag2 import Reader
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from octo_ros.assets import shipped_recording
from octo_ros.bags.reader import BagReader
from octo_ros.errors import OctoError
from octo_ros.nodes.image_player import ImagePlayer
from octo_ros.nodes.image_player import PlayerParams
from octo_ros.nodes.image_player import playable
from octo_ros.nodes.spin import Spinner

CAMERA = '/camera_primary/image_raw/compressed'
NS = 1_000_000_000


def stamp_ns(message) -> int:
    return message.header.stamp.sec * NS + message.header.stamp.nanosec


@pytest.fixture
def make_player(ros):
    """Starts players in threads of their own; the value is the event that ends them."""
    running = []

    def make(*words: str, **values) -> threading.Event:
        values = {'bag': str(shipped_recording()), 'rate': 5.0, **values}
        node = ImagePlayer(context=ros.context, cli_args=words, parameter_overrides=[
            Parameter(name, value=value) for name, value in values.items()])
        spinner, stopping = Spinner(node), threading.Event()
        thread = threading.Thread(target=node.start, args=(stopping,))
        thread.start()
        running.append((node, spinner, stopping, thread))
        return stopping

    yield make
    for node, spinner, stopping, thread in running:
        stopping.set()
        thread.join(10.0)
        spinner.stop()
        node.destroy_node()


@pytest.fixture(scope='module')
def recorded() -> list[int]:
    """Stamps of the camera in the recording [ns]."""
    with BagReader(shipped_recording()) as bag:
        return [stamp_ns(item.message) for item in bag.messages([CAMERA])]


@pytest.fixture
def everything(tmp_path):
    """Returns the shipped recording with a clock and commands, as `ros2 bag record -a` has it."""
    types = get_typestore(Stores.ROS2_KILTED)
    time = types.types['builtin_interfaces/msg/Time']
    extra = {
        '/clock': types.types['rosgraph_msgs/msg/Clock'](time(100, 0)),
        '/octo_controller/heard': types.types['std_msgs/msg/String']('move')}
    path = tmp_path / 'everything'
    with Reader(shipped_recording()) as source, Writer(path, version=9) as target:
        made = {item.topic: target.add_connection(item.topic, item.msgtype, typestore=types)
                for item in source.connections}
        added = {topic: target.add_connection(topic, message.__msgtype__, typestore=types)
                 for topic, message in extra.items()}
        for item, time_ns, data in source.messages():
            target.write(made[item.topic], time_ns, data)
            for topic, message in extra.items():
                target.write(added[topic], time_ns,
                             types.serialize_cdr(message, message.__msgtype__))
    return path


def test_a_recorded_clock_does_not_go_out_beside_the_one_of_the_player(
        ros, make_player, everything) -> None:
    ended = make_player(bag=str(everything), clock=True)
    clock = ros.collect(Clock, '/clock')
    images = ros.collect(CompressedImage, CAMERA)
    ros.wait_until(ended.is_set, 'the end of the recording')
    ros.wait_until(lambda: images, 'an image')
    times = [message.clock.sec for message in clock]
    assert min(times) > 1000
    assert times == sorted(times)


def test_what_the_controller_said_does_not_go_out_again(everything) -> None:
    with BagReader(everything) as bag:
        played = playable(bag.topics, PlayerParams(wait_for='/octo_controller'))
    assert set(bag.topics) - set(played) == {'/clock', '/octo_controller/heard'}


def test_waits_for_a_listener_and_plays_every_image_with_fresh_stamps(
        ros, make_player, recorded) -> None:
    ended = make_player()
    before_ns = ros.node.get_clock().now().nanoseconds
    images = ros.collect(CompressedImage, CAMERA)
    ros.wait_until(ended.is_set, 'the end of the recording')
    ros.wait_until(lambda: len(images) == len(recorded), 'every image')
    stamps = [stamp_ns(image) for image in images]
    assert stamps == sorted(stamps)
    assert stamps[0] >= before_ns


def test_a_topic_that_is_remapped_as_by_replay_launch_is_played_under_the_other_name_only(
        ros, make_player) -> None:
    heard = ros.collect(String, '/instruction', 'latched', publishers=0)
    renamed = ros.collect(String, '/image_player/instruction', 'latched', publishers=0)
    cameras = ros.collect(CompressedImage, CAMERA, publishers=0)
    make_player('--ros-args', '-r', '/instruction:=/image_player/instruction')
    ros.wait_until(lambda: renamed and len(cameras) > 3, 'the recording')
    assert ros.node.count_publishers('/instruction') == 0
    assert heard == []


def test_with_a_clock_the_recorded_stamps_stay_and_the_clock_runs_along(
        ros, make_player, recorded) -> None:
    clock = []
    ros.node.create_subscription(
        Clock, '/clock', lambda message: clock.append(message.clock.sec * NS
                                                      + message.clock.nanosec), 100)
    ended = make_player(clock=True, tail_s=0.05, topics=[CAMERA])
    images = ros.collect(CompressedImage, CAMERA)
    ros.wait_until(ended.is_set, 'the end of the recording')
    ros.wait_until(lambda: len(images) == len(recorded), 'every image')
    assert [stamp_ns(image) for image in images] == recorded
    assert clock == sorted(clock)
    assert clock[-1] >= recorded[-1]


def test_times_of_recording_are_played_in_the_clock_of_the_stamps(
        ros, make_player, recorded) -> None:
    clock = []
    ros.node.create_subscription(
        Clock, '/clock', lambda message: clock.append(message.clock.sec * NS
                                                      + message.clock.nanosec), 100)
    ended = make_player(clock=True, topics=[CAMERA], clock_offset_s=-2.5)
    images = ros.collect(CompressedImage, CAMERA)
    ros.wait_until(ended.is_set, 'the end of the recording')
    ros.wait_until(lambda: len(images) == len(recorded), 'every image')
    assert [stamp_ns(image) for image in images] == recorded
    with BagReader(shipped_recording()) as bag:
        last_ns = [item.log_ns for item in bag.messages([CAMERA])][-1]
    assert clock[-1] == last_ns + 2_500_000_000


def test_being_late_with_messages_does_not_make_the_whole_recording_late(
        ros, recorded) -> None:
    """Each message takes some time to be published, as on a busy machine."""
    lasts_s = (recorded[-1] - recorded[0]) / NS / 3.0
    pause = threading.Event()
    moments = []

    def busy() -> None:
        moments.append(time.monotonic())
        pause.wait(lasts_s / len(recorded) / 2)

    values = {'bag': str(shipped_recording()), 'rate': 3.0, 'topics': [CAMERA]}
    node = ImagePlayer(busy, context=ros.context, parameter_overrides=[
        Parameter(name, value=value) for name, value in values.items()])
    images = ros.node.create_subscription(CompressedImage, CAMERA, lambda _: None, 10)
    node.start(threading.Event())
    node.destroy_node()
    assert images.topic_name == CAMERA
    assert len(moments) == len(recorded)
    assert moments[-1] - moments[0] < lasts_s + 1.0


def test_a_recording_that_gave_no_chunk_is_no_success(ros) -> None:
    values = {'bag': str(shipped_recording()), 'rate': 50.0, 'expect': '/arm/action_chunk'}
    node = ImagePlayer(context=ros.context, parameter_overrides=[
        Parameter(name, value=value) for name, value in values.items()])
    ros.node.create_subscription(CompressedImage, CAMERA, lambda _: None, 10)
    with pytest.raises(OctoError, match=r'must have come on /arm/action_chunk .* got none'):
        node.start(threading.Event())
    node.destroy_node()


def test_a_recording_that_gave_a_chunk_is_a_success(ros, make_player) -> None:
    publisher = ros.node.create_publisher(JointTrajectory, '/arm/action_chunk', 10)
    ended = make_player(expect='/arm/action_chunk', tail_s=1.0)
    ros.wait_until(publisher.get_subscription_count, 'the player')
    publisher.publish(JointTrajectory())
    ros.collect(CompressedImage, CAMERA)
    ros.wait_until(ended.is_set, 'the end of the recording')


def test_a_loop_starts_over_and_the_clock_jumps_back(ros, make_player, recorded) -> None:
    ended = make_player(clock=True, loop=True, rate=50.0)
    images = ros.collect(CompressedImage, CAMERA)
    ros.wait_until(lambda: len(images) > 2 * len(recorded), 'the third round')
    assert not ended.is_set()
    stamps = [stamp_ns(image) for image in images]
    assert stamps.count(recorded[1]) >= 2


@pytest.mark.parametrize(('values', 'words'), [
    ({'topics': ['/camera_primry/image_raw/compressed']}, 'did you mean'),
    ({'topics': ['/instruction']}, 'must have a camera'),
    ({'rate': 0.0}, "'rate' must be > 0.0"),
    ({'lop': True}, "did you mean 'loop'"),
    ({'bag': '/no/such/bag'}, 'must exist'),
])
def test_wrong_parameters_are_named(ros, values, words) -> None:
    node = ImagePlayer(context=ros.context, parameter_overrides=[
        Parameter(name, value=value)
        for name, value in {'bag': str(shipped_recording()), **values}.items()])
    with pytest.raises(OctoError, match=words):
        node.start(threading.Event())
    node.destroy_node()


