"""Replays a recording through the runtime of the node, without ROS and without waiting.

Time is that of the recording: messages are stored when they were recorded, the control timer
fires on a grid that starts with the first image of the reference camera, and an inference takes
no time. So one recording, checkpoint and seed give the same numbers to the bit. Long gaps, as
before a recorder knew the simulated time, are jumped where the timer would find nothing to do.
"""

import logging
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.gathering import Gathering
from octo_ros.bags.reader import BagMessage
from octo_ros.bags.results import ReplayResult
from octo_ros.bags.results import Step
from octo_ros.data.grippers import Grippers
from octo_ros.errors import BagError
from octo_ros.errors import TaskError
from octo_ros.messages.conversions import stamp_ns
from octo_ros.messages.runtime import Runtime
from octo_ros.policy.profile import RobotProfile

_LOG = logging.getLogger('octo_ros.bags')
_NS = 1_000_000_000
# MoveIt Servo stops when commands come slower, so no control timer should be.
_SLOWEST_TIMER_HZ = 20
_OLDEST_NS = 60 * _NS  # an observation can be used up to then, whatever `LoopParams` say


class OfflineReplay:
    """Feeds one recording to a runtime that was prepared."""

    def __init__(self, runtime: Runtime, topics: TopicMap, *, names: Sequence[str], step_ns: int,
                 robot: RobotProfile | None = None, grippers: Grippers | None = None,
                 fixed_task: bool = False,
                 on_message: Callable[[], Any] | None = None,
                 on_note: Callable[[str], Any] = _LOG.info) -> None:
        """Keeps its parts.

        Args:
            runtime: as the node has it; `prepare` was called.
            topics: roles of the recording's topics.
            names: of the action dimensions.
            step_ns: duration of a policy step [ns].
            robot: its profile, by which recorded twists and poses become actions.
            grippers: units of the recorded grippers; taken as they are when None.
            fixed_task: the runtime has its task already; the recorded instruction is ignored.
            on_message: called after every message, for a progress bar.
            on_note: told once each what the policy misses for the recorded tasks.
        """
        self._runtime = runtime
        self._topics = topics
        self._step_ns = step_ns
        self._fixed_task = fixed_task
        self._on_message = on_message
        self._on_note = on_note
        self._period_ns = timer_period_ns(step_ns)
        self._reach_ns = _OLDEST_NS + (runtime.spec.action_horizon + 2) * step_ns
        # Newest stamp of every stream, and the newest time of recording under ''.
        self._events_ns: dict[str, int] = {}
        self._told: set[str] = set()
        self._gathering = Gathering(
            topics, names, runtime.image_keys[0], step_ns, robot, grippers)
        self._result = self._gathering.result

    def run(self, messages: Iterable[BagMessage]) -> ReplayResult:
        """Replays the messages, which come in the order of recording.

        Raises:
            BagError: there was nothing to replay.
            OctoError: the inference failed.
        """
        timer_ns: int | None = None
        last_ns: int | None = None
        for message in messages:
            if timer_ns is not None:
                timer_ns = self._tick_until(message.log_ns, timer_ns)
            if self._take(message) and timer_ns is None:
                timer_ns = message.log_ns
            last_ns = message.log_ns if last_ns is None else max(last_ns, message.log_ns)
            if self._on_message is not None:
                self._on_message()
        if timer_ns is None or last_ns is None:
            raise BagError(
                f"recording must hold images for '{self._runtime.image_keys[0]}', got none")
        self._tick_until(last_ns + 1, timer_ns)
        return self._gathering.finish(self._runtime.task.text or '')

    def _tick_until(self, end_ns: int, timer_ns: int) -> int:
        """Fires the timer as often as it is due before a time; returns when it is due next."""
        while timer_ns < end_ns:
            hold = self._tick(timer_ns)
            timer_ns += self._period_ns
            skipped = self._idle_ns(timer_ns, end_ns) // self._period_ns
            if hold is not None and skipped:
                self._result.holds[hold] += skipped
                timer_ns += skipped * self._period_ns
        return timer_ns

    def _idle_ns(self, now_ns: int, end_ns: int) -> int:
        """Returns how long every tick will hold: no message is fresh, and no chunk lasts [ns].

        Messages are fresh by their stamps, which may lie far from the times of recording. The
        ticks near the end do count, as what comes then may refer to the last of them.
        """
        events = self._events_ns.values()
        if any(0 <= now_ns - event <= self._reach_ns for event in events):
            return 0
        coming = min((event for event in (*events, end_ns) if event > now_ns), default=now_ns)
        return max(0, coming - self._reach_ns - now_ns)

    def _take(self, message: BagMessage) -> bool:
        """Stores a message where it belongs; True for an image of the reference camera."""
        self._gathering.take(message)
        self._events_ns[''] = message.log_ns
        if message.topic == self._topics.instruction and not self._fixed_task:
            self._instruct(message)
        for name, topic in self._topics.streams.items():
            if topic == message.topic:
                self._runtime.store(name, message.message, message.log_ns)
                self._events_ns[name] = stamp_ns(message.message)
        return message.topic == self._topics.streams[self._runtime.image_keys[0]]

    def _instruct(self, message: BagMessage) -> None:
        """Does as the node: what cannot be used is told once, and the task stays as it was."""
        try:
            notes = self._runtime.set_instruction(message.message.data)
        except TaskError as error:
            if str(error) not in self._told:
                _LOG.warning("'%s' at %.3f s: %s; the task stays as it was", message.topic,
                             (message.log_ns - self._result.start_ns) / _NS, error)
            self._told.add(str(error))
            return
        for note in notes:
            self._on_note(note)

    def _tick(self, now_ns: int) -> str | None:
        """Does what the timer does; returns why there was no action, if so."""
        job = self._runtime.poll(now_ns)
        if job is not None:
            result = self._runtime.run(job)
            chunk = self._runtime.accept(result)
            if chunk is not None:
                self._result.chunks.append(chunk)
        output = self._runtime.tick(now_ns)
        tick = output.tick
        if output.command is not None:
            self._result.commands.append(output.command)
        if tick.action is None:
            holds = self._result.holds
            holds[output.reason] = holds.get(output.reason, 0) + 1
            return output.reason
        if tick.new_step:
            self._result.steps.append(Step(
                tick.due_ns, tick.chunk_id, tick.step_index, np.asarray(tick.action)))
        return None


def timer_period_ns(step_ns: int) -> int:
    """Returns the period of the control timer: the step, or a whole part of it [ns]."""
    return max(1, step_ns // max(1, -(-step_ns * _SLOWEST_TIMER_HZ // 1_000_000_000)))
