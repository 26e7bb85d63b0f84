"""`octo-ros eval` with the shipped checkpoint: over ROS, and without."""

import csv
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.assets import shipped_policy
from octo_ros.cli import output_folder
from octo_ros.cli.main import main
from octo_ros.sim import gl
from test.processes import alive
from test.processes import children
from test.processes import wait_until

if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
    pytest.skip("the extra 'sim' (mujoco, gym-aloha) is not installed", allow_module_level=True)
if gl.backend() == 'disable':
    pytest.skip('neither EGL nor OSMesa is installed', allow_module_level=True)

COMMAND = Path(sys.executable).parent / 'octo-ros'
ROS = importlib.util.find_spec('rclpy') is not None
SHORT = ['--episodes', '1', '--max-steps', '3', '--tasks', 'reach', 'lift']


def rows(folder):
    with (folder / 'outcomes.csv').open() as file:
        return list(csv.DictReader(file))


def outcomes(folder):
    return (folder / 'outcomes.csv').is_file() and rows(folder)


@pytest.fixture(scope='module')
def fast(tmp_path_factory):
    folder = tmp_path_factory.mktemp('eval') / 'fast'
    assert main(['eval', '--fast', '--out', str(folder), *SHORT, '--conditions', 'language',
                 'goal', '--workers', '2']) == 0
    return folder


def test_every_condition_and_kind_has_a_figure_and_a_line(fast):
    assert {(row['condition'], row['task'].split('_')[0]) for row in rows(fast)} == {
        (condition, kind) for condition in ('language', 'goal') for kind in ('reach', 'lift')}
    figures = json.loads((fast / 'figures.json').read_text())
    assert [(item['condition'], item['kind'], item['trials']) for item in figures] == [
        ('language', 'lift', 1), ('language', 'reach', 1), ('language', 'all', 2),
        ('goal', 'lift', 1), ('goal', 'reach', 1), ('goal', 'all', 2)]
    assert '| goal | all |' in (fast / 'figures.md').read_text()
    assert all(int(row['seed']) >= 1_000_000 for row in rows(fast))


def test_the_video_shows_the_trials(fast):
    video = cv2.VideoCapture(str(fast / 'videos' / 'failures.gif'))
    good, frame = video.read()
    assert good
    assert frame.shape == (210, 4 * 192, 3)
    assert frame[:192].std() > 20


def test_it_goes_on_where_it_was_stopped(fast, capsys):
    before = rows(fast)
    video = (fast / 'videos/failures.gif').read_bytes()
    options = ['--out', str(fast), '--fast', *SHORT, '--conditions', 'goal', 'black']
    assert main(['eval', *options]) == 0
    output = capsys.readouterr().out
    assert '2 of 4 trials are done already' in output
    assert 'language' not in output
    assert rows(fast)[:len(before)] == before
    assert len(rows(fast)) == len(before) + 2
    assert (fast / 'videos/failures.gif').read_bytes() == video
    assert (fast / 'videos/failures_2.gif').is_file()


def test_a_second_run_in_the_same_folder_at_the_same_time_is_refused(fast, capsys):
    before = rows(fast)
    with output_folder.alone(fast):
        assert main(['eval', '--out', str(fast), '--fast', *SHORT, '--conditions', 'blank']) == 2
    assert 'must be used by one command at a time' in capsys.readouterr().err
    assert rows(fast) == before


@pytest.mark.parametrize('further', [0, 1])
def test_figures_of_other_weights_in_the_same_folder_are_not_reported(tmp_path, capsys, further):
    shipped = next(int(item.name) for item in shipped_policy().iterdir() if item.name.isdigit())
    step = shipped + further
    policy = tmp_path / 'policy'
    shutil.copytree(shipped_policy(), policy)
    command = ['eval', '--fast', '--checkpoint', str(policy), '--out', str(tmp_path / 'out'),
               '--episodes', '1', '--max-steps', '1', '--tasks', 'reach', '--conditions', 'black']
    assert main(command) == 0
    if further:  # training went on
        shutil.copytree(policy / str(shipped), policy / str(step))
    else:
        shutil.copytree(shipped_checkpoint() / '0', policy / str(step), dirs_exist_ok=True)
    capsys.readouterr()
    assert main(command) == 2
    assert f"weights was {{'step': {shipped}, 'digest': " in (errors := capsys.readouterr().err)
    assert f"got {{'step': {step}, " in errors


@pytest.mark.parametrize(('options', 'words'), [
    (['--max-steps', '5'], 'max_steps was 3, got 5'),
    (['--conditions', 'goals'], "did you mean 'goal'"),
    (['--tasks', 'lifting'], "did you mean 'lift"),
    (['--workers', '0'], '--workers must be at least 1'),
    (['--real-time'], '--real-time must be used without --fast'),
])
def test_options_that_do_not_fit_are_refused(fast, capsys, options, words):
    assert main(['eval', '--out', str(fast), '--fast', *SHORT, *options]) == 2
    assert words in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path, capsys):
    assert main(['eval', '--fast', '--checkpoint', str(tmp_path / 'none'), '--out',
                 str(tmp_path / 'out'), *SHORT]) == 2
    assert 'none' in capsys.readouterr().err


@pytest.mark.skipif(not ROS, reason='needs ROS 2 (pip install octo_ros[ros])')
def test_over_ros_with_two_workers(tmp_path):
    folder = tmp_path / 'ros'
    result = subprocess.run(
        [COMMAND, 'eval', '--out', folder, *SHORT, '--conditions', 'language', 'black',
         '--workers', '2'], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert {row['steps'] for row in rows(folder)} == {'3'}
    assert len(rows(folder)) == 4
    assert '| black | all |' in result.stdout
    assert (folder / 'videos' / 'failures.gif').is_file()
    for log in (folder / 'log').iterdir():
        assert 'Traceback' not in log.read_text()


@pytest.mark.skipif(not ROS, reason='needs ROS 2 (pip install octo_ros[ros])')
def test_ctrl_c_ends_controller_and_simulator_as_well(tmp_path):
    folder = tmp_path / 'ros'
    with subprocess.Popen(
            [COMMAND, 'eval', '--out', folder, '--episodes', '200'], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: process.poll() is not None or outcomes(folder), 'an outcome', 90.0)
        started = children(process.pid)
        assert len(started) == 2
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'Traceback' not in errors
    assert not any(map(alive, started))
    assert outcomes(folder)
