"""Grippers: binary and sticky as in Octo's evaluation, relative as in SimplerEnv's."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_ros.policy.gripper import Gripper
from octo_ros.policy.profile import GripperParams


def run(values, **params):
    gripper = Gripper(GripperParams(**params))
    return [gripper.step(value) for value in values]


def test_an_absolute_gripper_is_open_above_the_threshold() -> None:
    assert run([0.9, 0.51, 0.5, 0.1, 1.2, -0.3]) == [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]


def test_the_sense_can_be_the_other_way_round() -> None:
    assert run([0.9, 0.1], open_is_one=False) == [0.0, 1.0]


def test_commands_are_in_the_units_of_the_gripper() -> None:
    assert run([1.0, 0.0], open_value=0.037, closed_value=0.015) == pytest.approx([0.037, 0.015])


def test_a_continuous_gripper_follows_within_its_range() -> None:
    assert run([0.25, 1.5, -1.0], binarize=False, open_value=0.08) == pytest.approx(
        [0.02, 0.08, 0.0])


def test_a_sticky_gripper_flips_after_successive_opposite_readings_only() -> None:
    values = [1, 0, 0, 1, 0, 0, 0, 1, 1, 1]
    assert run(values, sticky_count=3) == [1, 1, 1, 1, 1, 1, 0, 0, 0, 1]


@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=50), st.integers(1, 5))
def test_a_sticky_gripper_never_flips_faster_than_its_count(values: list, count: int) -> None:
    commands = run(values, sticky_count=count)
    flips = [i for i in range(1, len(commands)) if commands[i] != commands[i - 1]]
    assert all(later - earlier >= count for earlier, later in itertools.pairwise(flips))
    assert set(commands) <= {0.0, 1.0}


def reference_relative(values, repeat=15):
    """The rule as SimplerEnv states it, step by step: positive closes."""
    previous, sticky, count, held, result = None, False, 0, 0.0, []
    for value in values:
        relative = 0.0 if previous is None else previous - value
        previous = value
        if abs(relative) > 0.5 and not sticky:
            sticky, held = True, relative
        if sticky:
            count += 1
            relative = held
        if count == repeat:
            sticky, count, held = False, 0, 0.0
        result.append(relative)
    return result


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60), st.integers(1, 15))
def test_the_relative_motion_is_that_of_simplerenv(values: list, hold_steps: int) -> None:
    gripper = Gripper(GripperParams(mode='relative', hold_steps=hold_steps))
    motions = []
    for value in values:
        gripper.step(value)
        motions.append(gripper.closing)
    assert motions == pytest.approx(reference_relative(values, hold_steps))


def test_a_relative_gripper_holds_a_change_and_keeps_the_state_after_it() -> None:
    values = [1.0, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9]
    assert run(values, mode='relative', hold_steps=3) == [1, 1, 0, 0, 0, 0, 0]


def test_a_continuous_relative_gripper_adds_its_motions_up() -> None:
    values = [0.5, 0.4, 0.6, 0.6]
    assert run(values, mode='relative', binarize=False) == pytest.approx([0.5, 0.4, 0.6, 0.6])


@pytest.mark.parametrize('mode', ['absolute', 'relative'])
def test_after_a_reset_nothing_is_known(mode: str) -> None:
    gripper = Gripper(dataclasses.replace(GripperParams(), mode=mode, sticky_count=9))
    assert gripper.command is None
    assert gripper.step(1.0) == gripper.command == 1.0
    gripper.reset()
    assert gripper.command is None
    assert gripper.step(0.0) == 0.0
