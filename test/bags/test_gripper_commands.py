"""Gripper commands in the units of their driver, beside twists or poses."""

import csv
import dataclasses

import numpy as np
import pytest

from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.live import collect_live
from octo_ros.bags.reader import BagReader
from octo_ros.bags.replay import OfflineReplay
from octo_ros.bags.twist_actions import TwistMessages
from octo_ros.cli.main import main
from octo_ros.data.grippers import Grippers
from octo_ros.data.store import EpisodeSet
from octo_ros.messages.runtime import Runtime
from octo_ros.policy.poses import Pose
from octo_ros.policy.profile import load_profile

CAMERA = '/camera_primary/image_raw'
OPENINGS = np.arange(12) < 6
PROFILE = load_profile('widowx')
INVERTED = """
action: {names: [x, y, z, roll, pitch, yaw, gripper]}
gripper: {open_is_one: false}
"""


@pytest.fixture
def recorded(record):
    """Records twists or poses at 50 Hz, or actions at 5 Hz; a gripper closes midway."""
    def write(closed, opened, kind='twist'):
        recording = record(f'{kind}_{opened:g}')
        recording.text('/instruction', 0.0, 'pick it up')
        for number in range(10 * len(OPENINGS)):
            time_s, step = number / 50, number // 10
            recording.image(CAMERA, time_s, step)
            recording.numbers('/grip', time_s, [opened if OPENINGS[step] else closed])
            if kind == 'action' and number % 10 == 0:
                recording.action('/command', time_s, [
                    *[0.01] * 6, opened if OPENINGS[step] else closed], PROFILE.action.names)
            elif kind == 'twist':
                recording.twist('/command', time_s + 0.002, [0.01] * 6)
            elif kind == 'pose':
                recording.pose('/command', time_s + 0.002, Pose.from_euler(
                    np.full(3, 0.01 * step), np.zeros(3), 'sxyz'))
        recording.close()
        return str(recording.path)
    return write


def check(capsys, path, *options):
    code = main(['data', 'check', path, '--action-topic', '/command', '--gripper', '/grip',
                 *options])
    return code, ' '.join(capsys.readouterr().out.replace('│', ' ').split())


@pytest.mark.parametrize('kind', ['twist', 'pose'])
@pytest.mark.parametrize(('closed', 'opened'), [(0, 255), (20, 80), (-1, 1), (0, 0.04)])
def test_check_tells_of_commands_in_other_units_and_how_to_scale_them(
        recorded, capsys, kind, closed, opened):
    path = recorded(closed, opened, kind)
    code, printed = check(capsys, path)
    assert code == 1
    assert (f"/grip gripper 'gripper' goes from {closed:g} to {opened:g} as the robot profile's "
            'gripper.closed_value 0 and gripper.open_value 1 scale its commands, and') in printed
    assert f'such as {closed:g} {opened:g}' in printed
    code, printed = check(capsys, path, '--gripper-range', f'{closed:g}', f'{opened:g}')
    assert code == 0, printed


@pytest.mark.parametrize('kind', ['twist', 'pose'])
@pytest.mark.parametrize('open_is_one', [True, False])
@pytest.mark.parametrize(('closed', 'opened'), [(0, 255), (255, 0), (0, 1)])
def test_a_range_scales_commands_once(recorded, tmp_path, kind, open_is_one, closed, opened):
    robot = tmp_path / 'robot.yaml'
    robot.write_text(INVERTED)
    out = tmp_path / 'set'
    assert main(['data', 'build', recorded(closed, opened, kind), '--action-topic', '/command',
                 '--gripper', '/grip', '--gripper-range', str(closed), str(opened), '--out',
                 str(out), '--robot', 'widowx' if open_is_one else str(robot)]) == 0
    numbers = EpisodeSet(out).actions[:, 6]
    first = len(OPENINGS) - len(numbers)  # of poses, the first change is not known
    np.testing.assert_allclose(numbers, (open_is_one == OPENINGS)[first:], atol=1e-6)


def test_a_range_that_does_not_fit_the_commands_is_told(recorded, capsys):
    code, printed = check(capsys, recorded(0, 255), '--gripper-range', '0', '100')
    assert code == 1
    assert "'gripper' goes from 0 to 2.55 as --gripper-range 0 100 scales it" in printed


def test_commands_a_little_beyond_the_ends_are_cut_off(recorded, tmp_path):
    out = tmp_path / 'set'
    assert main(['data', 'build', recorded(-0.05, 1.1), '--action-topic', '/command',
                 '--gripper', '/grip', '--out', str(out)]) == 0
    np.testing.assert_array_equal(EpisodeSet(out).actions[:, 6], OPENINGS)


def test_a_live_command_in_other_units_is_told_once():
    @dataclasses.dataclass
    class Message:
        data: list[float]

    twists = TwistMessages(PROFILE)
    assert [twists.take_gripper(Message(data)) for data in ([], [1.1], [0.0], [-0.1])] == [''] * 4
    told = twists.take_gripper(Message([80.0]))
    assert 'must be from 0 (closed) to 1 (open), got 80' in told
    assert 'gripper.closed_value' in told
    twists.restart()
    assert twists.take_gripper(Message([255.0])) == ''


@pytest.mark.parametrize('live', [False, True])
@pytest.mark.parametrize('kind', ['twist', 'pose', 'action'])
@pytest.mark.parametrize('ends', [[0.0, 255.0], None])
def test_a_replay_scales_recorded_grippers_and_tells_of_other_units_once(
        recorded, policy, loop, caplog, kind, live, ends):
    topics = TopicMap({'image_primary': CAMERA}, '/instruction', '/command',
                      gripper=None if kind == 'action' else '/grip')
    grippers = Grippers.of(PROFILE, ends, reached=False, commanded=kind != 'action')
    names = PROFILE.action.names
    with BagReader(recorded(0, 255, kind)) as bag:
        messages = bag.messages(topics.topics)
        if live:
            result = collect_live(messages, [], topics, names=names, loop=loop, task=None,
                                  robot=PROFILE, grippers=grippers)
        else:
            runtime = Runtime(policy, loop, PROFILE, image_keys=('image_primary',))
            runtime.prepare()
            result = OfflineReplay(runtime, topics, names=names, step_ns=loop.step_ns,
                                   robot=PROFILE, grippers=grippers).run(messages)
    numbers = [action[6] for _, action in result.recorded]
    told = [item.getMessage() for item in caplog.records if item.name == 'octo_ros.bags']
    if ends is None:
        assert len(told) == 1
        assert "'gripper' goes from 0 to 255" in told[0]
        assert "'/command'" in told[0] if kind == 'action' else "'/grip'" in told[0]
    else:
        assert told == []
        np.testing.assert_array_equal(numbers, OPENINGS[len(OPENINGS) - len(numbers):])


def test_the_replay_command_takes_the_range_of_the_training(
        recorded, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    command = ['replay', recorded(0, 255, 'action'), '--checkpoint', 'untrained', '--camera',
               f'primary={CAMERA}', '--action-topic', '/command', '--out', str(tmp_path / 'out')]
    assert main([*command, '--gripper-range', '1', '1']) == 2
    assert 'must be two finite numbers that differ' in capsys.readouterr().err
    assert main([*command, '--gripper-range', '0', '255']) == 0
    with (tmp_path / 'out/actions.csv').open() as file:
        found = {row['recorded_gripper'] for row in csv.DictReader(file)}
    assert found - {''} == {'0', '1'}
