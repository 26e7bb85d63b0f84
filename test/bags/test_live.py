"""What a live node executed is told from its chunks as its own control loop would."""

import numpy as np
import pytest

from octo_ros.bags.episodes import map_topics
from octo_ros.bags.live import LiveChunk
from octo_ros.bags.live import collect_live
from octo_ros.bags.live import executed
from octo_ros.bags.reader import BagReader
from octo_ros.bags.replay import OfflineReplay
from octo_ros.messages.inference import AcceptedChunk
from octo_ros.messages.runtime import Runtime
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.profile import RobotProfile

NS = 1_000_000_000
START_NS = 1_700_000_000_010_000_000
STEP_NS = 200_000_000
CAMERA = {'primary': '/cam/front'}
NAMES = RobotProfile().action.names


def _chunk(number, step, *, late_s=0.0):
    """A chunk observed at a step of the recording; its numbers are number * 10 + index."""
    actions = np.repeat(number * 10.0 + np.arange(4.0), 7).reshape(4, 7)
    observed_ns = START_NS + step * STEP_NS
    return LiveChunk(AcceptedChunk(number, actions, observed_ns, {}),
                     observed_ns + round(late_s * NS))


def _executed(chunks, end_step, changes=(), **loop):
    steps = executed(chunks, LoopParams(**loop), end_ns=START_NS + end_step * STEP_NS,
                     changes_ns=[START_NS + round(step * STEP_NS) for step in changes])
    return [((step.stamp_ns - START_NS) // STEP_NS, step.predicted[0]) for step in steps]


def test_a_chunk_counts_until_the_next_one_comes():
    assert _executed([_chunk(0, 0), _chunk(1, 3)], 5) == [
        (0, 0.0), (1, 1.0), (2, 2.0), (3, 10.0), (4, 11.0), (5, 12.0)]
    late = [_chunk(0, 0, late_s=0.25), _chunk(1, 2, late_s=0.25)]
    assert _executed(late, 5) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 12.0), (5, 13.0)]


@pytest.mark.parametrize('late_s', [0.0, 0.01, 0.05, 0.12])
def test_a_step_that_is_due_at_the_end_of_the_recording_was_executed(late_s):
    steps = [step for step, _ in _executed([_chunk(0, 0, late_s=late_s), _chunk(1, 3)], 5)]
    assert steps == [0, 1, 2, 3, 4, 5]


def test_steps_after_the_end_of_the_recording_were_never_executed():
    assert _executed([_chunk(0, 0), _chunk(1, 3)], 4)[-1] == (4, 11.0)


def test_a_chunk_that_is_used_up_leaves_a_gap():
    assert [step for step, _ in _executed([_chunk(0, 0), _chunk(1, 6)], 8)] == [
        0, 1, 2, 3, 6, 7, 8]


def test_the_chunks_of_a_task_that_was_changed_last_one_more_step():
    assert _executed([_chunk(0, 0), _chunk(1, 3)], 4, [1.5]) == [
        (0, 0.0), (1, 1.0), (2, 2.0), (3, 10.0), (4, 11.0)]
    assert _executed([_chunk(0, 0)], 4, [0.5]) == [(0, 0.0), (1, 1.0)]


@pytest.mark.parametrize('options', [
    {'execution': 'temporal_ensemble'},
    {'execution': 'temporal_ensemble', 'ensemble_exp_weight': 0.5, 'ensemble_steps': 3},
    {}, {'execute_steps': 4}])
def test_live_replay_compares_what_was_executed_as_the_offline_one(ten_steps, policy, options):
    loop = LoopParams(**options)
    with BagReader(ten_steps()) as bag:
        topics = map_topics(bag, tuple(policy.spec.image_sizes), cameras=CAMERA)
        runtime = Runtime(policy, loop, RobotProfile(), image_keys=topics.image_keys)
        runtime.prepare()
        offline = OfflineReplay(runtime, topics, names=NAMES, step_ns=loop.step_ns).run(
            bag.messages(topics.topics))
        chunks = [LiveChunk(chunk, chunk.observed_ns) for chunk in offline.chunks]
        live = collect_live(bag.messages(), chunks, topics, names=NAMES, loop=loop, task=None)
    assert live.task == 'pick up the cup'
    assert len(live.steps) == len(offline.steps) == 10
    for step, wanted in zip(live.steps, offline.steps, strict=True):
        assert (step.stamp_ns, step.chunk_id, step.step_index) == (
            wanted.stamp_ns, wanted.chunk_id, wanted.step_index)
        np.testing.assert_array_equal(step.predicted, wanted.predicted)
        np.testing.assert_array_equal(step.recorded, wanted.recorded)
