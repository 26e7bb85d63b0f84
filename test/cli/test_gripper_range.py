"""Recordings whose gripper is in the units of its driver."""

import numpy as np
import pytest

from octo_ros.cli.main import main
from octo_ros.data.store import EpisodeSet
from test.cli.test_data import write_bag

MOVES = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


@pytest.fixture
def bag(tmp_path):
    """Writes a recording whose gripper opens and closes, in some unit."""
    def write(unit):
        actions = np.full((len(MOVES), 7), 0.01)
        actions[:, 6] = unit * MOVES
        write_bag(tmp_path / f'bags/{unit:g}', actions, state=actions)
        return tmp_path / f'bags/{unit:g}'
    return write


@pytest.mark.parametrize(('unit', 'span'), [(255.0, '0 to 255'), (0.04, '0 to 0.04')])
def test_check_tells_of_a_gripper_in_other_units_and_how_to_scale_it(bag, capsys, unit, span):
    path = bag(unit)
    assert main(['data', 'check', str(path)]) == 1
    printed = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    assert f"/expert_action gripper 'gripper' goes from {span}, and" in printed
    assert '--gripper-range CLOSED OPEN' in printed
    assert main(['data', 'check', str(path), '--gripper-range', '0', str(unit)]) == 0
    assert main(['data', 'check', str(path), '--gripper-range', '1', '1']) == 2
    assert 'must be two finite numbers that differ' in capsys.readouterr().err


@pytest.mark.parametrize('actions', ['recorded', 'reached'])
@pytest.mark.parametrize('unit', [255.0, 0.04, 1.0])
def test_a_scaled_gripper_opens_and_closes_in_training(bag, tmp_path, unit, actions):
    out = tmp_path / 'set'
    assert main(['data', 'build', str(bag(unit)), '--out', str(out), '--state', '/state',
                 '--actions', actions, '--gripper-range', '0', str(unit)]) == 0
    found = EpisodeSet(out)
    np.testing.assert_allclose(found.actions[:, 6], MOVES[:len(found.actions)], atol=1e-6)
    # The node gives the state to the policy as it comes.
    np.testing.assert_allclose(found.proprio[:, 6], unit * MOVES[:len(found.actions)], rtol=1e-6)


def test_build_tells_of_a_gripper_in_other_units(bag, tmp_path, capsys):
    command = ['data', 'build', str(bag(255.0)), '--out', str(tmp_path / 'set')]
    assert main([*command, '--faults', 'stop']) == 2
    assert 'has faults' in capsys.readouterr().err
    assert main(command) == 0
    assert 'goes from 0 to 255' in ' '.join(capsys.readouterr().out.split())


def test_real_recordings_have_grippers_of_the_policy(shared, capsys):
    folder = shared / 'data/bridge'
    assert main(['data', 'check', str(folder), '--state', '/state', '--camera',
                 'primary=/camera_0/image_raw/compressed']) == 0
    assert '20 sound' in capsys.readouterr().out
