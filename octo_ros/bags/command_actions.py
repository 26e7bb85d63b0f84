"""Commands to a robot's controller, as recorded, to actions of policy steps.

Twists are added up as a live recorder does. Of pose targets a step takes the one that is in force
at its end, or the change to it from the one in force at its beginning.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from typing import NamedTuple

import numpy as np
from transforms3d import euler

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.bags.episodes import COMMAND_TYPES
from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.faster_actions import LOST
from octo_ros.bags.reader import BagReader
from octo_ros.bags.recorded_stream import RecordedStream
from octo_ros.bags.twist_actions import Step
from octo_ros.bags.twist_actions import TwistActions
from octo_ros.bags.twist_actions import fit_fault
from octo_ros.bags.twist_actions import frame_fault
from octo_ros.bags.twist_actions import gripper_number
from octo_ros.bags.twist_actions import speed_of
from octo_ros.data.frames import Trouble
from octo_ros.errors import BagError
from octo_ros.errors import ObservationError
from octo_ros.messages.conversions import decode_pose
from octo_ros.policy.poses import Pose
from octo_ros.policy.profile import RobotProfile

_NS = 1_000_000_000


class CommandedActions(NamedTuple):
    """What commands come to.

    Attributes:
        steps: beginning [ns] and action of each step; steps of which nothing is known lack.
        troubles: commands that cannot be used, by their place.
        gripper_unknown: no gripper command was recorded by the end of the first step.
    """

    steps: list[Step]
    troubles: list[Trouble]
    gripper_unknown: bool


def require_commands_to_fit(bag: BagReader, topics: TopicMap, profile: RobotProfile) -> None:
    """Raises BagError for commands that cannot become actions of the robot, if there are some."""
    kind = bag.topics[topics.action] if topics.action else ''
    if kind in COMMAND_TYPES:
        fault = fit_fault(kind, profile, topics.gripper or '', '--action-topic')
        if fault:
            raise BagError(fault)
    elif topics.gripper:
        raise BagError(f"--gripper must go with an action of {' or '.join(COMMAND_TYPES)}, got "
                       f'{kind or "none"}, which holds all numbers; leave it out')


def is_command(message: Any) -> bool:
    """True for twists and poses."""
    return hasattr(message, 'twist') or hasattr(message, 'pose')


def command_actions(commands: RecordedStream, gripper: RecordedStream | None,
                    profile: RobotProfile | None) -> CommandedActions:
    """Returns the actions of a recording's twists or poses.

    Args:
        commands: TwistStamped or PoseStamped, sorted; at least one.
        gripper: Float64MultiArray, sorted.
        profile: of the robot, which the commands fit.

    Raises:
        BagError: no command can be used.
    """
    if profile is None:
        raise BagError(f"'{commands.topic}' holds commands, which must come with the profile of "
                       'their robot to become actions, got none')
    openings, unknown = _openings(commands, gripper, profile)
    troubles: list[Trouble] = []
    if hasattr(commands.messages[0], 'twist'):
        steps = _twist_steps(commands, openings, profile, troubles)
    else:
        steps = _pose_steps(commands, openings, profile, troubles)
    if len(troubles) == len(commands.messages):
        raise BagError(f"'{commands.topic}': {troubles[0].text}")
    if not steps and commands.interval_s > profile.step_s:
        troubles.append(Trouble(0, 'rate', (
            f'commands come every {commands.interval_s:.3f} s, the policy step is '
            f'{profile.step_s:.3f} s: no step is known as a whole')))
    return CommandedActions(steps, troubles, unknown)


def _openings(commands: RecordedStream, gripper: RecordedStream | None, profile: RobotProfile
              ) -> tuple[Float[np.ndarray, 'n'], bool]:
    """Returns the gripper's number at each command, open at first; and whether that is a guess."""
    times, numbers = [], [gripper_number(profile.gripper.open_value, profile.gripper)]
    if gripper is not None:
        # They have no stamps; the clock of the commands' may be another than the recorder's.
        for time_ns, message in zip(gripper.stamps - commands.offset_ns, gripper.messages,
                                    strict=True):
            if len(message.data):
                times.append(time_ns)
                numbers.append(gripper_number(float(message.data[0]), profile.gripper))
    late = not times or times[0] > commands.stamps[0] + profile.step_s * _NS
    index = np.searchsorted(np.asarray(times, np.int64), commands.stamps, side='right')
    return np.asarray(numbers)[index], bool(profile.gripper.indices) and late


def _twist_steps(commands: RecordedStream, openings: Float[np.ndarray, 'n'],
                 profile: RobotProfile, troubles: list[Trouble]) -> list[Step]:
    twists = TwistActions(profile)
    steps: list[Step] = []
    for place, message in enumerate(commands.messages):
        speed = speed_of(message)
        fault = frame_fault(message.header.frame_id, profile)
        if fault:
            troubles.append(Trouble(place, 'frame', fault))
            speed = np.full(6, np.nan)  # the one before does not go on
        steps += twists.add(int(commands.stamps[place]), speed, float(openings[place]))
    return steps + twists.finish()


def _pose_steps(commands: RecordedStream, openings: Float[np.ndarray, 'n'],
                profile: RobotProfile, troubles: list[Trouble]) -> list[Step]:
    poses: list[Pose] = []
    sound: list[int] = []
    for place, message in enumerate(commands.messages):
        try:
            poses.append(decode_pose(message, profile.action.frame_id))
        except ObservationError as error:
            troubles.append(Trouble(place, 'action', str(error)))
        else:
            sound.append(place)
    if not poses:
        return []
    step_ns = round(profile.step_s * _NS)
    # A target that is published again with its stamp is one target, as it was last.
    stamps, times = np.unique(commands.stamps[sound], return_counts=True)
    newest = np.cumsum(times) - 1
    last, known = _in_force(stamps, step_ns)
    steps: list[Step] = []
    for step, (before, now) in enumerate(pairwise(last)):
        if not known[step + 1] or (profile.action.delta and not known[step]):
            continue
        gripper = [openings[sound[newest[now]]]] if profile.gripper.indices else []
        steps.append((int(stamps[0]) + step * step_ns, np.array(
            [*_numbers(poses[newest[before]], poses[newest[now]], profile), *gripper])))
    return steps


def _in_force(stamps: Int[np.ndarray, 'n'], step_ns: int
              ) -> tuple[Int[np.ndarray, 't'], Bool[np.ndarray, 't']]:
    """Returns which target is in force at each edge between steps, and whether one is.

    A target belongs to the step in which it comes, half an interval of jitter allowed; it holds
    until the next one, unless that is missing. Before the first edge there is none.
    """
    interval_ns = min(float(np.median(np.diff(stamps))) if len(stamps) > 1 else step_ns, step_ns)
    count = int((stamps[-1] - stamps[0] + 1.5 * interval_ns) // step_ns)
    edges = stamps[0] + step_ns * np.arange(count + 1) - interval_ns / 2
    last = np.searchsorted(stamps, edges) - 1
    return last, (last >= 0) & (edges - stamps[np.maximum(last, 0)] <= LOST * interval_ns)


def _numbers(before: Pose, now: Pose, profile: RobotProfile) -> Sequence[float]:
    """Returns the six numbers of an action that tells the robot to go from one pose to another."""
    action = profile.action
    place, turn = now.position, now.quaternion_wxyz
    if action.delta:
        place, turn = before.motion_to(now, action.frame)
    return [*place, *euler.quat2euler(turn, axes=action.euler_order)]
