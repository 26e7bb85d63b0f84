"""Actions stay within the envelope; what is clipped is named, grippers pass."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_ros.errors import ParameterError
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.limits import ActionLimits
from octo_ros.policy.poses import rotation_vector
from octo_ros.policy.profile import ActionParams
from octo_ros.policy.profile import CommandParams
from octo_ros.policy.profile import GripperParams
from octo_ros.policy.profile import LimitParams
from octo_ros.policy.profile import RobotProfile

SPEC = dataclasses.replace(
    DEFAULT_SPEC,
    action_low=(-0.02, -0.03, -0.04, -0.1, -0.2, -0.3, -np.inf),
    action_high=(0.03, 0.03, 0.03, 0.1, 0.2, 0.3, np.inf))
JOINTS = RobotProfile(
    action=ActionParams(names=('a', 'b', 'grip'), space='joint', delta=False),
    gripper=GripperParams(indices=(2,)),
    limits=LimitParams(per_step=(0.1, 0.2, 1.0)),
    command=CommandParams(type='joint_trajectory'))
JOINT_SPEC = dataclasses.replace(
    DEFAULT_SPEC, action_dim=3, action_low=(-np.inf,) * 3, action_high=(np.inf,) * 3)


def test_actions_are_clipped_to_the_range_of_the_training_data() -> None:
    limited, clipped = ActionLimits(RobotProfile(), SPEC).apply(
        np.array([0.05, -0.05, 0.0, 0.0, 0.0, 0.05, 7.0]))
    np.testing.assert_allclose(limited, [0.03, -0.03, 0.0, 0.0, 0.0, 0.05, 7.0])
    assert clipped.tolist() == [True, True, False, False, False, False, False]


def test_the_range_can_be_switched_off() -> None:
    profile = RobotProfile(limits=LimitParams(envelope='none'))
    action = np.array([0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(ActionLimits(profile, SPEC).apply(action)[0], action)


def test_a_limit_per_step_holds_for_each_dimension_but_the_gripper() -> None:
    profile = RobotProfile(limits=LimitParams(per_step=(0.01,) * 7, envelope='none'))
    limited, _ = ActionLimits(profile, SPEC).apply(np.full(7, 0.5))
    np.testing.assert_allclose(limited, [0.01] * 6 + [0.5], atol=1e-9)


@given(st.lists(st.floats(-10, 10), min_size=7, max_size=7))
def test_no_motion_is_faster_than_allowed_and_directions_stay(action: list) -> None:
    profile = RobotProfile(limits=LimitParams(
        envelope='none', max_speed=0.25, max_rotation_speed=1.0))
    limited, _ = ActionLimits(profile, SPEC).apply(np.array(action))
    assert np.linalg.norm(limited[:3]) <= 0.25 * 0.2 + 1e-9
    assert np.linalg.norm(rotation_vector(limited[3:6], 'sxyz')) <= 1.0 * 0.2 + 1e-6
    assert float(limited[:3] @ np.array(action[:3])) >= 0.0
    assert limited[6] == action[6]


@given(st.lists(st.floats(-0.05, 0.05), min_size=7, max_size=7))
def test_what_is_within_the_limits_is_left_alone(action: list) -> None:
    profile = RobotProfile(limits=LimitParams(envelope='none', max_rotation_speed=2.0))
    limited, clipped = ActionLimits(profile, SPEC).apply(np.array(action))
    np.testing.assert_array_equal(limited, action)
    assert not clipped.any()


@given(
    st.lists(st.tuples(*[st.floats(-3, 3)] * 3), min_size=1, max_size=10),
    st.tuples(*[st.floats(-3, 3)] * 3))
def test_joint_positions_change_by_no_more_than_allowed(rows: list, start: tuple) -> None:
    limited = ActionLimits(JOINTS, JOINT_SPEC).limit_changes(np.array(rows), np.array(start))
    changes = np.abs(np.diff(np.vstack([start, limited]), axis=0))
    assert (changes[:, :2] <= np.array([0.1, 0.2]) + 1e-9).all()
    np.testing.assert_array_equal(limited[:, 2], np.array(rows)[:, 2])


def test_joint_positions_without_a_known_start_begin_where_the_chunk_does() -> None:
    limited = ActionLimits(JOINTS, JOINT_SPEC).limit_changes(
        np.array([[1.0, 1.0, 0.0], [2.0, 1.1, 1.0]]), None)
    np.testing.assert_allclose(limited, [[1.0, 1.0, 0.0], [1.1, 1.1, 1.0]])


def test_absolute_joint_positions_are_not_limited_by_size() -> None:
    limited, clipped = ActionLimits(JOINTS, JOINT_SPEC).apply(np.array([2.0, -2.0, 0.5]))
    np.testing.assert_array_equal(limited, [2.0, -2.0, 0.5])
    assert not clipped.any()


def test_a_profile_for_another_number_of_dimensions_is_refused() -> None:
    with pytest.raises(ParameterError, match='must name the 3 dimensions'):
        ActionLimits(RobotProfile(), JOINT_SPEC)


def test_a_range_that_the_checkpoint_does_not_have_is_refused_and_not_ignored() -> None:
    spec = dataclasses.replace(SPEC, action_low=(), action_high=())
    with pytest.raises(ParameterError, match=r"'limits.envelope' .*no p01 and p99; .* to 'none'"):
        ActionLimits(RobotProfile(), spec)
    ActionLimits(RobotProfile(limits=LimitParams(envelope='none')), spec)
