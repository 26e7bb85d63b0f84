"""Gaps in the times of recording are jumped, and make no difference to what comes after."""

import numpy as np
import pytest

from octo_ros.bags.episodes import map_topics
from octo_ros.bags.reader import BagMessage
from octo_ros.bags.reader import BagReader
from octo_ros.bags.replay import OfflineReplay
from octo_ros.messages.runtime import Runtime
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.fakes import FakePolicy
from octo_ros.policy.profile import RobotProfile
from test.bags.conftest import START_NS

NS = 1_000_000_000


class _Counting(Runtime):
    """Counts the ticks."""

    ticks = 0

    def tick(self, now_ns, hold=''):
        self.ticks += 1
        return super().tick(now_ns, hold)


@pytest.fixture
def replayed(ten_steps):
    """Replays ten steps that `change` gave other times; returns the result and the ticks."""
    folder = ten_steps()

    def run(change, **loop):
        with BagReader(folder) as bag:
            topics = map_topics(bag, ('image_primary',), cameras={'primary': '/cam/front'})
            runtime = _Counting(FakePolicy(), LoopParams(**loop), RobotProfile(),
                                image_keys=['image_primary'])
            runtime.prepare()
            replay = OfflineReplay(runtime, topics, names=RobotProfile().action.names,
                                   step_ns=200_000_000)
            return replay.run(change(list(bag.messages(topics.topics)))), runtime.ticks
    return run


def _first_at_zero(messages):
    """As of a recorder with simulated time that began before /clock came."""
    seen = set()
    for message in messages:
        yield message if message.topic in seen else message._replace(log_ns=0)
        seen.add(message.topic)


def test_first_messages_at_time_zero_are_no_gap_to_walk_through(replayed):
    result, ticks = replayed(lambda messages: sorted(
        _first_at_zero(messages), key=lambda message: message.log_ns))
    assert len(result.steps) >= 8
    assert ticks < 20_000
    assert sum(result.holds.values()) > START_NS // NS  # all that the timer was due for


def test_times_before_zero_are_not_walked_up_to_zero(replayed):
    _, ticks = replayed(lambda messages: [
        message._replace(log_ns=message.log_ns - 2 * START_NS) for message in messages])
    assert ticks < 100


@pytest.mark.parametrize('loop', [
    {}, {'execution': 'temporal_ensemble', 'max_observation_age_s': 60.0}])
@pytest.mark.parametrize('stamped_late', [False, True])
def test_a_gap_that_is_jumped_gives_the_numbers_of_one_that_is_walked(
        replayed, loop, stamped_late):
    gap_ns = 1_000 * NS + 12_345_678

    def gapped(messages):
        for message in messages:
            later = message.log_ns > START_NS + NS
            header = getattr(message.message, 'header', None)
            if header and later:
                header.stamp.sec += gap_ns // NS
                header.stamp.nanosec += gap_ns % NS
            elif header and stamped_late:  # becomes fresh amid the gap
                header.stamp.sec += 400
            yield message._replace(log_ns=message.log_ns + gap_ns * later)

    def filled(messages):
        messages = list(gapped(messages))
        fill = [BagMessage('/else', START_NS + k * 30 * NS, None) for k in range(1, 33)]
        return sorted(messages + fill, key=lambda message: message.log_ns)

    (jumped, ticks), (walked, all_ticks) = replayed(gapped, **loop), replayed(filled, **loop)
    assert ticks < all_ticks - 5_000
    assert sum(jumped.holds.values()) == sum(walked.holds.values())
    assert len(jumped.chunks) == len(walked.chunks)
    for step, expected in zip(jumped.steps, walked.steps, strict=True):
        assert (step.stamp_ns, step.chunk_id, step.step_index) == (
            expected.stamp_ns, expected.chunk_id, expected.step_index)
        np.testing.assert_array_equal(step.predicted, expected.predicted)
    for command, expected in zip(jumped.commands, walked.commands, strict=True):
        np.testing.assert_array_equal(command.action, expected.action)
