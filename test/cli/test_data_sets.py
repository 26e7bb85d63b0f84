"""`octo-ros data` on LeRobot and RLDS data sets, and its export."""

import sys

import cv2
import numpy as np
import pytest

from octo_ros.cli.main import main
from octo_ros.data.store import EpisodeSet
from test.data import lerobot_files
from test.data import tfrecord_files

TOP = ['--camera', 'primary=observation.images.top']


@pytest.fixture
def lerobot(tmp_path):
    """Returns a LeRobot data set of three episodes, the second with an odd action."""
    episodes = [lerobot_files.episode(seed, 6) for seed in range(3)]
    episodes[1]['action'][4, 3] = np.nan
    lerobot_files.write_v30(tmp_path / 'pick', episodes)
    return tmp_path / 'pick'


@pytest.fixture
def rlds(tmp_path):
    """Returns an RLDS data set of two episodes."""
    picture = cv2.imencode('.jpg', np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    file = tmp_path / 'bridge/1.0.0/bridge-train.tfrecord-00000-of-00001'
    file.parent.mkdir(parents=True)
    tfrecord_files.write_records(file, [tfrecord_files.example({
        'steps/action': np.full((6, 7), float(seed)), 'steps/is_first': np.arange(6) == 0,
        'steps/observation/state': np.cumsum(np.ones((6, 7)), axis=0),
        'steps/observation/image_0': [picture] * 6,
        'steps/language_instruction': [b'lift'] * 6}) for seed in range(2)])
    return tmp_path / 'bridge'


def test_check_reports_faults_of_data_sets_too(lerobot, rlds, capsys):
    assert main(['data', 'check', str(lerobot), *TOP]) == 1
    printed = capsys.readouterr().out
    assert 'LeRobot v3.0, 3 episodes, 5 rows a second' in printed
    assert 'pick#1' in printed
    assert '0.80' in printed
    assert '3 recordings: 2 sound, 3 usable, 1 faults' in printed
    assert main(['data', 'check', str(rlds)]) == 0
    printed = capsys.readouterr().out
    assert 'RLDS, 1 shards' in printed
    assert '2 recordings: 2 sound' in printed


@pytest.mark.parametrize(('faults', 'lengths'), [('mend', [6, 4, 6]), ('skip', [6, 6])])
def test_build_makes_a_set_of_a_data_set(lerobot, tmp_path, faults, lengths):
    out = tmp_path / 'set'
    assert main(['data', 'build', str(lerobot), *TOP, '--out', str(out), '--size',
                 'primary=16x24', '--faults', faults]) == 0
    found = EpisodeSet(out)
    assert found.lengths.tolist() == lengths
    assert found.image_sizes == {'image_primary': (16, 24)}
    assert found.entries[0]['instructions'] == ['lift the block']


def test_build_takes_reached_actions_when_told(rlds, tmp_path):
    out = tmp_path / 'set'
    assert main(['data', 'build', str(rlds), '--out', str(out), '--actions', 'reached']) == 0
    found = EpisodeSet(out)
    assert found.lengths.tolist() == [5, 5]
    assert found.actions[:, :6].tolist() == [[1.0] * 6] * 10


def test_several_sources_make_one_set(lerobot, rlds, tmp_path):
    out = tmp_path / 'set'
    lerobot_files.write_v21(tmp_path / 'many/one', [lerobot_files.episode(5, 4)])
    lerobot_files.write_v30(tmp_path / 'many/two', [lerobot_files.episode(6, 4)])
    assert main(['data', 'build', str(tmp_path / 'many'), str(lerobot), *TOP, '--out', str(out),
                 '--size', 'primary=16x16']) == 0
    assert EpisodeSet(out).lengths.tolist() == [4, 4, 6, 4, 6]


@pytest.mark.parametrize('version', ['v2.1', 'v3.0'])
def test_a_set_is_exported_and_built_again(lerobot, tmp_path, capsys, version):
    first, second, out = tmp_path / 'first', tmp_path / 'second', tmp_path / 'out'
    assert main(['data', 'build', str(lerobot), *TOP, '--out', str(first)]) == 0
    assert main(['data', 'export', str(first), str(out), '--format', 'lerobot', '--version',
                 version]) == 0
    assert f'3 episodes with 16 steps in {out}, LeRobot {version}' in capsys.readouterr().out
    assert main(['data', 'build', str(out), '--out', str(second)]) == 0
    one, two = EpisodeSet(first), EpisodeSet(second)
    np.testing.assert_array_equal(one.actions, two.actions)
    np.testing.assert_array_equal(one.proprio, two.proprio)
    assert np.abs(one.images['image_primary'].astype(int) - two.images['image_primary']).max() < 9


def test_an_episode_set_is_not_checked_again_and_says_so(lerobot, tmp_path, capsys):
    out = tmp_path / 'set'
    assert main(['data', 'build', str(lerobot), *TOP, '--out', str(out)]) == 0
    capsys.readouterr()
    for arguments in (['check', str(out)], ['build', str(out), '--out', str(tmp_path / 'second')]):
        assert main(['data', *arguments]) == 2
        assert (f'{out} is an episode set, which was checked when it was built'
                in capsys.readouterr().err)


@pytest.mark.parametrize(('arguments', 'message'), [
    (['check', '{lerobot}'], '--camera primary=observation.images.top'),
    (['check', '{lerobot}', '--camera', 'primary=tap'], "did you mean 'top'"),
    (['check', '{lerobot}', *TOP, '--robot', 'aloha'], 'must have the 14 numbers of the robot'),
    (['check', '{rlds}', '--split', 'tran'], "did you mean 'train'"),
    (['check', '{rlds}/1.0.0/../../notes.txt'], 'recording'),
    (['check', '{rlds}', '{lerobot}/nowhere'], 'LeRobot or RLDS data set'),
    (['check', 'hf://datasets/owner'], 'must be written hf://datasets/owner/name'),
    (['export', '{rlds}', '{rlds}/out'], 'must be an episode set'),
    (['build', '{rlds}', '--out', '{rlds}/out', '--actions', 'taken'], 'invalid choice')])
def test_wrong_options_are_one_line(lerobot, rlds, capsys, arguments, message):
    (rlds.parent / 'notes.txt').write_text('no recording')
    filled = [item.format(lerobot=lerobot, rlds=rlds) for item in arguments]
    try:
        code = main(['data', *filled])
    except SystemExit as error:
        code = error.code
    assert code == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[0]


def test_the_extra_is_named_where_a_package_is_missing(lerobot, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    monkeypatch.delitem(sys.modules, 'octo_ros.data.lerobot_reader', raising=False)
    assert main(['data', 'check', str(lerobot)]) == 2
    error = capsys.readouterr().err
    assert "LeRobot data sets need the package 'pyarrow'" in error
    assert "pip install 'octo_ros[train]'" in error
