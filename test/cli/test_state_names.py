"""Which joints of recordings and data sets are the proprio, and in which order."""

import numpy as np
import pytest

from octo_ros.bags import recording
from octo_ros.cli.main import main
from octo_ros.data.store import EpisodeSet

STEP_NS = 200_000_000


def write_bag(path, joints, steps=6):
    """Writes a recording with the positions of joints, by name."""
    bag = recording.EpisodeBag(path)
    for step in range(steps):
        stamp_ns = step * STEP_NS + 1
        bag.add_image('primary', stamp_ns, np.zeros((16, 16, 3), np.uint8),
                      recording.ImageFormat())
        bag.add_joints('/js', stamp_ns, list(joints), np.array([*joints.values()]))
        bag.add_joints('/expert_action', stamp_ns, recording.NAMES, np.zeros(7))
    bag.add_text('/instruction', 1, 'lift the block')
    bag.finish()


@pytest.fixture
def arms(tmp_path):
    """Returns a folder of two recordings whose joints are the same in another order."""
    write_bag(tmp_path / 'bags/0', {'a': 1.0, 'b': 2.0, 'c': 3.0})
    write_bag(tmp_path / 'bags/1', {'c': 3.0, 'a': 1.0, 'b': 2.0})
    return tmp_path / 'bags'


@pytest.mark.parametrize(('options', 'state'), [
    ([], [1.0, 2.0, 3.0]), (['--readers', '2'], [1.0, 2.0, 3.0]),
    (['--state-names', 'c', 'a'], [3.0, 1.0])])
def test_a_set_has_its_joints_in_one_order(arms, tmp_path, options, state):
    out = tmp_path / 'set'
    assert main(['data', 'build', str(arms), '--out', str(out), '--state', '/js', *options]) == 0
    np.testing.assert_array_equal(EpisodeSet(out).proprio, [state] * 12)


def test_a_recording_of_other_joints_is_told_of_and_not_mixed_in(arms, tmp_path, capsys):
    write_bag(arms / '2', {'a': 7.0, 'b': 7.0, 'd': 7.0})
    assert main(['data', 'check', str(arms), '--state', '/js']) == 1
    printed = ' '.join(capsys.readouterr().out.split())
    assert "state on '/js' must have the names a, b, c" in printed
    assert '3 recordings: 2 sound, 2 usable, 1 faults' in printed
    out = tmp_path / 'set'
    assert main(['data', 'build', str(arms), '--out', str(out), '--state', '/js']) == 0
    assert EpisodeSet(out).proprio.max() == 3.0
    assert main(['data', 'check', str(arms), '--state', '/js', '--state-names', 'a', 'b']) == 0


@pytest.mark.parametrize(('options', 'message'), [
    (['--state-names', 'a'], '--state-names must go with --state'),
    (['--state', '/js', '--state-names', 'a', 'a'], 'must name each joint once, got a a'),
    (['--state', '/js', '--state-names', 'x'], 'must name the joints x, got a, b, c')])
def test_names_that_do_not_fit_are_refused(arms, capsys, options, message):
    assert main(['data', 'check', str(arms), *options]) == 2
    assert message in capsys.readouterr().err


def test_names_of_a_replay_must_go_with_a_topic(arms, capsys):
    assert main(['replay', str(arms / '0'), '--checkpoint', 'untrained',
                 '--proprio-names', 'a']) == 2
    assert "'--proprio-names' must go with --proprio" in capsys.readouterr().err
