"""`octo-ros inspect`: what it says of shipped and of reference checkpoints."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.cli.main import main
from octo_ros.cli.named_checkpoint import checkpoint_path
from octo_ros.errors import OctoError


def _describe(capsys, *arguments: str) -> dict:
    assert main(['inspect', *arguments, '--json']) == 0
    return json.loads(capsys.readouterr().out)


def test_shipped_checkpoint_is_described(capsys):
    found = _describe(capsys, 'untrained')
    assert found['observations']['image_primary']['size'] == [128, 128]
    assert found['observations']['image_wrist']['size'] == [64, 64]
    assert found['goal_images'] == ['image_primary', 'image_wrist']
    assert found['window'] == {'trained': 2, 'longest': 10}
    assert found['heads']['action']['action_horizon'] == 4
    assert found['statistics'] == {'bridge_dataset': {'action': 7}}
    assert found['parameters']['total'] == sum(found['parameters']['parts'].values())


def test_attention_table_says_who_reads_whom(capsys):
    table = _describe(capsys, 'untrained', '--window', '1')['attention']
    assert table['names'] == ['task_language', 't=0 obs_primary', 't=0 obs_wrist',
                              't=0 obs_task_language', 't=0 readout_action']
    np.testing.assert_array_equal(table['attends'], [
        [1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1]])


def test_text_shows_the_table_with_marks(capsys):
    assert main(['inspect', 'untrained', '--window', '1']) == 0
    out = capsys.readouterr().out
    assert 'image_wrist: 64 x 64 pixels' in out
    assert '5 t=0 readout_action     ■ ■ ■ ■ ■' in out
    assert '1 task_language          ■ · · · ·' in out


def test_window_beyond_the_longest_is_refused(capsys):
    assert main(['inspect', 'untrained', '--window', '11']) == 2
    assert '1 to 10' in capsys.readouterr().err


@pytest.mark.parametrize(('folder', 'language', 'goals', 'groups'), [
    ('tiny_three_cam_unsorted', '', 3,
     ['obs_primary', 'obs_secondary', 'obs_instruction', 'readout_action']),
    ('tiny_proprio_l1', 'text, 16 tokens of t5-tiny', 0,
     ['task_language', 'obs_primary', 'obs_proprio', 'obs_proprio_bins', 'obs_proprio_nbins',
      'obs_task_language', 'readout_action']),
])
def test_reference_checkpoints_are_described(golden, capsys, folder, language, goals, groups):
    found = _describe(capsys, str(golden / folder / 'ckpt'))
    assert found['language'] == language
    assert len(found['goal_images']) == goals
    assert list(found['sequence']['groups']) == groups


def test_checkpoint_of_december_2023_says_so(golden, capsys):
    assert main(['inspect', str(golden / 'tiny_v1_attention' / 'ckpt')]) == 0
    assert 'December 2023' in capsys.readouterr().out


def test_every_reference_checkpoint_can_be_described(golden, capsys):
    for config in sorted(golden.glob('tiny_*/ckpt/config.json')):
        try:
            assert main(['inspect', str(config.parent)]) == 0
        except OctoError as error:
            pytest.fail(f'{config.parent}: {error}')
    assert 'Who attends to whom' in capsys.readouterr().out


@pytest.mark.parametrize(('statistics', 'wanted'), [
    ({'arm': {'action': {'p01': [0.0] * 7, 'p99': [1.0] * 7}}}, {'arm': {'action': 7}}),
    ({'a': 3}, {}),
    ({'action': {'mean': [0.0] * 6, 'std': [1.0] * 6}, 'num_steps': 5}, {'': {'action': 6}}),
])
def test_statistics_of_any_kind_are_described(tmp_path, capsys, statistics, wanted):
    copy = shutil.copytree(shipped_checkpoint(), tmp_path / 'copy')
    (copy / 'dataset_statistics.json').write_text(json.dumps(statistics))
    assert _describe(capsys, str(copy))['statistics'] == wanted
    assert main(['inspect', str(copy)]) == 0


@pytest.mark.parametrize(('name', 'folder', 'told'), [
    ('shipped', 'tabletop', False), ('untrained', 'untrained', True), ('./mine', 'mine', False)])
def test_checkpoints_that_come_along_have_names(caplog, name, folder, told):
    assert Path(checkpoint_path(name)).name == folder
    assert ('are random' in caplog.text) == told
