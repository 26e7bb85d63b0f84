"""LeRobot data sets that pyarrow and PyAV wrote by hand, of every version, whole and damaged."""

import json

import numpy as np
import pyarrow as pa
import pytest

from octo_ros.data.import_spec import ImportSpec
from octo_ros.data.lerobot_info import is_lerobot
from octo_ros.data.lerobot_reader import LeRobotSource
from octo_ros.errors import DataError
from test.data import lerobot_files as files

TOP = {'image_primary': 'top'}
DATA = 'data/chunk-000/episode_000000.parquet'
VIDEO = f'videos/chunk-000/{files.CAMERA}/episode_000000.mp4'


@pytest.fixture
def root(tmp_path):
    return tmp_path / 'so100_pick'


def read(root, **spec):
    return list(LeRobotSource(root, ImportSpec(**{'cameras': TOP} | spec)))


def grey(frames):
    """Returns the mean of each frame."""
    return frames.reshape(len(frames), -1).mean(axis=1)


EPISODES = [files.episode(0, 5), files.episode(1, 8, task='push it'), files.episode(2, 4)]
LARGE = [files.episode(seed, length, size=(64, 64)) for seed, length in enumerate((5, 8, 4))]
WRITERS = {
    'v2.0': lambda root: files.write_v21(root, EPISODES, version='v2.0'),
    'v2.1': lambda root: files.write_v21(root, EPISODES),
    'v2.1 in AV1': lambda root: files.write_v21(root, LARGE, codec='libsvtav1', size=(64, 64)),
    'v2.1 pictures': lambda root: files.write_v21(root, EPISODES, image_type='image'),
    'v3.0': lambda root: files.write_v30(root, EPISODES),
    'v3.0 without index name': lambda root: files.write_v30(root, EPISODES, unnamed=True),
    'v3.0 pictures': lambda root: files.write_v30(root, EPISODES, image_type='image')}


@pytest.mark.parametrize('kind', WRITERS)
def test_every_layout_comes_back(root, kind):
    WRITERS[kind](root)
    assert is_lerobot(root)
    source = LeRobotSource(root, ImportSpec(cameras=TOP))
    assert source.total == 3
    assert kind.split()[0] in source.summary
    for found, wanted in zip(source, LARGE if 'AV1' in kind else EPISODES, strict=True):
        assert found.findings == ()
        episode = found.episode
        episode.check()
        np.testing.assert_array_equal(episode.actions, wanted['action'])
        np.testing.assert_array_equal(episode.proprio, wanted['state'])
        assert episode.images['image_primary'].shape == wanted['frames'].shape
        np.testing.assert_allclose(grey(episode.images['image_primary']),
                                   grey(wanted['frames']), atol=0 if 'pictures' in kind else 4)
        assert episode.instructions == (wanted['task'],)
        assert episode.step_s == pytest.approx(0.2)


def test_numbers_are_taken_by_name_and_frames_at_the_wanted_size(root):
    names = files.NAMES[::-1]
    files.write_v21(root, EPISODES[:1])
    description = json.loads((root / 'meta/info.json').read_text())
    description['features']['action']['names'] = names
    (root / 'meta/info.json').write_text(json.dumps(description))
    (found,) = read(root, image_sizes={'image_primary': (16, 16)}, action_names=tuple(files.NAMES))
    np.testing.assert_array_equal(found.episode.actions, EPISODES[0]['action'][:, ::-1])
    assert found.episode.images['image_primary'].shape == (5, 16, 16, 3)


def test_numbers_of_the_state_are_chosen_by_name(root):
    files.write_v21(root, EPISODES[:1])
    (found,) = read(root, state_names=('yaw', 'x'))
    np.testing.assert_array_equal(found.episode.proprio, EPISODES[0]['state'][:, [5, 0]])


def test_faster_rows_are_put_together_into_policy_steps(root):
    files.write_v21(root, [files.episode(0, 9)])
    (found,) = read(root, step_s=0.4)
    wanted = files.episode(0, 9)
    assert len(found.episode) == 4
    np.testing.assert_allclose(
        found.episode.actions[:, :6],
        wanted['action'][:8, :6].reshape(4, 2, 6).sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(found.episode.actions[:, 6], wanted['action'][1:8:2, 6])
    np.testing.assert_array_equal(found.episode.proprio, wanted['state'][:8:2])
    np.testing.assert_allclose(grey(found.episode.images['image_primary']),
                               grey(wanted['frames'])[:8:2], atol=4)
    (found,) = read(root, step_s=0.4, delta=False)
    np.testing.assert_array_equal(found.episode.actions, wanted['action'][1:8:2])
    assert found.episode.step_s == pytest.approx(0.4)


def test_an_instruction_that_changes_makes_two_episodes(root):
    episode = files.episode(0, 8, task=['grasp'] * 3 + ['lift'] * 5)
    files.write_v30(root, [episode])
    first, second = read(root)
    assert (first.episode.instructions, second.episode.instructions) == (('grasp',), ('lift',))
    np.testing.assert_array_equal(second.episode.actions, episode['action'][3:])
    np.testing.assert_allclose(grey(second.episode.images['image_primary']),
                               grey(episode['frames'])[3:], atol=4)


def test_success_is_read_where_it_is_told(root):
    files.write_v21(root, EPISODES[:1])
    rows = files.table(EPISODES[:1], [0], tasks=['lift the block'],
                       extra={'next.success': [False] * 4 + [True]})
    files.write_parquet(root / DATA, rows)
    (found,) = read(root)
    assert found.episode.success is True


def test_numbers_that_are_not_finite_are_told_and_mended(root):
    bad = files.episode(0, 8)
    bad['action'][6, 2] = np.nan
    bad['state'][3, 0] = np.inf
    files.write_v21(root, [bad])
    (found,) = read(root)
    assert [(item.kind, item.topic, round(item.time_s, 3)) for item in found.findings] == [
        ('nan', 'observation.state', 0.6), ('nan', 'action', 1.2)]
    assert len(found.episode) == 6
    np.testing.assert_array_equal(found.episode.proprio[3], bad['state'][2])


@pytest.mark.parametrize('kind', [pa.list_(pa.float32(), 7), pa.list_(pa.float32())])
def test_a_null_row_is_told_and_ends_the_episode(root, kind):
    whole = files.episode(0, 8)
    files.write_v21(root, [whole])
    actions, states = whole['action'].tolist(), whole['state'].tolist()
    actions[6] = states[3] = None
    files.rewrite(root / DATA, **{'action': pa.array(actions, kind),
                                  'observation.state': pa.array(states, kind)})
    (found,) = read(root)
    assert [(item.kind, item.topic, round(item.time_s, 3)) for item in found.findings] == [
        ('nan', 'observation.state', 0.6), ('nan', 'action', 1.2)]
    np.testing.assert_array_equal(found.episode.actions, whole['action'][:6])
    np.testing.assert_array_equal(found.episode.proprio[3:5], whole['state'][[2, 4]])


@pytest.mark.parametrize('numbers', [[None] * 5, [0, 0, None, 0, 0], [None, 0, 0, 0, None]])
def test_a_row_without_a_task_does_not_tear_its_episode(root, numbers):
    whole = files.episode(0, 5)
    files.write_v21(root, [whole])
    files.rewrite(root / DATA, task_index=pa.array(numbers, pa.int64()))
    (found,) = read(root)
    assert not found.findings
    assert len(found.episode) == 5
    assert found.episode.instructions == (whole['task'],)


def test_a_null_success_is_none(root):
    files.write_v21(root, EPISODES[:1])
    files.write_parquet(root / DATA, files.table(
        EPISODES[:1], [0], tasks=['lift the block'],
        extra={'next.success': pa.array([False] * 4 + [None], pa.bool_())}))
    (found,) = read(root)
    assert found.episode.success is False


def test_a_gap_in_time_is_told_and_ends_the_episode(root):
    files.write_v21(root, [files.episode(0, 8)])
    files.write_video(root / VIDEO, files.episode(0, 9)['frames'])
    times = np.arange(8) / files.FPS
    times[3:] += 0.2
    files.rewrite(root / DATA, timestamp=pa.array(times.astype(np.float32)))
    (found,) = read(root)
    assert [(item.kind, item.topic, item.time_s) for item in found.findings] == [
        ('gap', 'timestamp', pytest.approx(0.4))]
    np.testing.assert_array_equal(found.episode.actions, files.episode(0, 8)['action'][3:])
    np.testing.assert_allclose(grey(found.episode.images['image_primary']),
                               grey(files.episode(0, 9)['frames'])[4:], atol=4)


def test_frames_that_the_video_lacks_are_marked(root):
    files.write_v21(root, [files.episode(0, 6)])
    files.write_video(root / VIDEO, files.episode(0, 6)['frames'][:4])
    (found,) = read(root)
    assert found.episode.present['image_primary'].tolist() == [True] * 4 + [False] * 2
    assert [(item.kind, round(item.time_s, 3), item.count) for item in found.findings] == [
        ('gap', 0.8, 2)]


def test_a_damaged_video_is_told_and_what_was_read_is_kept(root):
    frames = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), np.uint8)
    episode = files.episode(0, 30, size=(64, 64)) | {'frames': frames}
    files.write_v21(root, [episode, files.episode(1, 4, size=(64, 64))], size=(64, 64))
    files.write_video(root / VIDEO, frames, options={'g': '1'},
                      container={'movflags': 'faststart'})
    whole = (root / VIDEO).read_bytes()
    (root / VIDEO).write_bytes(whole[:len(whole) // 2])
    damaged, sound = read(root)
    assert damaged.findings[0].kind == 'damage'
    assert 'frames that were read are kept' in damaged.findings[0].text
    assert 3 < damaged.episode.present['image_primary'].sum() < 30
    assert sound.findings == ()


@pytest.mark.parametrize(('content', 'message'), [(b'', 'cannot be decoded'), (None, 'not exist')])
def test_a_video_without_a_frame_costs_its_episode_only(root, content, message):
    files.write_v21(root, EPISODES[:2])
    (root / VIDEO).unlink()
    if content is not None:
        (root / VIDEO).write_bytes(content)
    lost, sound = read(root)
    assert lost.episode is None
    assert [item.kind for item in lost.findings] == ['damage', 'missing']
    assert message in lost.findings[0].text
    assert sound.episode is not None


def damage(root, how):
    """Damages the data of the first episode."""
    path = root / DATA
    rows = {'lengths': lambda: files.rewrite(path, action=pa.array([[1.0, 2.0]] * 5)),
            'text': lambda: files.rewrite(path, action=pa.array(['a'] * 5)),
            'column': lambda: files.rewrite(path, action=None),
            'task': lambda: files.rewrite(path, task_index=pa.array([9] * 5)),
            'torn': lambda: path.write_bytes(path.read_bytes()[:-20]),
            'gone': path.unlink}
    rows[how]()


@pytest.mark.parametrize(('how', 'message'), [
    ('lengths', "'action' must have 7 numbers in every row, got 2"), ('text', 'must hold numbers'),
    ('column', "must have the column 'action'"), ('task', 'must be one of the 2 tasks, got 9'),
    ('torn', 'parquet file that can be read'), ('gone', 'parquet file that can be read')])
def test_damaged_data_costs_its_episode_only(root, how, message):
    files.write_v21(root, EPISODES[:2])
    damage(root, how)
    lost, sound = read(root)
    assert lost.episode is None
    assert message in lost.findings[-1].text
    assert lost.findings[-1].kind == 'damage'
    assert sound.findings == ()


def test_rows_that_are_missing_are_told(root):
    files.write_v21(root, EPISODES[:1])
    files.write_parquet(root / DATA, files.table(EPISODES[:1], [0], tasks=['lift the block'])[:4])
    (found,) = read(root)
    assert 'has 4 rows of this episode, the index says 5' in found.findings[0].text
    assert len(found.episode) == 4


@pytest.mark.parametrize(('spec', 'message'), [
    ({'action': 'acton'}, "did you mean 'action'"),
    ({'state_names': ('yaaw',)}, r"must have the name 'yaaw', .* .did you mean 'yaw'"),
    ({'state': 'stat'}, "did you mean 'state'"),
    ({'action': files.CAMERA}, 'must be a vector of numbers, got video'),
    ({'cameras': {'image_primary': 'tip'}}, "did you mean 'top'"),
    ({'cameras': {}}, r'--camera primary=observation\.images\.top'),
    ({'action_names': ('a', 'b')}, r'2 numbers of the robot profile \(a, b\), got 7'),
    ({'step_s': 0.1}, r'every policy step of 0.1 s, got one every 0.2 s')])
def test_what_does_not_fit_is_refused(root, spec, message):
    files.write_v21(root, EPISODES[:1])
    with pytest.raises(DataError, match=message):
        read(root, **spec)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'codebase_version': 'v1.6'}, r"must be one of v2.0, v2.1, v3.0, got 'v1.6'"),
    ({'fps': 0}, "'fps' must be above 0"), ({'fps': None}, "'fps' must be int or float"),
    ({'features': []}, "'features' must be dict"),
    ({'features': {'action': {'shape': [7]}}}, "'action' must have 'dtype' and 'shape'"),
    ({'data_path': '../{episode_index}.parquet'}, 'must stay in the data'),
    ({'data_path': '{episode}.parquet'}, 'must be made of episode_chunk, episode_index')])
def test_descriptions_that_cannot_be_used_are_named(root, changes, message):
    files.write_v21(root, EPISODES[:1], **changes)
    with pytest.raises(DataError, match=message):
        read(root)


@pytest.mark.parametrize(('version', 'file', 'message'), [
    ('v2.1', 'meta/info.json', 'must describe a LeRobot data set'),
    ('v2.1', 'meta/episodes.jsonl', 'must be a file of JSON lines'),
    ('v2.1', 'meta/tasks.jsonl', 'must be a file of JSON lines'),
    ('v3.0', 'meta/tasks.parquet', 'parquet file that can be read'),
    ('v3.0', 'meta/episodes/chunk-000/file-000.parquet', 'with the index of episodes')])
def test_missing_files_of_the_index_are_named(root, version, file, message):
    WRITERS[version](root)
    (root / file).unlink()
    with pytest.raises(DataError, match=message):
        read(root)


def test_damaged_lines_of_the_index_are_named(root):
    files.write_v21(root, EPISODES)
    file = root / 'meta/episodes.jsonl'
    file.write_text(file.read_text().replace('"length": 8', '"length": null'))
    with pytest.raises(DataError, match="must have 'length' as int, got None"):
        read(root)
    file.write_text(json.dumps({'episode_index': 0, 'length': 5}) + '\n\n{')
    with pytest.raises(DataError, match=r'episodes\.jsonl, line 3: must be JSON'):
        read(root)
