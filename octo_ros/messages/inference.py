"""The slow half of the runtime: decode a window of messages and run the policy on it.

It runs in a worker thread, holds no lock and lets nothing but its result out: whatever goes wrong
becomes the text of `ChunkResult.error`.
"""

import dataclasses
import logging
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.errors import OctoError
from octo_ros.messages.frames import FrameDecoder
from octo_ros.messages.ingest import Sample
from octo_ros.policy.control_loop import Request
from octo_ros.policy.types import Frame
from octo_ros.policy.types import Policy
from octo_ros.policy.types import Task
from octo_ros.policy.types import Window

_LOG = logging.getLogger('octo_ros.messages')


@dataclasses.dataclass(frozen=True, eq=False)
class InferenceJob:
    """One inference that is wanted now; goes into `Runtime.run`.

    Attributes:
        request: the control loop's request; its payloads are samples of raw messages.
        task: what the robot was asked to do when the job was made.
        seed: where the policy's random numbers are to start from first, or None to go on.
    """

    request: Request
    task: Task
    seed: int | None = None

    @property
    def observed_ns(self) -> int:
        """Stamp of the newest observation of the job [ns]."""
        return self.request.observed_ns


@dataclasses.dataclass(frozen=True, eq=False)
class ChunkResult:
    """What `Runtime.run` gives back; goes into `Runtime.accept`.

    Attributes:
        job: the job that was run.
        actions: the un-normalised chunk, or None when it failed.
        timings_s: wall time by stage (`decode`, `task`, and what the policy names) [s].
        unusable: samples of the job that cannot be decoded.
        error: why there is no chunk, one line, or ''.
        told: True when the stream at fault says the reason, so that it need not be said again.
    """

    job: InferenceJob
    actions: Float[np.ndarray, 'ah ad'] | None
    timings_s: Mapping[str, float]
    unusable: tuple[Sample, ...] = ()
    error: str = ''
    told: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class AcceptedChunk:
    """A chunk that is being executed; `CommandMessages.chunk` makes messages of it.

    Attributes:
        chunk_id: number of the inference since the start; `Command.chunk_id` names the same.
        actions: the un-normalised actions as the policy gave them.
        observed_ns: stamp of the observation [ns]; action k is due at that plus k steps.
        timings_s: wall time by stage [s].
        positions: limited positions of the joints that are not grippers, when the profile
            commands whole joint trajectories; None otherwise.
    """

    chunk_id: int
    actions: Float[np.ndarray, 'ah ad']
    observed_ns: int
    timings_s: Mapping[str, float]
    positions: Float[np.ndarray, 'ah j'] | None = None


class InferenceFailures:
    """Why no chunks come: it is said once, and so is that they come again.

    Attributes:
        present: why the newest inference gave no chunk, one line, or ''.
    """

    def __init__(self) -> None:
        """Starts without a failure."""
        self.present = ''
        self._told = False

    def note(self, error: str, *, told: bool) -> None:
        """Takes how an inference ended: an error or ''; `told` when a stream says it already."""
        warn = bool(error) and not told and error != self.present
        came_again = self._told and not error
        self._told = (self._told or warn) and bool(error)
        self.present = error
        if warn:
            _LOG.warning('no action chunk: %s', error)
        elif came_again:
            _LOG.info('action chunks come again')


class InferenceRunner:
    """Turns jobs into results. For one thread at a time."""

    def __init__(self, policy: Policy, decoder: FrameDecoder,
                 report: Callable[[Mapping[str, str], Sequence[str]], None], *,
                 frames_before: int = 0) -> None:
        """Keeps its parts.

        Args:
            policy: computes the chunks.
            decoder: decodes what it takes.
            report: `report(problems, streams)` hears of every message once decoded.
            frames_before: see `PolicySpec`; the number of them in every request.
        """
        self._before = frames_before
        self._policy = policy
        self._decoder = decoder
        self._report = report

    def run(self, job: InferenceJob) -> ChunkResult:
        """Decodes what the job uses and runs the policy. Slow; a failure is part of the result."""
        timings_s: dict[str, float] = {}
        bad: tuple[Sample, ...] = ()
        try:
            if job.seed is not None:
                self._policy.reset(job.seed)
            started = time.perf_counter()
            window, bad, problem = self._decode(job)
            timings_s['decode'] = time.perf_counter() - started
            if window is None:
                return ChunkResult(job, None, timings_s, bad, problem, told=True)
            started = time.perf_counter()
            task = self._policy.encode_task(job.task)
            timings_s['task'] = time.perf_counter() - started
            inference = self._policy.infer(window, task)
        except OctoError as error:
            return ChunkResult(job, None, timings_s, bad, str(error))
        except Exception as error:  # out of memory, a lost device: the caller has to stay alive
            _LOG.exception('the inference failed')
            return ChunkResult(job, None, timings_s, bad, f'{type(error).__name__}: {error}')
        return ChunkResult(job, inference.actions, {**timings_s, **inference.timings_s}, bad)

    def _decode(self, job: InferenceJob) -> tuple[Window | None, tuple[Sample, ...], str]:
        """Decodes the window; frames that cannot be are replaced by the oldest that can."""
        payloads = job.request.payloads
        real = [sample for sample, valid in zip(
            payloads, job.request.timestep_pad_mask, strict=True) if valid]
        size = len(payloads) - self._before
        before, bad_before, _ = self._frames(real[:-size], images=False)
        frames, bad, problem = self._frames(real[-size:], images=True)
        if not frames or (bad and bad[-1] is real[-1]):
            return None, (*bad_before, *bad), problem
        oldest = frames[:1]
        padding = self._before + size - len(frames)
        window = Window(
            (*oldest * (self._before - len(before)), *before,
             *oldest * (size - len(frames)), *frames), np.arange(len(payloads)) >= padding)
        return window, (*bad_before, *bad), problem

    def _frames(self, samples: Sequence[Sample], *, images: bool
                ) -> tuple[list[Frame], list[Sample], str]:
        """Returns the frames that can be decoded, the samples that cannot, and why the last."""
        frames: list[Frame] = []
        bad: list[Sample] = []
        problem = ''
        for sample in samples:
            decoded = self._decoder.frame(sample, images=images)
            self._report(decoded.problems, decoded.seen)
            if decoded.frame is not None:
                frames.append(decoded.frame)
            else:
                bad.append(sample)
                names = ' and '.join(f"'{name}'" for name in decoded.problems)
                problem = f'the newest message on {names} cannot be used'
        return frames, bad, problem
