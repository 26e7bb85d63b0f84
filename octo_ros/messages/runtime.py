"""What the live node and the offline replay share: messages in, chunks and commands out.

`Runtime` owns the newest messages, the control loop, the task and the shaping of commands. It
knows no ROS and no clock: times are integer nanoseconds that the caller passes in. `store`,
`poll`, `accept` and `tick` return at once and may be called from different threads; `run` does
the slow work (decoding, the model) and holds no lock while it does.

    runtime.store('image_primary', message, received_ns)     # subscription callback
    job = runtime.poll(now_ns)                                # control timer
    if job is not None: result = runtime.run(job)             # worker thread
    chunk = runtime.accept(result, now_ns)                    # worker thread
    output = runtime.tick(now_ns)                             # control timer
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.messages.postprocess import Command
from octo_ros.policy.types import Policy
from octo_ros.policy.types import PolicySpec


@dataclasses.dataclass(frozen=True)
class InferenceJob:
    """One inference that is wanted now; goes into `Runtime.run`. Opaque to the caller.

    Attributes:
        request: the control loop's request (its payloads are samples of raw messages).
        task: encoded or not yet encoded task, with its version.
        task_version: grows with every change of the task; results of an old one are dropped.
        epoch: grows with every reset; results of an old one are dropped.
    """

    request: Any
    task: Any
    task_version: int
    epoch: int

    @property
    def observed_ns(self) -> int:
        """Stamp of the newest observation of the job [ns]."""


@dataclasses.dataclass(frozen=True)
class ChunkResult:
    """What `Runtime.run` gives back; goes into `Runtime.accept`.

    Attributes:
        job: the job that was run.
        actions: the un-normalised chunk, or None when it failed.
        timings_s: wall time by stage (`decode`, `encode_task`, `preprocess`, `model`) [s].
        error: why there is no chunk, one line, or ''.
    """

    job: InferenceJob
    actions: Float[np.ndarray, 'ah ad'] | None
    timings_s: Mapping[str, float]
    error: str = ''


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A chunk that was accepted for execution; `CommandMessages.chunk` makes messages of it.

    Attributes:
        id: number of the chunk since the last reset.
        actions: the un-normalised actions as the policy gave them.
        observed_ns: stamp of the observation [ns]; action k is due at that plus k steps.
        timings_s: wall time by stage [s].
    """

    id: int
    actions: Float[np.ndarray, 'ah ad']
    observed_ns: int
    timings_s: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Output:
    """What to do at one tick: a command, or hold for a reason.

    Attributes:
        command: what to tell the robot, or None: hold (publish the profile's stop behaviour).
        reason: why there is no command, one line for people; '' when there is one.
        new_step: True on the first tick of a policy step.
    """

    command: Command | None
    reason: str
    new_step: bool


class Runtime:
    """Messages in, chunks and commands out; see the module's text for the order of calls."""

    def __init__(self, policy: Policy, loop: Any, profile: Any, *,
                 image_keys: Sequence[str], proprio: bool = False,
                 fallback: Callable[[Any], np.ndarray] | None = None) -> None:
        """Checks that cameras, profile and policy fit each other; compiles nothing.

        Args:
            policy: an `OctoPolicy`, or a fake. Call `prepare` before the first `run`.
            loop: `LoopParams`.
            profile: `RobotProfile`.
            image_keys: the observation keys that are mapped to cameras.
            proprio: True when a JointState is fed as `proprio`.
            fallback: converts an image whose encoding the package does not know to uint8 RGB.

        Raises:
            ParameterError: a key is not in the checkpoint, or the profile does not fit it.
        """

    @property
    def spec(self) -> PolicySpec:
        """What the policy wants and gives."""

    @property
    def window(self) -> int:
        """Number of history steps in use."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Stream names that `store` takes: the mapped image keys, `proprio`, `measured_pose`."""

    def prepare(self, progress: Callable[[str], Any] | None = None) -> None:
        """Compiles and warms up the policy for the mapped cameras. Slow."""

    def store(self, key: str, message: Any, received_ns: int) -> None:
        """Keeps a message as the newest of its stream. O(1): nothing is decoded here.

        Args:
            key: one of `streams`. `measured_pose` takes geometry_msgs/PoseStamped (needed only
                by profiles that command poses).
            message: an rclpy or rosbags message.
            received_ns: time of receipt [ns], in the same clock as `now_ns` elsewhere.
        """

    def set_instruction(self, text: str) -> list[str]:
        """Sets the text of the task from the next inference on; '' takes it away.

        Returns:
            Messages for the user on what the policy will see as missing.

        Raises:
            TaskError: the text cannot be used; the task stays as it was.
        """

    def set_goal(self, key: str, message: Any) -> list[str]:
        """Sets the goal image of an observation key. Decodes at once. As `set_instruction`.

        Raises:
            TaskError: the policy has no goal of that key.
            ObservationError: the image cannot be decoded.
        """

    def capture_goal(self, now_ns: int) -> tuple[str, ...]:
        """Takes this moment's views as goal images; returns the keys that were set.

        Raises:
            TaskError: no view is there, or the policy takes no goal images.
        """

    def clear_task(self) -> None:
        """Takes instruction and goals away; the running chunk is dropped at once."""

    @property
    def task_text(self) -> str:
        """The task in one line for people, '' when there is none."""

    def poll(self, now_ns: int) -> InferenceJob | None:
        """Samples the streams when a policy step has begun; returns an inference if one is due.

        At most one job is out at a time: while one is, the newest request waits for `accept`.
        """

    def run(self, job: InferenceJob) -> ChunkResult:
        """Decodes what the job uses and runs the policy. Slow; never raises an OctoError."""

    def accept(self, result: ChunkResult, now_ns: int) -> Chunk | None:
        """Hands a result to the control loop; None when it failed or its task is out of date."""

    def tick(self, now_ns: int) -> Output:
        """Returns the command for now, or the reason to hold."""

    def reset(self) -> None:
        """Forgets history, chunks, gripper and pose state; task and newest messages stay."""

    def health(self, now_ns: int) -> Mapping[str, Any]:
        """Returns `StreamHealth` by stream: rate, age, drops, bad messages."""
