"""Tests of parameter folders as current Orbax versions write them."""

import gc
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from octo_ros.checkpoint.released import load
from octo_ros.errors import CheckpointError


def write_standard(folder, params):
    with ocp.CheckpointManager(folder) as manager:
        manager.save(9, args=ocp.args.StandardSave(params))


def write_named_item(folder, params):
    with ocp.CheckpointManager(folder) as manager:
        manager.save(9, args=ocp.args.Composite(params=ocp.args.StandardSave(params)))


def write_zarr(folder, params):
    with ocp.PyTreeCheckpointer(use_ocdbt=False) as checkpointer:
        checkpointer.save(folder / '9' / 'default', params)


def write_numpy(folder, params):
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder / '9' / 'default', jax.tree.map(np.asarray, params))


def write_zarr3(folder, params):
    with ocp.PyTreeCheckpointer(use_ocdbt=True, use_zarr3=True) as checkpointer:
        checkpointer.save(folder / '9' / 'default', params)


@pytest.fixture
def without_steps(small_checkpoint):
    shutil.rmtree(small_checkpoint / '7')
    return small_checkpoint


@pytest.mark.parametrize('write', [
    write_standard, write_named_item, write_numpy, write_zarr, write_zarr3])
def test_folders_of_current_orbax_load(without_steps, small_params, write):
    write(without_steps, jax.tree.map(jnp.asarray, small_params))
    loaded = load(without_steps)
    assert loaded.step == 9
    jax.tree.map(np.testing.assert_array_equal, loaded.params, small_params)
    assert loaded.params['stem']['kernel'].devices() == {jax.local_devices()[0]}


def test_a_relative_path_loads(without_steps, small_params, monkeypatch):
    write_standard(without_steps, jax.tree.map(jnp.asarray, small_params))
    monkeypatch.chdir(without_steps)
    assert load('.').step == 9


def test_arrays_from_another_device_land_on_this_one(without_steps, small_params):
    write_standard(without_steps, jax.tree.map(jnp.asarray, small_params))
    sharding = without_steps / '9/default/_sharding'
    written = json.loads(sharding.read_text())
    assert written
    sharding.write_text(sharding.read_text().replace('cpu:0', 'TPU_3(process=0,(1,1,0,0))'))
    np.testing.assert_array_equal(load(without_steps).params['head']['bias'], [1, -1])


def damage_an_array(folder):
    (folder / 'm3.kernel/0').write_bytes(b'damaged')


def damage_a_header(folder):
    (folder / 'm3.kernel/.zarray').write_bytes(b'{')


def lose_a_header(folder):
    (folder / 'm3.kernel/.zarray').unlink()


@pytest.mark.parametrize('damage', [damage_an_array, damage_a_header, lose_a_header])
def test_a_damaged_array_is_told_and_no_other_read_stays_behind(without_steps, damage):
    params = {f'm{number}': {'kernel': jnp.arange(1000.0)} for number in range(12)}
    write_zarr(without_steps, params)
    damage(without_steps / '9/default')
    for _ in range(5):
        with pytest.raises(CheckpointError, match='/9/default: Orbax cannot read this folder'):
            load(without_steps)
        gc.collect()  # pytest makes an error of what complains when it is collected


def test_an_orbax_folder_without_its_list_of_arrays_is_named(without_steps, small_params):
    write_zarr(without_steps, jax.tree.map(jnp.asarray, small_params))
    (without_steps / '9/default/_METADATA').write_text('{')
    with pytest.raises(CheckpointError, match=r'/9/default: Orbax cannot read this folder'):
        load(without_steps)


def test_parameters_that_are_not_finite_are_named(without_steps):
    write_zarr(without_steps, {'stem': {'kernel': jnp.array([1.0, jnp.nan])}})
    with pytest.raises(CheckpointError, match=r'NaN or infinity in 1 of 1: stem/kernel;'):
        load(without_steps)


@pytest.mark.parametrize('step', [None, 9])
def test_steps_whose_numbers_are_padded_with_zeros_load(without_steps, small_params, step):
    options = ocp.CheckpointManagerOptions(step_format_fixed_length=8)
    with ocp.CheckpointManager(without_steps, options=options) as manager:
        manager.save(9, args=ocp.args.StandardSave(jax.tree.map(jnp.asarray, small_params)))
    assert (without_steps / '00000009').is_dir()
    loaded = load(without_steps, step)
    assert loaded.step == 9
    jax.tree.map(np.testing.assert_array_equal, loaded.params, small_params)


@pytest.mark.parametrize('state', [
    lambda params: {'params': params, 'step': 7},
    lambda params: {'model': {'params': params}, 'opt_state': {'count': 3}, 'step': 7}])
def test_the_state_of_a_training_is_told_from_parameters(without_steps, small_params, state):
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(without_steps / '7' / 'default', state(small_params))
    with pytest.raises(CheckpointError, match=r'parameters alone, got the whole state of a '
                                              r'training \(.*step.*\); .* save_pretrained'):
        load(without_steps)
