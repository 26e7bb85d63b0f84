"""Which stamps lie elsewhere than the others of their topic."""

import numpy as np
import pytest

from octo_ros.bags.clock_jumps import find_lags

SECOND = 1_000_000_000
HALF_STEP = SECOND // 10
GRID = SECOND // 5 * np.arange(20)


def test_a_recorder_that_stalls_and_loses_messages_is_no_fault_of_the_stamps():
    rng = np.random.default_rng(0)
    for _ in range(200):
        stamps = SECOND // 5 * np.arange(40) + rng.integers(-SECOND // 40, SECOND // 40, 40)
        logs, kept = stamps.copy(), np.ones(40, bool)
        for begin in SECOND * np.array([1, 4, 6]) + rng.integers(0, SECOND // 2, 3):
            end = begin + rng.integers(3 * SECOND // 2)
            waiting = np.flatnonzero((logs >= begin) & (logs < end))
            logs[waiting] = end
            kept[waiting[:-rng.integers(1, 6)]] = False  # a queue keeps the last ones
        assert not find_lags(stamps[kept], logs[kept], HALF_STEP, 0.0).off_ns.any()


def test_stamps_faster_than_the_clock_of_the_recorder_are_of_one_clock():
    assert not find_lags(4 * GRID, GRID, HALF_STEP).off_ns.any()


def test_a_stamp_that_stands_still_is_off_by_more_and_more():
    found = find_lags(np.zeros_like(GRID), GRID, HALF_STEP, 0.0)
    np.testing.assert_array_equal(found.off_ns, GRID)
    assert found.typical_ns == 0


@pytest.mark.parametrize(('others_ns', 'typical_ns'), [(None, -SECOND), (0.0, 0)])
def test_of_two_clocks_the_one_of_the_other_topics_is_right(others_ns, typical_ns):
    stamps = GRID + SECOND * (np.arange(20) > 2)
    found = find_lags(stamps, GRID, HALF_STEP, others_ns)
    assert found.typical_ns == typical_ns
    assert (found.off_ns != 0).sum() == (17 if others_ns == 0.0 else 3)


def test_without_messages_there_is_no_lag():
    assert find_lags(GRID[:0], GRID[:0], HALF_STEP).typical_ns == 0
    assert find_lags(GRID[:1], GRID[:1] + 5, HALF_STEP).typical_ns == 5
