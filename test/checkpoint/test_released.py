"""Tests of reading checkpoints, whole and damaged."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from octo_ros.checkpoint import msgpack_tree
from octo_ros.checkpoint.merge import flatten
from octo_ros.checkpoint.released import load
from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError


def test_a_checkpoint_is_read_with_types_as_they_are_used(small_checkpoint, small_params):
    loaded = load(small_checkpoint)
    assert loaded.step == 7
    assert loaded.path == small_checkpoint
    assert loaded.parameter_file == small_checkpoint / '7/default/checkpoint'
    assert loaded.config['window_size'] == 2
    assert loaded.example_batch['observation']['image_primary'].dtype == np.uint8
    assert loaded.example_batch['task']['language_instruction']['input_ids'].dtype == np.int64
    action = loaded.dataset_statistics['bridge_dataset']['action']
    assert action['mean'].dtype == np.float64
    assert action['mask'].tolist() == [True, False]
    assert loaded.dataset_statistics['bridge_dataset']['num_transitions'] == 12
    assert isinstance(loaded.params['stem']['kernel'], jax.Array)
    np.testing.assert_array_equal(
        loaded.params['stem']['kernel'], small_params['stem']['kernel'])


def test_the_latest_step_is_read_by_number_not_by_name(small_checkpoint, save_small):
    save_small(small_checkpoint, 10, scale=10.0)
    assert load(small_checkpoint).step == 10
    np.testing.assert_array_equal(load(small_checkpoint).params['head']['bias'], [10, -10])
    np.testing.assert_array_equal(load(small_checkpoint, 7).params['head']['bias'], [1, -1])


def test_every_golden_checkpoint_has_the_parameters_of_its_list(golden):
    for folder in sorted(golden.glob('tiny_*')):
        listed = json.loads((folder / 'params.json').read_text())
        flat = flatten(load(folder / 'ckpt').params)
        assert {*listed} == {*flat}
        for path, row in listed.items():
            assert tuple(row['shape']) == flat[path].shape
            assert row['dtype'] == flat[path].dtype.name


def test_old_names_are_brought_up_to_date(small_checkpoint):
    config = json.loads((small_checkpoint / 'config.json').read_text())
    config['model']['heads'] = {'action': {'kwargs': {'pred_horizon': 4}}}
    (small_checkpoint / 'config.json').write_text(json.dumps(config))
    batch = msgpack_tree.read_tree(small_checkpoint / 'example_batch.msgpack')
    batch['tasks'] = batch.pop('task')
    batch['observation']['pad_mask'] = batch['observation'].pop('timestep_pad_mask')
    msgpack_tree.write_tree(small_checkpoint / 'example_batch.msgpack', batch)
    loaded = load(small_checkpoint)
    assert loaded.config['model']['heads']['action']['kwargs'] == {'action_horizon': 4}
    assert 'language_instruction' in loaded.example_batch['task']
    assert loaded.example_batch['observation']['timestep_pad_mask'].all()


def test_flat_statistics_of_a_fine_tuned_checkpoint_are_read(small_checkpoint):
    (small_checkpoint / 'dataset_statistics.json').write_text(
        '{"action": {"mean": [1, 2], "std": [1, 1]}, "num_transitions": 5}')
    statistics = load(small_checkpoint).dataset_statistics
    assert statistics['action']['mean'].tolist() == [1.0, 2.0]


def test_statistics_may_be_absent(small_checkpoint):
    (small_checkpoint / 'dataset_statistics.json').unlink()
    assert load(small_checkpoint).dataset_statistics == {}


def test_parameters_saved_under_the_key_params_are_unwrapped(small_checkpoint, small_params):
    msgpack_tree.write_tree(
        small_checkpoint / '7/default/checkpoint', {'params': small_params})
    assert {*load(small_checkpoint).params} == {'stem', 'head'}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match='/absent: must be a checkpoint folder'):
        load(tmp_path / 'absent')


@pytest.mark.parametrize('path', [None, '', 5])
def test_a_checkpoint_that_is_no_path_is_refused(path):
    with pytest.raises(ParameterError, match=f'path_or_hf must be a .*, got {path!r}'):
        load(path)


def test_a_name_that_looks_like_a_repository_is_told_how_to_write_it():
    with pytest.raises(CheckpointError, match=r'is written hf://rail-berkeley/octo-small-1.5'):
        load('rail-berkeley/octo-small-1.5')


def test_a_revision_of_a_folder_is_refused(small_checkpoint):
    with pytest.raises(CheckpointError, match=r"revision='main' must go with .* hub"):
        load(small_checkpoint, revision='main')


def test_the_folder_of_a_step_is_told_from_a_checkpoint(small_checkpoint):
    with pytest.raises(CheckpointError, match=r'folder of one step: give .*/small and step=7'):
        load(small_checkpoint / '7')


@pytest.mark.parametrize('name', ['config.json', 'example_batch.msgpack'])
def test_a_missing_file_is_named(small_checkpoint, name):
    (small_checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match=f'/{name}: cannot be read'):
        load(small_checkpoint)


@pytest.mark.parametrize('name', ['config.json', 'dataset_statistics.json'])
def test_damaged_json_is_named_with_the_place(small_checkpoint, name):
    (small_checkpoint / name).write_text('{"model": {"heads": ')
    with pytest.raises(CheckpointError, match=f'/{name}: must be JSON, .*line 1 column'):
        load(small_checkpoint)


@pytest.mark.parametrize('name', ['config.json', 'example_batch.msgpack', '7/default/checkpoint'])
def test_a_pointer_of_git_lfs_says_what_to_run(small_checkpoint, name):
    (small_checkpoint / name).write_text(
        'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n')
    with pytest.raises(CheckpointError, match=f'{name}: must be the file itself.*git lfs pull'):
        load(small_checkpoint)


def test_json_of_brackets_without_end_is_damaged(small_checkpoint):
    (small_checkpoint / 'config.json').write_text(100_000 * '[')
    with pytest.raises(CheckpointError, match=r'config\.json: must be JSON, but it is damaged'):
        load(small_checkpoint)


def test_json_in_another_encoding_is_refused(small_checkpoint):
    (small_checkpoint / 'config.json').write_bytes(b'\xff\xfe{\x00')
    with pytest.raises(CheckpointError, match=r'/config.json: must be JSON'):
        load(small_checkpoint)


def test_json_that_is_no_object_is_refused(small_checkpoint):
    (small_checkpoint / 'config.json').write_text('[1]')
    with pytest.raises(CheckpointError, match='must hold a JSON object, got list'):
        load(small_checkpoint)


def test_a_config_of_something_else_is_refused(small_checkpoint):
    (small_checkpoint / 'config.json').write_text('{"architectures": []}')
    with pytest.raises(CheckpointError, match="must hold a mapping 'model', got architectures"):
        load(small_checkpoint)


def test_a_config_whose_model_is_a_list_says_so(small_checkpoint):
    (small_checkpoint / 'config.json').write_text('{"model": []}')
    with pytest.raises(CheckpointError, match="a mapping 'model', got a list of that name"):
        load(small_checkpoint)


def test_statistics_that_are_no_numbers_are_named(small_checkpoint):
    (small_checkpoint / 'dataset_statistics.json').write_text('{"a": {"mean": ["x"]}}')
    with pytest.raises(CheckpointError, match=r'statistics.json: a.mean must be a list of num'):
        load(small_checkpoint)


def test_a_batch_without_its_entries_is_refused(small_checkpoint):
    msgpack_tree.write_tree(small_checkpoint / 'example_batch.msgpack', {'observation': {}})
    with pytest.raises(CheckpointError, match='task is missing, found observation'):
        load(small_checkpoint)


def test_a_batch_may_lack_actions(small_checkpoint):
    file = small_checkpoint / 'example_batch.msgpack'
    batch = msgpack_tree.read_tree(file)
    del batch['action']
    msgpack_tree.write_tree(file, batch)
    assert 'action' not in load(small_checkpoint).example_batch


_IMAGE = np.zeros((1, 2, 4, 4, 3), np.uint8)
_STEPS = np.ones((1, 2), bool)


@pytest.mark.parametrize(('name', 'value', 'message'), [
    ('observation', np.zeros(3), 'observation must be a map, got array'),
    ('task', 'abc', "task must be a map, got 'abc'"),
    ('observation', {'image_primary': _IMAGE},
     r'observation/timestep_pad_mask must be an array \(1, window\), got none'),
    ('observation', {'timestep_pad_mask': _STEPS, 'proprio': np.zeros((1, 3, 7))},
     r'observation/proprio must begin with the axes \(1, 2\) .* got \(1, 3, 7\)'),
    ('task', {'language_instruction': 'pick'}, 'task/language_instruction must be an array'),
    ('action', np.float32(1.0), r'action must be an array .* got \(\)'),
])
def test_a_damaged_batch_names_its_entry(small_checkpoint, name, value, message):
    file = small_checkpoint / 'example_batch.msgpack'
    msgpack_tree.write_tree(file, {**msgpack_tree.read_tree(file), name: value})
    with pytest.raises(CheckpointError, match=f'/example_batch.msgpack: {message}'):
        load(small_checkpoint)


def test_a_checkpoint_without_a_step_lists_what_is_there(small_checkpoint):
    shutil.rmtree(small_checkpoint / '7')
    (small_checkpoint / '8.orbax-checkpoint-tmp-1').mkdir()
    with pytest.raises(CheckpointError, match=r'found 8.orbax-checkpoint-tmp-1, config.json'):
        load(small_checkpoint)


def test_a_step_that_is_not_there_lists_those_that_are(small_checkpoint, save_small):
    save_small(small_checkpoint, 10)
    with pytest.raises(CheckpointError, match='has no step 9; the steps there are 7, 10'):
        load(small_checkpoint, 9)


def test_a_step_without_parameters_lists_what_is_there(small_checkpoint):
    (small_checkpoint / '7/default/checkpoint').rename(small_checkpoint / '7/default/other')
    (small_checkpoint / '7/default/_METADATA').unlink()
    with pytest.raises(CheckpointError, match=r'/7: default/checkpoint is missing.* found other'):
        load(small_checkpoint)


def test_metadata_alone_is_a_partial_download(small_checkpoint):
    (small_checkpoint / '7/default/checkpoint').unlink()
    with pytest.raises(CheckpointError, match=r'default/checkpoint is missing.* not complete'):
        load(small_checkpoint)


def test_a_truncated_parameter_file_is_named(small_checkpoint):
    file = small_checkpoint / '7/default/checkpoint'
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r'/7/default/checkpoint: .* truncated'):
        load(small_checkpoint)


def test_references_to_arrays_elsewhere_are_refused_with_their_path(small_checkpoint):
    file = small_checkpoint / '7/default/checkpoint'
    msgpack_tree.write_tree(file, {'stem': {'kernel': 'PLACEHOLDER://stem.kernel'}})
    with pytest.raises(CheckpointError, match="stem/kernel must be an array, got str 'PLACEH"):
        load(small_checkpoint)


@pytest.mark.parametrize('number', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('dtype', [np.float32, jnp.bfloat16])
def test_parameters_that_are_not_finite_are_counted_and_named(small_checkpoint, number, dtype):
    file = small_checkpoint / '7/default/checkpoint'
    bad = np.array([1.0, number], dtype)
    msgpack_tree.write_tree(file, {'stem': {'kernel': bad, 'bias': np.ones(2, dtype)}})
    with pytest.raises(CheckpointError, match=r'NaN or infinity in 1 of 2: stem/kernel;'):
        load(small_checkpoint)


@pytest.mark.parametrize('dtype', [np.int32, np.bool_])
def test_parameters_of_whole_numbers_are_refused(small_checkpoint, dtype):
    file = small_checkpoint / '7/default/checkpoint'
    msgpack_tree.write_tree(file, {'stem': {'kernel': np.ones(2, dtype)}})
    with pytest.raises(CheckpointError, match=r'stem/kernel must be floating-point .* got \w+;'):
        load(small_checkpoint)
