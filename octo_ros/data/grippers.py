"""Grippers of recorded actions in the policy's units, and what tells that they are in others.

An absolute gripper is 0 to 1 for the policy, up to noise. Recordings may hold what their driver
takes: 0 to 255, metres, -1 to 1. Training would take such numbers as they are. Commands, which
go with twists and poses, are read by the profile's `closed_value` and `open_value`.
"""

import dataclasses
from typing import TypeVar

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.data.findings import Demonstration
from octo_ros.data.findings import Finding
from octo_ros.data.relabel import binary_gripper
from octo_ros.errors import ParameterError
from octo_ros.policy.profile import GripperParams
from octo_ros.policy.profile import RobotProfile

_Numbers = TypeVar('_Numbers', float, np.ndarray)
_TOLERANCE = 0.2  # leaders and their calibration are off by as much; no other unit comes so close
_MUCH, _HALF = 2.0, 0.5
_MOVES = 0.015  # a gripper that changes by less, in whatever unit, stands still


@dataclasses.dataclass(frozen=True)
class Grippers:
    """The grippers of an action, and the units in which they were recorded.

    Attributes:
        names: of the action's numbers.
        params: of the robot's profile.
        ends: recorded numbers for fully closed and fully open; the policy's own when None.
        reached: they will be made binary, as by `relabel.binary_gripper`.
        commanded: they were read from commands, by the profile of `robot`, and not clipped.
    """

    names: tuple[str, ...]
    params: GripperParams
    ends: tuple[float, float] | None = None
    reached: bool = False
    commanded: bool = False

    @classmethod
    def of(cls, profile: RobotProfile, ends: list[float] | None, *, reached: bool,
           commanded: bool = False) -> 'Grippers':
        """Returns those of a robot.

        Raises:
            ParameterError: the ends are not two numbers that differ, or there is no gripper that
                is absolute.
        """
        if ends is None:
            return cls(profile.action.names, profile.gripper, None, reached, commanded)
        closed, opened = ends
        if not np.isfinite(ends).all() or closed == opened:
            raise ParameterError('--gripper-range must be two finite numbers that differ, got '
                                 f'{closed:g} {opened:g}')
        if not profile.gripper.indices:
            raise ParameterError('--gripper-range must go with a robot profile that has a '
                                 "gripper, got 'gripper.indices: []'")
        if profile.gripper.mode != 'absolute':
            raise ParameterError('--gripper-range must go with a gripper of mode absolute, got '
                                 f"'{profile.gripper.mode}', whose numbers are changes")
        return cls(profile.action.names, profile.gripper, (closed, opened), reached, commanded)

    def robot(self, profile: RobotProfile) -> RobotProfile:
        """Returns the profile by which commands are to be read: that robot's, with these ends."""
        if self.ends is None:
            return profile
        closed, opened = self.ends
        return dataclasses.replace(profile, gripper=dataclasses.replace(
            profile.gripper, closed_value=closed, open_value=opened))

    def scaled(self, actions: Float[np.ndarray, 't ad']) -> Float[np.ndarray, 't ad']:
        """Returns the actions with their grippers in the policy's units, not clipped."""
        if self.ends is None or self.commanded:
            return actions
        found = actions.copy()
        for index in self.params.indices:
            found[:, index] = to_policy(actions[:, index], self.ends, self.params)
        return found

    def clipped(self, actions: Float[np.ndarray, 't ad']) -> Float[np.ndarray, 't ad']:
        """Returns the actions with grippers that were scaled within 0 to 1."""
        if self.ends is None and not self.commanded:
            return actions
        found, indices = actions.copy(), list(self.params.indices)
        found[:, indices] = np.clip(actions[:, indices], 0.0, 1.0)
        return found

    def faults(self, actions: Float[np.ndarray, 't ad']) -> list[str]:
        """Returns what tells of other units, for each gripper that is absolute.

        Args:
            actions: all of an episode, scaled and not clipped.
        """
        if self.params.mode != 'absolute' or not len(actions):
            return []
        found = []
        for index in self.params.indices:
            values = actions[:, index]
            text = self._fault(values)
            if text:
                span = f'{values.min():.3g} to {values.max():.3g}'
                found.append(f"'{self.names[index]}' goes from {span}{self._fix(text, values)}")
        return found

    def _fault(self, values: Float[np.ndarray, 't']) -> str:
        low, high = float(values.min()), float(values.max())
        one, zero = ('open', 'closed') if self.params.open_is_one else ('closed', 'open')
        if beyond_ends(low) or beyond_ends(high):
            return f'must be from 0 ({zero}) to 1 ({one})'
        if self._scaled_before(values):
            return 'is from 0 to 1 as recorded'
        limit = self.params.threshold if self.params.open_is_one else 1.0 - self.params.threshold
        # A gripper that may be half open may also stay nearly closed.
        if high - low < _MOVES or not self.params.binarize:
            return ''
        if high <= limit or (low > limit and low < 1.0 - _TOLERANCE):
            return f'never passes {limit:g}, between {zero} and {one}'
        settled = binary_gripper(values)
        if self.reached and low <= limit < high and settled.min() == settled.max():
            return 'never gets both below 0.05 and above 0.95, as reached actions need'
        return ''

    def _scaled_before(self, values: Float[np.ndarray, 't']) -> bool:
        """Tells of numbers in the policy's units that were scaled as if in much greater ones."""
        closed, opened = self.ends or (0.0, 1.0)
        if abs(opened - closed) <= _MUCH:
            return False
        recorded = to_recorded(values, (closed, opened), self.params)
        low, high = float(recorded.min()), float(recorded.max())
        return high - low > _HALF and not (beyond_ends(low) or beyond_ends(high))

    def _fix(self, text: str, values: Float[np.ndarray, 't']) -> str:
        if self.ends is not None:
            return (f' as --gripper-range {self.ends[0]:g} {self.ends[1]:g} scales it, and '
                    f'{text}; give the numbers of fully closed and fully open')
        how = ''
        if self.commanded:
            closed, opened = self.params.closed_value, self.params.open_value
            how = (f" as the robot profile's gripper.closed_value {closed:g} and "
                   f'gripper.open_value {opened:g} scale its commands')
            values = to_recorded(values, (closed, opened), self.params)
        low, high = f'{values.min():.3g}', f'{values.max():.3g}'
        # One that stands still tells of one end at most; the option wants two that differ.
        example = f' (such as {low} {high})' if low != high else ''
        return (f'{how}, and {text}; --gripper-range CLOSED OPEN, with its numbers for both'
                f'{example}, scales it')


def to_policy(value: _Numbers, ends: tuple[float, float], params: GripperParams) -> _Numbers:
    """Returns the policy's numbers of recorded ones, not clipped.

    Args:
        value: recorded.
        ends: recorded numbers for fully closed and fully open; where they are one, nothing is
            scaled.
        params: of the robot's profile.
    """
    closed, opened = ends
    opening = (value - closed) / (opened - closed) if opened != closed else value
    return opening if params.open_is_one else 1.0 - opening


def to_recorded(number: _Numbers, ends: tuple[float, float], params: GripperParams) -> _Numbers:
    """Returns what was recorded for the policy's numbers; see `to_policy`."""
    closed, opened = ends
    opening = number if params.open_is_one else 1.0 - number
    return closed + opening * ((opened - closed) or 1.0)


def beyond_ends(number: float) -> bool:
    """True for a number of the policy's that no gripper of its units comes to."""
    return number < -_TOLERANCE or number > 1.0 + _TOLERANCE


def with_grippers(found: Demonstration, grippers: Grippers, topic: str) -> Demonstration:
    """Returns a demonstration with its grippers in the policy's units, and their faults."""
    episode = found.episode
    if episode is None:
        return found
    actions = grippers.scaled(episode.actions)
    findings = [Finding(episode.name, 'gripper', topic, None, text)
                for text in grippers.faults(actions)]
    return Demonstration(dataclasses.replace(episode, actions=grippers.clipped(actions)),
                         (*found.findings, *findings))
