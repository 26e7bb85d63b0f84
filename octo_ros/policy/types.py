"""The values that pass between cameras, policy and control loop: numpy in, numpy out."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8


@dataclasses.dataclass(frozen=True)
class PolicySpec:
    """What a policy wants to see and what it gives.

    Attributes:
        image_sizes: observation key (`image_primary`) to (height, width) [pixel], in the order
            of the checkpoint's tokenizers.
        goal_keys: keys of goal images that the policy uses.
        uses_language: True when there is a language tokenizer.
        proprio_dim: length of the proprio vector, or 0 when there is none.
        window: number of history steps the policy was trained with.
        max_window: largest window it accepts.
        action_horizon: steps in a chunk.
        action_dim: numbers in one action after cutting to the embodiment's statistics.
        action_low: 1st percentile of each action dimension in the training data, un-normalised,
            infinite where unmasked; empty when the statistics have none.
        action_high: 99th percentile, likewise.
        frames_before: number of frames that it takes before those of the window, for the velocity
            of the proprio; their images are not looked at.
        goal_cameras: goal key to the observation keys that its tokenizers take, for
            `goal_has_effect`; a goal that is not in it goes with the camera of its own name.
    """

    image_sizes: Mapping[str, tuple[int, int]]
    goal_keys: tuple[str, ...]
    uses_language: bool
    proprio_dim: int
    window: int
    max_window: int
    action_horizon: int
    action_dim: int
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    frames_before: int = 0
    goal_cameras: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def goals_in_effect(self, mapped: Sequence[str]) -> tuple[str, ...]:
        """Returns the goal keys that have an effect when these observation keys have cameras."""
        return tuple(key for key in self.goal_keys
                     if goal_has_effect(self.goal_cameras.get(key, (key,)), mapped))


def goal_has_effect(cameras: Sequence[str], mapped: Sequence[str]) -> bool:
    """Tells whether one of a goal's tokenizers runs.

    Args:
        cameras: observation keys that they take; none when one of them encodes goals apart.
        mapped: observation keys that have a camera.
    """
    return not cameras or any(key in mapped for key in cameras)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One policy step of observation, ready for the model.

    Attributes:
        stamp_ns: stamp of the observation [ns]; the chunk computed from it is placed by it.
        images: observation key to uint8 image of the size in `PolicySpec.image_sizes`. A key
            whose camera had nothing to give is absent (it is padded and masked).
        proprio: raw proprio vector (not normalised), or None.
        proprio_ns: stamp of the proprio [ns]; None where it is that of the observation.
    """

    stamp_ns: int
    images: Mapping[str, UInt8[np.ndarray, 'ih iw 3']]
    proprio: Float[np.ndarray, 'p'] | None = None
    proprio_ns: int | None = None


@dataclasses.dataclass(frozen=True)
class Window:
    """A history of frames, oldest first, padded to the policy's window.

    Attributes:
        frames: exactly `window` frames, and `PolicySpec.frames_before` older ones before them
            where proprio is given; the oldest is repeated at the front while the history is not
            full yet.
        timestep_pad_mask: True = real, False = a repeated frame.
    """

    frames: Sequence[Frame]
    timestep_pad_mask: Bool[np.ndarray, 't']

    @property
    def stamp_ns(self) -> int:
        """Stamp of the newest frame [ns]."""
        return self.frames[-1].stamp_ns


@dataclasses.dataclass(frozen=True)
class Task:
    """What the robot is asked to do: text, goal images or both.

    Attributes:
        text: the instruction, or None.
        goals: goal images by observation key, as `Policy.preprocess` leaves them.
    """

    text: str | None = None
    goals: Mapping[str, UInt8[np.ndarray, 'ih iw 3']] = dataclasses.field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """True when nothing is asked for."""
        return self.text is None and not self.goals


@dataclasses.dataclass(frozen=True)
class Inference:
    """One answer of the policy.

    Attributes:
        actions: un-normalised action chunk.
        timings_s: wall time of each stage by name (`preprocess`, `model`) [s].
    """

    actions: Float[np.ndarray, 'ah ad']
    timings_s: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Policy(Protocol):
    """What the control loop, the node and the replay need of a policy."""

    spec: PolicySpec

    def prepare(self, image_keys: Sequence[str], *, window: int, proprio: bool = False,
                progress: Callable[[str], Any] | None = None) -> None:
        """Compiles and warms up for the mapped cameras. Raises OctoError when they do not fit."""

    def preprocess(self, key: str, image: UInt8[np.ndarray, 'ih iw 3']
                   ) -> UInt8[np.ndarray, 'oh ow 3']:
        """Resizes and crops an RGB image as in training, for a `Frame` or a `Task`.

        Raises TaskError where the policy takes neither an observation nor a goal of that key.
        """

    def check_task(self, task: Task) -> list[str]:
        """Raises TaskError for a task that cannot be used; returns messages on what is padded."""

    def encode_task(self, task: Task) -> Any:
        """Encodes a task once; the result goes into `infer`. Cached by content."""

    def infer(self, window: Window, task: Any) -> Inference:
        """Runs the model on a window of frames with a fresh random key."""

    def reset(self, seed: int | None = None) -> None:
        """Restarts the stream of random keys."""
