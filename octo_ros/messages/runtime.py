"""What the live node and the offline replay share: messages in, chunks and commands out.

`Runtime` owns the newest messages, the control loop, the task and the shaping of commands. It
knows no ROS and no clock: times are integer nanoseconds that the caller passes in. `store`,
`poll`, `accept` and `tick` return at once and may be called from different threads; `run` does
the slow work (decoding, the model) and holds no lock while it does.

    runtime.store('image_primary', message, received_ns)     # subscription callback
    job = runtime.poll(now_ns)                                # control timer
    result = runtime.run(job)                                 # worker thread, if there is a job
    chunk = runtime.accept(result)                            # worker thread
    output = runtime.tick(now_ns)                             # control timer
"""

import dataclasses
import threading
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError
from octo_ros.messages.checks import checked_image_keys
from octo_ros.messages.frames import FrameDecoder
from octo_ros.messages.inference import AcceptedChunk
from octo_ros.messages.inference import ChunkResult
from octo_ros.messages.inference import InferenceFailures
from octo_ros.messages.inference import InferenceJob
from octo_ros.messages.inference import InferenceRunner
from octo_ros.messages.ingest import Ingest
from octo_ros.messages.measured import MeasuredState
from octo_ros.messages.measured import measured_streams
from octo_ros.messages.postprocess import ActionShaper
from octo_ros.messages.postprocess import Output
from octo_ros.messages.stream import StreamHealth
from octo_ros.policy.control_loop import ControlLoop
from octo_ros.policy.control_loop import HoldReason
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.proprio import PROPRIO
from octo_ros.policy.text import check_instruction
from octo_ros.policy.types import Policy
from octo_ros.policy.types import PolicySpec
from octo_ros.policy.types import Task

# Threads read the clock before they get the lock, so times may arrive slightly swapped.
_CLOCK_TOLERANCE_NS = 50_000_000
NO_TASK = 'no task: publish an instruction or a goal image'


class Runtime:
    """Messages in, chunks and commands out; see the module's text for the order of calls."""

    def __init__(self, policy: Policy, loop: LoopParams, profile: RobotProfile, *,
                 image_keys: Sequence[str], proprio: bool = False,
                 proprio_names: Sequence[str] = (),
                 fallback: Callable[[Any], np.ndarray] | None = None) -> None:
        """Checks that cameras, profile and policy fit each other; compiles nothing.

        Args:
            policy: an `OctoPolicy`, or a fake. Call `prepare` before the first `run`.
            loop: timing and execution.
            profile: meaning of the action numbers.
            image_keys: the observation keys that are mapped to cameras.
            proprio: True when a JointState is fed as `proprio`.
            proprio_names: joints to take from it, in order; all when empty.
            fallback: converts an image whose encoding the package does not know to uint8 RGB.

        Raises:
            ParameterError: a key is not in the checkpoint, or the profile does not fit it.
        """
        spec = policy.spec
        self._policy = policy
        self._proprio = proprio
        self._image_keys = checked_image_keys(image_keys, spec)
        if proprio and not spec.proprio_dim:
            raise ParameterError('proprio must be off, the checkpoint takes no proprio; got on')
        before = spec.frames_before if proprio else 0
        self._loop = ControlLoop(loop, window=spec.window, frames_before=before,
                                 action_horizon=spec.action_horizon, action_dim=spec.action_dim,
                                 pose_angles=profile.pose_angles)
        if self.window > spec.max_window:
            raise ParameterError(f"'window' must be at most {spec.max_window}, the longest that "
                                 f'the checkpoint takes, got {self.window}')
        self._whole_chunks = (profile.command.type == 'joint_trajectory' and
                              not profile.action.delta and loop.execution == 'receding_horizon')
        others = ((PROPRIO,) if proprio else ()) + measured_streams(profile)
        self._ingest = Ingest(
            self._image_keys, others=others, max_age_s=loop.max_observation_age_s)
        self._measured = MeasuredState(profile, self._ingest)
        self._decoder = FrameDecoder(
            self._image_keys, preprocess=policy.preprocess, proprio_names=proprio_names,
            proprio_dim=spec.proprio_dim, window=before + self._loop.window, fallback=fallback)
        self._runner = InferenceRunner(policy, self._decoder, self._report, frames_before=before)
        self._shaper = ActionShaper(profile, spec, step_s=loop.step_s,
                                    whole_chunks=self._whole_chunks)
        self._task = Task()
        self._noted: set[str] = set()
        self._cleared = 0
        self._now_ns: int | None = None
        self._failures = InferenceFailures()
        self._clipped_steps = 0
        self._lock = threading.Lock()

    @property
    def spec(self) -> PolicySpec:
        """What the policy wants and gives."""
        return self._policy.spec

    @property
    def window(self) -> int:
        """Number of history steps in use."""
        return self._loop.window

    @property
    def image_keys(self) -> tuple[str, ...]:
        """The mapped observation keys in the checkpoint's order; the first is the reference."""
        return self._image_keys

    @property
    def streams(self) -> tuple[str, ...]:
        """Stream names that `store` takes.

        The image keys, `proprio` (JointState) if used, and the measured state of the robot if
        the profile can use it: `measured_joints` (JointState) or `measured_pose` (PoseStamped).
        """
        return self._ingest.names

    @property
    def task(self) -> Task:
        """What the robot is asked to do."""
        return self._task

    def prepare(self, progress: Callable[[str], Any] | None = None) -> None:
        """Compiles and warms up the policy for the mapped cameras. Slow."""
        self._policy.prepare(self._image_keys, window=self.window, proprio=self._proprio,
                             progress=progress)

    def store(self, name: str, message: Any, received_ns: int) -> None:
        """Keeps a message as the newest of its stream. Quick: no image is decoded here.

        Args:
            name: one of `streams`.
            message: an rclpy or rosbags message.
            received_ns: time of receipt [ns], in the same clock as `now_ns` elsewhere.

        Raises:
            ParameterError: there is no such stream.
        """
        with self._lock:
            self._ingest.store(name, message, received_ns)
            self._measured.take(name)

    def set_instruction(self, text: str) -> list[str]:
        """Sets the text of the task from the next inference on, '' takes it away; goals stay.

        Returns:
            Messages for the user on what the policy will see as missing, each only once.

        Raises:
            TaskError: the text cannot be used; the task stays as it was.
        """
        if text:
            check_instruction(text)
        return self._change_task(lambda task: dataclasses.replace(task, text=text or None))

    def set_goal(self, key: str, message: Any) -> list[str]:
        """Sets the goal image of an observation key. As `set_instruction`, but slow.

        Raises:
            TaskError: the policy has no goal of that key, or the task was cleared meanwhile.
            ObservationError: the image cannot be decoded.
        """
        cleared = self._cleared
        image = self._decoder.goal(key, message)
        return self._change_task(
            lambda task: dataclasses.replace(task, goals={**task.goals, key: image}), cleared)

    def capture_goal(self, now_ns: int) -> tuple[str, ...]:
        """Takes this moment's views as the goal images; returns the keys that were set. Slow.

        Raises:
            TaskError: no fresh view is there, or the policy takes no goal of a mapped camera.
            ObservationError: a view cannot be decoded.
        """
        with self._lock:
            sample = self._ingest.sample(now_ns)
            waiting = self._ingest.waiting_for(now_ns)
            cleared = self._cleared
        if sample is None:
            raise TaskError(f'capturing a goal needs a fresh view of the cameras: {waiting}')
        keys = [key for key in self._image_keys
                if key in self.spec.goal_keys and key in sample.messages]
        if not keys:
            raise TaskError(
                'capturing a goal needs a mapped camera that the checkpoint takes goals of '
                f"({', '.join(self.spec.goal_keys) or 'none'}), got "
                f"{', '.join(self._image_keys)}; give an instruction instead")
        goals = {key: self._decoder.goal(key, sample.messages[key].message) for key in keys}
        self._change_task(
            lambda task: dataclasses.replace(task, goals={**task.goals, **goals}), cleared)
        return tuple(keys)

    def clear_task(self) -> None:
        """Takes instruction and goals away; the robot is to hold at once."""
        self._cleared += 1  # goals that are being decoded belong to what is taken away
        self._change_task(lambda task: Task())

    def poll(self, now_ns: int) -> InferenceJob | None:
        """Samples the streams when a policy step has begun; returns an inference if one is due.

        The next job comes after the answer to this one was accepted, or after the task changed.
        """
        with self._lock:
            self._notice(now_ns)
            if self._task.empty or not self._loop.step_due(now_ns):
                return None
            sample = self._ingest.sample(now_ns)
            if sample is None:
                return None
            request = self._loop.observe(now_ns, sample.stamp_ns, sample)
            return None if request is None else InferenceJob(request, self._task)

    def run(self, job: InferenceJob) -> ChunkResult:
        """Decodes what the job uses and runs the policy. Slow; a failure is part of the result."""
        return self._runner.run(job)

    def accept(self, result: ChunkResult) -> AcceptedChunk | None:
        """Hands a result to the control loop; None when it failed or its task is out of date."""
        request = result.job.request
        error, told = result.error, result.told
        accepted = False
        with self._lock:
            now_ns = self._now_ns or 0
            measured = self._measured.at(now_ns)
            if result.actions is not None:
                try:
                    if self._whole_chunks:
                        self._shaper.require_start(now_ns, measured.problem)
                    accepted = self._loop.accept(
                        request.request_id, result.actions, request.observed_ns)
                except ParameterError as broken:
                    error = str(broken)
                except ObservationError as lacking:
                    error, told = str(lacking), True  # the stream says it
            self._loop.abandon(request.request_id, unusable=result.unusable)
            self._failures.note(error, told=told)
            positions = None
            if accepted and result.actions is not None and self._whole_chunks:
                positions = self._shaper.trajectory(
                    result.actions, measured.joints, now_ns=now_ns,
                    observed_ns=request.observed_ns)
        if not accepted or result.actions is None:
            return None
        return AcceptedChunk(request.request_id, result.actions, request.observed_ns,
                             result.timings_s, positions)

    def tick(self, now_ns: int, hold: str = '') -> Output:
        """Returns the command for now, or the reason to hold.

        Args:
            now_ns: the time [ns].
            hold: why no command may go out, if so; targets and grippers then do not advance.
        """
        with self._lock:
            self._notice(now_ns)
            tick = self._loop.tick(now_ns)
            if tick.reason is HoldReason.CLOCK_JUMPED_BACK:
                self._shaper.reset()
            if self._task.empty:
                return Output(None, NO_TASK, tick)
            if hold:
                return Output(None, hold, tick)
            if tick.action is None:
                return Output(None, self._why_hold(tick.reason, now_ns), tick)
            measured = self._measured.at(now_ns)
            try:
                command = self._shaper.command(
                    tick, now_ns, pose=measured.pose, joints=measured.joints,
                    problem=measured.problem)
                self._clipped_steps += command.new_step and bool(command.clipped.any())
                return Output(command, '', tick)
            except ObservationError as error:
                return Output(None, str(error), tick)

    def reset(self) -> None:
        """Forgets history, chunks, gripper and pose state; task and newest messages stay."""
        with self._lock:
            self._loop.reset()
            self._shaper.reset()
            self._now_ns = None

    def health(self, now_ns: int) -> dict[str, StreamHealth]:
        """Returns rate, age, drops and bad messages by stream."""
        with self._lock:
            return self._ingest.health(now_ns)

    @property
    def clipped_steps(self) -> int:
        """Policy steps so far whose action the limits changed."""
        return self._clipped_steps

    def measured_joints(self, now_ns: int) -> Float[np.ndarray, 'j'] | None:
        """Returns fresh positions of the joints that are not grippers, for the stop behaviour."""
        with self._lock:
            return self._measured.at(now_ns).joints

    def _change_task(self, change: Callable[[Task], Task],
                     cleared: int | None = None) -> list[str]:
        with self._lock:
            if cleared not in (None, self._cleared):
                raise TaskError('the task was cleared while the goal image was decoded')
            task = change(self._task)
            # Checking is quick: sizes and names; the encoding runs in the worker.
            notes = [] if task.empty else self._policy.check_task(task)
            self._task = task
            if self._now_ns is not None:
                self._loop.replan(self._now_ns)
            told, self._noted = self._noted, self._noted | set(notes)
        return [note for note in notes if note not in told]

    def _notice(self, now_ns: int) -> None:
        """Keeps the time; after a jump back, messages received later than now are not real."""
        if self._now_ns is not None and now_ns < self._now_ns:
            if self._now_ns - now_ns <= _CLOCK_TOLERANCE_NS:
                return
            self._ingest.drop_later_than(now_ns)
            self._measured.drop_later_than(now_ns)
        self._now_ns = now_ns

    def _report(self, problems: Mapping[str, str], seen: Sequence[str]) -> None:
        with self._lock:
            for name in seen:
                if name in problems:
                    self._ingest.stream(name).report_bad(problems[name])
                else:
                    self._ingest.stream(name).report_good()

    def _why_hold(self, reason: HoldReason | None, now_ns: int) -> str:
        if reason is HoldReason.CLOCK_JUMPED_BACK:
            return reason.value
        waiting = self._ingest.waiting_for(now_ns)
        return waiting or self._failures.present or (reason.value if reason else '')
