"""Batches: right rows, right masks, the same for any number of hosts and workers."""

import contextlib
import dataclasses
import itertools

import jax
import numpy as np
import pytest

from octo_ros.data.batches import BatchSource
from octo_ros.data.batches import BatchSpec
from octo_ros.data.instructions import InstructionTable
from octo_ros.data.loader import batches
from octo_ros.data.store import EpisodeSet
from octo_ros.data.store import EpisodeWriter
from octo_ros.data.tasks import TaskParams
from octo_ros.errors import DataError
from test.data.conftest import make_episode

STATISTICS = {
    'action': {'mean': [0.0, 0.0], 'std': [1.0, 1.0]},
    'proprio': {'mean': [0.0], 'std': [2.0]}, 'velocity': {'mean': [0.0], 'std': [1.0]}}


def encode(texts):
    return {'input_ids': np.array([[len(text), index] for index, text in enumerate(texts)])}


def source_of(episodes, batch_size=4, tasks=None, action_dim=2, velocity=False, **options):
    table = InstructionTable([entry['instructions'] for entry in episodes.entries], encode)
    spec = BatchSpec(batch_size, window=2, action_horizon=3, action_dim=action_dim, proprio=True,
                     velocity=velocity)
    return BatchSource(episodes, STATISTICS, spec, tasks or TaskParams(), table,
                       **{'seed': 0} | options)


@pytest.fixture
def scenes(tmp_path):
    """Returns the folder of six episodes of four steps; number modulo 2 is the scene."""
    with EpisodeWriter(tmp_path / 'scenes', {'image_primary': (4, 6)}) as writer:
        for number in range(6):
            episode = make_episode(number, 4)
            writer.add(dataclasses.replace(episode, metadata={'seed': number % 2}))
    return tmp_path / 'scenes'


def assert_same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_every_array_of_a_batch_belongs_to_the_same_step(episode_set):
    batch = source_of(episode_set, 64)[0]
    seen = batch['observation']
    newest = seen['image_primary'][:, -1, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(batch['action'][:, -1, 0, 0], newest)
    np.testing.assert_array_equal(seen['proprio'][:, -1, 0], newest / 2)
    np.testing.assert_array_equal(seen['timestep'][:, -1], newest % 10)
    first = seen['timestep'][:, -1] == 0
    np.testing.assert_array_equal(seen['timestep_pad_mask'][:, 0], ~first)


def test_goal_and_instruction_are_those_of_the_episode_and_never_both(episode_set):
    source = source_of(episode_set, 64)
    batch = source[0]
    owner = batch['observation']['image_primary'][:, -1, 0, 0, 0] // 10
    goal = batch['task']['image_primary'][:, 0, 0, 0]
    kept = batch['task']['pad_mask_dict']['image_primary']
    told = batch['task']['pad_mask_dict']['language_instruction']
    assert not (kept & told).any()
    assert (kept | told).all()
    assert not told[owner == 0].any(), 'the first episode has no instruction'
    np.testing.assert_array_equal(goal[kept] // 10, owner[kept])
    np.testing.assert_array_equal(goal[kept] % 10, batch['task']['timestep'][kept])
    assert not goal[~kept].any()
    rows = batch['task']['language_instruction']['input_ids'][:, 1]
    assert not rows[~told].any()
    for row, number in zip(rows[told], owner[told], strict=True):
        assert source._instructions.texts[row].endswith(str(number))


def test_language_only_batches_hold_no_goal_images(episode_set):
    source = source_of(episode_set, tasks=TaskParams(modality='language_conditioned'))
    assert 'image_primary' not in source[0]['task']


def test_actions_of_other_embodiments_are_padded_and_masked(episode_set):
    batch = source_of(episode_set, action_dim=5)[0]
    assert batch['action'].shape == (4, 2, 3, 5)
    assert not batch['action'][..., 2:].any()
    assert not batch['action_pad_mask'][..., 2:].any()
    assert batch['action_pad_mask'][:, -1, 0, :2].all()


def test_an_epoch_visits_every_step_once(episode_set):
    source = source_of(episode_set, batch_size=17)
    assert source.examples == 17
    for index in (0, 1):
        seen = source[index]['observation']['image_primary'][:, -1, 0, 0, 0]
        assert len(set(seen)) == 17
    assert not np.array_equal(source[0]['action'], source[1]['action'])


def test_an_epoch_visits_the_first_steps_as_often_as_told(episode_set):
    lengths = episode_set.lengths
    often = sum(min(2, length) for length in lengths)
    source = source_of(episode_set, batch_size=17 + 2 * often, openings=(2, 3))
    assert source.examples == 17
    seen, visits = np.unique(
        source[0]['observation']['image_primary'][:, -1, 0, 0, 0], return_counts=True)
    assert len(seen) == 17
    np.testing.assert_array_equal(visits, np.where(seen % 10 < 2, 3, 1))


def test_contrast_keeps_the_first_steps_of_one_scene_side_by_side(scenes):
    source = source_of(EpisodeSet(scenes), batch_size=6 * (4 + 2), openings=(2, 2),
                       contrast=True)
    frames = source[0]['observation']['image_primary'][:, -1, 0, 0, 0]
    episodes, steps = np.divmod(frames, 10)
    assert len(set(frames)) == source.examples
    opening = np.flatnonzero(steps < 2)
    assert len(opening) == 6 * 2 * 2
    for place in opening:  # 6 episodes stand for 2 scenes, told in 3 ways
        near = slice(max(0, place - 2), place + 3)
        same = (steps[near] == steps[place]) & (episodes[near] % 2 == episodes[place] % 2)
        assert set(episodes[near][same] // 2) == {0, 1, 2}


def test_contrast_wants_to_know_the_scene(tmp_path):
    with EpisodeWriter(tmp_path / 'set', {'image_primary': (4, 6)}) as writer:
        writer.add(dataclasses.replace(make_episode(1, 4), metadata={}))
    with pytest.raises(DataError, match=r"scene's seed in its metadata, 'episode_1' has none"):
        source_of(EpisodeSet(tmp_path / 'set'), contrast=True)


def test_batches_are_a_function_of_seed_and_number(episode_set):
    assert_same(source_of(episode_set)[7], source_of(episode_set)[7])
    other = source_of(episode_set, seed=1)[7]
    assert not np.array_equal(source_of(episode_set)[7]['action'], other['action'])


def test_hosts_share_the_rows_of_one_batch(episode_set):
    whole = source_of(episode_set)[3]
    parts = [source_of(episode_set, shard=(part, 2))[3] for part in range(2)]
    assert_same(whole, jax.tree.map(lambda *rows: np.concatenate(rows), *parts))


def test_chosen_episodes_only(episode_set):
    batch = source_of(episode_set, 32, subset=np.array([1]))[0]
    assert set(batch['observation']['image_primary'].ravel() // 10) == {1}


def test_examples_in_order_have_the_last_frame_as_goal(episode_set):
    source = source_of(episode_set, tasks=TaskParams(modality='image_conditioned'))
    batch = source.in_order(np.arange(8), goal=True)
    np.testing.assert_array_equal(batch['observation']['timestep'][:, -1],
                                  [0, 1, 2, 3, 4, 0, 1, 2])
    np.testing.assert_array_equal(batch['task']['image_primary'][:, 0, 0, 0],
                                  [4, 4, 4, 4, 4, 12, 12, 12])


def test_a_goal_that_no_camera_saw_is_the_last_one_that_was_seen(tmp_path):
    there = {'late': [True] * 3 + [False] * 3, 'never': [False] * 6}
    with EpisodeWriter(tmp_path / 'set', {'image_primary': (4, 6)}) as writer:
        for number, present in enumerate(there.values()):
            writer.add(dataclasses.replace(
                make_episode(number, 6), present={'image_primary': np.array(present)}))
    source = source_of(EpisodeSet(tmp_path / 'set'), 64)
    batch = source[0]
    masks = batch['task']['pad_mask_dict']
    goal, told = masks['image_primary'], masks['language_instruction']
    assert (goal | told).all(), 'an example without a task'
    assert goal.any()
    assert not (goal & told).any()
    assert set(batch['task']['timestep'][goal]) <= {0, 1, 2}
    # What is done after the goal was reached teaches nothing, but for Octo's two steps of grace.
    after = goal & (batch['observation']['timestep'][:, -1] > 3)
    assert after.any()
    assert not batch['action_pad_mask'][after, -1].any()
    ends = source.in_order(np.arange(12), goal=True)['task']
    assert ends['pad_mask_dict']['image_primary'].tolist() == [True] * 6 + [False] * 6
    assert ends['timestep'].tolist() == [2] * 6 + [5] * 6


@pytest.mark.parametrize('workers', [0, 1])
def test_the_loader_gives_the_same_batches_from_any_start(episode_set, workers):
    source = source_of(episode_set)
    with contextlib.closing(batches(source, start=5, workers=workers)) as stream:
        for index, batch in enumerate(itertools.islice(stream, 4), start=5):
            assert_same(batch, source[index])


def test_impossible_requests_are_refused(episode_set):
    with pytest.raises(DataError, match='multiple of the 3 hosts'):
        source_of(episode_set, shard=(0, 3))
    with pytest.raises(DataError, match='at most the 1 dimensions'):
        source_of(episode_set, action_dim=1)
    with pytest.raises(DataError, match='at least one episode'):
        source_of(episode_set, subset=np.array([], int))


def test_velocity_is_the_change_of_proprio_per_second(episode_set):
    seen = source_of(episode_set, 64, velocity=True)[0]['observation']
    moved = (seen['timestep'] > 0).astype(np.float32)  # proprio grows by 1 in steps of 0.2 s
    np.testing.assert_allclose(seen['velocity'][..., 0], 5.0 * moved, rtol=1e-6)
    assert seen['pad_mask_dict']['velocity'].all()
    assert 'velocity' not in source_of(episode_set)[0]['observation']


def test_noise_moves_all_proprio_of_a_window_by_one_draw(episode_set):
    still = source_of(episode_set, 512, velocity=True)[0]['observation']
    noisy = source_of(episode_set, 512, velocity=True, proprio_noise=0.5)[0]['observation']
    for key in ('proprio', 'velocity'):
        noise = (noisy[key] - still[key])[..., 0]
        np.testing.assert_allclose(noise[:, 0], noise[:, 1], atol=1e-5)
        assert 0.45 < noise.std() < 0.55
    np.testing.assert_array_equal(noisy['image_primary'], still['image_primary'])


@pytest.mark.parametrize('rows', [False, True])
def test_examples_without_images_have_neither_frames_nor_goals(episode_set, rows):
    tasks = TaskParams('image_conditioned')
    whole = source_of(episode_set, 512, tasks, frame_rows=rows)[0]
    batch = source_of(episode_set, 512, tasks, frame_rows=rows, image_dropout=0.75)[0]
    seen = batch['observation']['pad_mask_dict']['image_primary'].any(axis=1)
    assert 0.2 < seen.mean() < 0.3
    for part in ('observation', 'task'):
        images, masks = batch[part]['image_primary'], batch[part]['pad_mask_dict']
        assert (images[~seen] == (-1 if rows else 0)).all()
        assert not masks['image_primary'][~seen].any()
        np.testing.assert_array_equal(images[seen], whole[part]['image_primary'][seen])
    np.testing.assert_array_equal(batch['observation']['proprio'], whole['observation']['proprio'])


def test_hosts_share_noise_and_missing_images(episode_set):
    options = {'proprio_noise': 1.0, 'image_dropout': 0.5}
    whole = source_of(episode_set, 8, **options)[3]
    halves = [source_of(episode_set, 8, shard=(host, 2), **options)[3] for host in range(2)]
    assert_same(whole, jax.tree.map(lambda *parts: np.concatenate(parts), *halves))
