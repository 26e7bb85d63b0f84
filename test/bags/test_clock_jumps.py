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


def late_by_up_to(seconds):
    """Messages that wait on their way for up to so long; none passes another."""
    return lambda rng, sent_s: sent_s + rng.uniform(0, seconds, len(sent_s))


def one_in_ten_late(rng, sent_s):
    return sent_s + 0.01 + (rng.random(len(sent_s)) < 0.1) * rng.uniform(0, 0.3, len(sent_s))


def events(rng):
    return np.cumsum(rng.uniform(0.1, 0.4, 150))


def poisson(rng):
    return np.cumsum(rng.exponential(0.2, 150))


def jittering(rng):
    return np.sort(0.2 * np.arange(150) + rng.uniform(-0.06, 0.06, 150))


def with_losses(rng):
    return 0.1 * np.flatnonzero(rng.random(300) >= 0.3)


def recorded_topic(rng, sent, late):
    sent_s = sent(rng)
    return [np.round(SECOND * times_s).astype(np.int64) + 1_700_000_000 * SECOND
            for times_s in (sent_s, np.maximum.accumulate(late(rng, sent_s)))]


@pytest.mark.parametrize('sent', [events, poisson, jittering, with_losses])
@pytest.mark.parametrize('late', [late_by_up_to(0.3), one_in_ten_late])
def test_irregular_topics_that_are_recorded_late_are_no_fault_of_the_stamps(sent, late):
    for seed in range(200):
        stamps, logs = recorded_topic(np.random.default_rng(seed), sent, late)
        assert not find_lags(stamps, logs, HALF_STEP).off_ns.any(), seed


@pytest.mark.parametrize('sent', [events, jittering, with_losses])
def test_stamps_that_run_backwards_are_told_of_irregular_topics_too(sent):
    for seed in range(50):
        stamps, logs = recorded_topic(np.random.default_rng(seed), sent, late_by_up_to(0.1))
        stamps[100:103] -= 2 * SECOND
        off = np.flatnonzero(find_lags(stamps, logs, HALF_STEP).off_ns)
        assert off.tolist() == [100, 101, 102], seed


@pytest.mark.parametrize('shift_s', [-0.3, -0.15, 0.15, 0.3, 3600.0])
def test_a_clock_that_jumps_is_told_of_a_steady_topic(shift_s):
    for seed in range(50):
        rng = np.random.default_rng(seed)
        stamps, logs = recorded_topic(
            rng, lambda rng: 0.2 * np.arange(60) + rng.uniform(0, 0.01, 60), late_by_up_to(0.02))
        stamps[40:] += round(shift_s * SECOND)
        off = np.flatnonzero(find_lags(stamps, logs, HALF_STEP).off_ns)
        assert off.tolist() == list(range(40, 60)), seed


def test_stamps_that_stand_still_for_a_while_end_where_they_go_on():
    stamps = GRID.copy()
    stamps[5:10] = GRID[5]
    np.testing.assert_array_equal(find_lags(stamps, GRID, SECOND // 100).off_ns, GRID - stamps)


@pytest.mark.parametrize('recorded_s', [-0.19, -0.12, -0.05, 0.0])
def test_an_old_message_that_a_latched_topic_gives_first_stays_old(recorded_s):
    stamps, logs = np.append(-60 * SECOND, GRID), np.append(round(recorded_s * SECOND), GRID)
    assert not find_lags(stamps, logs, HALF_STEP).off_ns.any()
