"""What comes out of a replay: executed steps, chunks, and what the recording says of them."""

import dataclasses
import re
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.errors import OctoError
from octo_ros.messages.inference import AcceptedChunk
from octo_ros.messages.postprocess import Command
from octo_ros.policy.poses import wrapped

_DECIMAL = re.compile(r'\d+\.\d+')  # streams may be numbered
_NS = 1_000_000_000
_SHORT_S = 1.0  # the first inference, and what lies before the first image
_MOST_REASONS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One executed policy step.

    Attributes:
        stamp_ns: when the step was due [ns].
        chunk_id: the inference it comes from.
        step_index: index in that chunk.
        predicted: the action as the policy gave it.
        recorded: the recorded action nearest in time, or None.
    """

    stamp_ns: int
    chunk_id: int
    step_index: int
    predicted: Float[np.ndarray, 'ad']
    recorded: Float[np.ndarray, 'ad'] | None = None


@dataclasses.dataclass(eq=False)
class ReplayResult:
    """What came out of a replay.

    Attributes:
        steps: executed policy steps in order.
        chunks: accepted chunks in order.
        commands: commands in order, one a tick.
        views: time [ns] and image message of the reference camera, thinned out.
        recorded: stamps [ns] and values of all recorded actions.
        start_ns: time of the first message [ns].
        end_ns: time of the last one [ns].
        task: text of the task.
        holds: reasons for which there was no action, with the number of ticks.
        clock_offset_s: how far the times of recording are ahead of the stamps of the reference
            camera's images, in the middle; 0 without stamps [s].
    """

    steps: list[Step] = dataclasses.field(default_factory=list)
    chunks: list[AcceptedChunk] = dataclasses.field(default_factory=list)
    commands: list[Command] = dataclasses.field(default_factory=list)
    views: list[tuple[int, Any]] = dataclasses.field(default_factory=list)
    recorded: list[tuple[int, Float[np.ndarray, 'ad']]] = dataclasses.field(default_factory=list)
    start_ns: int = 0
    end_ns: int = 0
    task: str = ''
    holds: dict[str, int] = dataclasses.field(default_factory=dict)
    clock_offset_s: float = 0.0


def errors(steps: Sequence[Step], *, pose_angles: str = '') -> Float[np.ndarray, 'n ad']:
    """Returns predicted minus recorded action of every step that has both.

    Args:
        steps: what was executed.
        pose_angles: of the robot's profile; angles that differ by whole turns are equal then.
    """
    rows = [step.predicted - step.recorded for step in steps if step.recorded is not None]
    difference = np.array(rows, np.float64)
    if pose_angles and rows:
        difference[:, 3:6] = wrapped(difference[:, 3:6])
    return difference


def require_actions(result: ReplayResult, *, max_age_s: float, taken_off_s: float = 0.0) -> None:
    """Raises OctoError with the reasons when the policy never gave an action.

    Args:
        result: what came out.
        max_age_s: greatest age of a usable observation [s].
        taken_off_s: the clock offset that was taken off the times of recording already [s].
    """
    if result.steps:
        return
    reasons = [f'{reason} ({count} ticks)' for reason, count in _grouped(result.holds)]
    if abs(result.clock_offset_s) > max_age_s:
        offset_s = result.clock_offset_s + taken_off_s
        advice = (f'if the clocks differed, give --clock-offset {offset_s:.2f}'
                  if abs(offset_s) > max_age_s else 'leave --clock-offset out')
        reasons.append(
            f"the times of recording are {abs(offset_s):.2f} s "
            f"{'ahead of' if offset_s > 0 else 'behind'} the stamps of the images; {advice}")
    raise OctoError(f"replay must give actions, got none: {'; '.join(reasons) or 'nothing to do'}")


def silence(result: ReplayResult, step_s: float) -> str:
    """Returns for how long the policy gave no action, and why; empty for a second or less.

    Args:
        result: what came out.
        step_s: duration of a policy step [s].
    """
    length_s = (result.end_ns - result.start_ns) / _NS
    silent_s = length_s - len(result.steps) * step_s
    if silent_s <= _SHORT_S:
        return ''
    reasons = [reason for reason, _ in _grouped(result.holds)]
    return f"no action for {silent_s:.1f} s of {length_s:.1f} s{': ' if reasons else ''}" + (
        '; '.join(reasons[:_MOST_REASONS]))


def recorded_steps(result: ReplayResult, step_ns: int) -> int:
    """Returns in how many policy steps there is a recorded action."""
    return len({stamp_ns // step_ns for stamp_ns, _ in result.recorded})


def _grouped(holds: Mapping[str, int]) -> list[tuple[str, int]]:
    """Adds up the reasons that differ in nothing but decimals, such as ages, under the first.

    Returns:
        Reason and number of ticks, the most frequent first.
    """
    firsts: dict[str, str] = {}
    grouped: dict[str, int] = {}
    for reason, count in holds.items():
        first = firsts.setdefault(_DECIMAL.sub('', reason), reason)
        grouped[first] = grouped.get(first, 0) + count
    return sorted(grouped.items(), key=lambda item: -item[1])
