"""What a live node did with its chunks, told from when they came, beside what was recorded."""

import bisect
import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence

from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.gathering import Gathering
from octo_ros.bags.reader import BagMessage
from octo_ros.bags.replay import timer_period_ns
from octo_ros.bags.results import ReplayResult
from octo_ros.bags.results import Step
from octo_ros.data.grippers import Grippers
from octo_ros.messages.inference import AcceptedChunk
from octo_ros.policy.chunking import Chunk
from octo_ros.policy.chunking import ensemble_action
from octo_ros.policy.loop_types import LoopParams
from octo_ros.policy.profile import RobotProfile


@dataclasses.dataclass(frozen=True, eq=False)
class LiveChunk:
    """A chunk that a node published.

    Attributes:
        chunk: stamped in the time of the recording.
        arrived_ns: when it came, in that time [ns].
    """

    chunk: AcceptedChunk
    arrived_ns: int


def collect_live(messages: Iterable[BagMessage], chunks: Sequence[LiveChunk], topics: TopicMap, *,
                 names: Sequence[str], loop: LoopParams, task: str | None,
                 pose_angles: str = '', robot: RobotProfile | None = None,
                 grippers: Grippers | None = None) -> ReplayResult:
    """Puts what a live node executed beside the recording it was played.

    Args:
        messages: of the recording.
        chunks: in order of their arrival.
        topics: roles of the recording's topics.
        names: of the action dimensions.
        loop: timing and execution, as the node had it.
        task: the text that was given; None: that of the recording.
        pose_angles: of the robot's profile.
        robot: its profile, by which recorded twists and poses become actions.
        grippers: units of the recorded grippers; taken as they are when None.

    Raises:
        BagError: the topic of the action was asked for, and none of its actions fits.
    """
    gathering = Gathering(topics, names, topics.image_keys[0], loop.step_ns, robot, grippers)
    text = task or ''
    changes_ns: list[int] = []
    end_ns = 0
    for message in messages:
        gathering.take(message)
        end_ns = max(end_ns, message.log_ns)
        if task is None and message.topic == topics.instruction:
            said = str(message.message.data)
            if said != text and (said.strip() or not said):
                changes_ns.append(message.log_ns)
                text = said
    result = gathering.result
    result.chunks = [item.chunk for item in chunks]
    result.steps = executed(chunks, loop, changes_ns=changes_ns, end_ns=end_ns,
                            pose_angles=pose_angles)
    return gathering.finish(text)


def executed(chunks: Sequence[LiveChunk], loop: LoopParams, *, changes_ns: Sequence[int] = (),
             end_ns: int, pose_angles: str = '') -> list[Step]:
    """Returns the steps that the node's control loop executed, by the rules of `ControlLoop`.

    Args:
        chunks: in order of their arrival.
        loop: timing and execution.
        changes_ns: when the task changed, which made the chunks before outdated [ns].
        end_ns: end of the recording; steps that are due later do not count [ns].
        pose_angles: of the robot's profile.
    """
    steps: list[Step] = []
    if not chunks:
        return steps
    last_due_ns: int | None = None
    period_ns = timer_period_ns(loop.step_ns)
    # One timer period more, for what is due at the end and executed when the timer fires next.
    for now_ns in range(chunks[0].arrived_ns, end_ns + period_ns, period_ns):
        held = _held(chunks, loop, changes_ns, now_ns)
        if not held:
            continue
        newest = held[-1]
        index = newest.index_at(now_ns, loop.step_ns)
        if not 0 <= index < _usable(newest, loop):
            continue
        due_ns = newest.due_ns(index, loop.step_ns)
        if due_ns > end_ns:
            break
        if last_due_ns is not None and due_ns - last_due_ns <= loop.step_ns // 2:
            continue
        last_due_ns = due_ns
        action = newest.actions[index]
        if loop.execution == 'temporal_ensemble':
            action = ensemble_action(held, due_ns, loop.step_ns, loop.ensemble_exp_weight,
                                     _usable(newest, loop), pose_angles)
        steps.append(Step(due_ns, newest.chunk_id, index, action))
    return steps


def _held(chunks: Sequence[LiveChunk], loop: LoopParams, changes_ns: Sequence[int], now_ns: int
          ) -> list[Chunk]:
    """Returns the chunks that count at a time, oldest first."""
    begin_ns = max((change for change in changes_ns if change <= now_ns), default=0)
    count = bisect.bisect_right(chunks, now_ns, key=lambda item: item.arrived_ns)
    # There is one chunk a step at most, so those before have passed.
    recent = max(0, count - len(chunks[0].chunk.actions) - 2)
    come = [item.chunk for item in chunks[recent:count]]
    current = [chunk for chunk in come if chunk.observed_ns >= begin_ns]
    if not current and now_ns < begin_ns + loop.step_ns:
        current = come  # those of the task before last one more step at most
    if loop.execution != 'temporal_ensemble':
        current = current[-1:]
    found = [Chunk(chunk.chunk_id, chunk.observed_ns, chunk.observed_ns, chunk.actions)
             for chunk in current]
    return [chunk for chunk in found
            if chunk.index_at(now_ns, loop.step_ns) <= _usable(chunk, loop)]


def _usable(chunk: Chunk, loop: LoopParams) -> int:
    """Returns how many leading steps of a chunk take part."""
    if loop.execution == 'temporal_ensemble' and loop.ensemble_steps:
        return loop.ensemble_steps
    return len(chunk.actions)
