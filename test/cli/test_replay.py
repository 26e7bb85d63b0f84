"""`octo-ros replay` as a user runs it, on real recordings."""

import csv
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.assets import shipped_recording
from octo_ros.bags.reader import BagReader
from octo_ros.cli.main import main
from test.processes import alive
from test.processes import children
from test.processes import wait_until

PRIMARY = '/camera_primary/image_raw/compressed'
CAMERA = 'primary=/camera_0/image_raw/compressed'


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keeps compiled programs out of the user's cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.getbasetemp() / 'cache'))


@pytest.fixture
def bridge(shared):
    return shared / 'data' / 'bridge'


@pytest.fixture
def replay(bridge, tmp_path):
    """Runs the command on a recording; returns the exit code."""
    def run(*options, bag='episode_00', camera=CAMERA, out='out'):
        return main(['replay', str(bridge / bag), '--checkpoint', str(shipped_checkpoint()),
                     '--camera', camera, '--out', str(tmp_path / out), *options])
    return run


def _rows(folder):
    with (folder / 'actions.csv').open() as file:
        return list(csv.DictReader(file))


def test_replay_writes_the_same_table_again_and_a_picture_and_a_bag(replay, tmp_path, capsys):
    assert replay('--max-error', '100') == 0
    printed = capsys.readouterr().out
    assert '5 chunks, 10 actions; task: put cup from counter or drying rack into sink' in printed
    assert 'gripper' in printed
    assert replay('--max-error', '0.0001', out='again') == 1
    assert 'mean absolute error must be at most 0.0001, got x 0.0' in capsys.readouterr().out
    assert (tmp_path / 'out' / 'actions.csv').read_bytes() == (
        tmp_path / 'again' / 'actions.csv').read_bytes()
    rows = _rows(tmp_path / 'out')
    assert [int(row['stamp_ns']) for row in rows] == [
        1_700_000_000_001_000_000 + k * 200_000_000 for k in range(10)]
    assert all(np.isfinite(float(row['predicted_yaw'])) for row in rows)
    assert rows[0]['recorded_gripper'] == '1'
    assert (tmp_path / 'out' / 'actions.png').stat().st_size > 50_000
    with BagReader(tmp_path / 'out' / 'chunks') as bag:
        chunks = list(bag.messages(['/octo_controller/action_chunk']))
    assert [len(chunk.message.points) for chunk in chunks] == [4] * 5


def test_cut_recording_is_replayed_towards_a_goal_image(replay, bridge, tmp_path, capsys, caplog):
    content = (bridge / 'episode_00' / 'episode_00.mcap').read_bytes()
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(content[:len(content) // 2])
    goal = tmp_path / 'goal.png'
    cv2.imwrite(str(goal), np.zeros((48, 64, 3), np.uint8))
    assert replay('--goal', f'primary={goal}', '--execution', 'temporal_ensemble', bag=cut) == 0
    assert 'breaks off at byte' in caplog.text
    assert '5 chunks, 5 actions; task: goal image' in capsys.readouterr().out


@pytest.mark.parametrize(('options', 'words'), [
    ({'bag': 'episode_20'}, "did you mean 'episode_"),
    ({'camera': 'primry=/camera_0/image_raw/compressed'}, "did you mean 'image_primary'"),
    ({'camera': 'primary=/camera_9/image_raw/compressed'}, "did you mean '/camera_"),
    ({'camera': 'primary'}, "'--camera' must be KEY=VALUE, got 'primary'"),
])
def test_what_does_not_fit_is_one_line_and_exit_code_2(replay, capsys, options, words):
    assert replay(**options) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith('octo-ros replay: ')
    assert words in message


@pytest.mark.parametrize(('options', 'words'), [
    (['--robot', 'widowy'], "did you mean 'widowx'"),
    (['--execute-steps', '9'], "'execute_steps' must be at most 4"),
    (['--window', '99'], "'window' must be at most"),
    (['--instruction', ' '], 'must hold words'),
    (['--live', '--instruction', ''], "must hold words, got ''"),
    (['--goal', 'primary=no.png'], "'--goal' must name an image file"),
    (['--joints', '/state'], "'--joints' is for profiles with actions of joints, 'widowx' has"),
    (['--action-topic', '/stat'], "did you mean '/state'"),
    (['--camera', f'image_{CAMERA}'], "'--camera' must name 'image_primary' once"),
    (['--goal', 'primary=a.png', '--goal', 'primary=b.png'],
     "'--goal' must name 'image_primary' once, got a.png and b.png"),
    (['--goal', f'primary={__file__}'], f"'--goal' must name an image file, {__file__} is none"),
])
def test_option_that_does_not_fit_is_one_line_and_exit_code_2(replay, capsys, options, words):
    assert replay(*options) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(('there', 'out', 'words'), [
    ('out', 'out', "'--out' must be a folder that can be written"),
    ('out', 'out/inner', "'--out' must be a folder that can be written"),
    ('out/chunks/mine.txt', 'out', 'mine.txt there; choose another --out'),
])
def test_an_out_that_cannot_be_written_is_told_before_the_checkpoint_is_loaded(
        replay, tmp_path, capsys, there, out, words):
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_text('mine')
    assert replay('--checkpoint', '/no/such', out=out) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith('octo-ros replay: ')
    assert words in message
    assert (tmp_path / there).read_text() == 'mine'
    assert not (tmp_path / 'out' / 'actions.csv').exists()


def test_a_file_that_cannot_be_written_is_one_line_and_exit_code_2(replay, tmp_path, capsys):
    (tmp_path / 'out' / 'actions.csv').mkdir(parents=True)
    assert replay() == 2
    assert "'--out' must be a folder that can be written" in capsys.readouterr().err


def test_option_out_of_range_names_the_command_once(replay, capsys):
    assert replay('--seed', '-1') == 2
    assert capsys.readouterr().err.strip() == "octo-ros replay: 'seed' must be >= 0, got -1"


def test_live_replay_goes_towards_a_goal_image_with_the_shipped_checkpoint(tmp_path):
    goal = tmp_path / 'goal.png'
    cv2.imwrite(str(goal), np.zeros((48, 64, 3), np.uint8))
    command = [sys.executable, '-m', 'octo_ros.cli.main', 'replay', str(shipped_recording()),
               '--checkpoint', 'shipped', '--camera', 'primary=' + PRIMARY, '--live',
               '--goal', f'primary={goal}', '--out', str(tmp_path / 'out')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False,
                          env={**os.environ, 'JAX_PLATFORMS': 'cpu'})
    assert done.returncode == 0, done.stderr
    assert 'New goal image for image_primary' in done.stderr
    assert 'task: goal image' in done.stdout


def test_live_replay_gives_chunks_stamped_by_their_images(bridge, tmp_path):
    command = [sys.executable, '-m', 'octo_ros.cli.main', 'replay', str(bridge / 'episode_01'),
               '--checkpoint', str(shipped_checkpoint()), '--camera', CAMERA, '--live',
               '--out', str(tmp_path / 'out')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False,
                          env={**os.environ, 'JAX_PLATFORMS': 'cpu'})
    assert done.returncode == 0, done.stderr
    with BagReader(bridge / 'episode_01') as bag:
        stamps = {message.log_ns for message in bag.messages([CAMERA.split('=')[1]])}
    with BagReader(tmp_path / 'out' / 'chunks') as bag:
        chunks = list(bag.messages(['/octo_controller/action_chunk']))
    assert chunks
    assert {chunk.log_ns for chunk in chunks} <= stamps
    assert {len(chunk.message.points) for chunk in chunks} == {4}
    assert {point.positions.shape for chunk in chunks for point in chunk.message.points} == {(7,)}
    assert len(_rows(tmp_path / 'out')) >= 4


def test_live_replay_that_is_terminated_ends_its_controller_and_says_so(tmp_path):
    process = subprocess.Popen(
        [sys.executable, '-m', 'octo_ros.cli.main', 'replay', str(shipped_recording()),
         '--checkpoint', str(shipped_checkpoint()), '--live', '--out', str(tmp_path / 'out')],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        wait_until(lambda: children(process.pid) or process.poll() is not None, 'a controller')
        started = children(process.pid)
        assert started, process.stderr.read()
        process.terminate()
        _, said = process.communicate(timeout=60.0)
    finally:
        process.kill()
    assert process.returncode == 143
    assert 'octo-ros replay: interrupted' in said
    assert 'Traceback' not in said
    # Interrupted while it was starting the controller, it leaves the end to the lifeline.
    wait_until(lambda: not any(map(alive, started)), 'the end of the controller')
