"""What comes out of a replay: executed steps, chunks, and what the recording says of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.errors import OctoError
from octo_ros.messages.inference import AcceptedChunk
from octo_ros.messages.postprocess import Command


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
        task: text of the task.
        holds: reasons for which there was no action, with the number of ticks.
    """

    steps: list[Step] = dataclasses.field(default_factory=list)
    chunks: list[AcceptedChunk] = dataclasses.field(default_factory=list)
    commands: list[Command] = dataclasses.field(default_factory=list)
    views: list[tuple[int, Any]] = dataclasses.field(default_factory=list)
    recorded: list[tuple[int, Float[np.ndarray, 'ad']]] = dataclasses.field(default_factory=list)
    start_ns: int = 0
    task: str = ''
    holds: dict[str, int] = dataclasses.field(default_factory=dict)


def errors(steps: Sequence[Step]) -> Float[np.ndarray, 'n ad']:
    """Returns predicted minus recorded action of every step that has both."""
    rows = [step.predicted - step.recorded for step in steps if step.recorded is not None]
    return np.array(rows, np.float64)


def require_actions(result: ReplayResult) -> None:
    """Raises OctoError with the reasons when the policy never gave an action."""
    if not result.steps:
        reasons = '; '.join(f'{reason} ({count} ticks)' for reason, count in
                            sorted(result.holds.items(), key=lambda item: -item[1]))
        raise OctoError(f'replay must give actions, got none: {reasons or "nothing to do"}')
