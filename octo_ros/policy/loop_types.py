"""What goes into the control loop and what comes out of it."""

import dataclasses
import enum
from typing import Any

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.params import param


@dataclasses.dataclass(frozen=True)
class LoopParams:
    """Timing of observations, inferences and actions."""

    step_s: float = param(
        0.2, 'Duration of a policy step: the time between two actions of a chunk.', unit='s',
        ge=0.001, le=10.0)
    window: int = param(
        0, 'History steps given to the policy; 0: as many as it was trained with.', ge=0, le=100)
    execution: str = param(
        'receding_horizon', 'How chunks become actions: the newest chunk alone, or the weighted '
        'mean of all chunks that cover the present step.',
        one_of=('receding_horizon', 'temporal_ensemble'))
    execute_steps: int = param(
        0, 'Receding horizon: policy steps from one inference to the next; 0: half of the '
        'chunk. At the length of the chunk the robot holds during each inference. The temporal '
        'ensemble infers in every step.', ge=0, le=1000)
    ensemble_exp_weight: float = param(
        0.0, 'Temporal ensemble: prediction i, oldest first, counts exp(-weight * i); 0: plain '
        'mean.', ge=-10.0, le=10.0)
    ensemble_steps: int = param(
        0, 'Temporal ensemble: leading steps of each chunk that take part; 0: all.', ge=0, le=1000)
    wait_for_inference: bool = param(
        False, 'Hold until the present step has been observed and the inference it asks for has '
        'come, instead of going on with the chunk before: for a robot that may stand still '
        'meanwhile, and for a simulator that is stepped by commands.')
    max_observation_age_s: float = param(
        0.5, 'Observations older than this, or stamped further than this in the future, are not '
        'used.', unit='s', gt=0.0, le=60.0)

    @property
    def step_ns(self) -> int:
        """Duration of a policy step [ns]."""
        return round(self.step_s * 1e9)

    @property
    def max_observation_age_ns(self) -> int:
        """Greatest age of a usable observation [ns]."""
        return round(self.max_observation_age_s * 1e9)


class HoldReason(enum.Enum):
    """Why there is no action now; the value is a sentence for logs and diagnostics."""

    NO_OBSERVATION = 'no observation yet'
    OBSERVATION_STALE = 'the newest observation is too old'
    OBSERVATION_AHEAD = 'observations are stamped in the future: the clocks disagree'
    WAITING_FOR_INFERENCE = 'the first inference for the task is not finished'
    CHUNK_LATE = 'the inference took longer than its chunk lasts'
    CHUNK_EXHAUSTED = 'all actions of the chunk are used up and no newer chunk has come'
    STANDING_STILL = 'the inference of this step has not come yet, and it is to be waited for'
    CLOCK_JUMPED_BACK = 'the clock jumped back: history and chunks were dropped'


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """An inference that is wanted now.

    Attributes:
        request_id: goes back into `ControlLoop.accept`.
        observed_ns: stamp of the newest observation [ns].
        payloads: what was observed, oldest first, padded to the window.
        timestep_pad_mask: True = real, False = a repeated payload.
    """

    request_id: int
    observed_ns: int
    payloads: tuple[Any, ...]
    timestep_pad_mask: Bool[np.ndarray, 't']


@dataclasses.dataclass(frozen=True, eq=False)
class Tick:
    """What to do at one moment.

    Attributes:
        action: the action of the present policy step, or None to hold.
        reason: why there is no action; None when there is one.
        new_step: True at the first tick of a policy step. Commands that add up (pose targets,
            sticky grippers) advance only then; commands that are repeated (twists) need not look.
        chunk_id: id of the request behind the (newest) chunk; -1 without an action.
        step_index: step within that chunk; -1 without an action.
        observed_ns: stamp of the observation behind that chunk [ns]; 0 without an action.
        due_ns: when the step was due [ns]; 0 without an action.
    """

    action: Float[np.ndarray, 'ad'] | None
    reason: HoldReason | None = None
    new_step: bool = False
    chunk_id: int = -1
    step_index: int = -1
    observed_ns: int = 0
    due_ns: int = 0
