"""From demonstrations to a success rate, by the commands of the README, through a SIGKILL."""

import csv
import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from octo_ros.sim import gl

if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
    pytest.skip("the extra 'sim' (mujoco, gym-aloha) is not installed", allow_module_level=True)
if gl.backend() == 'disable':
    pytest.skip('neither EGL nor OSMesa is installed', allow_module_level=True)

COMMAND = Path(sys.executable).parent / 'octo-ros'
DEADLINE_S = 200.0
STEPS = 60
SMALL = ['token_size=32', 'layers=1', 'heads=2', 'mlp_dim=32', 'stem_features=[32,32,32,32]',
         'head_dim=32', 'head_blocks=1', 'language_dim=16', 'language_layers=1']


@pytest.fixture
def environment(tmp_path):
    """Programs are compiled once and kept for the next process."""
    return os.environ | {'XDG_CACHE_HOME': str(tmp_path / 'cache'), 'JAX_PLATFORMS': 'cpu'}


def run(environment, *words):
    result = subprocess.run([COMMAND, *map(str, words)], env=environment, capture_output=True,
                            text=True, check=False, timeout=DEADLINE_S)
    assert result.returncode == 0, result.stderr
    return result.stdout


def kill_after_a_saved_state(environment, folder, *words):
    """Starts a command and kills it when it has saved a state; returns the newest one."""
    process = subprocess.Popen([COMMAND, *map(str, words)], env=environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline, pause = time.monotonic() + DEADLINE_S, threading.Event()
    try:
        while not (saved := states(folder)):
            assert process.poll() is None, 'the training must be killed, but ended by itself'
            assert time.monotonic() < deadline
            pause.wait(0.005)
    finally:
        process.kill()
        process.wait()
    return max(saved)


def states(folder):
    path = folder / 'state'
    return [int(entry.name) for entry in path.iterdir()
            if entry.name.isdigit()] if path.is_dir() else []


@pytest.mark.timeout(600)
def test_a_policy_that_was_killed_in_training_is_trained_to_its_end_and_evaluated(
        environment, tmp_path):
    demos, out, results = tmp_path / 'demos', tmp_path / 'trained', tmp_path / 'results'
    run(environment, 'record', demos, '--episodes', 2, '--tasks', 'reach')
    training = ['finetune', demos, '--robot', 'viperx_sim', '--out', out, '--steps', STEPS,
                '--batch-size', 4, '--hold-out', 1, '--camera',
                'primary=/camera_primary/image_raw/compressed', '--size', 'primary=32x32', '--set',
                'log_every=1', 'save_every=5', 'eval_every=60', 'eval_samples=1', 'eval_steps=4',
                'model.head=l1', 'augment=false', *(f'scratch.{item}' for item in SMALL)]
    killed = kill_after_a_saved_state(environment, out, *training)
    assert killed < STEPS
    printed = run(environment, *training)
    assert 'held-out action error by language' in printed
    with (out / 'metrics.csv').open() as file:
        losses = [int(row['step']) for row in csv.DictReader(file) if row['name'] == 'train/loss']
    assert losses == list(range(1, STEPS + 1))  # each once, before the kill and after
    table = run(environment, 'eval', '--fast', '--checkpoint', out / 'checkpoint', '--out',
                results, '--episodes', 1, '--tasks', 'reach', '--conditions', 'language', 'goal',
                '--max-steps', 3)
    assert '| language | reach |' in table
    assert '| goal | reach |' in table
    assert len((results / 'outcomes.csv').read_text().splitlines()) == 3
