"""Rotations of the end effector, and inverse kinematics by damped least squares.

Euler angles are roll, pitch, yaw about the fixed x, y and z axes in this order (transforms3d's
`sxyz`), as in Bridge.
"""

from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.sim.gl import load_mujoco

_POSITION_TOLERANCE = 1e-4  # [m]
_ROTATION_TOLERANCE = 1e-3  # [rad]
_ITERATIONS = 30
_DAMPING = 1e-4  # squared; small against the squared singular values of the arm's Jacobian
_MAX_JOINT_STEP = 0.3  # [rad]


def rotation_from_rpy(rpy: Float[np.ndarray, '3']) -> Float[np.ndarray, '3 3']:
    """Returns Rz(yaw) Ry(pitch) Rx(roll) for angles in rad."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr]])


def rpy_from_rotation(rotation: Float[np.ndarray, '3 3']) -> Float[np.ndarray, '3']:
    """Returns roll, pitch in [-pi/2, pi/2] and yaw [rad]."""
    pitch = np.arctan2(-rotation[2, 0], np.hypot(rotation[0, 0], rotation[1, 0]))
    return np.array([np.arctan2(rotation[2, 1], rotation[2, 2]), pitch,
                     np.arctan2(rotation[1, 0], rotation[0, 0])])


def rotation_vector(rotation: Float[np.ndarray, '3 3']) -> Float[np.ndarray, '3']:
    """Returns axis times angle [rad] of a rotation by less than pi."""
    axis = 0.5 * np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0],
                           rotation[1, 0] - rotation[0, 1]])
    sine = np.sqrt(axis @ axis)
    cosine = 0.5 * (np.trace(rotation) - 1.0)
    return axis if sine < 1e-9 else axis * (np.arctan2(sine, cosine) / sine)


class InverseKinematics:
    """Finds joint positions for a pose of a site, near given joint positions.

    Works on its own MjData, so the simulation is not touched. Buss 2004, "Introduction to
    inverse kinematics with Jacobian transpose, pseudoinverse and damped least squares methods".
    """

    def __init__(self, model: Any, joints: list[str], site: str) -> None:
        """Args are a mujoco.MjModel, the names of its hinge joints and of the site."""
        self._mujoco = load_mujoco()
        self._model = model
        self._data = self._mujoco.MjData(model)
        ids = [model.joint(name).id for name in joints]
        self._qpos = model.jnt_qposadr[ids]
        self._dof = model.jnt_dofadr[ids]
        self._low, self._high = model.jnt_range[ids].T
        self._site = model.site(site).id
        self._jacobian = np.zeros((6, model.nv))

    def pose(self, joints: Float[np.ndarray, 'j']) -> tuple[
            Float[np.ndarray, '3'], Float[np.ndarray, '3 3']]:
        """Returns position [m] and rotation of the site in the base frame (forward kinematics)."""
        self._data.qpos[self._qpos] = joints
        self._mujoco.mj_kinematics(self._model, self._data)
        return (self._data.site_xpos[self._site].copy(),
                self._data.site_xmat[self._site].reshape(3, 3).copy())

    def solve(
            self, position: Float[np.ndarray, '3'], rotation: Float[np.ndarray, '3 3'],
            start: Float[np.ndarray, 'j'],
    ) -> tuple[Float[np.ndarray, 'j'], bool]:
        """Returns the joint positions [rad] within their limits, and whether the pose is met.

        A pose out of reach gives the nearest joint positions that the iteration has found.
        """
        joints = np.clip(start, self._low, self._high)
        best, best_error = joints, np.inf
        for _ in range(_ITERATIONS):
            reached, turned = self.pose(joints)
            error = np.concatenate([position - reached, rotation_vector(rotation @ turned.T)])
            size = error[:3] @ error[:3] + 0.01 * error[3:] @ error[3:]
            if size < best_error:
                best, best_error = joints, size
            if (np.abs(error[:3]).max() < _POSITION_TOLERANCE
                    and np.abs(error[3:]).max() < _ROTATION_TOLERANCE):
                return joints, True
            joints = np.clip(joints + self._step(error), self._low, self._high)
        return best, False

    def _step(self, error: Float[np.ndarray, '6']) -> Float[np.ndarray, 'j']:
        self._mujoco.mj_comPos(self._model, self._data)
        self._mujoco.mj_jacSite(
            self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._site)
        jacobian = self._jacobian[:, self._dof]
        step = jacobian.T @ np.linalg.solve(
            jacobian @ jacobian.T + _DAMPING * np.eye(6), error)
        largest = np.abs(step).max()
        return step * (_MAX_JOINT_STEP / largest) if largest > _MAX_JOINT_STEP else step
