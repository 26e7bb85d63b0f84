"""The velocity of proprio: per second, whatever steps were missed or repeated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies

from octo_ros.policy.proprio import velocity

SECOND = 1_000_000_000


@given(
    gaps_ns=strategies.lists(strategies.integers(1, SECOND), min_size=1, max_size=9),
    speed=strategies.floats(-5.0, 5.0))
def test_steady_motion_has_its_velocity_at_any_rate(gaps_ns, speed):
    stamps_ns = 1_700_000_000 * SECOND + np.cumsum(gaps_ns)
    places = speed * (stamps_ns - stamps_ns[0]) / SECOND
    found = velocity(places[:, None], stamps_ns)[:, 0]
    assert found[0] == 0.0
    assert found[1:] == pytest.approx(speed)


def test_repeated_frames_are_looked_past():
    stamps_ns = np.array([0, SECOND, SECOND, 3 * SECOND])
    places = np.array([[1.0, 0.0], [3.0, 1.0], [3.0, 1.0], [3.0, 5.0]])
    np.testing.assert_array_equal(
        velocity(places, stamps_ns), [[0.0, 0.0], [2.0, 1.0], [2.0, 1.0], [0.0, 2.0]])


def test_padding_at_the_start_stands_still():
    np.testing.assert_array_equal(velocity(np.ones((3, 2)), np.full(3, SECOND)), np.zeros((3, 2)))


def test_a_stamp_that_goes_back_counts_as_the_one_before():
    stamps_ns = np.array([10, 5, 12]) * SECOND
    places = np.array([[0.0], [2.0], [4.0]])
    np.testing.assert_array_equal(velocity(places, stamps_ns), [[0.0], [0.0], [1.0]])


@given(stamps_ns=strategies.lists(strategies.integers(0, 5), min_size=1, max_size=8))
def test_whatever_the_stamps_a_velocity_is_finite(stamps_ns):
    places = np.arange(len(stamps_ns), dtype=float)[:, None]
    assert np.isfinite(velocity(places, np.array(stamps_ns) * SECOND)).all()
