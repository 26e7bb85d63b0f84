"""Grippers in units that are not the policy's are told of, and scaled when told how."""

import dataclasses
import re

import numpy as np
import pytest

from octo_ros.data.grippers import Grippers
from octo_ros.errors import ParameterError
from octo_ros.policy.profile import GripperParams
from octo_ros.policy.profile import load_profile
from test.data import lerobot_files as files
from test.data.test_lerobot import read

NAMES = ('x', 'grip')


def grippers(ends=None, *, reached=False, **params):
    return Grippers(NAMES, GripperParams(indices=(1,), **params), ends, reached)


def actions(values):
    return np.stack([np.full(len(values), 9.0), values], axis=1)


@pytest.mark.parametrize(('values', 'message'), [
    ([0, 255, 0], r"'grip' goes from 0 to 255, and must be from 0 \(closed\) to 1 \(open\); "
     r'--gripper-range CLOSED OPEN, .* 0 255'),
    ([255, 255], 'from 255 to 255, and must be'), ([-1, 1], 'from -1 to 1, and must be'),
    ([0, 0.04, 0], 'from 0 to 0.04, and never passes 0.5'), ([0.6, 0.7], 'never passes 0.5')])
def test_a_gripper_of_other_units_is_told_with_its_range_and_the_way_out(values, message):
    [text] = grippers().faults(actions(values))
    assert re.search(message, text), text


def test_no_example_is_given_that_the_option_itself_refuses():
    [text] = grippers().faults(actions([255, 255]))
    assert text.endswith('; --gripper-range CLOSED OPEN, with its numbers for both, scales it')


@pytest.mark.parametrize('values', [
    [0, 1, 0], [1, 1], [0, 0], [0.3, 0.3], [-0.05, 1.1], [0.9, 1.0], [0.0, 0.01], [0.2, 0.8]])
def test_a_gripper_of_the_policy_or_one_that_stands_still_is_sound(values):
    assert not grippers().faults(actions(values))


def test_what_a_profile_allows_is_no_fault():
    half = actions([0.0, 0.3])
    assert grippers().faults(half)
    assert not grippers(binarize=False).faults(half)
    assert not grippers(threshold=0.1).faults(half)
    assert not grippers(mode='relative').faults(actions([0, 255]))
    assert grippers(binarize=False).faults(actions([0, 255]))
    assert '0 (open) to 1 (closed)' in grippers(open_is_one=False).faults(actions([0, 2]))[0]
    aloha = Grippers.of(load_profile('aloha'), None, reached=False)
    idle = np.zeros((3, 14))
    idle[:, 6], idle[:, 13] = [0.0, 0.03, 0.02], [0.0, 1.1, 0.4]
    assert not aloha.faults(idle)
    idle[1, 13] = 57.0
    assert "'right_gripper' goes from 0 to 57" in aloha.faults(idle)[0]


def test_reached_actions_want_a_gripper_that_gets_to_both_ends():
    between = actions([0.1, 0.9, 0.1])
    assert not grippers().faults(between)
    assert 'below 0.05 and above 0.95' in grippers(reached=True).faults(between)[0]


@pytest.mark.parametrize(('ends', 'params', 'wanted'), [
    ((0, 255), {}, [0.0, 1.0, 0.2]), ((255, 0), {}, [1.0, 0.0, 0.8]),
    ((0, 255), {'open_is_one': False}, [1.0, 0.0, 0.8]), (None, {}, [0, 255, 51])])
def test_numbers_are_scaled_from_closed_to_open(ends, params, wanted):
    found = grippers(ends, **params).scaled(actions([0, 255, 51]))
    np.testing.assert_allclose(found[:, 1], wanted, atol=1e-12)
    np.testing.assert_array_equal(found[:, 0], 9.0)


def test_a_range_that_does_not_fit_is_told_and_noise_beyond_it_is_cut_off():
    scale = grippers((0.0, 0.04))
    found = scale.scaled(actions([-0.001, 0.041]))
    assert not scale.faults(found)
    np.testing.assert_array_equal(scale.clipped(found)[:, 1], [0.0, 1.0])
    [text] = scale.faults(scale.scaled(actions([0.0, 0.08])))
    assert 'goes from 0 to 2 as --gripper-range 0 0.04 scales it' in text


@pytest.mark.parametrize('ends', [[1.0, 1.0], [0.0, np.nan]])
def test_a_range_must_be_two_numbers_that_differ(ends):
    profile = load_profile('widowx')
    with pytest.raises(ParameterError, match='--gripper-range must be two finite numbers'):
        Grippers.of(profile, ends, reached=False)
    none = dataclasses.replace(profile, gripper=GripperParams(indices=()))
    with pytest.raises(ParameterError, match='a robot profile that has a gripper'):
        Grippers.of(none, [0.0, 1.0], reached=False)


def test_a_data_set_is_checked_and_scaled_alike(tmp_path):
    episode = files.episode(1, 5)
    episode['action'][:, 6] = [0, 0, 255, 255, 255]
    files.write_v21(tmp_path, [episode])
    told = Grippers(tuple(files.NAMES), GripperParams())
    (found,) = read(tmp_path, gripper=told)
    assert [(item.kind, item.topic) for item in found.findings] == [('gripper', 'action')]
    (found,) = read(tmp_path, gripper=dataclasses.replace(told, ends=(0.0, 255.0)))
    assert not found.findings
    np.testing.assert_array_equal(found.episode.actions[:, 6], [0, 0, 1, 1, 1])


@pytest.mark.parametrize('ends', [(0.0, 255.0), (255.0, 0.0), (0.0, 100.0)])
def test_a_gripper_of_the_policy_that_is_scaled_all_the_same_is_told(ends):
    found = grippers(ends)
    (text,) = found.faults(found.scaled(actions([0, 0, 1, 1])))
    assert 'is from 0 to 1 as recorded' in text
    assert not found.faults(found.scaled(actions([ends[0], ends[1], ends[1]])))


def test_a_range_is_refused_for_a_gripper_whose_numbers_are_changes():
    with pytest.raises(ParameterError, match="of mode absolute, got 'relative'"):
        Grippers.of(load_profile('google_robot'), [-1.0, 1.0], reached=False)
