"""Twists to actions: what speeds add up to in each policy step.

The steps lie on a fixed grid that begins with the first twist. A twist holds until the next one
comes; when none comes for long, it held for as long as the one before.
"""

from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.data.grippers import beyond_ends
from octo_ros.data.grippers import to_policy
from octo_ros.policy.poses import angles_of_vector
from octo_ros.policy.profile import GripperParams
from octo_ros.policy.profile import RobotProfile

TWIST = 'geometry_msgs/msg/TwistStamped'
POSE = 'geometry_msgs/msg/PoseStamped'
GRIPPER = 'std_msgs/msg/Float64MultiArray'
# A twist that was overdue by more than half a step is missing, not late.
_LONGEST_HOLD = 1.5
_NS = 1_000_000_000

Step = tuple[int, Float[np.ndarray, 'ad']]


def gripper_number(command: float, params: GripperParams) -> float:
    """Returns the action's number of a command, 0 to 1 between closed and open; not clipped."""
    return to_policy(command, (params.closed_value, params.open_value), params)


def _units_fault(command: float, params: GripperParams) -> str:
    return (f'commands of the gripper must be from {params.closed_value:g} (closed) to '
            f'{params.open_value:g} (open), got {command:g}: it is recorded as it is; give '
            'a robot profile whose gripper.closed_value and gripper.open_value are what the '
            'driver takes')


def fit_fault(kind: str, profile: RobotProfile, gripper: str, option: str) -> str:
    """Returns why twists or poses cannot become actions of a robot; '' if they can.

    Args:
        kind: `TWIST` or `POSE`.
        profile: of the robot.
        gripper: topic of the commands of its gripper, if any.
        option: of the command line that names the topic of the twists or poses.
    """
    action, grippers = profile.action, profile.gripper.indices
    word = 'twists' if kind == TWIST else 'poses'
    if action.space != 'cartesian' or (kind == TWIST and not action.delta) or len(
            action.names) != 6 + bool(grippers):
        return (f"{word} must go with a robot profile of Cartesian "
                f"{'deltas' if kind == TWIST else 'actions'} and one gripper at most, got the "
                f"actions {', '.join(action.names)}; choose another {option} or --robot")
    if grippers and not gripper:
        return (f'{word} must come with --gripper for a robot that has one, got none; give the '
                "topic of its commands, or a profile with 'gripper.indices: []'")
    if grippers and profile.gripper.mode == 'relative':
        return (f'{word} must go with a gripper of mode absolute, whose opening --gripper tells, '
                'got the relative one of the robot profile, which wants its changes; choose '
                f'another {option}, or a profile with an absolute gripper')
    return ''


def speed_of(message: Any) -> Float[np.ndarray, '6']:
    """Returns linear [m/s] and angular [rad/s] speed of a TwistStamped."""
    linear, angular = message.twist.linear, message.twist.angular
    return np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])


def frame_fault(frame_id: str, profile: RobotProfile) -> str:
    """Returns what is wrong with the frame of a twist; '' for none, and for one without a name."""
    wanted = profile.action.delta_frame_id
    if not frame_id or frame_id.lstrip('/') == wanted.lstrip('/'):  # tf1 had a slash
        return ''
    return (f"twists must be in the frame '{wanted}' of the robot profile, got '{frame_id}'; "
            "publish them in that frame, or name theirs in the profile: 'action.frame_id' with "
            "'action.frame: base', or 'action.ee_frame_id' with 'action.frame: tool'")


class TwistMessages:
    """Takes twists and gripper commands as they come."""

    def __init__(self, profile: RobotProfile) -> None:
        """Begins with an open gripper."""
        self._profile = profile
        self._gripper = gripper_number(profile.gripper.open_value, profile.gripper)
        self._fault_told = False
        self.restart()

    def restart(self) -> None:
        """Begins an episode. The gripper stays as it was told last."""
        self._actions = TwistActions(self._profile)

    def take_gripper(self, message: Any) -> str:
        """Takes a Float64MultiArray; one without a number is ignored.

        Returns:
            What tells of other units, for the first command that does; else ''.
        """
        if not len(message.data):
            return ''
        command, params = float(message.data[0]), self._profile.gripper
        number = gripper_number(command, params)
        if not beyond_ends(number):
            self._gripper = min(max(number, 0.0), 1.0)
            return ''
        # Of other units nothing is cut off: reading the recording tells of them, and scales them.
        self._gripper = number
        told, self._fault_told = self._fault_told, True
        return '' if told else _units_fault(command, params)

    def take(self, message: Any, time_ns: int) -> list[Step]:
        """Takes a TwistStamped in the profile's frame; returns the steps that are over."""
        return self._actions.add(time_ns, speed_of(message), self._gripper)

    def finish(self) -> list[Step]:
        """Ends the episode; returns the steps that are left."""
        return self._actions.finish()


class TwistActions:
    """Adds up the twists of one episode."""

    def __init__(self, profile: RobotProfile) -> None:
        """Takes the robot: the duration of its steps, its angles and whether it has a gripper."""
        self._order = profile.action.euler_order
        self._has_gripper = bool(profile.gripper.indices)
        self._step_ns = round(profile.step_s * _NS)
        self._speed = np.zeros(6)
        self._gripper = 0.0
        self._interval_ns = 0  # between the last two twists
        self._begun = False
        self._begin_ns = 0  # of the present step
        self._now_ns = 0  # up to when motion was added up
        self._motion = np.zeros(6)
        self._moving_ns = 0  # how much of the step is known

    def add(self, time_ns: int, speed: Float[np.ndarray, '6'], gripper: float) -> list[Step]:
        """Takes a twist.

        Args:
            time_ns: its stamp [ns].
            speed: linear [m/s] and angular [rad/s]; what is not finite makes its steps NaN.
            gripper: the action's number for the gripper, as it was told last.

        Returns:
            Beginning [ns] and action of each step that is over.
        """
        if not self._begun:
            self._begun = True
            self._begin_ns = self._now_ns = time_ns
        steps: list[Step] = []
        elapsed_ns = time_ns - self._now_ns
        if elapsed_ns > _LONGEST_HOLD * self._step_ns:
            steps = self._hold(self._now_ns + self._interval_ns) + self._pause(time_ns)
        elif elapsed_ns > 0:
            self._interval_ns = elapsed_ns
            steps = self._hold(time_ns)
        self._speed, self._gripper = np.where(np.isfinite(speed), speed, np.nan), gripper
        return steps

    def finish(self) -> list[Step]:
        """Ends the episode; returns the steps that `add` has not returned."""
        if not self._begun:
            return []
        return self._hold(self._now_ns + self._interval_ns) + self._close()

    def _hold(self, until_ns: int) -> list[Step]:
        """Lets the last twist go on."""
        steps: list[Step] = []
        while self._now_ns < until_ns:
            end_ns = self._begin_ns + self._step_ns
            part_ns = min(until_ns, end_ns) - self._now_ns
            self._motion += self._speed * (part_ns / _NS)
            self._moving_ns += part_ns
            self._now_ns += part_ns
            if self._now_ns == end_ns:
                steps += self._close()
        return steps

    def _pause(self, until_ns: int) -> list[Step]:
        """Leaves out a time of which nothing is known."""
        steps: list[Step] = []
        whole = (until_ns - self._begin_ns) // self._step_ns
        if whole > 0:
            steps = self._close()
            self._begin_ns += (whole - 1) * self._step_ns
        self._now_ns = until_ns
        return steps

    def _close(self) -> list[Step]:
        """Ends the present step; one that is mostly unknown gives no action."""
        begin_ns, motion = self._begin_ns, self._motion
        known = 2 * self._moving_ns >= self._step_ns
        self._begin_ns = begin_ns + self._step_ns
        self._motion, self._moving_ns = np.zeros(6), 0
        if not known:
            return []
        gripper = [self._gripper] if self._has_gripper else []
        return [(begin_ns, np.array(
            [*motion[:3], *angles_of_vector(motion[3:], self._order), *gripper]))]
