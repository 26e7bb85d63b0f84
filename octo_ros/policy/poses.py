"""End-effector poses: deltas of a policy added up to targets, and turned into velocities.

Rotations are quaternions in the order of transforms3d (w, x, y, z) inside, and in that of ROS
(x, y, z, w) at the border.
"""

import dataclasses

import numpy as np
from transforms3d import axangles
from transforms3d import euler
from transforms3d import quaternions

from octo_ros.array_typing import Float
from octo_ros.errors import ObservationError
from octo_ros.policy.profile import RobotProfile


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """A pose in the base frame.

    Attributes:
        position: [m].
        quaternion_wxyz: unit quaternion in the order of transforms3d.
    """

    position: Float[np.ndarray, '3']
    quaternion_wxyz: Float[np.ndarray, '4']

    @classmethod
    def from_ros(
        cls, position: Float[np.ndarray, '3'], quaternion_xyzw: Float[np.ndarray, '4']
    ) -> 'Pose':
        """Makes a pose of the fields of a geometry_msgs/Pose.

        Raises:
            ObservationError: a number is not finite, or the quaternion is zero.
        """
        numbers = np.concatenate([position, quaternion_xyzw]).astype(np.float64)
        norm = float(np.linalg.norm(numbers[3:]))
        if not np.isfinite(numbers).all() or norm < 1e-6:
            raise ObservationError(
                f'A pose must be finite with a unit quaternion, got position {numbers[:3]} and '
                f'quaternion {numbers[3:]}')
        return cls(numbers[:3], np.roll(numbers[3:], 1) / norm)

    @classmethod
    def from_euler(
        cls, position: Float[np.ndarray, '3'], angles: Float[np.ndarray, '3'], order: str
    ) -> 'Pose':
        """Makes a pose of a position [m] and three Euler angles [rad]."""
        return cls(np.asarray(position, np.float64), euler.euler2quat(*angles, axes=order))

    @property
    def quaternion_xyzw(self) -> Float[np.ndarray, '4']:
        """Unit quaternion in the order of ROS."""
        return np.roll(self.quaternion_wxyz, -1)

    def moved(
        self, translation: Float[np.ndarray, '3'], rotation_wxyz: Float[np.ndarray, '4'],
        frame: str,
    ) -> 'Pose':
        """Returns the pose after a motion.

        Args:
            translation: [m].
            rotation_wxyz: rotation about the end effector's own position.
            frame: whose axes translation and rotation are written in: 'base' or 'tool'.
        """
        if frame == 'tool':
            translation = quaternions.rotate_vector(translation, self.quaternion_wxyz)
            turned = quaternions.qmult(self.quaternion_wxyz, rotation_wxyz)
        else:
            turned = quaternions.qmult(rotation_wxyz, self.quaternion_wxyz)
        # Thousands of products would otherwise drift away from unit length.
        return Pose(self.position + translation, turned / np.linalg.norm(turned))

    def motion_to(self, other: 'Pose', frame: str
                  ) -> tuple[Float[np.ndarray, '3'], Float[np.ndarray, '4']]:
        """Returns translation [m] and rotation with which `moved` gives the other pose."""
        back = quaternions.qinverse(self.quaternion_wxyz)
        translation = other.position - self.position
        if frame == 'tool':
            return (quaternions.rotate_vector(translation, back),
                    quaternions.qmult(back, other.quaternion_wxyz))
        return translation, quaternions.qmult(other.quaternion_wxyz, back)


def rotation_vector(angles: Float[np.ndarray, '3'], order: str) -> Float[np.ndarray, '3']:
    """Returns axis times angle [rad] of the rotation that three Euler angles [rad] describe."""
    return _vector_of(euler.euler2quat(*angles, axes=order))


def angles_of_vector(vector: Float[np.ndarray, '3'], order: str) -> Float[np.ndarray, '3']:
    """Returns the Euler angles [rad] of the rotation about `vector` by its length [rad]."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.zeros(3)
    return np.asarray(euler.mat2euler(axangles.axangle2mat(vector / angle, angle), axes=order))


def wrapped(angles: Float[np.ndarray, '*n']) -> Float[np.ndarray, '*n']:
    """Returns angles [rad] less whole turns, in -pi to pi."""
    return (angles + np.pi) % (2 * np.pi) - np.pi


def mean_angles(
    angles: Float[np.ndarray, 'n 3'], weights: Float[np.ndarray, 'n'], order: str
) -> Float[np.ndarray, '3']:
    """Returns the Euler angles [rad] of the mean of rotations.

    Of the ways to write it, the nearest to the last row is taken: what limits and people compare
    must not leap by a turn.

    Args:
        angles: three Euler angles [rad] of each rotation.
        weights: of each rotation.
        order: axes of the angles, in the notation of transforms3d.
    """
    rotations = np.array([euler.euler2quat(*row, axes=order) for row in angles])
    # A quaternion and its negative are one rotation.
    signs = np.where(rotations @ rotations[-1] < 0.0, -1.0, 1.0)
    mean = (weights * signs) @ rotations
    roll, pitch, yaw = euler.quat2euler(mean / np.linalg.norm(mean), axes=order)
    last = np.asarray(angles[-1], np.float64)
    ways = (np.array([roll, pitch, yaw]), np.array([roll + np.pi, np.pi - pitch, yaw + np.pi]))
    changes = [wrapped(way - last) for way in ways]
    return last + min(changes, key=lambda change: float(np.abs(change).sum()))


def twist(
    action: Float[np.ndarray, 'ad'], order: str, step_s: float
) -> tuple[Float[np.ndarray, '3'], Float[np.ndarray, '3']]:
    """Returns the velocities that make a delta within one policy step.

    Args:
        action: x, y, z [m] and three Euler angles [rad] first; the rest is ignored.
        order: axes of the angles, in the notation of transforms3d.
        step_s: duration of a policy step [s].

    Returns:
        Linear [m/s] and angular [rad/s] velocity, by the axes the delta is written in.
    """
    action = np.asarray(action, np.float64)
    return action[:3] / step_s, rotation_vector(action[3:6], order) / step_s


class PoseTarget:
    """The pose that the robot is told to reach, advanced once per policy step.

    Deltas are added to the previous target, which is what the robot was told (Bridge's WidowX
    stack), or to the measured pose (Google's robot); absolute actions replace the target. The
    target stays within the workspace box, and no step moves it faster than the speed limits: one
    that starts outside the box returns to it at that speed.
    """

    def __init__(self, profile: RobotProfile) -> None:
        """Makes a target that does not know where it starts."""
        self._action = profile.action
        self._limits = profile.limits
        self._step_s = profile.step_s
        self._restarts = True
        self.pose: Pose | None = None

    def restart(self) -> None:
        """Lets the next target start from the measured pose, if there is one by then."""
        self._restarts = True

    def reset(self) -> None:
        """As `restart`; without a start pose the next target waits for a measured one.

        With a start pose there may be no measurement at all. The robot then still is where it was
        told to go last, not at the start, so that the last target is kept.
        """
        self.restart()
        if not self._action.start_pose:
            self.pose = None

    def step(self, action: Float[np.ndarray, 'ad'], measured: Pose | None) -> Pose | None:
        """Advances the target by the action of a new policy step.

        Args:
            action: x, y, z [m] and three Euler angles [rad] first; the rest is ignored.
            measured: present pose of the end effector in the base frame, or None when unknown.

        Returns:
            The new target; None when it needs a measured pose and there is none.
        """
        base = self._base(measured)
        action = np.asarray(action, np.float64)
        if base is None:
            return None
        if self._action.delta:
            rotation = euler.euler2quat(*action[3:6], axes=self._action.euler_order)
            wanted = base.moved(action[:3], rotation, self._action.frame)
        else:
            wanted = Pose.from_euler(action[:3], action[3:6], self._action.euler_order)
        self.pose = self._within_speed(base, self._within_workspace(wanted))
        self._restarts = False
        return self.pose

    def _base(self, measured: Pose | None) -> Pose | None:
        follows = self._action.integration == 'measured'
        if measured is not None and (follows or self._restarts):
            return measured
        if self.pose is not None and (self._action.start_pose or not follows):
            return self.pose
        if not self._action.start_pose:
            return None
        start = np.asarray(self._action.start_pose)
        return Pose.from_euler(start[:3], start[3:], self._action.euler_order)

    def _within_speed(self, base: Pose, wanted: Pose) -> Pose:
        translation = wanted.position - base.position
        rotation = quaternions.qmult(
            wanted.quaternion_wxyz, quaternions.qinverse(base.quaternion_wxyz))
        vector = shortened(_vector_of(rotation), self._limits.max_rotation_speed * self._step_s)
        translation = shortened(translation, self._limits.max_speed * self._step_s)
        length = float(np.linalg.norm(vector))
        turn = quaternions.axangle2quat(vector if length else (1.0, 0.0, 0.0), length)
        return base.moved(translation, turn, 'base')

    def _within_workspace(self, pose: Pose) -> Pose:
        if not self._limits.workspace_min:
            return pose
        inside = np.clip(pose.position, self._limits.workspace_min, self._limits.workspace_max)
        return dataclasses.replace(pose, position=inside)


def shortened(vector: Float[np.ndarray, '3'], longest: float) -> Float[np.ndarray, '3']:
    """Returns the vector, scaled down to a length of at most `longest`."""
    length = float(np.linalg.norm(vector))
    return vector * (longest / length) if length > longest else vector


def _vector_of(quaternion_wxyz: Float[np.ndarray, '4']) -> Float[np.ndarray, '3']:
    axis, angle = quaternions.quat2axangle(quaternion_wxyz)
    # The short way round: quat2axangle gives 0..2 pi.
    return np.asarray(axis) * ((angle + np.pi) % (2 * np.pi) - np.pi)
