"""What the simulated robot listens to: the controller's commands, the newest of each kind."""

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from geometry_msgs.msg import TwistStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory
from trajectory_msgs.msg import JointTrajectoryPoint
from transforms3d.quaternions import quat2mat

from octo_ros.errors import ParameterError
from octo_ros.messages.conversions import decode_pose
from octo_ros.messages.conversions import stamp_ns
from octo_ros.nodes import qos
from octo_ros.sim import viperx
from octo_ros.sim.arm import Arm
from octo_ros.sim.drive import drive_raw
from octo_ros.sim.drive import drive_twist

_NS = 1_000_000_000
_TYPES = {'twist': TwistStamped, 'pose': PoseStamped, 'joint_trajectory': JointTrajectory,
          'multi_array': Float64MultiArray, 'gripper': Float64MultiArray}
TOOL_FRAMES = ('ee_link', 'tool')


@dataclasses.dataclass(frozen=True)
class Motion:
    """A command as it came.

    Attributes:
        kind: its topic below `command/`.
        stamp_ns: header stamp, or the time of receipt where it has none; of a trajectory its
            end [ns].
        source_ns: wall time at which it was sent [ns].
        received_s: when it came, by the monotonic clock [s].
        message: the message.
    """

    kind: str
    stamp_ns: int
    source_ns: int
    received_s: float
    message: Any


class SimCommands:
    """Subscribes to a controller's commands and moves an arm by the newest.

    Attributes:
        arrived: set whenever a command has come; the owner clears it.
    """

    def __init__(self, node: Node, controller: str, *, now_ns: Callable[[], int],
                 raw_joints: bool) -> None:
        """Subscribes.

        Args:
            node: owner of the subscriptions.
            controller: name of the node that commands.
            now_ns: the time by which messages without a stamp are stamped.
            raw_joints: Float64MultiArray holds joint positions.
        """
        self.arrived = threading.Event()
        self._node = node
        self._now_ns = now_ns
        self._raw_joints = raw_joints
        self._lock = threading.Lock()
        self._motion: Motion | None = None
        self._gripper: Motion | None = None
        self._topics = {kind: f'{controller}/command/{kind}' for kind in _TYPES}
        group = MutuallyExclusiveCallbackGroup()
        for kind, message_type in _TYPES.items():
            node.create_subscription(
                message_type, self._topics[kind], self._storing(kind), qos.named('reliable'),
                callback_group=group)

    def clear(self) -> None:
        """Forgets all commands."""
        with self._lock:
            self._motion = self._gripper = None

    def newest(self) -> Motion | None:
        """Returns the newest motion."""
        with self._lock:
            return self._motion

    def complete(self, after_ns: int) -> Motion | None:
        """Returns the newest motion if it is stamped at or after a time and its gripper is known.

        Twist and gripper of one tick are two messages; where both are published, the motion
        counts once a gripper command has come that was sent at the same time or later.
        """
        with self._lock:
            motion, gripper = self._motion, self._gripper
        if motion is None or motion.stamp_ns < after_ns:
            return None
        if self._node.count_publishers(self._topics['gripper']) and (
                gripper is None or gripper.source_ns < motion.source_ns):
            return None
        return motion

    def move(self, arm: Arm, motion: Motion, duration_s: float, now_ns: int) -> None:
        """Moves the arm's target for a time as the motion says.

        Raises:
            OctoError: the command cannot be used.
        """
        message, gripper = motion.message, self._opening(arm)
        if motion.kind == 'twist':
            linear, angular = message.twist.linear, message.twist.angular
            drive_twist(arm, np.array([linear.x, linear.y, linear.z]),
                        np.array([angular.x, angular.y, angular.z]), gripper, duration_s,
                        tool_frame=message.header.frame_id in TOOL_FRAMES)
        elif motion.kind == 'pose':
            pose = decode_pose(message)
            arm.move_to(pose.position, quat2mat(pose.quaternion_wxyz), gripper, duration_s)
        elif motion.kind == 'multi_array':
            if len(message.data) not in (6, 7):
                raise ParameterError('a Float64MultiArray command must hold six numbers, or '
                                     f'seven with the gripper, got {len(message.data)}')
            drive_raw(arm, np.array(message.data, float), gripper, duration_s,
                      joints=self._raw_joints)
        else:
            arm.move_joints(_joints_at(motion, arm, now_ns), gripper, duration_s)

    def set_gripper(self, arm: Arm) -> None:
        """Sets the gripper alone, while there is no motion."""
        arm.target.gripper = self._opening(arm)

    def _opens(self, message: Float64MultiArray) -> bool:
        """True for a usable gripper command; tells of others."""
        try:
            if not message.data:
                raise ParameterError('a gripper command must hold a number, got none')
            Arm.checked_gripper(message.data[0])
        except ParameterError as error:
            self._node.get_logger().warning(f'A command is ignored: {error}',
                                            throttle_duration_sec=5.0)
            return False
        return True

    def _opening(self, arm: Arm) -> float:
        with self._lock:
            gripper = self._gripper
        return arm.target.gripper if gripper is None else (
            Arm.checked_gripper(gripper.message.data[0]))

    def _storing(self, kind: str) -> Callable[[Any, Any], None]:
        def store(message: Any, info: Any) -> None:
            stamp = (stamp_ns(message) if hasattr(message, 'header') else 0) or self._now_ns()
            if kind == 'joint_trajectory' and message.points:
                stamp += _after_ns(message.points[-1])
            motion = Motion(kind, stamp, info['source_timestamp'], time.monotonic(), message)
            if kind == 'gripper' and not self._opens(message):
                return
            with self._lock:
                if kind == 'gripper':
                    self._gripper = motion
                else:
                    self._motion = motion
            self.arrived.set()

        return store


def _joints_at(motion: Motion, arm: Arm, now_ns: int) -> np.ndarray:
    """Returns the positions that a trajectory asks for at a time; other joints stay."""
    message: JointTrajectory = motion.message
    names = list(viperx.JOINTS)
    unknown = set(message.joint_names) - set(names)
    if unknown or not message.points:
        raise ParameterError(
            f"a JointTrajectory must have points for joints among {', '.join(names)}, got "
            f"{len(message.points)} points for {', '.join(message.joint_names)}")
    for index, point in enumerate(message.points):
        if len(point.positions) != len(message.joint_names):
            raise ParameterError(
                'each point of a JointTrajectory must have as many positions as there are joints, '
                f'{len(message.joint_names)}, got {len(point.positions)} at point {index}')
    times = [_after_ns(point) for point in message.points]
    elapsed_ns = now_ns - (motion.stamp_ns - times[-1])
    wanted = arm.target.joints.copy()
    for column, name in enumerate(message.joint_names):
        wanted[names.index(name)] = np.interp(
            elapsed_ns, times, [point.positions[column] for point in message.points])
    return wanted


def _after_ns(point: JointTrajectoryPoint) -> int:
    return point.time_from_start.sec * _NS + point.time_from_start.nanosec
