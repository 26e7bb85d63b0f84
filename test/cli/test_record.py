"""`octo-ros record` in the simulator."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from octo_ros.bags.reader import BagReader
from octo_ros.cli.main import main
from octo_ros.data.store import EpisodeSet
from octo_ros.sim import gl
from test.processes import wait_until

if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
    pytest.skip("the extra 'sim' (mujoco, gym-aloha) is not installed", allow_module_level=True)
if gl.backend() == 'disable':
    pytest.skip('neither EGL nor OSMesa is installed', allow_module_level=True)

COMMAND = Path(sys.executable).parent / 'octo-ros'


def bags(folder):
    return sorted(item.name for item in folder.iterdir() if item.is_dir())


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    """Two short episodes."""
    folder = tmp_path_factory.mktemp('record') / 'set'
    assert main(['record', str(folder), '--episodes', '2', '--tasks', 'reach']) == 0
    return folder


def test_an_episode_is_a_bag_with_task_seed_and_success(recorded):
    names = bags(recorded)
    assert len(names) == 2
    for seed, name in enumerate(names):
        with BagReader(recorded / name) as bag:
            content = {item.topic: item.message for item in bag.messages()}
            steps = bag.counts['/expert_action']
            assert bag.counts['/camera_primary/image_raw/compressed'] == steps
            assert bag.counts['/state'] == bag.counts['/joint_states'] == steps
        facts = json.loads(content['/episode'].data)
        assert facts['seed'] == seed
        assert name == f"{seed:06d}_{facts['task']}"
        assert content['/success'].data is True
        assert content['/instruction'].data not in facts['paraphrases']
        assert 'block' in content['/instruction'].data + facts['paraphrases'][0]


def test_it_goes_on_where_it_was_stopped(recorded, capsys):
    before = {name: (recorded / name).stat().st_mtime_ns for name in bags(recorded)}
    assert main(['record', str(recorded), '--episodes', '3', '--tasks', 'reach']) == 0
    output = capsys.readouterr().out
    assert '2 of 3 episodes are there already' in output
    assert '1 episodes' in output
    assert len(bags(recorded)) == 3
    assert {name: (recorded / name).stat().st_mtime_ns for name in before} == before


@pytest.mark.parametrize(('options', 'words'), [
    (['--tasks', 'lift'], 'tasks was'),
    (['--tasks', 'reach', '--no-noise'], 'noise was True'),
    (['--tasks', 'reech'], "did you mean 'reach'"),
    (['--tasks', 'reach', '--image-format', 'jpg'], "did you mean 'jpeg'"),
    (['--image-format', 'png', '--size', 'primary=32x32'], 'are for bags, got --size'),
    (['--size', 'primary=0x0'], "of at least 1x1 pixel, got 'primary=0x0'"),
    (['--interrupted', '1.5'], '--interrupted must be from 0 to 1, got 1.5'),
    (['--tasks', 'reach', '--episodes', '0'], '--episodes must be at least 1'),
])
def test_options_that_do_not_fit_are_refused(recorded, capsys, options, words):
    assert main(['record', str(recorded), *options]) == 2
    assert words in capsys.readouterr().err


def test_options_of_a_live_robot_are_refused_without_live(tmp_path, capsys):
    out = tmp_path / 'new'
    assert main(['record', str(out), '--camera', '/x', '--action', '/y']) == 2
    assert '--camera, --action must go with --live' in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_with_other_things_is_refused(tmp_path, capsys):
    (tmp_path / 'thesis.txt').write_text('precious')
    assert main(['record', str(tmp_path)]) == 2
    assert 'choose another folder' in capsys.readouterr().err


def test_ctrl_c_ends_it_with_whole_bags_only(tmp_path):
    folder = tmp_path / 'set'
    with subprocess.Popen(
            [COMMAND, 'record', folder, '--episodes', '500', '--processes', '2', '--tasks',
             'reach'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (folder.is_dir() and any(folder.glob('0*'))):
            assert time.monotonic() < deadline
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert 'interrupted' in errors
    assert 'Traceback' not in errors
    for name in bags(folder):
        if not name.startswith('.partial'):
            with BagReader(folder / name) as bag:
                assert bag.counts['/success'] == 1
                assert not bag.damage


def killed(folder, parts, options):
    """Kills a recording once an episode is there."""
    with subprocess.Popen([COMMAND, 'record', folder, *options, '--processes', '2'],
                          stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: process.poll() is not None or list(parts.glob('0*')), 'an episode')
        assert process.poll() is None
        process.kill()


@pytest.mark.parametrize('size', [[], ['--size', 'primary=16x16']], ids=['bags', 'set'])
def test_a_killed_recording_goes_on_and_leaves_nothing_behind(tmp_path, capsys, size):
    options = ['--episodes', '6', '--tasks', 'reach', *size]
    for name in ('at_once', 'killed'):
        folder = tmp_path / name / 'out'
        if name == 'killed':
            killed(folder, folder.parent / '.out.recording' if size else folder, options)
        assert main(['record', str(folder), *options]) == 0
        assert ('of 6 episodes are there already' in capsys.readouterr().out) == (
            name == 'killed')
        assert [item.name for item in folder.parent.iterdir()] == ['out']
        assert not list(folder.glob('.partial-*'))
    first, second = (sorted(
        (str(file.relative_to(tmp_path / name)), file.read_bytes())
        for file in (tmp_path / name).rglob('*') if file.is_file())
        for name in ('at_once', 'killed'))
    assert first == second


def test_a_killed_set_goes_on_with_the_same_options_only(tmp_path, capsys):
    folder = tmp_path / 'out'
    options = ['--episodes', '6', '--size', 'primary=16x16', '--tasks']
    killed(folder, tmp_path / '.out.recording', [*options, 'reach'])
    assert main(['record', str(folder), *options, 'lift']) == 2
    assert 'tasks was' in capsys.readouterr().err


def test_with_sizes_the_episodes_of_the_bags_go_into_a_set(recorded, tmp_path, capsys):
    options = ['--episodes', '2', '--tasks', 'reach']
    assert main(['record', str(tmp_path / 'set'), *options, '--size', 'primary=32x32']) == 0
    assert main(['data', 'build', str(recorded), '--out', str(tmp_path / 'built'), '--robot',
                 'viperx_sim', '--state', '/state', '--size', 'primary=32x32']) == 0
    direct, built = EpisodeSet(tmp_path / 'set'), EpisodeSet(tmp_path / 'built')
    for first, second in zip(direct.entries[:2], built.entries[:2], strict=True):
        assert first['instructions'] == second['instructions']
        assert first['metadata']['seed'] == second['metadata']['seed']
    count = len(direct.actions)
    np.testing.assert_allclose(direct.actions, built.actions[:count], atol=1e-6)
    np.testing.assert_allclose(direct.proprio, built.proprio[:count], atol=1e-6)
    difference = np.abs(direct.images['image_primary'].astype(int)
                        - built.images['image_primary'][:count])
    assert difference.mean() < 1.0, 'but for what JPEG loses'


def test_every_colour_is_asked_for_in_the_same_scene(tmp_path):
    options = ['--episodes', '1', '--tasks', 'reach', '--every-colour', '--size', 'primary=32x32']
    assert main(['record', str(tmp_path / 'set'), *options]) == 0
    episodes = EpisodeSet(tmp_path / 'set')
    assert [entry['metadata'] for entry in episodes.entries] == [
        {'task': f'reach_{colour}', 'seed': 0, 'robot': 'viperx_sim'}
        for colour in ('red', 'green', 'blue')]
    first = episodes.images['image_primary'][episodes.starts]
    np.testing.assert_array_equal(first, np.broadcast_to(first[0], first.shape))
    assert len(np.unique(episodes.actions[episodes.starts, :2], axis=0)) == 3


def test_a_set_that_is_there_is_kept_and_no_option_is_named_that_record_lacks(tmp_path, capsys):
    assert main(['record', str(tmp_path), '--size', 'primary=32x32']) == 2
    error = capsys.readouterr().err
    assert 'must not exist yet; choose another folder, or delete that one' in error
    assert 'overwrite' not in error


def test_a_size_of_an_unknown_camera_is_refused(tmp_path, capsys):
    assert main(['record', str(tmp_path / 'set'), '--size', 'primry=32x32']) == 2
    assert "did you mean 'primary'" in capsys.readouterr().err
