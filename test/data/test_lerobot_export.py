"""Exported sets against what LeRobot wants of its files, and read back by our import."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from octo_ros.data import lerobot_layouts
from octo_ros.data.episode import Episode
from octo_ros.data.import_spec import ImportSpec
from octo_ros.data.lerobot_encoder import CODECS
from octo_ros.data.lerobot_reader import LeRobotSource
from octo_ros.data.lerobot_writer import export_lerobot
from octo_ros.data.store import EpisodeSet
from octo_ros.data.store import EpisodeWriter
from octo_ros.errors import DataError
from octo_ros.errors import ParameterError

NAMES = ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper')
LENGTHS = (6, 3, 9)
SIZES = {'image_primary': (32, 48), 'image_wrist': (16, 16)}
PRIMARY = 'observation.images.primary'


def smooth(seed, length, size):
    """Returns frames that a codec keeps well: colour gradients that move."""
    rows, columns = np.mgrid[:size[0], :size[1]]
    shift = 9 * np.arange(length)[:, None, None] + 40 * seed
    planes = [rows * 3 + shift, columns * 2 + shift, rows + columns + shift]
    return np.stack(np.broadcast_arrays(*planes), axis=-1).clip(0, 255).astype(np.uint8)


def make_episode(number, length, sizes=SIZES, dimensions=7):
    rng = np.random.default_rng(number)
    return Episode(
        name=f'bag_{number}', images={key: smooth(number, length, size)
                                      for key, size in sizes.items()},
        actions=rng.normal(size=(length, dimensions)).astype(np.float32),
        proprio=rng.normal(size=(length, 5)).astype(np.float32),
        instructions=(f'lift block {number % 2}', 'other words'), success=number != 1,
        metadata={'seed': number})


def make_set(path, episodes, sizes=SIZES):
    with EpisodeWriter(path, sizes) as writer:
        for episode in episodes:
            writer.add(episode)
    return EpisodeSet(path)


@pytest.fixture
def episodes(tmp_path):
    made = [make_episode(number, length) for number, length in enumerate(LENGTHS)]
    there = np.arange(LENGTHS[2]) != 4
    made[2] = dataclasses.replace(made[2], present={'image_wrist': there})
    return make_set(tmp_path / 'set', made)


@pytest.mark.parametrize('codec', CODECS)
@pytest.mark.parametrize('limits', [None, lerobot_layouts.Limits(0, 0)])
@pytest.mark.parametrize('version', ['v2.1', 'v3.0'])
def test_what_is_exported_comes_back(tmp_path, episodes, version, limits, codec):
    if codec == 'av1':
        sizes = {'image_primary': (64, 64), 'image_wrist': (64, 96)}
        episodes = make_set(tmp_path / 'even', [
            make_episode(number, length, sizes) for number, length in enumerate(LENGTHS)], sizes)
    out = tmp_path / 'out'
    export_lerobot(episodes, out, version=version, codec=codec, action_names=NAMES,
                   robot='viperx', limits=limits)
    found = list(LeRobotSource(out, ImportSpec()))
    assert [item.findings for item in found] == [()] * 3
    if version == 'v3.0':
        assert len(list(out.glob('videos/*/*/*.mp4'))) == (2 if limits is None else 6)
        assert len(list(out.glob('data/*/*.parquet'))) == (1 if limits is None else 3)
    for number, item in enumerate(found):
        wanted = episodes.episode(number)
        np.testing.assert_array_equal(item.episode.actions, wanted.actions)
        np.testing.assert_array_equal(item.episode.proprio, wanted.proprio)
        for name in ('instructions', 'success', 'metadata'):
            assert getattr(item.episode, name) == getattr(wanted, name)
        assert item.episode.step_s == pytest.approx(wanted.step_s)
        for key, frames in wanted.images.items():
            np.testing.assert_array_equal(item.episode.present[key], wanted.present[key])
            kept = wanted.present[key]
            error = np.abs(item.episode.images[key][kept].astype(int) - frames[kept])
            assert error.mean() < 4


def info_of(out):
    return json.loads((out / 'meta/info.json').read_text())


def test_version_3_has_the_files_and_columns_that_lerobot_reads(tmp_path, episodes):
    out = tmp_path / 'out'
    export_lerobot(episodes, out, action_names=NAMES)
    assert sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_file()) == [
        'data/chunk-000/file-000.parquet', 'meta/episodes/chunk-000/file-000.parquet',
        'meta/info.json', 'meta/stats.json', 'meta/tasks.parquet',
        'videos/observation.images.primary/chunk-000/file-000.mp4',
        'videos/observation.images.wrist/chunk-000/file-000.mp4']
    info = info_of(out)
    wanted = {'codebase_version': 'v3.0', 'fps': 5, 'total_episodes': 3, 'total_frames': 18,
              'total_tasks': 2, 'splits': {'train': '0:3'}, 'chunks_size': 1000}
    assert {key: info[key] for key in wanted} == wanted
    assert info['features']['action'] == {'dtype': 'float32', 'shape': [7], 'names': list(NAMES)}
    assert info['features'][PRIMARY]['shape'] == [32, 48, 3]
    assert info['features'][PRIMARY]['info']['video.codec'] == 'h264'
    table = pq.read_table(out / 'data/chunk-000/file-000.parquet')
    assert {name: str(table.schema.field(name).type) for name in table.column_names} == {
        'action': 'fixed_size_list<element: float>[7]',
        'observation.state': 'fixed_size_list<element: float>[5]', 'timestamp': 'float',
        'frame_index': 'int64', 'episode_index': 'int64', 'index': 'int64', 'task_index': 'int64'}
    assert table['index'].to_pylist() == list(range(18))
    assert set(table.column_names) == {
        key for key, value in info['features'].items() if value['dtype'] != 'video'}
    rows = pq.read_table(out / 'meta/episodes/chunk-000/file-000.parquet').to_pylist()
    assert [row['dataset_from_index'] for row in rows] == [0, 6, 9]
    assert [row['dataset_to_index'] for row in rows] == [6, 9, 18]
    assert [row[f'videos/{PRIMARY}/from_timestamp'] for row in rows] == [0.0, 1.2, 1.8]
    assert [row[f'videos/{PRIMARY}/to_timestamp'] for row in rows] == [1.2, 1.8, 3.6]
    assert rows[1]['tasks'] == ['lift block 1']
    assert np.shape(rows[0][f'stats/{PRIMARY}/q99']) == (3, 1, 1)
    assert np.shape(rows[0]['stats/action/mean']) == (7,)
    assert rows[0]['stats/timestamp/count'] == [6]
    tasks = pq.read_table(out / 'meta/tasks.parquet')
    assert tasks.to_pydict() == {'task_index': [0, 1], 'task': ['lift block 0', 'lift block 1']}
    told = json.loads(tasks.schema.metadata[b'pandas'])
    assert told['index_columns'] == ['task']


def test_version_2_1_has_the_files_and_lines_that_lerobot_reads(tmp_path, episodes):
    out = tmp_path / 'out'
    export_lerobot(episodes, out, version='v2.1')
    assert (out / f'videos/chunk-000/{PRIMARY}/episode_000002.mp4').is_file()
    assert (out / 'data/chunk-000/episode_000002.parquet').is_file()
    info = info_of(out)
    assert (info['total_videos'], info['total_chunks']) == (6, 1)
    lines = {name: [json.loads(line) for line in (out / f'meta/{name}.jsonl').read_text()
                    .splitlines()] for name in ('episodes', 'episodes_stats', 'tasks')}
    assert [row['length'] for row in lines['episodes']] == list(LENGTHS)
    assert lines['tasks'][1] == {'task_index': 1, 'task': 'lift block 1'}
    stats = lines['episodes_stats'][1]['stats']
    assert set(stats) == set(info['features'])
    assert set(stats['action']) == {'min', 'max', 'mean', 'std', 'count'}
    assert stats['action']['count'] == [3]
    assert np.shape(stats[PRIMARY]['std']) == (3, 1, 1)


def test_the_statistics_are_those_of_the_data(tmp_path, episodes):
    out = tmp_path / 'out'
    export_lerobot(episodes, out)
    stats = json.loads((out / 'meta/stats.json').read_text())
    actions = episodes.actions.astype(np.float64)
    np.testing.assert_allclose(stats['action']['std'], actions.std(axis=0))
    np.testing.assert_allclose(stats['action']['q10'], np.quantile(actions, 0.1, axis=0))
    pixels = episodes.images['image_primary'].reshape(-1, 3) / 255
    for name, wanted in (('mean', pixels.mean(axis=0)), ('std', pixels.std(axis=0)),
                         ('min', pixels.min(axis=0)), ('max', pixels.max(axis=0))):
        np.testing.assert_allclose(np.squeeze(stats[PRIMARY][name]), wanted, atol=1e-12)
    np.testing.assert_allclose(
        np.squeeze(stats[PRIMARY]['q50']), np.quantile(pixels, 0.5, axis=0), atol=1 / 255)
    assert stats[PRIMARY]['count'] == [18]


def test_odd_sizes_single_numbers_and_no_words_are_exported(tmp_path):
    episode = dataclasses.replace(
        make_episode(0, 4, {'image_primary': (31, 47)}, dimensions=1), instructions=(),
        proprio=None, step_s=0.15)
    sizes = {'image_primary': (31, 47)}
    out = tmp_path / 'out'
    export_lerobot(make_set(tmp_path / 'set', [episode], sizes), out)
    assert info_of(out)['fps'] == pytest.approx(1 / 0.15)
    table = pq.read_table(out / 'data/chunk-000/file-000.parquet')
    assert str(table.schema.field('action').type) == 'float'
    (found,) = LeRobotSource(out, ImportSpec(action_names=('x',), grippers=(), step_s=0.15))
    np.testing.assert_array_equal(found.episode.actions, episode.actions)
    assert found.episode.images['image_primary'].shape == (4, 31, 47, 3)
    assert found.episode.instructions == ()
    assert [item.kind for item in found.findings] == ['instruction']


@pytest.mark.parametrize('column', ['junk', '3', '{"absent": 3}', '{"metadata": 1}', {'a': 1}])
def test_a_column_of_our_name_with_other_content_is_passed_over(tmp_path, episodes, column):
    out = tmp_path / 'out'
    export_lerobot(episodes, out, version='v2.1')
    index = out / 'meta/episodes.jsonl'
    rows = [json.loads(line) | {'octo_ros': column} for line in index.read_text().splitlines()]
    index.write_text('\n'.join(map(json.dumps, rows)))
    found = [item.episode for item in LeRobotSource(out, ImportSpec())]
    assert [episode.instructions for episode in found] == [
        (f'lift block {number % 2}',) for number in range(3)]


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(DataError, match=r'size that its encoder takes.*--codec h264'):
        export_lerobot(episodes_of_odd_size(tmp_path), tmp_path / 'out', codec='av1')
    assert not (tmp_path / 'out').exists()
    assert not list(tmp_path.glob('.out-*'))


def episodes_of_odd_size(tmp_path):
    sizes = {'image_primary': (31, 47)}
    return make_set(tmp_path / 'odd', [make_episode(0, 4, sizes)], sizes)


@pytest.mark.parametrize(('options', 'error', 'message'), [
    ({'version': 'v3.1'}, ParameterError, "did you mean 'v3.0'"),
    ({'codec': 'h265'}, ParameterError, "did you mean 'h264'")])
def test_unknown_names_are_refused(tmp_path, episodes, options, error, message):
    with pytest.raises(error, match=message):
        export_lerobot(episodes, tmp_path / 'out', **options)


def test_a_folder_that_is_there_is_kept_unless_told(tmp_path, episodes):
    out = tmp_path / 'out'
    out.mkdir()
    with pytest.raises(DataError, match='must not exist yet'):
        export_lerobot(episodes, out)
    export_lerobot(episodes, out, overwrite=True)
    export_lerobot(episodes, out, version='v2.1', overwrite=True)
    assert (out / 'meta/info.json').is_file()
    (out / 'letter.txt').write_text('dear')
    with pytest.raises(DataError, match='must be empty or a LeRobot data set'):
        export_lerobot(episodes, out, overwrite=True)
    assert (out / 'letter.txt').read_text() == 'dear'


@pytest.mark.parametrize('place', ['.', 'inside', '..'])
def test_a_set_is_not_exported_onto_itself(episodes, place):
    with pytest.raises(DataError, match='must lie apart from the source'):
        export_lerobot(episodes, episodes.path / place, overwrite=True)
    assert len(EpisodeSet(episodes.path)) == 3


def test_episodes_of_different_rates_do_not_mix(tmp_path):
    mixed = [make_episode(0, 4), dataclasses.replace(make_episode(1, 4), step_s=0.1)]
    with pytest.raises(DataError, match=r'0\.2 s in bag_0 and 0\.1 s in bag_1'):
        export_lerobot(make_set(tmp_path / 'set', mixed), tmp_path / 'out')
