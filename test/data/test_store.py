"""Episodes to disk and back."""

import dataclasses
import fcntl
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from octo_ros.data.store import EpisodeSet
from octo_ros.data.store import EpisodeWriter
from octo_ros.errors import DataError
from test.data.conftest import LENGTHS
from test.data.conftest import make_episode


def test_episodes_come_back_as_they_went_in(episode_set):
    assert len(episode_set) == 3
    assert episode_set.steps == sum(LENGTHS)
    for number, length in enumerate(LENGTHS):
        wanted, found = make_episode(number, length), episode_set.episode(number)
        np.testing.assert_array_equal(found.images['image_primary'],
                                      wanted.images['image_primary'])
        np.testing.assert_array_equal(found.actions, wanted.actions)
        np.testing.assert_array_equal(found.proprio, wanted.proprio)
        assert found.present['image_primary'].all()
        assert found.instructions == wanted.instructions
        assert found.metadata == {'seed': number}


def test_frames_are_resized_and_missing_ones_are_marked(tmp_path):
    there = np.array([True, False, True])
    episode = dataclasses.replace(make_episode(0, 3), present={'image_primary': there})
    with EpisodeWriter(tmp_path / 'set', {'image_primary': (2, 3)}) as writer:
        writer.add(episode)
    found = EpisodeSet(tmp_path / 'set')
    assert found.images['image_primary'].shape == (3, 2, 3, 3)
    np.testing.assert_array_equal(found.present['image_primary'], there)


def test_a_set_can_be_sent_to_another_process(episode_set):
    again = pickle.loads(pickle.dumps(episode_set))
    np.testing.assert_array_equal(again.actions, episode_set.actions)


def test_an_error_leaves_nothing_behind(tmp_path):
    with (pytest.raises(DataError, match='lacks image_wrist'),
          EpisodeWriter(tmp_path / 'set', {'image_wrist': (2, 2)}) as writer):
        writer.add(make_episode(0, 3))
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_cleared_away_and_nothing_else(tmp_path):
    for name in ('.set.partial-abandond', '.set.partial-at_work_', '.set-original', '.sets'):
        (tmp_path / name).mkdir()
    at_work = os.open(tmp_path / '.set.partial-at_work_', os.O_RDONLY)
    fcntl.flock(at_work, fcntl.LOCK_EX)
    with EpisodeWriter(tmp_path / 'set', {'image_primary': (2, 2)}) as writer:
        writer.add(make_episode(0, 3))
    os.close(at_work)
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        '.set-original', '.set.partial-at_work_', '.sets', 'set']


def test_a_new_folder_that_another_process_took_for_a_left_one_is_made_again(
        tmp_path, monkeypatch):
    make, made = tempfile.mkdtemp, []

    def taken(**options: Any) -> str:
        made.append(Path(make(**options)))
        if len(made) == 1:
            made[0].rmdir()  # between its making and its lock
        return str(made[-1])

    monkeypatch.setattr(tempfile, 'mkdtemp', taken)
    with EpisodeWriter(tmp_path / 'set', {'image_primary': (2, 2)}) as writer:
        writer.add(make_episode(0, 3))
    assert len(made) == 2
    assert [item.name for item in tmp_path.iterdir()] == ['set']
    assert len(EpisodeSet(tmp_path / 'set')) == 1


def test_an_empty_set_is_refused(tmp_path):
    with pytest.raises(DataError, match='at least one episode'), EpisodeWriter(tmp_path / 's', {}):
        pass


def test_a_set_that_is_there_is_kept_unless_told(tmp_path, episode_set):
    sizes = {'image_primary': (4, 6)}
    with pytest.raises(DataError, match='must not exist'):
        EpisodeWriter(episode_set.path, sizes)
    with EpisodeWriter(episode_set.path, sizes, overwrite=True) as writer:
        writer.add(make_episode(1, 2))
    assert len(EpisodeSet(episode_set.path)) == 1


@pytest.mark.parametrize('foreign', ['letter.txt', 'notes/letter.txt'])
@pytest.mark.parametrize('with_set', [True, False])
def test_overwriting_keeps_files_that_are_not_of_a_set(episode_set, tmp_path, foreign, with_set):
    path = episode_set.path if with_set else tmp_path / 'mine'
    (path / foreign).parent.mkdir(parents=True, exist_ok=True)
    (path / foreign).write_text('dear')
    before = sorted(path.rglob('*'))
    with pytest.raises(DataError, match='must be empty or an episode set'):
        EpisodeWriter(path, {'image_primary': (4, 6)}, overwrite=True)
    assert sorted(path.rglob('*')) == before


def test_files_that_came_while_a_set_was_written_are_kept(tmp_path):
    path = tmp_path / 'set'
    with (pytest.raises(DataError, match='must be empty or an episode set'),
          EpisodeWriter(path, {'image_primary': (4, 6)}, overwrite=True) as writer):
        writer.add(make_episode(1, 2))
        path.mkdir()
        (path / 'letter.txt').write_text('dear')
    assert [entry.name for entry in tmp_path.rglob('*')] == ['set', 'letter.txt']


@pytest.mark.parametrize(('change', 'message'), [
    ({'actions': np.zeros((2, 2))}, 'one length'),
    ({'actions': np.array([[0.0], [np.nan], [0.0]])}, r'step 1 \(0.20 s\), dimension 0'),
    ({'images': {'image_primary': np.zeros((3, 4, 6, 3))}}, 'must be uint8'),
    ({'proprio': np.full((3, 1), np.inf)}, 'proprio must be finite'),
    ({'actions': np.zeros((0, 2))}, 'at least one step')])
def test_damaged_episodes_are_refused(tmp_path, change, message):
    episode = dataclasses.replace(make_episode(0, 3), **change)
    with pytest.raises(DataError, match=message):
        episode.check()


def test_episodes_of_different_action_size_do_not_mix(tmp_path):
    wide = dataclasses.replace(make_episode(1, 3), actions=np.zeros((3, 5), np.float32))
    with (pytest.raises(DataError, match='as in the episodes before'),
          EpisodeWriter(tmp_path / 'set', {'image_primary': (4, 6)}) as writer):
        writer.add(make_episode(0, 3))
        writer.add(wide)


def test_damaged_sets_are_named(episode_set):
    (episode_set.path / 'actions.npy').write_bytes(b'')
    with pytest.raises(DataError, match=r'actions\.npy'):
        EpisodeSet(episode_set.path)
    with pytest.raises(DataError, match='data build'):
        EpisodeSet(episode_set.path / 'nowhere')
