"""What the simulated robot publishes: cameras, measured state and clock, as a real one would."""

import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from transforms3d.quaternions import mat2quat

from octo_ros.bags.recording import CAMERA_TOPIC
from octo_ros.bags.recording import JOINTS_TOPIC
from octo_ros.bags.recording import NAMES
from octo_ros.bags.recording import STATE_TOPIC
from octo_ros.bags.recording import ImageFormat
from octo_ros.nodes import qos
from octo_ros.sim import scene
from octo_ros.sim import viperx
from octo_ros.sim.kinematics import rotation_from_rpy
from octo_ros.sim.state import Observation

BASE_FRAME = 'base_link'
POSE_TOPIC = 'ee_pose'
_NS = 1_000_000_000


class SimOutputs:
    """The publishers. Topics are relative, so that a namespace makes a second robot."""

    def __init__(self, node: Node, *, clock: bool, jpeg_quality: int) -> None:
        """Makes the publishers; with `clock` that of /clock, too."""
        reliable = qos.named('reliable')
        self._format = ImageFormat('jpeg', jpeg_quality)
        self._raw, self._compressed, self._goals = {}, {}, {}
        for camera in scene.CAMERAS:
            topic = CAMERA_TOPIC.format(camera).removeprefix('/')
            self._compressed[camera] = node.create_publisher(CompressedImage, topic, reliable)
            self._raw[camera] = node.create_publisher(
                Image, topic.removesuffix('/compressed'), reliable)
            for kind, suffix in ((Image, ''), (CompressedImage, '/compressed')):
                self._goals[camera, kind] = node.create_publisher(
                    kind, f'goal/image_{camera}{suffix}', qos.named('latched'))
        self._joints = node.create_publisher(JointState, JOINTS_TOPIC.strip('/'), reliable)
        self._state = node.create_publisher(JointState, STATE_TOPIC.strip('/'), reliable)
        self._pose = node.create_publisher(PoseStamped, POSE_TOPIC, reliable)
        self._clock = node.create_publisher(
            Clock, '/clock', qos.named('newest_reliable')) if clock else None

    @property
    def cameras(self) -> list[str]:
        """Cameras that somebody listens to, the first one last.

        A controller takes the first as its reference: when it comes, the others' frames are there.
        """
        return [camera for camera in reversed(scene.CAMERAS)
                if self._raw[camera].get_subscription_count()
                or self._compressed[camera].get_subscription_count()]

    def publish(self, seen: Observation, stamp_ns: int) -> None:
        """Publishes views and measured state.

        Args:
            seen: what is measured; views of some cameras only.
            stamp_ns: stamp of all messages [ns].
        """
        self._publish_state(seen, stamp_ns)
        for camera, view in seen.images.items():
            header = _header(stamp_ns, f'camera_{camera}')
            if self._raw[camera].get_subscription_count():
                self._raw[camera].publish(_raw(view, header))
            if self._compressed[camera].get_subscription_count():
                self._compressed[camera].publish(self._encoded(view, header))

    def publish_goal(self, camera: str, view: np.ndarray, stamp_ns: int) -> None:
        """Publishes a goal image for the observation key of a camera."""
        header = _header(stamp_ns, f'camera_{camera}')
        self._goals[camera, Image].publish(_raw(view, header))
        self._goals[camera, CompressedImage].publish(self._encoded(view, header))

    def publish_clock(self, now_ns: int) -> None:
        """Publishes the time, if that was asked for."""
        if self._clock is not None:
            self._clock.publish(Clock(clock=_time(now_ns)))

    def _publish_state(self, seen: Observation, stamp_ns: int) -> None:
        header = _header(stamp_ns, BASE_FRAME)
        self._state.publish(_joint_state(header, NAMES, seen.proprio))
        self._joints.publish(_joint_state(
            header, (*viperx.JOINTS, 'gripper'), (*seen.joints, seen.gripper)))
        message = PoseStamped(header=header)
        position, turn = message.pose.position, message.pose.orientation
        position.x, position.y, position.z = (float(value) for value in seen.ee_position)
        turn.w, turn.x, turn.y, turn.z = (
            float(value) for value in mat2quat(rotation_from_rpy(seen.ee_rpy)))
        self._pose.publish(message)

    def _encoded(self, view: np.ndarray, header: Header) -> CompressedImage:
        return CompressedImage(header=header, format='rgb8; jpeg compressed bgr8',
                               data=array.array('B', self._format.encode(view).tobytes()))


def _raw(view: np.ndarray, header: Header) -> Image:
    height, width, _ = view.shape
    # Anything but an array.array would be copied number by number.
    return Image(header=header, height=height, width=width, encoding='rgb8', step=3 * width,
                 data=array.array('B', view.tobytes()))


def _joint_state(header: Header, names: Sequence[str], values: Any) -> JointState:
    return JointState(header=header, name=list(names),
                      position=array.array('d', [float(value) for value in values]))


def _header(stamp_ns: int, frame_id: str) -> Header:
    return Header(stamp=_time(stamp_ns), frame_id=frame_id)


def _time(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)
