"""Messages for controllers, built from plain values with whichever message classes are at hand.

`types` gives the class of a message by name, so the same code serves rclpy's classes and those of
a rosbags type store. Both take all fields as keywords.
"""

import array
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.messages.inference import AcceptedChunk
from octo_ros.messages.postprocess import Command
from octo_ros.policy.poses import Pose
from octo_ros.policy.profile import RobotProfile

_NS = 1_000_000_000
_TRAJECTORY = 'trajectory_msgs/msg/JointTrajectory'
_MULTI_ARRAY = 'std_msgs/msg/Float64MultiArray'
_COMMANDS = {
    'twist': 'geometry_msgs/msg/TwistStamped',
    'pose': 'geometry_msgs/msg/PoseStamped',
    'joint_trajectory': _TRAJECTORY,
    'multi_array': _MULTI_ARRAY,
}
CHUNK_TOPIC = 'action_chunk'
GRIPPER_TOPIC = 'command/gripper'


class CommandMessages:
    """Builds the output messages of one robot profile.

    Attributes:
        topics: topic below the node's own name to message type, such as `action_chunk` to
            `trajectory_msgs/msg/JointTrajectory`: all that `chunk`, `command`, `stop` can return.
    """

    def __init__(self, types: Callable[[str], type], profile: RobotProfile, *,
                 step_ns: int) -> None:
        """Keeps what to build.

        Args:
            types: gives a message class by its name (`geometry_msgs/msg/TwistStamped`).
            profile: the robot.
            step_ns: duration of a policy step [ns].
        """
        self._types = types
        self._profile = profile
        self._step_ns = step_ns
        self._kind = profile.command.type
        self._topic = f'command/{self._kind}'
        self._joint_names = [profile.action.names[i] for i in profile.motion_indices]
        self._last: Command | None = None
        self.topics: Mapping[str, str] = self._all_topics()

    def chunk(self, chunk: AcceptedChunk) -> dict[str, Any]:
        """Returns messages by topic for an accepted chunk (published once)."""
        stamp_ns = chunk.observed_ns
        messages = {CHUNK_TOPIC: self._trajectory(
            stamp_ns, self._profile.action.names, chunk.actions, first=0)}
        if chunk.positions is not None:
            messages[self._topic] = self._trajectory(
                stamp_ns, self._joint_names, chunk.positions, first=0)
        return messages

    def command(self, command: Command) -> dict[str, Any]:
        """Returns messages by topic for one tick."""
        self._last = command
        messages: dict[str, Any] = {}
        if self._kind == 'twist' and command.linear is not None and command.angular is not None:
            messages[self._topic] = self._twist(
                command.stamp_ns, command.linear, command.angular)
        elif self._kind == 'pose' and command.pose is not None:
            messages[self._topic] = self._pose(command.stamp_ns, command.pose)
        elif self._kind == 'multi_array':
            values = command.positions
            if values is None:
                values = command.action[list(self._profile.motion_indices)]
            # Whoever adds up deltas cannot tell a repeated one from the next step's.
            if command.new_step or command.positions is not None or not self._profile.action.delta:
                messages[self._topic] = self._multi_array(values)
        elif (self._kind == 'joint_trajectory' and command.new_step
              and command.positions is not None and not command.whole_chunk):
            messages[self._topic] = self._trajectory(
                command.due_ns, self._joint_names, [command.positions], first=1)
        if GRIPPER_TOPIC in self.topics and command.grippers:
            messages[GRIPPER_TOPIC] = self._multi_array(command.grippers)
        return messages

    def stop(self, stamp_ns: int, joints: Sequence[float] | None = None) -> dict[str, Any]:
        """Returns the profile's stop behaviour as messages by topic; none when it has none.

        Args:
            stamp_ns: the time [ns].
            joints: measured positions of the joints that are not grippers, if known.
        """
        if self._profile.command.stop != 'hold' or self._kind == 'none':
            return {}
        message = self._stop_message(stamp_ns, joints)
        return {} if message is None else {self._topic: message}

    def _stop_message(self, stamp_ns: int, joints: Sequence[float] | None) -> Any | None:
        last = self._last
        if self._kind == 'twist':
            return self._twist(stamp_ns, np.zeros(3), np.zeros(3))
        if self._kind == 'pose':
            return self._pose(stamp_ns, last.pose) if last and last.pose else None
        if self._profile.action.space == 'cartesian':
            still = np.zeros(len(self._joint_names))
            return self._multi_array(still) if self._profile.action.delta else None
        held = joints if joints is not None else (last.positions if last else None)
        if held is None:
            return None
        if self._kind == 'multi_array':
            return self._multi_array(held)
        return self._trajectory(stamp_ns, self._joint_names, [held], first=1)

    def _all_topics(self) -> dict[str, str]:
        topics = {CHUNK_TOPIC: _TRAJECTORY}
        if self._kind != 'none':
            topics[self._topic] = _COMMANDS[self._kind]
            if self._profile.gripper.indices:
                topics[GRIPPER_TOPIC] = _MULTI_ARRAY
        return topics

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        stamp = self._types('builtin_interfaces/msg/Time')(
            sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)
        return self._types('std_msgs/msg/Header')(stamp=stamp, frame_id=frame_id)

    def _vector(self, values: np.ndarray) -> Any:
        x, y, z = (float(value) for value in values)
        return self._types('geometry_msgs/msg/Vector3')(x=x, y=y, z=z)

    def _twist(self, stamp_ns: int, linear: np.ndarray, angular: np.ndarray) -> Any:
        twist = self._types('geometry_msgs/msg/Twist')(
            linear=self._vector(linear), angular=self._vector(angular))
        return self._types(_COMMANDS['twist'])(
            header=self._header(stamp_ns, self._profile.action.delta_frame_id), twist=twist)

    def _pose(self, stamp_ns: int, pose: Pose) -> Any:
        px, py, pz = (float(value) for value in pose.position)
        x, y, z, w = (float(value) for value in pose.quaternion_xyzw)
        body = self._types('geometry_msgs/msg/Pose')(
            position=self._types('geometry_msgs/msg/Point')(x=px, y=py, z=pz),
            orientation=self._types('geometry_msgs/msg/Quaternion')(x=x, y=y, z=z, w=w))
        return self._types(_COMMANDS['pose'])(
            header=self._header(stamp_ns, self._profile.action.frame_id), pose=body)

    def _multi_array(self, values: Iterable[float]) -> Any:
        layout = self._types('std_msgs/msg/MultiArrayLayout')(dim=[], data_offset=0)
        cls = self._types(_MULTI_ARRAY)
        return cls(layout=layout, data=_doubles(cls, values))

    def _trajectory(self, stamp_ns: int, names: Sequence[str], rows: Iterable[Iterable[float]],
                    *, first: int) -> Any:
        """Row i is due `first + i` steps after the stamp."""
        cls = self._types('trajectory_msgs/msg/JointTrajectoryPoint')
        duration = self._types('builtin_interfaces/msg/Duration')
        points = []
        for index, row in enumerate(rows, start=first):
            due_ns = index * self._step_ns
            points.append(cls(
                positions=_doubles(cls, row), velocities=_doubles(cls, ()),
                accelerations=_doubles(cls, ()), effort=_doubles(cls, ()),
                time_from_start=duration(sec=due_ns // _NS, nanosec=due_ns % _NS)))
        return self._types(_TRAJECTORY)(
            header=self._header(stamp_ns, self._profile.action.frame_id),
            joint_names=list(names), points=points)


def _doubles(cls: type, values: Iterable[float]) -> Any:
    """Returns a float64[] as the class wants it: rclpy an array.array, rosbags numpy."""
    numbers = [float(value) for value in values]
    if hasattr(cls, 'get_fields_and_field_types'):
        return array.array('d', numbers)
    return np.array(numbers, np.float64)
