"""The arm's controller: Bridge-like commands in, smooth joint targets out.

A relative command moves the previous *target*, not the measured pose, so that small commands
are not lost in the servo error. Targets stay in a box over the table.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.errors import ParameterError
from octo_ros.sim import viperx
from octo_ros.sim.kinematics import InverseKinematics
from octo_ros.sim.kinematics import rotation_from_rpy

STEP_S = 0.2  # one action of the policy: 5 Hz
WORKSPACE = ((0.18, 0.51), (-0.26, 0.26), (0.014, 0.28))  # x, y, z of the frame `ee` [m]
ACTION_NAMES = ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper')
_READY = (0.0, -0.19, 0.27, 0.0, 1.49, 0.0)  # joint positions about home, to start the search
_MAX_DELTA = np.array([0.1, 0.1, 0.1, 0.5, 0.5, 0.5])  # a single command is cut to this


@dataclasses.dataclass
class Target:
    """Where the arm is sent.

    Attributes:
        position: of the frame `ee` in the base frame [m].
        rotation: of the frame `ee` in the base frame.
        joints: the joint positions for it [rad].
        gripper: 1 open, 0 closed.
    """

    position: Float[np.ndarray, '3']
    rotation: Float[np.ndarray, '3 3']
    joints: Float[np.ndarray, '6']
    gripper: float = 1.0

    def copy(self) -> 'Target':
        """Returns a target that shares nothing with this one."""
        return Target(self.position.copy(), self.rotation.copy(), self.joints.copy(),
                      self.gripper)


class Arm:
    """Moves a target by commands, and the servos' set points smoothly to the target."""

    def __init__(self, model: Any, data: Any) -> None:
        """Args are the mujoco.MjModel and mujoco.MjData of the scene."""
        names = [viperx.PREFIX + name for name in viperx.JOINTS]
        self._data = data
        self.kinematics = InverseKinematics(model, names, 'ee')
        self._qpos = model.jnt_qposadr[[model.joint(name).id for name in names]]
        self._actuators = [model.actuator(name).id for name in viperx.JOINTS]
        self._gripper = model.actuator('gripper').id
        self._fingers = [model.jnt_qposadr[model.joint(viperx.PREFIX + name).id]
                         for name in ('left_finger', 'right_finger')]
        self._low, self._high = model.jnt_range[[model.joint(name).id for name in names]].T
        self.target = Target(np.zeros(3), np.eye(3), np.array(_READY))
        self._left_s = 0.0

    def place(self, position: Float[np.ndarray, '3']) -> None:
        """Puts the arm at a position at once, gripper down and open."""
        self.target = Target(np.array(position), np.eye(3), np.array(_READY))
        self._solve()
        self._data.qpos[self._qpos] = self.target.joints
        self._data.qpos[self._fingers] = viperx.FINGER_OPEN, -viperx.FINGER_OPEN
        self._left_s = 0.0
        self.drive(0.0)

    def move_by(self, action: Float[np.ndarray, '7'], duration_s: float = STEP_S) -> None:
        """Moves the target: delta x, y, z [m], roll, pitch, yaw [rad] in the base frame, gripper.

        The rotation turns the end effector about itself, about the base frame's axes.

        Raises:
            ParameterError: the action has not seven finite numbers.
        """
        action = self._checked(action, (7,), 'action')
        delta = np.clip(action[:6], -_MAX_DELTA, _MAX_DELTA)
        self.move_to(self.target.position + delta[:3],
                     rotation_from_rpy(delta[3:]) @ self.target.rotation, action[6], duration_s)

    def move_to(self, position: Float[np.ndarray, '3'], rotation: Float[np.ndarray, '3 3'],
                gripper: float, duration_s: float = STEP_S) -> None:
        """Sets the target pose of the frame `ee`, to be reached in the given time.

        Raises:
            ParameterError: a number is not finite.
        """
        low, high = np.transpose(WORKSPACE)
        target = Target(np.clip(self._checked(position, (3,), 'position'), low, high),
                        self._checked(rotation, (3, 3), 'rotation'), self.target.joints,
                        self.checked_gripper(gripper))
        self._start(duration_s)
        self.target = target
        self._solve()

    def move_joints(self, joints: Float[np.ndarray, '6'], gripper: float,
                    duration_s: float = STEP_S) -> None:
        """Sets the six joint positions [rad] as target, to be reached in the given time.

        Raises:
            ParameterError: a number is not finite.
        """
        joints = np.clip(self._checked(joints, (6,), 'joint command'), self._low, self._high)
        gripper = self.checked_gripper(gripper)
        self._start(duration_s)
        self.target = Target(*self.kinematics.pose(joints), joints, gripper)

    def drive(self, dt_s: float) -> None:
        """Advances the servos' set points by a time, in a straight line to the target's."""
        now = self._set_point()
        self._left_s = max(0.0, self._left_s - dt_s)
        if self._left_s > 0.0:
            part = dt_s / (self._left_s + dt_s)
            self._data.ctrl[self._actuators] = now + part * (self.target.joints - now)
        else:
            self._data.ctrl[self._actuators] = self.target.joints
        closed, opened = viperx.FINGER_CLOSED - 0.0015, viperx.FINGER_OPEN
        self._data.ctrl[self._gripper] = closed + self.target.gripper * (opened - closed)

    def joints(self) -> Float[np.ndarray, '6']:
        """Returns the measured joint positions [rad]."""
        return self._data.qpos[self._qpos].copy()

    def opening(self) -> float:
        """Returns the measured gap between the finger pads [m]."""
        left, right = self._data.qpos[self._fingers]
        return float(left - right - 2.0 * viperx.FINGER_CLOSED)

    def remaining_s(self) -> float:
        """Returns the time until the set points stand at the target [s]."""
        return self._left_s

    def restore(self, target: Target, remaining_s: float) -> None:
        """Sets target and remaining time as they were once read."""
        self.target, self._left_s = target.copy(), remaining_s

    def _set_point(self) -> Float[np.ndarray, '6']:
        return self._data.ctrl[self._actuators].copy()

    def _start(self, duration_s: float) -> None:
        self._left_s = max(0.0, float(duration_s))

    def _solve(self) -> None:
        target = self.target
        ready = np.array(_READY)
        ready[0] = np.arctan2(target.position[1], target.position[0])
        # Fully stretched, the arm has no way back that its Jacobian could show; bent it has.
        for start in (target.joints, ready):
            joints, met = self.kinematics.solve(target.position, target.rotation, start)
            if met:
                break
        target.joints = joints
        if not met:  # go as near as can be, and take the next relative command from there
            target.position, target.rotation = self.kinematics.pose(target.joints)

    @classmethod
    def checked_gripper(cls, gripper: Any) -> float:
        """Returns an opening between 0 and 1. Raises ParameterError unless it is finite."""
        return float(np.clip(cls._checked(gripper, (), 'gripper'), 0.0, 1.0))

    @staticmethod
    def _checked(values: Any, shape: tuple[int, ...], name: str) -> Float[np.ndarray, '...']:
        try:
            array = np.array(values, float)
        except (TypeError, ValueError):
            array = np.full(shape, np.nan)
        if array.shape != shape or not np.isfinite(array).all():
            count = math.prod(shape)
            raise ParameterError(f"{name} must hold {count} finite number{'s' * (count > 1)}, "
                                 f'got {values!r}')
        return array
