"""Twists that add up to actions."""

import dataclasses

import numpy as np
import pytest

from octo_ros.bags.demonstrations import SamplingParams
from octo_ros.bags.demonstrations import read_demonstration
from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.recording import ACTION_TOPIC
from octo_ros.bags.recording import CAMERA_TOPIC
from octo_ros.bags.recording import INSTRUCTION_TOPIC
from octo_ros.bags.recording import EpisodeBag
from octo_ros.bags.recording import ImageFormat
from octo_ros.bags.twist_actions import TwistActions
from octo_ros.bags.twist_actions import frame_fault
from octo_ros.bags.twist_actions import gripper_number
from octo_ros.policy.profile import GripperParams
from octo_ros.policy.profile import load_profile

PROFILE = load_profile('widowx')  # steps of 0.2 s
START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
SPEED = np.array([0.1, 0, 0, 0, 0, 0.5])


def actions_of(times_s, speeds=None, profile=PROFILE):
    """Returns beginning [s] and action of every step."""
    twists = TwistActions(profile)
    steps = []
    for index, time_s in enumerate(times_s):
        speed = SPEED if speeds is None else speeds[index]
        steps += twists.add(START_NS + round(time_s * SECOND_NS), speed, 0.25)
    steps += twists.finish()
    return [((begin_ns - START_NS) / SECOND_NS, action) for begin_ns, action in steps]


@pytest.mark.parametrize('rate_hz', [5, 8, 10, 30, 50])
def test_twenty_seconds_of_twists_with_jitter_are_an_episode_of_a_hundred_steps(
        rate_hz, tmp_path):
    jitter = np.random.default_rng(0)
    events = [(START_NS + round((k / rate_hz + jitter.normal() * 0.001) * SECOND_NS), True)
              for k in range(20 * rate_hz)]
    events += [(START_NS - SECOND_NS // 10 + k * SECOND_NS // 15, False) for k in range(302)]
    twists = TwistActions(PROFILE)
    bag = EpisodeBag(tmp_path / 'one')
    bag.add_text(INSTRUCTION_TOPIC, START_NS, 'go')
    steps = []
    for time_ns, is_twist in sorted(events):
        if is_twist:
            steps += twists.add(time_ns, SPEED, 1.0)
        else:
            bag.add_image('primary', time_ns, np.zeros((8, 8, 3), np.uint8), ImageFormat())
    for begin_ns, action in steps + twists.finish():
        bag.add_joints(ACTION_TOPIC, begin_ns, PROFILE.action.names, action)
    bag.finish()
    found = read_demonstration(
        tmp_path / 'one',
        TopicMap({'image_primary': CAMERA_TOPIC.format('primary')}, INSTRUCTION_TOPIC,
                 ACTION_TOPIC),
        PROFILE.action.names, SamplingParams(step_s=PROFILE.step_s))
    assert found.findings == ()
    assert len(found.episode) == 100
    whole = found.episode.actions[:-1]  # the last one ends when the last twist does
    np.testing.assert_allclose(whole[:, [0, 5, 6]], [[0.02, 0.1, 1.0]] * 99, atol=1e-6)


def test_a_speed_counts_for_as_long_as_it_held():
    [(_, first), (_, second)] = actions_of(
        [0.0, 0.05, 0.25, 0.3], [np.eye(6)[0], 2 * np.eye(6)[0], 0 * SPEED, 0 * SPEED])
    assert first[0] == pytest.approx(0.05 + 2 * 0.15)
    assert second[0] == pytest.approx(2 * 0.05)


def test_a_pause_of_the_twists_leaves_a_hole_in_the_grid():
    times = [*np.arange(0, 1, 0.05), *np.arange(2.5, 3, 0.05)]
    begins = [begin for begin, _ in actions_of(times)]
    np.testing.assert_allclose(begins, [0, 0.2, 0.4, 0.6, 0.8, 2.4, 2.6, 2.8], atol=1e-6)


def test_stamps_that_leap_or_stand_still_do_no_harm():
    year_s = 3e7
    begins = [begin for begin, _ in actions_of([0, 0.1, 0.1, 0.05, 0.2, year_s, year_s + 0.1])]
    assert begins == pytest.approx([0, 0.2, year_s], abs=0.2)


def test_a_robot_without_a_gripper_has_six_numbers():
    profile = dataclasses.replace(PROFILE, gripper=GripperParams(indices=()))
    assert len(actions_of([0, 0.1, 0.2], profile=profile)[0][1]) == 6
    assert actions_of([0, 0.1, 0.2])[0][1][6] == 0.25


@pytest.mark.parametrize(('params', 'command', 'number'), [
    ({}, 0.25, 0.25),
    ({'open_value': 0.04}, 0.04, 1.0),
    ({'open_value': 0.04}, 0.05, 1.25),
    ({'open_value': 0.0, 'closed_value': 0.8}, 0.6, 0.25),
    ({'open_value': 0.04, 'open_is_one': False}, 0.01, 0.75),
])
def test_the_gripper_goes_by_the_profile_s_open_and_closed(params, command, number):
    assert gripper_number(command, GripperParams(**params)) == pytest.approx(number)


@pytest.mark.parametrize(('frame', 'named', 'good'), [
    ('base', '', True), ('base', 'wx250s/base_link', True), ('base', '/wx250s/base_link', True),
    ('base', 'wx250s/ee_gripper_link', False), ('base', 'world', False),
    ('tool', 'wx250s/ee_gripper_link', True), ('tool', 'wx250s/base_link', False),
])
def test_the_frame_of_a_twist_is_that_of_the_profile_s_deltas(frame, named, good):
    action = dataclasses.replace(PROFILE.action, frame=frame)
    fault = frame_fault(named, dataclasses.replace(PROFILE, action=action))
    assert good == (not fault)
    assert good or (action.delta_frame_id in fault and named in fault)


def test_no_twist_is_no_action():
    assert TwistActions(PROFILE).finish() == []
