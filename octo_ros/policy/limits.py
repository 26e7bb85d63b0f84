"""The envelope of actions: what lies outside is clipped, and the caller learns which numbers."""

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.errors import ParameterError
from octo_ros.policy.poses import angles_of_vector
from octo_ros.policy.poses import rotation_vector
from octo_ros.policy.poses import shortened
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.types import PolicySpec

_ROUNDING = 1e-9


class ActionLimits:
    """Limits of one action, from the profile and the statistics of the training data.

    Gripper dimensions pass untouched. Positions in joint space are limited by their change from
    one step to the next (`limit_changes`), Cartesian deltas by range, size and speed (`apply`).
    """

    def __init__(self, profile: RobotProfile, spec: PolicySpec) -> None:
        """Checks that the profile fits the policy.

        Raises:
            ParameterError: the profile names another number of dimensions than the policy has,
                or wants a range that the statistics do not tell.
        """
        names = profile.action.names
        if len(names) != spec.action_dim:
            raise ParameterError(
                f"'action.names' of the robot profile must name the {spec.action_dim} dimensions "
                f'of an action of this checkpoint, got {len(names)}: {", ".join(names)}; choose '
                'another profile or statistics_key')
        self._profile = profile
        self._motion = np.isin(np.arange(len(names)), profile.motion_indices)
        self._low, self._high = self._range(profile, spec)
        self._largest = np.full(len(names), np.inf)
        if profile.limits.per_step:
            self._largest = np.where(self._motion, profile.limits.per_step, np.inf)

    def apply(
        self, action: Float[np.ndarray, 'ad']
    ) -> tuple[Float[np.ndarray, 'ad'], Bool[np.ndarray, 'ad']]:
        """Returns the limited action as float64, and which of its numbers were changed."""
        given = np.asarray(action, np.float64)
        limited = np.clip(given, self._low, self._high)
        if self._profile.action.delta:
            limited = np.clip(limited, -self._largest, self._largest)
            if self._profile.action.space == 'cartesian':
                limited = self._within_speed(limited)
        return limited, np.abs(limited - given) > _ROUNDING

    def limit_changes(
        self, positions: Float[np.ndarray, 'ah ad'], start: Float[np.ndarray, 'ad'] | None
    ) -> Float[np.ndarray, 'ah ad']:
        """Limits how much absolute positions change per step; follows as fast as allowed.

        Args:
            positions: one row a step.
            start: position before the first row, or None when unknown (the first row is kept).
        """
        limited = np.array(positions, np.float64)
        previous = limited[0] if start is None else np.asarray(start, np.float64)
        for row in limited:
            row[:] = np.clip(row, previous - self._largest, previous + self._largest)
            previous = row
        return limited

    def _range(
        self, profile: RobotProfile, spec: PolicySpec
    ) -> tuple[Float[np.ndarray, 'ad'], Float[np.ndarray, 'ad']]:
        size = spec.action_dim
        low, high = np.full(size, -np.inf), np.full(size, np.inf)
        if profile.limits.envelope == 'statistics':
            if not spec.action_low:
                raise ParameterError(
                    "'limits.envelope' of the robot profile must be 'none' for this checkpoint, "
                    "got 'statistics': its statistics have no p01 and p99; add them to its "
                    "dataset_statistics.json, or set it to 'none' and 'limits.per_step' to what "
                    'the robot may do')
            low = np.where(self._motion, spec.action_low, low)
            high = np.where(self._motion, spec.action_high, high)
        return low, high

    def _within_speed(self, action: Float[np.ndarray, 'ad']) -> Float[np.ndarray, 'ad']:
        limits, step_s = self._profile.limits, self._profile.step_s
        order = self._profile.action.euler_order
        action = action.copy()
        action[:3] = shortened(action[:3], limits.max_speed * step_s)
        vector = rotation_vector(action[3:6], order)
        slower = shortened(vector, limits.max_rotation_speed * step_s)
        if slower is not vector:
            action[3:6] = angles_of_vector(slower, order)
        return action
