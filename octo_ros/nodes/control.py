"""The running part of the controller: timer, worker and what goes out."""

import dataclasses
import threading
import time
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger

from octo_ros.messages.commands import CommandMessages
from octo_ros.messages.inference import ChunkResult
from octo_ros.messages.inference import InferenceJob
from octo_ros.messages.runtime import NO_TASK
from octo_ros.messages.runtime import Runtime
from octo_ros.nodes.arming import Arming
from octo_ros.nodes.latency import LatencyWindow
from octo_ros.nodes.publishers import Outputs
from octo_ros.nodes.state_log import StateLog
from octo_ros.nodes.worker import Worker

NO_CLOCK = 'the time stands still: with use_sim_time, something must publish /clock'
_STALLED_S = 1.0
# The stop behaviour is repeated that long: a controller that just started may miss one message.
_STOP_S = 1.0
_WORKER_TIMEOUT_S = 10.0


_Numbered = tuple[int, InferenceJob]  # with the number of restarts before it


class Control:
    """Turns ticks of a timer into inferences and commands while it is active."""

    def __init__(self, runtime: Runtime, messages: CommandMessages, outputs: Outputs,
                 arming: Arming, now_ns: Callable[[], int], logger: RcutilsLogger) -> None:
        """Keeps its parts; `now_ns` is the clock of the node."""
        self._runtime = runtime
        self._messages = messages
        self._outputs = outputs
        self._arming = arming
        self._now_ns = now_ns
        self._logger = logger
        self._lock = threading.Lock()
        self._active = False
        # One for all activations: an inference that outlasts its own must not meet the next.
        self._worker: Worker[_Numbered] = Worker(self._infer, self._on_worker_error)
        self._restarts = 0
        self._seed: int | None = None
        self._stop_until_s = 0.0
        self._moving = False
        self._log = StateLog(logger.info, logger.warning)
        self._reason = 'not active'
        self._ticked_s = 0.0
        self._watched_ns = 0
        self.latencies = LatencyWindow()
        self.chunks = 0

    @property
    def hold_reason(self) -> str:
        """Why no command goes out, '' when one does. The timer cannot say that it stands still."""
        if self._active and time.monotonic() - self._ticked_s > _STALLED_S:
            return self._arming.hold_reason or NO_CLOCK
        return self._reason

    def activate(self) -> None:
        """Starts from a clean slate."""
        self.restart()
        self.latencies.clear()
        with self._lock:
            self._active = True
            self._reason = 'starting'
            self._log.restart()
            self._ticked_s = time.monotonic()

    def deactivate(self) -> None:
        """Stops the robot, then the inference."""
        if self._end() and not self._worker.rest(_WORKER_TIMEOUT_S):
            self._warn_of_inference()

    def close(self) -> None:
        """Deactivates, and ends the worker."""
        was_active = self._end()
        if not self._worker.stop(_WORKER_TIMEOUT_S if was_active else 0.1):
            self._warn_of_inference()

    def _end(self) -> bool:
        """Stops the robot; returns whether it was active."""
        with self._lock:
            was_active, self._active = self._active, False
            # Only if it is ours to stop: to repeat an old target could move a robot that somebody
            # else has taken over meanwhile.
            if was_active and (self._moving or time.monotonic() < self._stop_until_s):
                self._publish_stop()
            self._moving = False
            self._reason = 'not active'
            return was_active

    def _warn_of_inference(self) -> None:
        self._logger.warning('An inference is still running; its result will be dropped')

    def stop_now(self) -> None:
        """Publishes the stop behaviour without waiting for the timer."""
        with self._lock:
            if self._active:
                self._hold(self._arming.hold_reason)

    def restart(self, seed: int | None = None) -> None:
        """Forgets history, chunks, targets and inferences that were asked for.

        Args:
            seed: where the random numbers of the next inference start from; None to go on.
        """
        with self._lock:
            self._runtime.reset()
            self._restarts += 1
            self._seed = self._seed if seed is None else seed

    def watch(self) -> bool:
        """Stops the robot once the timer stands still; called by a clock that does not.

        Returns:
            Whether the clock was set back since the last call, and the timer must be started anew:
            rcl does that where the time is simulated; else it waits for the time that it had.
        """
        with self._lock:
            if self._active and time.monotonic() - self._ticked_s > _STALLED_S:
                self._hold(self._arming.hold_reason or NO_CLOCK)
            last_ns, self._watched_ns = self._watched_ns, self._now_ns()
            return self._watched_ns < last_ns

    def tick(self) -> None:
        """Does one tick of the control timer."""
        with self._lock:
            if not self._active:
                return
            self._ticked_s = time.monotonic()
            now_ns = self._now_ns()
            if now_ns == 0:
                self._hold(self._arming.hold_reason or NO_CLOCK)
                return
            job = self._runtime.poll(now_ns)
            if job is not None:
                self._worker.submit((self._restarts, job))
            output = self._runtime.tick(now_ns, self._arming.hold_reason)
            reason = self._arming.hold_reason or output.reason
            if output.command is None or reason:
                self._hold(reason)
                return
            self._go()
            self._outputs.publish(self._messages.command(output.command), commands=True)

    def _go(self) -> None:
        self._reason = ''
        self._moving = True
        self._log.note('', time.monotonic())

    def _hold(self, reason: str) -> None:
        if self._moving:
            self._moving = False
            self._stop_until_s = time.monotonic() + _STOP_S
        if time.monotonic() < self._stop_until_s:
            self._publish_stop()
        self._reason = reason
        meant = reason in (NO_TASK, self._arming.hold_reason)
        self._log.note(reason, time.monotonic(), meant=meant)

    def _publish_stop(self) -> None:
        now_ns = self._now_ns()
        joints = self._runtime.measured_joints(now_ns)
        held = None if joints is None else joints.tolist()
        self._outputs.publish(self._messages.stop(now_ns, held), commands=True)

    def _infer(self, numbered: _Numbered) -> None:
        restarts, job = numbered
        with self._lock:
            if restarts != self._restarts:
                return  # its answer would be dropped, and it must not take random numbers
            seed, self._seed = self._seed, None
        started_s = time.perf_counter()
        result = self._runtime.run(dataclasses.replace(job, seed=seed))
        inferred_s = time.perf_counter() - started_s
        chunk = self._runtime.accept(result)
        if chunk is None:
            return
        age_s = (self._now_ns() - chunk.observed_ns) / 1e9
        self.latencies.add({
            **chunk.timings_s, 'inference': inferred_s, 'image to chunk': age_s})
        with self._lock:
            if self._active:
                self.chunks += 1
                self._outputs.publish(
                    self._messages.chunk(chunk), commands=not self._arming.hold_reason)

    def _on_worker_error(self, numbered: _Numbered, error: Exception) -> None:
        _, job = numbered
        self._runtime.accept(ChunkResult(job, None, {}, error=f'{type(error).__name__}: {error}'))
