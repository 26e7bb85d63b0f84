"""Recordings to training episodes: sampled on the grid of policy steps, with a report of faults.

The first step is at the first action for which every stream has come. A step takes the action
nearest to it, or what the changes add up to that come within it, and of every other stream the
newest message that was there by then, as the policy does at run time.
"""

import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.bags.command_actions import command_actions
from octo_ros.bags.command_actions import is_command
from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.faster_actions import add_up
from octo_ros.bags.faster_actions import rate_fault
from octo_ros.bags.instructions import read_facts
from octo_ros.bags.instructions import read_instruction
from octo_ros.bags.joint_names import AS_RECORDED
from octo_ros.bags.joint_names import JointNames
from octo_ros.bags.joint_names import action_reader
from octo_ros.bags.joint_names import with_joints
from octo_ros.bags.reader import BagReader
from octo_ros.bags.readings import read_frames
from octo_ros.bags.readings import read_states
from octo_ros.bags.recorded_stream import SAME_NS
from octo_ros.bags.recorded_stream import RecordedStream
from octo_ros.data.episode import Episode
from octo_ros.data.findings import Demonstration
from octo_ros.data.findings import Finding
from octo_ros.data.findings import close_stretches
from octo_ros.data.findings import longest
from octo_ros.data.frames import Run
from octo_ros.data.frames import Trouble
from octo_ros.data.frames import in_runs
from octo_ros.errors import BagError
from octo_ros.messages.conversions import GREATEST
from octo_ros.params import param
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.proprio import PROPRIO

SUCCESS_TOPIC = '/success'
FACTS_TOPIC = '/episode'
_NS = 1_000_000_000
_LATE_START_NS = _NS  # a stream that begins later than this has a gap
_SLOW = 1.2  # intervals of frames or states, in steps, that are worth telling
_CLOCKS_NS = _NS  # header stamp and time of recording may differ by this much


@dataclasses.dataclass(frozen=True)
class SamplingParams:
    """How recordings are sampled, and what is done about faults."""

    step_s: float = param(0.2, 'Duration of a policy step.', unit='s', gt=0.0, le=10.0)
    max_age_s: float = param(
        0.3, 'Greatest age of a frame or state at its step.', unit='s', gt=0.0)
    rate_tolerance: float = param(
        0.05, 'By which part of a step the typical interval of actions may differ from it.',
        gt=0.0, lt=1.0)
    shortest: int = param(3, 'Least number of steps of an episode.', ge=1)


def read_demonstration(path: str | Path, topics: TopicMap, action_names: Sequence[str],
                       params: SamplingParams,
                       image_sizes: Mapping[str, tuple[int, int]] | None = None, *,
                       deltas: Sequence[int] = (), robot: RobotProfile | None = None,
                       joints: JointNames = AS_RECORDED
                       ) -> Demonstration:
    """Reads a recording.

    Frames that are missing are marked as such; states that are missing or not finite keep the
    last value; of actions with holes, the longest stretch without a hole is kept.

    Args:
        path: the recording.
        topics: which topic plays which part; it must name the action.
        action_names: names of the action's numbers, in order.
        params: how to sample.
        image_sizes: observation key to height and width, to resize frames as they are read; as
            recorded for keys that are absent.
        deltas: which numbers of the action are changes; they are added up where actions come
            faster than steps.
        robot: its profile, by which twists and poses become actions.
        joints: names of the state's and action's numbers that all recordings are to have.

    Raises:
        BagError: the recording is missing, has nothing that can be read, or other joints.
    """
    if topics.action is None:
        raise BagError(f'recording {path} must have an action topic to learn from, got none; say '
                       'which with --action-topic')
    return _Sampler(
        Path(path), topics, action_names, params, image_sizes or {}, deltas, robot,
        joints).sample()


class _Sampler:
    """The sampling of one recording."""

    def __init__(self, path: Path, topics: TopicMap, names: Sequence[str], params: SamplingParams,
                 sizes: Mapping[str, tuple[int, int]], deltas: Sequence[int],
                 robot: RobotProfile | None, joints: JointNames) -> None:
        self._path = path
        self._topics = topics
        self._names = names
        self._params = params
        self._sizes = sizes
        self._deltas = np.asarray(deltas, np.int64)
        self._robot = robot
        self._joints = joints
        self._findings: list[Finding] = []
        self._start_ns = 0

    def sample(self) -> Demonstration:
        streams = self._read()
        actions = streams[str(self._topics.action)]
        self._start_ns = int(actions.stamps[0]) if actions.messages else 0
        if actions.messages and is_command(actions.messages[0]):
            self._to_actions(actions, streams.get(self._topics.gripper or ''))
        if not actions.messages:
            self._note('missing', actions.topic, None, 'no action was recorded')
            return self._result(None)
        step_ns = round(self._params.step_s * _NS)
        for topic in self._timed:
            self._note_moved(streams[topic], actions)
        for topic in dict.fromkeys(self._topics.streams.values()):
            self._align(streams[topic], actions, step_ns)
        begin_ns = self._begin(streams, actions)
        span = int(actions.stamps[-1]) - begin_ns
        times = begin_ns + step_ns * np.arange(max(round(span / step_ns), 0) + 1)
        nearest = actions.nearest(times)
        take = self._added_up if self._check_rate(actions, nearest) else self._actions
        values, good = take(actions, times, step_ns, nearest)
        keep = longest(good)
        if keep.stop - keep.start < self._params.shortest:
            self._note('gap', actions.topic, None,
                       f'only {keep.stop - keep.start} steps in a row have an action')
            return self._result(None)
        return self._result(self._episode(streams, times[keep], values[keep]))

    def _to_actions(self, commands: RecordedStream, gripper: RecordedStream | None) -> None:
        found = command_actions(commands, gripper, self._robot)
        self._note_troubles(commands.topic, commands.stamps, found.troubles, 'commands')
        if found.gripper_unknown:
            self._note('missing', self._topics.gripper or '', None,
                       'no command by the end of the first step: the gripper is taken as open')
        commands.replace([(begin_ns, SimpleNamespace(data=action))
                          for begin_ns, action in found.steps])

    def _begin(self, streams: Mapping[str, RecordedStream], actions: RecordedStream) -> int:
        """Returns when the first step is: once every stream has come, if none is much later.

        A recorder rarely hears the first command and the first frame at once. The grid keeps to
        the actions: halfway between two of them, jitter decides which of its steps has one.
        """
        firsts = [int(streams[topic].stamps[0]) for topic in self._topics.streams.values()
                  if len(streams[topic].stamps)]
        begin_ns = max([*firsts, self._start_ns])
        if begin_ns - self._start_ns > _LATE_START_NS:
            return self._start_ns
        first = np.searchsorted(actions.stamps, begin_ns - SAME_NS)
        return int(actions.stamps[first]) if first < len(actions.stamps) else begin_ns

    def _read(self) -> dict[str, RecordedStream]:
        wanted = [*self._topics.topics, SUCCESS_TOPIC, FACTS_TOPIC]
        streams = {topic: RecordedStream(topic) for topic in wanted}
        with BagReader(self._path, log=False) as bag:
            for topic, log_ns, message in bag.messages(wanted):
                streams[topic].add(message, log_ns)
            for text in bag.damage:
                self._note('damage', '', None, text)
        lags = {topic: streams[topic].lags for topic in self._timed}
        for stream in streams.values():
            others = np.concatenate([*(of for topic, of in lags.items() if topic != stream.topic),
                                     np.zeros(0)])
            stream.sort(self._params.step_s * _NS / 2,
                        float(np.median(others)) if len(others) else None)
            if stream.unstamped > 1:  # one may be of the time 0
                self._note('stamps', stream.topic, None, f'{stream.unstamped} header stamps are '
                           'zero: taken by the time of recording')
            if abs(stream.offset_ns) > _CLOCKS_NS:
                self._note('stamps', stream.topic, None,
                           f'header stamps lie {stream.offset_ns / _NS:.1f} s before the time of '
                           'recording; they are of another clock')
        return streams

    @property
    def _timed(self) -> tuple[str, ...]:
        """The topics whose times matter."""
        return tuple(dict.fromkeys([str(self._topics.action), *self._topics.streams.values()]))

    def _note_moved(self, stream: RecordedStream, actions: RecordedStream) -> None:
        for log_ns, off_ns, count in stream.moved:
            side = 'before' if off_ns > 0 else 'after'
            self._note('stamps', stream.topic, self._time(log_ns - actions.offset_ns),
                       f'header stamps lie {abs(off_ns) / _NS:.2f} s {side} those of the other '
                       f'messages, measured by the time of recording, for {count} '
                       f'message{"s" if count > 1 else ""}: taken by the time of recording', count)

    def _align(self, stream: RecordedStream, actions: RecordedStream, step_ns: int) -> None:
        """Moves all stamps where these belong to other steps than the times of recording say."""
        if stream is actions or not stream.messages:
            return
        late_ns = stream.behind_ns(actions)
        if abs(late_ns) > step_ns / 2:
            side = 'before' if late_ns > 0 else 'after'
            self._note('stamps', stream.topic, None,
                       f'header stamps lie {abs(late_ns) / _NS:.2f} s {side} the time of '
                       "recording, measured by the action's: all are moved by as much")
            stream.stamps = stream.stamps + late_ns

    def _check_rate(self, actions: RecordedStream, nearest: Int[np.ndarray, 't']) -> bool:
        """Returns whether steps have several actions each, which are to become one."""
        text, faster = rate_fault(
            actions.stamps, actions.interval_s, nearest, step_s=self._params.step_s,
            tolerance=self._params.rate_tolerance, adds=bool(self._deltas.size))
        if text:
            self._note('rate', actions.topic, None, text)
        return faster

    def _check_slow(self, stream: RecordedStream) -> None:
        interval_s, step_s = stream.interval_s, self._params.step_s
        if interval_s > _SLOW * step_s:
            self._note('rate', stream.topic, None, f'messages come every {interval_s:.3f} s, the '
                       f'policy step is {step_s:.3f} s: some steps have an old one')

    def _added_up(self, stream: RecordedStream, times: Int[np.ndarray, 't'], step_ns: int,
                  _nearest: Int[np.ndarray, 't']) -> tuple[Float[np.ndarray, 't ad'], np.ndarray]:
        stamps, once = np.unique(stream.stamps, return_index=True)  # what came twice is one motion
        values, _ = self._decoded(stream, once, stamps)
        found, good = add_up(stamps, values, times, step_ns, self._deltas)
        bad = ~np.isfinite(found).all(axis=1)
        inner = np.arange(len(times)) < len(times) - 1  # the last step may be cut off
        self._note_steps('gap', stream.topic, times, ~good & inner, 'actions are missing')
        self._note_steps('nan', stream.topic, times, bad & good,
                         f'the action is not finite, or beyond {GREATEST:g}')
        return found, good & ~bad

    def _actions(self, stream: RecordedStream, times: Int[np.ndarray, 't'], step_ns: int,
                 index: Int[np.ndarray, 't']) -> tuple[Float[np.ndarray, 't ad'], np.ndarray]:
        far = np.abs(stream.stamps[index] - times) > step_ns / 2
        values, unread = self._decoded(stream, index, times)
        bad = ~np.isfinite(values).all(axis=1)
        self._note_steps('gap', stream.topic, times, far, 'no action within half a step')
        self._note_steps('nan', stream.topic, times, bad & ~far & ~unread,
                         f'the action is not finite, or beyond {GREATEST:g}')
        return values, ~(far | bad)

    def _decoded(self, stream: RecordedStream, index: Int[np.ndarray, 'n'],
                 times: Int[np.ndarray, 'n']) -> tuple[Float[np.ndarray, 'n ad'], np.ndarray]:
        """Returns these messages' actions; NaN, a note and True behind it for what is none."""
        read, odd = action_reader(stream, self._names, self._joints)
        self._note_runs(stream.topic, stream.stamps, odd)
        values = np.full((len(index), len(self._names)), np.nan)
        unread = np.zeros(len(index), bool)
        troubles: list[Trouble] = []
        for place, number in enumerate(index):
            try:
                values[place] = read(stream.messages[number])
            except BagError as error:
                troubles.append(Trouble(place, 'action', str(error)))
                unread[place] = True
                if unread.all():  # not a single one fits what was asked for
                    raise
        self._note_troubles(stream.topic, times, troubles, 'actions')
        values[np.abs(values) > GREATEST] = np.nan
        return values, unread

    def _episode(self, streams: Mapping[str, RecordedStream], times: Int[np.ndarray, 't'],
                 actions: Float[np.ndarray, 't ad']) -> Episode | None:
        images, present, proprio = {}, {}, None
        for key, topic in self._topics.streams.items():
            stream, names = streams[topic], tuple[str, ...]()
            if key == PROPRIO:
                stream, names, odd = with_joints(stream, self._joints)
                self._note_runs(topic, streams[topic].stamps, odd)
            index = stream.newest(times, round(self._params.max_age_s * _NS))
            if not (index >= 0).any():
                self._note('missing', topic, None, f'no message for {key} was there in time')
                return None
            self._note_steps('gap', topic, times, index < 0,
                             f'nothing newer than {self._params.max_age_s:g} s')
            self._check_slow(stream)
            if key == PROPRIO:
                proprio, troubles = read_states(stream, index, names)
                self._note_troubles(topic, times, troubles)
                if proprio is None:
                    self._note('missing', topic, None, 'no finite state')
                    return None
            elif key.startswith('image_'):
                frames = read_frames(stream, index, self._sizes.get(key))
                self._note_troubles(topic, times, frames.troubles)
                stacked = frames.stacked()
                if stacked is None:
                    self._note('missing', topic, None, f'no frame for {key} can be decoded')
                    return None
                images[key], present[key] = stacked
        facts = read_facts(streams[FACTS_TOPIC])
        instruction = ''
        if self._topics.instruction:
            # Texts have no stamps; the clock of the actions' may be another than the recorder's.
            instruction, troubles = read_instruction(
                streams[self._topics.instruction],
                times + streams[str(self._topics.action)].offset_ns)
            self._note_troubles(self._topics.instruction, times, troubles)
        if not instruction:
            self._note('instruction', self._topics.instruction or '', None, 'no instruction')
        success = [bool(m.data) for m in streams[SUCCESS_TOPIC].messages]
        instructions = tuple(dict.fromkeys(
            [instruction] * bool(instruction) + list(facts.pop('paraphrases', []))))
        return Episode(
            name=str(self._path), images=images, actions=actions.astype(np.float32),
            instructions=instructions, proprio=proprio, present=present,
            step_s=self._params.step_s, success=success[-1] if success else None, metadata=facts)

    def _note_troubles(self, topic: str, times: Int[np.ndarray, 't'],
                       troubles: Sequence[Trouble], unit: str = 'steps') -> None:
        """Notes steps with one fault that follow each other once."""
        self._note_runs(topic, times, in_runs(troubles, range(len(times)), unit))

    def _note_runs(self, topic: str, times: Int[np.ndarray, 't'], runs: Iterable[Run]) -> None:
        for row, kind, text, count in runs:
            self._note(kind, topic, None if row is None else self._time(times[row]), text, count)

    def _note_steps(self, kind: str, topic: str, times: Int[np.ndarray, 't'], hit: np.ndarray,
                    text: str) -> None:
        """Notes each stretch of steps once, with good steps that are single in it."""
        for stretch in close_stretches(hit):
            steps, count = stretch.stop - stretch.start, int(hit[stretch].sum())
            of = f' of {steps}' if steps > count else ''
            self._note(kind, topic, self._time(times[stretch.start]),
                       f'{text}, for {count}{of} step{"s" if steps > 1 else ""}', count)

    def _note(self, kind: str, topic: str, time_s: float | None, text: str, count: int = 1
              ) -> None:
        self._findings.append(Finding(str(self._path), kind, topic, time_s, text, count))

    def _time(self, stamp_ns: Any) -> float:
        return (int(stamp_ns) - self._start_ns) / _NS

    def _result(self, episode: Episode | None) -> Demonstration:
        return Demonstration(episode, tuple(self._findings))
