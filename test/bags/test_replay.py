"""Replays give the node's chunks and commands, the same to the bit for one seed."""

import dataclasses
import json
import re

import numpy as np
import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.bags.episodes import map_topics
from octo_ros.bags.reader import BagReader
from octo_ros.bags.replay import OfflineReplay
from octo_ros.bags.replay import timer_period_ns
from octo_ros.bags.results import Step
from octo_ros.bags.results import errors
from octo_ros.bags.results import require_actions
from octo_ros.errors import BagError
from octo_ros.errors import OctoError
from octo_ros.messages.runtime import Runtime
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.fakes import FakePolicy
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.policy import PolicyParams
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.profile import load_profile

CAMERAS = {'primary': '/cam/front', 'wrist': '/cam/hand'}
NAMES = RobotProfile().action.names
START_NS = 1_700_000_000_000_000_000


def _replay(path, policy, loop, *, cameras=None, instruction=None, prepare=True, action=None):
    with BagReader(path) as bag:
        topics = map_topics(bag, tuple(policy.spec.image_sizes), cameras=cameras or CAMERAS,
                            action=action)
        runtime = Runtime(policy, loop, RobotProfile(), image_keys=topics.image_keys)
        if prepare:
            runtime.prepare()
        if instruction is not None:
            runtime.set_instruction(instruction)
        replay = OfflineReplay(runtime, topics, names=NAMES, step_ns=loop.step_ns,
                               fixed_task=instruction is not None)
        return replay.run(bag.messages(topics.topics))


def test_one_action_for_each_recorded_step(ten_steps, policy, loop):
    result = _replay(ten_steps(), policy, loop)
    assert [step.stamp_ns for step in result.steps] == [
        START_NS + 10_000_000 + k * 200_000_000 for k in range(10)]
    assert [(step.chunk_id, step.step_index) for step in result.steps] == [
        (chunk, index) for chunk in range(5) for index in range(2)]
    np.testing.assert_allclose(
        [step.recorded[0] for step in result.steps], 0.001 * np.arange(10))
    assert [chunk.observed_ns for chunk in result.chunks] == [
        START_NS + 10_000_000 + k * 400_000_000 for k in range(5)]
    assert result.task == 'pick up the cup'
    assert len(result.commands) == 9 * 4 + 1
    for step in result.steps:
        np.testing.assert_array_equal(
            step.predicted, result.chunks[step.chunk_id].actions[step.step_index])


def test_policy_sees_the_recorded_pictures(ten_steps, policy, loop):
    _replay(ten_steps(), policy, loop)
    window = policy.windows[-1]
    assert [frame.images['image_primary'][0, 0, 0] for frame in window.frames] == [7, 8]
    assert [frame.images['image_wrist'][0, 0, 0] for frame in window.frames] == [107, 108]


def test_storage_and_compression_make_no_difference(ten_steps, loop):
    results = [
        _replay(ten_steps(f'{storage}_{compressed}', storage, compressed=compressed),
                FakePolicy(), loop)
        for storage in ('mcap', 'sqlite3') for compressed in (False, True)]
    for result in results[1:]:
        for step, expected in zip(result.steps, results[0].steps, strict=True):
            np.testing.assert_array_equal(step.predicted, expected.predicted)


def test_temporal_ensemble_infers_in_every_step(ten_steps, policy):
    loop = LoopParams(execution='temporal_ensemble')
    result = _replay(ten_steps(), policy, loop)
    assert len(result.chunks) == len(result.steps) == 10
    mean = np.mean([result.chunks[chunk].actions[3 - chunk] for chunk in range(4)], axis=0)
    np.testing.assert_allclose(result.steps[3].predicted, mean, rtol=1e-6)


def test_given_instruction_replaces_the_recorded_one(ten_steps, policy, loop):
    assert _replay(ten_steps(), policy, loop, instruction='wave').task == 'wave'
    assert {task.text for task in policy.tasks} == {'wave'}


def test_unmapped_camera_is_left_out(ten_steps, policy, loop):
    _replay(ten_steps(), policy, loop, cameras={'primary': '/cam/front'})
    assert policy.prepared.image_keys == ('image_primary',)


def test_recording_without_the_reference_camera_is_refused(record, policy, loop):
    recording = record()
    recording.image('/cam/front', 0.0, 0, encoding='odd')
    recording.text('/instruction', 0.1, 'wave')
    recording.close()
    result = _replay(recording.path, policy, loop, cameras={'primary': '/cam/front'})
    with pytest.raises(OctoError, match=r"actions, got none: .*'image_primary' cannot be used"):
        require_actions(result, max_age_s=loop.max_observation_age_s)
    with BagReader(recording.path) as bag:
        topics = map_topics(bag, ('image_primary',), cameras={'primary': '/cam/front'})
        runtime = Runtime(policy, loop, RobotProfile(), image_keys=['image_primary'])
        replay = OfflineReplay(runtime, topics, names=NAMES, step_ns=loop.step_ns)
        with pytest.raises(BagError, match="images for 'image_primary', got none"):
            replay.run(bag.messages(['/instruction']))


@pytest.mark.parametrize(('ahead_s', 'words'), [
    (2.06, "newest message on 'image_primary' is 2.06 s old, the limit is 0.5 s (28 ticks); "),
    (-2.06, "newest message on 'image_primary' is stamped 2.06 s ahead of the clock, the limit is "
     '0.5 s (28 ticks); '),
])
def test_times_of_another_clock_are_one_reason_with_the_offset_and_its_option(
        record, policy, loop, ahead_s, words):
    recording = record()
    recording.text('/instruction', 0.0, 'wave')
    for step in range(10):
        recording.image('/cam/front', 0.15 * step, step)
    recording.close()
    with BagReader(recording.path, clock_offset_s=-ahead_s) as bag:
        topics = map_topics(bag, ('image_primary',), cameras={'primary': '/cam/front'})
        runtime = Runtime(policy, loop, RobotProfile(), image_keys=['image_primary'])
        runtime.prepare()
        result = OfflineReplay(runtime, topics, names=NAMES, step_ns=loop.step_ns).run(
            bag.messages(topics.topics))
    assert len(result.holds) > 2
    direction = 'ahead of' if ahead_s > 0 else 'behind'
    with pytest.raises(OctoError) as caught:
        require_actions(result, max_age_s=loop.max_observation_age_s)
    assert str(caught.value) == (
        f'replay must give actions, got none: {words}the times of recording are 2.06 s '
        f'{direction} the stamps of the images; if the clocks differed, give --clock-offset '
        f'{ahead_s:.2f}')


def test_recorded_action_that_does_not_fit_matters_only_if_asked_for(record, policy, loop, caplog):
    recording = record()
    recording.text('/instruction', 0.0, 'wave')
    for time_s in (0.1, 0.3):
        recording.image('/cam/front', time_s, 0)
        recording.action('/action', time_s, [1.0, 2.0])
    recording.close()
    cameras = {'primary': '/cam/front'}
    result = _replay(recording.path, policy, loop, cameras=cameras)
    assert [step.recorded for step in result.steps] == [None, None]
    assert caplog.text.count("no comparison with recorded actions: '/action' at 0.100 s") == 1
    with pytest.raises(BagError, match='must hold the 7 numbers'):
        _replay(recording.path, policy, loop, cameras=cameras, action='/action')


def _with_actions(record, actions):
    recording = record()
    recording.text('/instruction', 0.0, 'wave')
    for step, values in enumerate(actions):
        recording.image('/cam/front', 0.1 + 0.2 * step, 0)
        recording.action('/action', 0.1 + 0.2 * step, values)
    recording.close()
    return recording.path


@pytest.mark.parametrize(('damaged', 'words'), [
    ([1.0, 2.0], r"'/action' at 0\.300 s.*must hold the 7 numbers.*2: unnamed"),
    ([0.0] * 6 + [np.nan], r"'/action' at 0\.300 s.*must be finite, got nan for gripper"),
])
def test_one_recorded_action_that_is_damaged_costs_itself_alone(
        record, policy, loop, caplog, damaged, words):
    path = _with_actions(record, [[0.0] * 7, damaged, [2.0] * 7, damaged])
    result = _replay(path, policy, loop, cameras={'primary': '/cam/front'}, action='/action')
    assert [step.recorded is None for step in result.steps] == [False, True, False, True]
    assert np.isfinite(errors(result.steps)).all()
    [message] = [record.getMessage() for record in caplog.records
                 if record.name == 'octo_ros.bags']
    assert re.search(words, message)
    assert '2 of 4 are left out' in message


def test_blank_instruction_in_a_recording_is_told_and_leaves_the_task(
        record, policy, loop, caplog):
    recording = record()
    recording.text('/instruction', 0.0, 'wave')
    for step in range(8):
        recording.image('/cam/front', 0.1 + 0.2 * step, 0)
        recording.text('/instruction', 0.15 + 0.2 * step, '  ')
    recording.close()
    result = _replay(recording.path, policy, loop, cameras={'primary': '/cam/front'})
    assert len(result.steps) == 8
    assert result.task == 'wave'
    assert caplog.text.count('must hold words') == 1
    assert "'/instruction' at 0.150 s" in caplog.text


def test_late_pictures_are_used_when_they_come(record, policy, loop):
    recording = record()
    recording.text('/instruction', 0.0, 'wave')
    for step in range(6):
        recording.image('/cam/front', 0.01 + 0.2 * step + (0.03 if step else 0.0), step)
    recording.close()
    result = _replay(recording.path, policy, loop, cameras={'primary': '/cam/front'})
    assert len(result.chunks) == 3
    shades = [[frame.images['image_primary'][0, 0, 0] for frame in window.frames]
              for window in policy.windows]
    assert shades == [[0, 0], [1, 2], [3, 4]]


def test_views_are_bounded_and_spread(record, policy, loop):
    recording = record()
    recording.text('/instruction', 0.0, 'wave')
    for step in range(300):
        recording.image('/cam/front', step / 30, step % 256)
    recording.close()
    result = _replay(recording.path, policy, loop, cameras={'primary': '/cam/front'})
    times = [log_ns for log_ns, _ in result.views]
    assert 30 <= len(times) <= 64
    assert times[-1] - times[0] > 9_000_000_000
    assert np.ptp(np.diff(times)) < 1_000_000


@pytest.mark.parametrize(('step_ns', 'period_ns'), [
    (200_000_000, 50_000_000), (20_000_000, 20_000_000), (333_333_333, 47_619_047)])
def test_timer_is_no_slower_than_20_hz_and_divides_the_step(step_ns, period_ns):
    assert timer_period_ns(step_ns) == period_ns


def test_errors_leave_out_steps_without_a_record(ten_steps, policy, loop):
    result = _replay(ten_steps(), policy, loop)
    result.steps[3] = dataclasses.replace(result.steps[3], recorded=None)
    assert errors(result.steps).shape == (9, 7)
    assert errors([]).size == 0


def test_errors_of_poses_leave_out_whole_turns():
    step = Step(0, 0, 0, predicted=np.float64([1, 0, 9, -3.13, 0, 6, 1]),
                recorded=np.float64([0, 0, 0, 3.13, 0, 0, 0]))
    np.testing.assert_allclose(
        errors([step], pose_angles='sxyz'),
        [[1, 0, 9, 2 * np.pi - 6.26, 0, 6 - 2 * np.pi, 1]], atol=1e-12)
    assert errors([step])[0, 3] == -6.26
    assert errors([], pose_angles='sxyz').size == 0


@pytest.fixture(scope='module')
def octo_policy(tmp_path_factory):
    cache = tmp_path_factory.mktemp('cache')
    policy = OctoPolicy.load(PolicyParams(
        checkpoint=str(shipped_checkpoint()), statistics_key='bridge_dataset',
        compilation_cache=str(cache)))
    policy.prepare(['image_primary'], window=policy.spec.window)
    return policy


def test_every_bridge_recording_replays_to_the_bit(shared, octo_policy, loop):
    bridge = shared / 'data' / 'bridge'
    for entry in json.loads((bridge / 'index.json').read_text()):
        runs = []
        for _ in range(2):
            octo_policy.reset(0)
            runs.append(_replay(
                bridge / entry['bag'], octo_policy, loop, prepare=False,
                cameras={'primary': '/camera_0/image_raw/compressed'}))
        first, second = runs
        assert first.task == entry['instruction']
        assert len(first.steps) == entry['steps']
        assert len(first.chunks) == (entry['steps'] + 1) // 2
        assert errors(first.steps).shape == (entry['steps'], 7)
        for one, other in zip(first.chunks, second.chunks, strict=True):
            assert one.actions.shape == (octo_policy.spec.action_horizon, 7)
            assert one.actions.tobytes() == other.actions.tobytes()
            assert one.observed_ns == other.observed_ns


def test_another_seed_gives_other_actions(shared, octo_policy, loop):
    actions = []
    for seed in (0, 1):
        octo_policy.reset(seed)
        result = _replay(
            shared / 'data' / 'bridge' / 'episode_00', octo_policy, loop, prepare=False,
            cameras={'primary': '/camera_0/image_raw/compressed'})
        actions.append(result.chunks[0].actions)
    assert not np.array_equal(*actions)


def test_one_topic_feeds_proprio_and_the_measured_joints(record, loop):
    policy = FakePolicy(dataclasses.replace(
        DEFAULT_SPEC, action_dim=14, proprio_dim=14, action_low=(-1.0,) * 14,
        action_high=(1.0,) * 14))
    profile = load_profile('aloha')
    recording = record()
    recording.text('/instruction', 0.0, 'wave')
    recording.action('/state', 0.1, np.arange(14.0), profile.action.names)
    recording.image('/cam/front', 0.2, 0)
    recording.close()
    with BagReader(recording.path) as bag:
        topics = map_topics(bag, ('image_primary',), cameras={'primary': '/cam/front'}, others={
            'proprio': '/state', 'measured_joints': '/state'})
        runtime = Runtime(policy, loop, profile, image_keys=['image_primary'], proprio=True)
        runtime.prepare()
        OfflineReplay(runtime, topics, names=profile.action.names, step_ns=loop.step_ns).run(
            bag.messages(topics.topics))
    assert policy.windows[-1].frames[-1].proprio.tolist() == list(range(14))
    health = runtime.health(START_NS)
    assert (health['proprio'].received, health['measured_joints'].received) == (1, 1)
