"""Whole runs: they learn, stop when told, go on to the bit, and use several devices."""

import contextlib
import csv
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from octo_ros import params as schema
from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError
from octo_ros.train.adapt import ModelParams
from octo_ros.train.finetune import plan_finetune
from octo_ros.train.loop import train
from octo_ros.train.params import OptimizerParams
from octo_ros.train.params import TrainParams
from octo_ros.train.saving import StateStore
from test.processes import alive
from test.processes import children
from test.processes import wait_until
from test.train.conftest import run_params

ROOT = Path(__file__).resolve().parents[2]
QUICK = {'batch_size': 8, 'log_every': 1, 'eval_every': 4, 'save_every': 2, 'eval_samples': 1,
         'eval_steps': 4}
SHORT = {'steps': 3, 'task.modality': 'language_conditioned'}


@pytest.fixture
def start(episodes, compilation_cache):
    """Returns a function that starts a training process."""
    started = []

    def start(folder, *where, devices=1, **flat):
        started.append(_start(
            episodes, compilation_cache, folder, *where, devices=devices, **flat))
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # workers, too
        process.communicate()


def _start(episodes, cache, folder, *where, devices, **flat):
    environment = os.environ | cache | {
        'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1',
        'XLA_FLAGS': f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, str(ROOT / 'test/train/run_training.py'), str(episodes.path),
               str(folder), json.dumps(QUICK | flat), *map(str, where)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment, start_new_session=True)


def finish(process):
    """Waits for a training process that must succeed; returns what it printed."""
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return output


def curve(folder, prefix=('train/', 'held_out')):
    """Returns the metrics of a run that do not depend on the speed of the machine."""
    with (folder / 'metrics.csv').open(newline='') as file:
        return {(row['step'], row['name']): row['value'] for row in csv.DictReader(file)
                if row['name'].startswith(prefix)}


def test_a_run_learns_and_beats_the_mean_action(base, episodes, tmp_path):
    params = run_params(steps=100, batch_size=16, log_every=20, eval_every=100, eval_steps=16,
                        eval_samples=1, save_every=100, optimizer=OptimizerParams(
                            learning_rate=5e-3, warmup_steps=10))
    plan = plan_finetune(base, episodes, ModelParams(head='mse'), params, held_out=[0, 1, 2])
    outcome = train(plan.setup, params, tmp_path / 'run')
    losses = list(outcome.metrics['train/loss'].values())
    assert losses[-1] < 0.6 * losses[0]  # the head begins with the mean action
    assert outcome.metrics['held_out_language/error'][100] < 0.7
    assert (tmp_path / 'run/curves.png').stat().st_size > 10_000
    assert list((tmp_path / 'run/tensorboard').glob('events*'))
    assert not outcome.stopped


def test_a_killed_run_goes_on_to_the_bit(start, tmp_path):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    finish(start(whole, steps=8))
    process = start(broken, steps=8)
    for line in process.stdout:
        if line.strip() == '5':
            process.kill()
            break
    process.communicate()
    assert int(max(int(row[0]) for row in curve(broken))) < 8
    saved = sorted(int(path.name) for path in (broken / 'state').iterdir() if path.name.isdigit())
    assert saved, 'a state was saved before the end'
    finish(start(broken, steps=8))
    assert curve(broken) == curve(whole)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP])
def test_a_terminals_signal_keeps_the_last_state_and_workers_say_nothing(start, tmp_path, number):
    process = start(tmp_path / 'run', steps=100_000, workers=1)
    for line in process.stdout:
        if line.strip() == '3':
            os.killpg(process.pid, number)  # as a terminal does
            break
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert 'Traceback' not in errors
    assert 'leaked' not in errors
    last = int(output.split()[-1]) if output.strip() else 3
    saved = [int(path.name) for path in (tmp_path / 'run/state').iterdir()
             if path.name.isdigit()]
    assert max(saved) >= last


def test_workers_end_when_the_trainer_is_killed(start, tmp_path):
    process = start(tmp_path / 'run', steps=100_000, workers=2)
    for line in process.stdout:
        if line.strip() == '3':
            break
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    wait_until(lambda: not any(map(alive, workers)), 'the end of the workers', timeout_s=20)


@pytest.fixture(scope='module')
def one_device(base, episodes, tmp_path_factory):
    """Returns the folder of a run on one device."""
    folder = tmp_path_factory.mktemp('one_device')
    params = schema.from_flat(TrainParams, QUICK | SHORT)
    plan = plan_finetune(base, episodes, ModelParams(head='l1'), params, held_out=[0])
    train(plan.setup, params, folder)
    return folder


def test_two_devices_give_the_losses_of_one(start, one_device, tmp_path):
    output = finish(start(tmp_path / 'two', devices=2, **SHORT, **{'model.head': 'l1'}))
    assert 'devices 2' in output
    assert_close(curve(tmp_path / 'two'), curve(one_device))


def test_two_hosts_give_the_losses_of_one_device(start, one_device, tmp_path):
    folder = tmp_path / 'two'
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        coordinator = f'localhost:{probe.getsockname()[1]}'
    processes = [start(folder, coordinator, 2, number, **SHORT, **{'model.head': 'l1'})
                 for number in (0, 1)]
    assert ['devices 2' in finish(process) for process in processes] == [True, True]
    assert_close(curve(folder), curve(one_device))
    # Of what is for people, the second host writes nothing.
    assert {path.name for path in folder.iterdir()} - {'vocabulary'} == {
        path.name for path in one_device.iterdir()}
    assert len(list((folder / 'tensorboard').iterdir())) == 1
    assert (folder / 'state/3/default/ocdbt.process_1').is_dir()


def assert_close(first, second):
    assert first.keys() == second.keys()
    names = sorted(first)
    np.testing.assert_allclose([float(first[name]) for name in names],
                               [float(second[name]) for name in names], rtol=2e-3, atol=1e-5)


def test_a_state_of_another_model_is_refused(base, episodes, tmp_path):
    plan = plan_finetune(base, episodes, ModelParams(head='l1'), run_params())
    train(plan.setup, run_params(steps=1), tmp_path / 'run')
    other = plan_finetune(base, episodes, ModelParams(head='l1', action_horizon=3),
                          run_params())
    with pytest.raises(CheckpointError, match='another folder'):
        train(other.setup, run_params(steps=4), tmp_path / 'run')
    gc.collect()  # pytest makes an error of reads that were left behind


def test_a_damaged_state_is_named(base, episodes, tmp_path):
    plan = plan_finetune(base, episodes, ModelParams(head='l1'), run_params())
    train(plan.setup, run_params(steps=1), tmp_path / 'run')
    for file in (tmp_path / 'run/state/1/default').rglob('d/*'):
        file.write_bytes(b'damaged')
    with pytest.raises(CheckpointError, match='run/state/1: must hold the state of this very run'):
        train(plan.setup, run_params(steps=2), tmp_path / 'run')
    gc.collect()


def test_a_run_that_is_stopped_before_its_first_report_ends_all_the_same(
        base, episodes, tmp_path):
    class Stopper:
        def update(self, step, metrics):
            signal.raise_signal(signal.SIGINT)

    params = run_params(steps=9, log_every=9, eval_every=9)
    plan = plan_finetune(base, episodes, ModelParams(head='l1'), params)
    outcome = train(plan.setup, params, tmp_path / 'run', progress=Stopper())
    assert (outcome.step, outcome.stopped, outcome.metrics) == (1, True, {})
    assert (tmp_path / 'run/state/1').is_dir()


@pytest.mark.parametrize('goes_on_from', [5, 4])
def test_a_curve_is_that_of_one_run_where_it_went_on_between_two_reports(
        base, episodes, tmp_path, goes_on_from):
    class Stopper:
        def update(self, step, metrics):
            if step == 5:
                signal.raise_signal(signal.SIGINT)

    params = run_params(steps=8, log_every=3, save_every=4)
    plan = plan_finetune(base, episodes, ModelParams(head='l1'), params)
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    train(plan.setup, params, whole)
    assert train(plan.setup, params, broken, progress=Stopper()).step == 5
    if goes_on_from == 4:  # as after a kill
        shutil.rmtree(broken / 'state/5')
    train(plan.setup, params, broken)
    assert {step for step, _ in curve(broken)} == {'3', '6', '8'}
    assert curve(broken) == curve(whole)


def test_a_state_without_notes_is_one_from_before_there_were_any(tmp_path):
    state = {'weights': jax.numpy.arange(3.0)}
    with StateStore(tmp_path / 'state') as store:
        store.save(1, state)
    with StateStore(tmp_path / 'state') as store:
        np.testing.assert_array_equal(store.restore(state)['weights'], state['weights'])
        assert store.notes() == {}


def test_a_batch_that_cannot_be_spread_is_refused(base, episodes, tmp_path):
    plan = plan_finetune(base, episodes, ModelParams(), run_params())
    params = run_params(batch_size=8, optimizer=OptimizerParams(accumulate=3))
    with pytest.raises(ParameterError, match='multiple of 1 devices times 3'):
        train(plan.setup, params, tmp_path / 'run')
