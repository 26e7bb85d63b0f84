"""What a robot's controller does with commands: velocities, poses and raw actions for the arm."""

import numpy as np
from transforms3d import axangles

from octo_ros.array_typing import Float
from octo_ros.sim.arm import STEP_S
from octo_ros.sim.arm import Arm
from octo_ros.sim.kinematics import rotation_from_rpy

_SMALLEST_ANGLE = 1e-12


def drive_twist(arm: Arm, linear: Float[np.ndarray, '3'], angular: Float[np.ndarray, '3'],
                gripper: float, duration_s: float, *, tool_frame: bool = False) -> None:
    """Moves the target by a velocity for a time.

    Args:
        arm: the arm.
        linear: velocity [m/s].
        angular: rotation velocity about the end effector itself [rad/s].
        gripper: 1 open, 0 closed.
        duration_s: for this long.
        tool_frame: both are written in the end effector's axes instead of the base's.
    """
    target = arm.target
    translation = np.asarray(linear, float) * duration_s
    turn = _rotation(np.asarray(angular, float) * duration_s)
    if tool_frame:
        translation = target.rotation @ translation
        turn = target.rotation @ turn @ target.rotation.T
    arm.move_to(target.position + translation, turn @ target.rotation, gripper, duration_s)


def drive_raw(arm: Arm, values: Float[np.ndarray, 'n'], gripper: float, duration_s: float, *,
              joints: bool) -> None:
    """Moves the target by unstamped numbers, as a forward controller gets them.

    Args:
        arm: the arm.
        values: six numbers, or seven with the gripper: joint positions [rad], or the changes of
            x, y, z [m], roll, pitch, yaw [rad] in a policy step, of which the part of
            `duration_s` is done.
        gripper: 1 open, 0 closed; used when there are only six.
        duration_s: for this long.
        joints: True for joint positions.
    """
    values = np.asarray(values, float)
    gripper = float(values[6]) if len(values) > 6 else gripper
    if joints:
        arm.move_joints(values[:6], gripper, duration_s)
        return
    part = values[:6] * (duration_s / STEP_S)
    arm.move_to(arm.target.position + part[:3],
                rotation_from_rpy(part[3:]) @ arm.target.rotation, gripper, duration_s)


def _rotation(vector: Float[np.ndarray, '3']) -> Float[np.ndarray, '3 3']:
    angle = float(np.linalg.norm(vector))
    return np.eye(3) if angle < _SMALLEST_ANGLE else axangles.axangle2mat(vector, angle)
