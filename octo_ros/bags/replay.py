"""Replays a recording through the runtime of the node, without ROS and without waiting.

Time is that of the recording: messages are stored when they were recorded, the control timer
fires on a grid that starts with the first image of the reference camera, and an inference takes
no time. So one recording, checkpoint and seed give the same numbers to the bit.
"""

import dataclasses
import itertools
import logging
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.episodes import action_stamp_ns
from octo_ros.bags.episodes import decode_action
from octo_ros.bags.reader import BagMessage
from octo_ros.errors import BagError
from octo_ros.errors import OctoError
from octo_ros.messages.inference import AcceptedChunk
from octo_ros.messages.postprocess import Command
from octo_ros.messages.runtime import Runtime

_LOG = logging.getLogger('octo_ros.bags')
# MoveIt Servo stops when commands come slower, so no control timer should be.
_SLOWEST_TIMER_HZ = 20
_MOST_VIEWS = 64


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


class _Gathering:
    """Picks out of a recording what the result keeps of it."""

    def __init__(self, topics: TopicMap, names: Sequence[str], reference: str,
                 step_ns: int) -> None:
        self.result = ReplayResult()
        self._topics = topics
        self._names = tuple(names)
        self._step_ns = step_ns
        self._camera = next(t for t, name in topics.streams.items() if name == reference)
        self._misfit = False
        self._view_stride = 1
        self._seen_views = 0

    def take(self, message: BagMessage) -> None:
        """Keeps a recorded action, and now and then a view."""
        self.result.start_ns = self.result.start_ns or message.log_ns
        if message.topic == self._topics.action:
            self._keep_action(message)
        elif message.topic == self._camera:
            self._keep_view(message)

    def finish(self, task: str) -> ReplayResult:
        """Puts the nearest recorded action, at most half a step away, beside each step."""
        recorded = self.result.recorded
        stamps = np.array([stamp_ns for stamp_ns, _ in recorded], np.int64)
        for index, step in enumerate(self.result.steps if recorded else ()):
            nearest = int(np.abs(stamps - step.stamp_ns).argmin())
            if abs(int(stamps[nearest]) - step.stamp_ns) <= self._step_ns // 2:
                self.result.steps[index] = dataclasses.replace(
                    step, recorded=recorded[nearest][1])
        self.result.task = task
        return self.result

    def _keep_action(self, message: BagMessage) -> None:
        if self._misfit:
            return
        try:
            action = decode_action(message.message, self._names)
        except BagError as error:
            if not self._topics.action_guessed:
                raise
            self._misfit = True
            _LOG.warning("'%s' is not compared with: %s", message.topic, error)
            return
        stamp_ns = action_stamp_ns(message.message, message.log_ns)
        self.result.recorded.append((stamp_ns, action))

    def _keep_view(self, message: BagMessage) -> None:
        """Keeps a bounded number of views, evenly spread over what has come so far."""
        views = self.result.views
        if self._seen_views % self._view_stride == 0:
            views.append((message.log_ns, message.message))
        self._seen_views += 1
        if len(views) > _MOST_VIEWS:
            del views[1::2]
            self._view_stride *= 2


class OfflineReplay:
    """Feeds one recording to a runtime that was prepared."""

    def __init__(self, runtime: Runtime, topics: TopicMap, *, names: Sequence[str], step_ns: int,
                 fixed_task: bool = False, on_message: Callable[[], Any] | None = None) -> None:
        """Keeps its parts.

        Args:
            runtime: as the node has it; `prepare` was called.
            topics: roles of the recording's topics.
            names: of the action dimensions.
            step_ns: duration of a policy step [ns].
            fixed_task: the runtime has its task already; the recorded instruction is ignored.
            on_message: called after every message, for a progress bar.
        """
        self._runtime = runtime
        self._topics = topics
        self._step_ns = step_ns
        self._fixed_task = fixed_task
        self._on_message = on_message
        self._gathering = _Gathering(topics, names, runtime.image_keys[0], step_ns)
        self._result = self._gathering.result

    def run(self, messages: Iterable[BagMessage]) -> ReplayResult:
        """Replays the messages, which come in the order of recording.

        Raises:
            BagError: there was nothing to replay.
            OctoError: the inference failed.
        """
        period_ns = timer_period_ns(self._step_ns)
        timer_ns: int | None = None
        last_ns = 0
        for message in messages:
            while timer_ns is not None and timer_ns < message.log_ns:
                self._tick(timer_ns)
                timer_ns += period_ns
            if self._take(message) and timer_ns is None:
                timer_ns = message.log_ns
            last_ns = max(last_ns, message.log_ns)
            if self._on_message is not None:
                self._on_message()
        if timer_ns is None:
            raise BagError(
                f"recording must hold images for '{self._runtime.image_keys[0]}', got none")
        while timer_ns <= last_ns:
            self._tick(timer_ns)
            timer_ns += period_ns
        return self._gathering.finish(self._runtime.task.text or '')

    def _take(self, message: BagMessage) -> bool:
        """Stores a message where it belongs; True for an image of the reference camera."""
        self._gathering.take(message)
        if message.topic == self._topics.instruction and not self._fixed_task:
            self._runtime.set_instruction(message.message.data)
        name = self._topics.streams.get(message.topic)
        if name is None:
            return False
        self._runtime.store(name, message.message, message.log_ns)
        return name == self._runtime.image_keys[0]

    def _tick(self, now_ns: int) -> None:
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
        elif tick.new_step:
            self._result.steps.append(Step(
                tick.due_ns, tick.chunk_id, tick.step_index, np.asarray(tick.action)))


def collect_live(messages: Iterable[BagMessage], chunks: Sequence[AcceptedChunk],
                 topics: TopicMap, *, names: Sequence[str], step_ns: int,
                 task: str | None) -> ReplayResult:
    """Puts the chunks that a live node published beside the recording it was played.

    Each chunk counts as executed until the observation of the next one.

    Args:
        messages: of the recording.
        chunks: in order of their observations, stamped in the time of the recording.
        topics: roles of the recording's topics.
        names: of the action dimensions.
        step_ns: duration of a policy step [ns].
        task: the text that was given; None: that of the recording.
    """
    gathering = _Gathering(topics, names, topics.image_keys[0], step_ns)
    for message in messages:
        gathering.take(message)
        if task is None and message.topic == topics.instruction:
            task = message.message.data
    gathering.result.chunks = list(chunks)
    for chunk, following in itertools.zip_longest(chunks, chunks[1:]):
        for index, action in enumerate(chunk.actions):
            due_ns = chunk.observed_ns + index * step_ns
            if following is None or due_ns < following.observed_ns - step_ns // 2:
                gathering.result.steps.append(
                    Step(due_ns, chunk.chunk_id, index, np.asarray(action)))
    return gathering.finish(task or '')


def timer_period_ns(step_ns: int) -> int:
    """Returns the period of the control timer: the step, or a whole part of it [ns]."""
    return max(1, step_ns // max(1, -(-step_ns * _SLOWEST_TIMER_HZ // 1_000_000_000)))


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
