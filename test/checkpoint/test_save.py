"""Tests of writing the released layout."""

import json
import os

import numpy as np
import pytest

from octo_ros.checkpoint.msgpack_tree import read_tree
from octo_ros.checkpoint.msgpack_tree import write_tree
from octo_ros.checkpoint.released import load
from octo_ros.checkpoint.save import save_checkpoint
from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError


def files_of(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob('*') if file.is_file()}


def test_golden_checkpoints_are_written_to_the_letter(golden, tmp_path):
    folders = sorted(golden.glob('tiny_*/ckpt'))
    assert len(folders) == 12
    for folder in folders:
        loaded = load(folder)
        copy = tmp_path / folder.parent.name
        save_checkpoint(
            copy, loaded.step, params=loaded.params, config=loaded.config,
            example_batch=loaded.example_batch, dataset_statistics=loaded.dataset_statistics)
        saved, language = files_of(copy), {'t5-tiny/config.json', 't5-tiny/tokenizer_config.json'}
        assert saved.keys() - files_of(folder) <= language, folder
        assert {name: saved[name] for name in saved.keys() - language} == files_of(folder), folder


def test_a_step_is_one_msgpack_file_and_the_metadata_of_orbax(small_checkpoint):
    assert {*files_of(small_checkpoint)} == {
        'config.json', 'example_batch.msgpack', 'dataset_statistics.json',
        '7/default/checkpoint', '7/default/_METADATA'}
    metadata = json.loads((small_checkpoint / '7/default/_METADATA').read_text())
    assert metadata['tree_metadata']["('stem', 'kernel')"] == {
        'key_metadata': [{'key': 'stem', 'key_type': 2}, {'key': 'kernel', 'key_type': 2}],
        'value_metadata': {'value_type': 'jax.Array', 'skip_deserialize': True}}


def test_a_second_step_leaves_the_first_files_alone(small_checkpoint, save_small):
    config = small_checkpoint / 'config.json'
    config.write_text(json.dumps(json.loads(config.read_text()), indent=2))
    before = files_of(small_checkpoint)
    save_small(small_checkpoint, 8)
    after = files_of(small_checkpoint)
    assert {name: after[name] for name in before} == before
    assert '8/default/checkpoint' in after


@pytest.mark.parametrize('name', ['config.json', 'dataset_statistics.json'])
def test_the_folder_of_another_model_is_refused(small_checkpoint, save_small, name):
    (small_checkpoint / name).write_text('{"model": {}, "mine": 1}')
    before = files_of(small_checkpoint)
    with pytest.raises(CheckpointError, match=f'/{name}: must be that of .* another folder'):
        save_small(small_checkpoint, 8)
    assert files_of(small_checkpoint) == before


def test_a_folder_with_another_batch_is_refused(small_checkpoint, save_small):
    write_tree(small_checkpoint / 'example_batch.msgpack', {'action': np.zeros((1, 1, 1, 2))})
    with pytest.raises(CheckpointError, match=r'/example_batch.msgpack: must be that of'):
        save_small(small_checkpoint, 8)


def test_a_folder_under_old_names_takes_another_step(small_checkpoint):
    config = json.loads((small_checkpoint / 'config.json').read_text())
    config['model']['heads'] = {'action': {'kwargs': {'pred_horizon': 4}}}
    (small_checkpoint / 'config.json').write_text(json.dumps(config))
    batch = read_tree(small_checkpoint / 'example_batch.msgpack')
    write_tree(small_checkpoint / 'example_batch.msgpack', {'tasks': batch.pop('task'), **batch})
    loaded = load(small_checkpoint)
    save_checkpoint(
        small_checkpoint, 8, params=loaded.params, config=loaded.config,
        example_batch=loaded.example_batch, dataset_statistics=loaded.dataset_statistics)
    assert load(small_checkpoint).step == 8


def test_a_step_that_is_there_is_not_overwritten(small_checkpoint, save_small):
    with pytest.raises(CheckpointError, match='/7: must be a new step'):
        save_small(small_checkpoint, 7)


def test_a_negative_step_is_refused(tmp_path, save_small):
    with pytest.raises(CheckpointError, match='/-1: must be a new step, not negative'):
        save_small(tmp_path, -1)


def test_a_failed_write_leaves_no_part_of_a_step(small_checkpoint):
    loaded = load(small_checkpoint)
    with pytest.raises(TypeError):
        save_checkpoint(
            small_checkpoint, 8, params={'stem': {'kernel': object()}}, config=loaded.config,
            example_batch=loaded.example_batch)
    assert [*small_checkpoint.glob('8*')] == []


def test_a_place_that_cannot_be_written_is_named(tmp_path, save_small):
    (tmp_path / 'file').write_text('not a folder')
    with pytest.raises(CheckpointError, match=r'/file.* cannot be written'):
        save_small(tmp_path / 'file' / 'checkpoint')


@pytest.mark.parametrize('path', [None, '', 5])
def test_a_place_to_save_that_is_no_path_is_refused(save_small, monkeypatch, tmp_path, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=f'path must be a folder, got {path!r}'):
        save_small(path)
    assert not [*tmp_path.iterdir()]


def test_statistics_may_be_left_out(tmp_path, small_params):
    save_checkpoint(tmp_path, 0, params=small_params, config={}, example_batch={})
    assert not (tmp_path / 'dataset_statistics.json').exists()


def test_statistics_of_arrays_become_lists(tmp_path, small_params):
    statistics = {'action': {'mean': np.array([0.5], np.float32), 'mask': np.array([True])},
                  'num_transitions': np.int64(3)}
    save_checkpoint(
        tmp_path, 0, params=small_params, config={}, example_batch={},
        dataset_statistics=statistics)
    assert json.loads((tmp_path / 'dataset_statistics.json').read_text()) == {
        'action': {'mean': [0.5], 'mask': [True]}, 'num_transitions': 3}


def test_others_may_read_what_was_saved(small_checkpoint):
    assert os.stat(small_checkpoint / '7').st_mode & 0o555 == 0o555
