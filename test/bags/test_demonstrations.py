"""Recordings to episodes: sampling on the grid, and every fault with its time and topic."""

import dataclasses

import numpy as np
import pytest

from octo_ros.bags import recording
from octo_ros.bags.demonstrations import SamplingParams
from octo_ros.bags.demonstrations import read_demonstration
from octo_ros.bags.episodes import TopicMap
from octo_ros.errors import BagError

CAMERA = '/camera_primary/image_raw/compressed'
TOPICS = TopicMap({'image_primary': CAMERA, 'proprio': '/state'}, '/instruction', '/expert_action')
STEP_NS = 200_000_000


def recorded(steps=8, stamps_ns=None, **changes):
    count = np.arange(steps)
    frames = np.broadcast_to(
        (20 * count[:, None, None, None]).astype(np.uint8), (steps, 8, 8, 3))
    values = np.repeat(count[:, None].astype(float), 7, axis=1)
    return recording.RecordedEpisode(**{
        'instruction': 'lift the block', 'success': True, 'images': {'primary': frames},
        'stamps_ns': STEP_NS * count if stamps_ns is None else stamps_ns, 'state': values,
        'actions': values + 100, 'facts': {'seed': 3, 'paraphrases': ['raise the block']},
    } | changes)


def read(tmp_path, episode, topics=TOPICS, params=None, **options):
    recording.write_episode(tmp_path / 'bag', episode, start_ns=1_700_000_000_000_000_000,
                            image_format=recording.ImageFormat('png'))
    return read_demonstration(tmp_path / 'bag', topics, recording.NAMES,
                              params or SamplingParams(), **options)


def test_a_sound_recording_comes_back_step_by_step(tmp_path):
    found = read(tmp_path, recorded(), image_sizes={'image_primary': (4, 4)})
    assert not found.findings
    episode = found.episode
    episode.check()
    np.testing.assert_array_equal(episode.actions[:, 0], 100 + np.arange(8))
    np.testing.assert_array_equal(episode.proprio[:, 6], np.arange(8))
    np.testing.assert_array_equal(episode.images['image_primary'][:, 0, 0, 0], 20 * np.arange(8))
    assert episode.images['image_primary'].shape == (8, 4, 4, 3)
    assert episode.instructions == ('lift the block', 'raise the block')
    assert (episode.success, episode.metadata) == (True, {'seed': 3})


def test_a_gap_in_all_topics_is_told_and_the_longer_side_is_kept(tmp_path):
    stamps = STEP_NS * np.array([0, 1, 2, 3, 4, 9, 10, 11])
    found = read(tmp_path, recorded(stamps_ns=stamps))
    gap = next(item for item in found.findings if item.topic == '/expert_action')
    assert (gap.kind, gap.time_s, gap.count) == ('gap', pytest.approx(1.0), 4)
    assert len(found.episode) == 5


def test_a_value_that_is_not_finite_is_told_with_time_and_topic(tmp_path):
    actions, state = np.zeros((8, 7)), np.zeros((8, 7))
    actions[7, 2], state[3, 1] = np.nan, np.inf
    found = read(tmp_path, recorded(actions=actions, state=state))
    assert {(item.kind, item.topic, round(item.time_s, 3)) for item in found.findings} == {
        ('nan', '/expert_action', 1.4), ('nan', '/state', 0.6)}
    assert len(found.episode) == 7
    assert np.isfinite(found.episode.proprio).all()


def test_another_rate_is_told(tmp_path):
    found = read(tmp_path, recorded(stamps_ns=STEP_NS // 4 * np.arange(8)))
    assert [item.kind for item in found.findings][:1] == ['rate']
    assert 'every 0.050 s' in found.findings[0].text


def test_changes_that_come_faster_than_steps_are_added_up(tmp_path):
    rng = np.random.default_rng(0)
    actions = rng.normal(size=(40, 7))
    stamps = STEP_NS // 4 * np.arange(40) + rng.integers(-9_000_000, 9_000_000, 40)
    stamps[0] = 0
    found = read(tmp_path, recorded(40, stamps_ns=stamps, actions=actions, images={
        'primary': np.zeros((40, 8, 8, 3), np.uint8)}), deltas=range(6))
    assert [item.kind for item in found.findings] == ['rate']
    assert 'every 0.050 s, the policy step is 0.200 s; their changes are added up' in (
        found.findings[0].text)
    assert len(found.episode) == 10
    np.testing.assert_allclose(
        found.episode.actions[:, :6], actions[:, :6].reshape(10, 4, 6).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.episode.actions[:, 6], actions[3::4, 6], rtol=1e-6)


@pytest.mark.parametrize('rate_hz', [5.1, 5.5, 6.0, 7.3, 9.0])
def test_no_change_is_lost_where_there_are_a_few_more_than_steps(tmp_path, rate_hz):
    actions = np.random.default_rng(0).normal(size=(41, 7))
    stamps = np.round(np.arange(41) * 1e9 / rate_hz).astype(np.int64)
    found = read(tmp_path, recorded(41, stamps_ns=stamps, actions=actions), deltas=range(6))
    [finding] = found.findings
    assert (finding.kind, finding.topic) == ('rate', '/expert_action')
    assert 'their changes are added up' in finding.text
    taken = [np.allclose(found.episode.actions[:, :6].sum(axis=0), actions[:last, :6].sum(axis=0),
                         atol=1e-4)
             for last in (40, 41)]  # the last may lie behind the last whole step
    assert any(taken)


def test_actions_that_were_recorded_twice_move_once(tmp_path):
    for name, rate_hz in (('fits', 5), ('faster', 10)):
        stamps = np.repeat(np.arange(20) * 10**9 // rate_hz, 2)
        found = read(tmp_path / name, recorded(40, stamps_ns=stamps, actions=np.ones((40, 7))),
                     deltas=range(6))
        np.testing.assert_array_equal(found.episode.actions[:, 0], rate_hz / 5)


def test_jitter_of_the_actions_is_no_other_rate(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        stamps = STEP_NS * np.arange(8) + rng.integers(-20_000_000, 20_000_000, 8)
        found = read(tmp_path / str(number), recorded(stamps_ns=stamps - stamps[0]),
                     deltas=range(6))
        assert not found.findings


def test_actions_at_every_other_step_are_one_gap(tmp_path):
    found = read(tmp_path, recorded(stamps_ns=2 * STEP_NS * np.arange(8)))
    gaps = [item for item in found.findings if 'half a step' in item.text]
    assert [(item.time_s, item.count) for item in gaps] == [(pytest.approx(0.2), 7)]
    assert gaps[0].text.endswith(', for 7 of 13 steps')


def test_a_hole_in_faster_changes_is_a_gap(tmp_path):
    stamps = STEP_NS // 4 * np.delete(np.arange(41), [22])
    found = read(tmp_path, recorded(40, stamps_ns=stamps), deltas=range(6))
    assert [(item.kind, item.count) for item in found.findings if item.kind == 'gap'] == [
        ('gap', 1)]
    assert len(found.episode) == 5


def png(frame):
    return recording.ImageFormat('png').encode(frame)


def same(time_ns):
    return time_ns


def write_with(path, *, frames_every=1, frames_from=0, stamp=same, action_stamp=same, log=same,
               encode=lambda step, frame: png(frame), state=lambda step, values: values,
               action=lambda step, values: values, **options):
    """A recording whose camera comes only at some steps, or with other stamps or times."""
    bag = recording.EpisodeBag(path)
    start_ns, episode = 1_700_000_000_000_000_000, recorded(12)
    for step in range(12):
        stamp_ns = start_ns + step * STEP_NS
        log_ns = log(stamp_ns)
        if step % frames_every == 0 and step >= frames_from:
            frame = encode(step, episode.images['primary'][step])
            bag.add(CAMERA, recording._IMAGE, log_ns, bag.types.types[recording._IMAGE](
                bag._header(stamp(stamp_ns), 'camera'), 'rgb8; png compressed bgr8', frame))
        for topic, values, stamped_ns in (
                ('/state', state(step, episode.state[step]), stamp_ns),
                ('/expert_action', action(step, episode.actions[step]), action_stamp(stamp_ns))):
            bag.add(topic, recording._JOINTS, log_ns, bag.types.types[recording._JOINTS](
                bag._header(stamped_ns, 'base_link'), list(recording.NAMES[:len(values)]), values,
                np.zeros(0), np.zeros(0)))
    bag.add_text('/instruction', start_ns, 'go')
    bag.finish()
    return read_demonstration(path, TOPICS, recording.NAMES, SamplingParams(), **options)


def test_a_camera_that_comes_at_every_other_step_is_told(tmp_path):
    [finding] = write_with(tmp_path / 'bag', frames_every=2).findings
    assert (finding.kind, finding.topic) == ('rate', CAMERA)
    assert 'every 0.400 s' in finding.text


def test_an_episode_begins_once_every_stream_has_come(tmp_path):
    found = write_with(tmp_path / 'sound', frames_from=3)
    assert not found.findings
    np.testing.assert_array_equal(found.episode.actions[:, 0], 100 + np.arange(3, 12))
    np.testing.assert_array_equal(
        found.episode.images['image_primary'][:, 0, 0, 0], 20 * np.arange(3, 12))
    late = write_with(tmp_path / 'late', frames_from=7)
    assert [(item.kind, item.topic, item.count) for item in late.findings] == [('gap', CAMERA, 7)]
    assert len(late.episode) == 12


def test_a_camera_of_which_no_frame_can_be_decoded_gives_no_episode(tmp_path):
    found = write_with(tmp_path / 'bag', encode=lambda step, frame: png(frame)[:50])
    assert found.episode is None
    assert (found.findings[-1].kind, found.findings[-1].topic) == ('missing', CAMERA)
    assert 'no frame for image_primary can be decoded' in found.findings[-1].text


def test_a_frame_that_cannot_be_decoded_is_told_and_masked(tmp_path):
    found = write_with(tmp_path / 'bag',
                       encode=lambda step, frame: png(frame)[:50 if step == 4 else None])
    [finding] = found.findings
    assert (finding.kind, finding.topic, finding.time_s) == ('image', CAMERA, pytest.approx(0.8))
    assert np.flatnonzero(~found.episode.present['image_primary']).tolist() == [4]


def test_a_camera_that_fails_for_a_while_is_one_fault(tmp_path):
    found = write_with(  # the frames lose differently many bytes
        tmp_path / 'bag', encode=lambda step, frame: png(frame)[:50 + step if step > 3 else None])
    [finding] = found.findings
    assert (finding.kind, finding.time_s, finding.count) == ('image', pytest.approx(0.8), 8)
    assert finding.text.endswith(', for 8 steps')
    assert np.flatnonzero(found.episode.present['image_primary']).tolist() == [0, 1, 2, 3]


def test_states_that_are_not_finite_for_a_while_are_one_fault(tmp_path):
    state = np.zeros((8, 7))
    state[2:6, 1] = np.nan
    [finding] = read(tmp_path, recorded(state=state)).findings
    assert (finding.kind, finding.time_s, finding.count) == ('nan', pytest.approx(0.4), 4)


def test_actions_with_too_few_numbers_for_a_while_are_one_fault(tmp_path):
    found = write_with(tmp_path / 'bag', action=lambda step, values: values[:7 - (step > 8)])
    [finding] = found.findings
    assert (finding.kind, finding.time_s, finding.count) == ('action', pytest.approx(1.8), 3)


def test_a_frame_of_another_size_is_told_and_masked(tmp_path):
    def encode(step, frame):
        return png(frame[:6] if step in (0, 5) else frame)

    found = write_with(tmp_path / 'bag', encode=encode)
    assert [(item.kind, item.topic, round(item.time_s, 3)) for item in found.findings] == [
        ('image', CAMERA, 0.0), ('image', CAMERA, 1.0)]
    assert 'must be of size 8x8 as most of the others, got 6x8' in found.findings[0].text
    assert found.episode.images['image_primary'].shape == (12, 8, 8, 3)
    assert np.flatnonzero(~found.episode.present['image_primary']).tolist() == [0, 5]
    resized = write_with(tmp_path / 'resized', encode=encode, image_sizes={
        'image_primary': (4, 4)})
    assert not resized.findings
    assert resized.episode.present['image_primary'].all()


def test_a_state_with_other_numbers_is_told_and_keeps_the_last(tmp_path):
    found = write_with(tmp_path / 'bag', state=lambda step, values: values[:7 - (step == 3)])
    [finding] = found.findings
    assert (finding.kind, finding.topic, finding.time_s) == ('state', '/state', pytest.approx(0.6))
    np.testing.assert_array_equal(found.episode.proprio[:5, 0], [0, 1, 2, 2, 4])


def test_header_stamps_that_are_zero_are_told(tmp_path):
    found = write_with(tmp_path / 'bag', stamp=lambda stamp_ns: 0)
    [finding] = found.findings
    assert (finding.kind, finding.topic) == ('stamps', CAMERA)
    assert '12 header stamps are zero: taken by the time of recording' in finding.text
    assert len(found.episode) == 12


def test_an_action_that_no_robot_can_do_ends_the_episode(tmp_path):
    actions = np.zeros((8, 7))
    actions[6, 0] = 1e30
    found = read(tmp_path, recorded(actions=actions))
    [finding] = found.findings
    assert (finding.kind, finding.time_s) == ('nan', pytest.approx(1.2))
    assert len(found.episode) == 6


def test_a_camera_that_never_came_is_told(tmp_path):
    topics = dataclasses.replace(TOPICS, streams={'image_wrist': '/camera_wrist/image_raw'})
    found = read(tmp_path, recorded(), topics)
    assert found.episode is None
    assert (found.findings[-1].kind, found.findings[-1].topic) == (
        'missing', '/camera_wrist/image_raw')


def test_frames_older_than_allowed_are_masked(tmp_path):
    episode = recorded()
    recording.write_episode(tmp_path / 'sound', episode, start_ns=0)
    late = SamplingParams(step_s=0.1, max_age_s=0.05, rate_tolerance=0.9)
    found = read_demonstration(tmp_path / 'sound', TOPICS, recording.NAMES, late)
    assert 'gap' in {item.kind for item in found.findings if item.topic == CAMERA} or (
        found.episode is None)


def test_a_missing_instruction_is_told(tmp_path):
    found = read(tmp_path, recorded(instruction='', facts={}))
    assert [item.kind for item in found.findings] == ['instruction']
    assert found.episode.instructions == ()


def test_too_short_a_recording_gives_no_episode(tmp_path):
    assert read(tmp_path, recorded(2)).episode is None


def test_an_action_topic_is_needed(tmp_path):
    with pytest.raises(BagError, match='--action-topic'):
        read(tmp_path, recorded(), dataclasses.replace(TOPICS, action=None))


def test_real_recordings_are_sound(shared):
    topics = TopicMap({'image_primary': '/camera_0/image_raw/compressed', 'proprio': '/state'},
                      '/instruction', '/expert_action')
    for number in (0, 1):
        found = read_demonstration(
            shared / f'data/bridge/episode_{number:02d}', topics, recording.NAMES,
            SamplingParams())
        assert not found.findings
        assert len(found.episode) >= 9
        assert found.episode.images['image_primary'].shape[1:] == (64, 64, 3)


def write_shifted(path, shift_s):
    """A recording whose camera's header stamps differ from the time of recording."""
    return write_with(path, stamp=lambda stamp_ns: stamp_ns + round(shift_s * 1e9))


@pytest.mark.parametrize('shift_s', [-0.9, -0.2, 0.2, 0.9])
def test_a_camera_of_another_clock_is_told_and_taken_by_the_time_of_recording(tmp_path, shift_s):
    found = write_shifted(tmp_path / 'bag', shift_s)
    [finding] = found.findings
    assert (finding.kind, finding.topic) == ('stamps', CAMERA)
    assert f'{abs(shift_s):.2f} s' in finding.text
    np.testing.assert_array_equal(
        found.episode.images['image_primary'][:, 0, 0, 0], 20 * np.arange(12))


@pytest.mark.parametrize('shift_s', [-0.08, 0.0])
def test_a_camera_that_takes_its_time_is_sound(tmp_path, shift_s):
    assert not write_shifted(tmp_path / 'bag', shift_s).findings


START_NS = 1_700_000_000_000_000_000


@pytest.mark.parametrize('slower', [1.5, 2, 5])
def test_a_simulated_time_that_runs_slower_moves_no_frame(tmp_path, slower):
    found = write_with(tmp_path / 'bag', frames_from=3,
                       log=lambda time_ns: START_NS + round(slower * (time_ns - START_NS)))
    assert not [item for item in found.findings if 'measured by' in item.text]
    np.testing.assert_array_equal(
        found.episode.images['image_primary'][:, 0, 0, 0], 20 * np.arange(3, 12))


def shifted(steps, shift_s):
    """Gives the messages of these steps header stamps of another clock."""
    return lambda stamp_ns: stamp_ns + (
        round(shift_s * 1e9) if (stamp_ns - START_NS) // STEP_NS in steps else 0)


def assert_in_step(found):
    np.testing.assert_array_equal(found.episode.actions[:, 0], 100 + np.arange(12))
    np.testing.assert_array_equal(
        found.episode.images['image_primary'][:, 0, 0, 0], 20 * np.arange(12))


@pytest.mark.parametrize('shift_s', [-1.0, 1.0])
def test_single_stamps_that_lie_elsewhere_are_told_and_show_no_other_moment(tmp_path, shift_s):
    found = write_with(tmp_path / 'bag', stamp=shifted((3, 7), shift_s))
    assert [(item.kind, item.topic, round(item.time_s, 3)) for item in found.findings] == [
        ('stamps', CAMERA, 0.6), ('stamps', CAMERA, 1.4)]
    assert '1.00 s' in found.findings[0].text
    assert_in_step(found)


def test_a_clock_that_jumps_to_and_fro_is_one_fault(tmp_path):
    found = write_with(tmp_path / 'bag', stamp=shifted((3, 5, 7), 1.0))
    assert [(round(item.time_s, 3), item.count) for item in found.findings] == [(0.6, 3)]
    assert_in_step(found)


@pytest.mark.parametrize('shift_s', [-1.0, 1.0])
@pytest.mark.parametrize('first', [2, 6, 10])
def test_a_jump_of_a_clock_is_told_where_it_is_and_every_step_keeps_its_frame(
        tmp_path, first, shift_s):
    found = write_with(tmp_path / 'bag', stamp=shifted(range(first, 12), shift_s))
    [finding] = found.findings
    assert (finding.kind, finding.topic, finding.time_s, finding.count) == (
        'stamps', CAMERA, pytest.approx(first * 0.2), 12 - first)
    assert f"1.00 s {'after' if shift_s > 0 else 'before'}" in finding.text
    assert_in_step(found)


@pytest.mark.parametrize('first', [2, 6, 10])
def test_a_jump_of_the_clock_of_the_actions_is_told_of_them_alone(tmp_path, first):
    found = write_with(tmp_path / 'bag', action_stamp=shifted(range(first, 12), 1.0))
    [finding] = found.findings
    assert (finding.topic, finding.time_s) == ('/expert_action', pytest.approx(first * 0.2))
    assert_in_step(found)


@pytest.mark.parametrize('burst', [2, 4, 6])
def test_a_recorder_that_writes_in_bursts_is_no_fault_of_the_stamps(tmp_path, burst):
    def log(time_ns):
        step = (time_ns - START_NS) // STEP_NS
        return START_NS + (step // burst * burst + burst - 1) * STEP_NS + step

    found = write_with(tmp_path / 'bag', log=log)
    assert not found.findings
    assert_in_step(found)
