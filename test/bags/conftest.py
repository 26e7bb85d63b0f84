"""Recordings made on the spot, and copies of real ones that may be damaged."""

import shutil

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore

from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.fakes import FakePolicy

_NS = 1_000_000_000
START_NS = 1_700_000_000_000_000_000
STORE = get_typestore(Stores.ROS2_KILTED)


class Recording:
    """Writes messages by topic and time."""

    def __init__(self, path, plugin):
        self._writer = Writer(path, version=9, storage_plugin=plugin)
        self._connections = {}
        self._writer.open()

    def add(self, topic, kind, time_s, *, log_s=None, **fields):
        stamp_ns = START_NS + round(time_s * _NS)
        log_ns = stamp_ns if log_s is None else START_NS + round(log_s * _NS)
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=STORE)
        frame_id = fields.pop('frame_id', '')
        if kind not in ('std_msgs/msg/String', 'std_msgs/msg/Float64MultiArray'):
            stamp = STORE.types['builtin_interfaces/msg/Time'](
                sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)
            fields['header'] = STORE.types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)
        message = STORE.types[kind](**fields)
        self._writer.write(
            self._connections[topic], log_ns, STORE.serialize_cdr(message, kind))

    def text(self, topic, time_s, text):
        self.add(topic, 'std_msgs/msg/String', time_s, data=text)

    def image(self, topic, time_s, shade, *, compressed=False, encoding='rgb8',
              size=(24, 32)):
        pixels = np.full((*size, 3), shade, np.uint8)
        if compressed:
            data = cv2.imencode('.png', pixels)[1].reshape(-1)
            self.add(topic, 'sensor_msgs/msg/CompressedImage', time_s, format='png', data=data)
        else:
            self.add(topic, 'sensor_msgs/msg/Image', time_s, height=size[0], width=size[1],
                     step=3 * size[1], encoding=encoding, is_bigendian=0, data=pixels.reshape(-1))

    def action(self, topic, time_s, values, names=()):
        empty = np.zeros(0)
        self.add(topic, 'sensor_msgs/msg/JointState', time_s, name=list(names),
                 position=np.asarray(values, np.float64), velocity=empty, effort=empty)

    def twist(self, topic, time_s, speed, frame_id=''):
        vector = STORE.types['geometry_msgs/msg/Vector3']
        self.add(topic, 'geometry_msgs/msg/TwistStamped', time_s, frame_id=frame_id,
                 twist=STORE.types['geometry_msgs/msg/Twist'](
                     linear=vector(*speed[:3]), angular=vector(*speed[3:])))

    def pose(self, topic, time_s, pose, frame_id='', *, log_s=None):
        self.add(topic, 'geometry_msgs/msg/PoseStamped', time_s, log_s=log_s, frame_id=frame_id,
                 pose=STORE.types['geometry_msgs/msg/Pose'](
                     position=STORE.types['geometry_msgs/msg/Point'](*pose.position),
                     orientation=STORE.types['geometry_msgs/msg/Quaternion'](
                         *pose.quaternion_xyzw)))

    def numbers(self, topic, time_s, values):
        self.add(topic, 'std_msgs/msg/Float64MultiArray', time_s,
                 layout=STORE.types['std_msgs/msg/MultiArrayLayout'](dim=[], data_offset=0),
                 data=np.asarray(values, np.float64))

    def close(self):
        self._writer.close()


@pytest.fixture
def record(tmp_path):
    """Starts a recording; `.path` of what it returns is where it lies."""
    def start(name='bag', storage='mcap'):
        recording = Recording(tmp_path / name, StoragePlugin[storage.upper()])
        recording.path = tmp_path / name
        return recording
    return start


@pytest.fixture
def ten_steps(record):
    """Returns a maker of a recording with two cameras, a text and actions, ten steps at 5 Hz."""
    def make(name='bag', storage='mcap', *, compressed=False):
        recording = record(name, storage)
        recording.text('/instruction', 0.0, 'pick up the cup')
        for step in range(10):
            time_s = 0.01 + 0.2 * step
            recording.image('/cam/front', time_s, step, compressed=compressed)
            recording.image('/cam/hand', time_s, 100 + step, compressed=compressed)
            recording.action('/expert_action', time_s, [0.001 * step] * 7)
        recording.close()
        return recording.path
    return make


@pytest.fixture
def copied(shared, tmp_path):
    """Copies a real recording to where it may be damaged."""
    def copy(name):
        folder = tmp_path / name
        folder.mkdir()
        for file in (shared / 'data' / 'bridge' / name).iterdir():
            shutil.copyfile(file, folder / file.name)
        return folder
    return copy


@pytest.fixture
def policy():
    return FakePolicy()


@pytest.fixture
def loop():
    return LoopParams()
