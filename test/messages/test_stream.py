"""What is known of a stream: rate, losses, age, bad data, each told once."""

import logging

import numpy as np
import pytest

from octo_ros.messages.stream import Stream

_MS = 1_000_000
_START = 1_700_000_000_000_000_000


def _feed(stream, messages, times_ms):
    for time_ms in times_ms:
        stamp_ns = _START + time_ms * _MS
        stream.store(messages.joints([], [], stamp_ns=stamp_ns), stamp_ns + 5 * _MS)


def test_newest_message_is_kept_with_both_times(messages):
    stream = Stream('image_primary', periodic=True)
    _feed(stream, messages, [0, 33])
    assert stream.newest.stamp_ns == _START + 33 * _MS
    assert stream.newest.received_ns == _START + 38 * _MS


def test_steady_stream_has_its_rate_and_no_drops(messages):
    stream = Stream('image_primary', periodic=True)
    _feed(stream, messages, [33 * i + (i % 3) for i in range(60)])
    health = stream.health(_START + 2000 * _MS)
    assert health.rate_hz == pytest.approx(30.3, rel=0.05)
    assert (health.received, health.dropped, health.bad) == (60, 0, 0)
    assert health.age_s == pytest.approx(0.051)


def test_gaps_between_stamps_are_drops(messages):
    stream = Stream('image_primary', periodic=True)
    _feed(stream, messages, [33 * i for i in range(40) if i not in (20, 30, 31, 32)])
    health = stream.health(_START)
    assert health.dropped == 4
    assert health.rate_hz == pytest.approx(30, rel=0.2)


@pytest.mark.parametrize('away_ms', [1_500, 10_000, 1_700_000_000_000])
def test_a_camera_that_was_away_or_set_its_clock_lost_nothing_on_the_way(messages, away_ms):
    stream = Stream('image_primary', periodic=True)
    _feed(stream, messages, [33 * i for i in range(30)])
    _feed(stream, messages, [away_ms + 33 * i for i in range(30, 60)])
    health = stream.health(_START)
    assert health.dropped == 0
    assert not health.lossy


def test_many_losses_are_told_once_and_so_is_their_end(messages, caplog):
    caplog.set_level(logging.INFO)
    stream = Stream('image_primary', periodic=True)
    kept = [i for i in range(400) if i < 20 or i % 5 not in (1, 2)]
    _feed(stream, messages, [33 * i for i in kept])
    health = stream.health(_START)
    assert health.lossy
    assert health.dropped == pytest.approx(152, abs=4)
    assert caplog.text.count('many frames are lost on the way') == 1
    _feed(stream, messages, [33 * i for i in range(400, 700)])
    assert not stream.health(_START).lossy
    assert caplog.text.count('without gaps again') == 1
    assert caplog.text.count('lost on the way') == 1


def test_a_camera_that_slows_down_is_not_lossy_for_long(messages):
    stream = Stream('image_primary', periodic=True)
    _feed(stream, messages, [33 * i for i in range(30)])
    _feed(stream, messages, [990 + 66 * i for i in range(200)])
    health = stream.health(_START)
    assert not health.lossy
    assert health.dropped <= 20
    assert health.rate_hz == pytest.approx(15, rel=0.05)


@pytest.mark.parametrize('intervals_ms', [
    [5, 61], [33, 50, 66], [20, 46], [10, 3, 17, 50, 20]], ids=str)
def test_a_camera_without_a_rhythm_has_no_losses(messages, intervals_ms):
    stream = Stream('image_primary', periodic=True)
    chosen = np.random.default_rng(0).choice(intervals_ms, 600)
    _feed(stream, messages, np.cumsum(chosen).tolist())
    health = stream.health(_START)
    assert not health.lossy


def test_jitter_of_a_camera_is_hardly_ever_a_loss(messages, caplog):
    stream = Stream('image_primary', periodic=True)
    jitter = np.random.default_rng(0).integers(-13, 14, 600)
    _feed(stream, messages, (33 * np.arange(600) + jitter).tolist())
    assert stream.health(_START).dropped <= 12
    assert not caplog.text


def test_joints_of_two_publishers_and_stamps_of_receipt_have_no_losses(messages):
    joints = Stream('proprio')
    _feed(joints, messages, sorted([*range(0, 4000, 20), *range(3, 4000, 100)]))
    unstamped = Stream('image_primary', periodic=True)
    for time_ms in np.cumsum([5, 61] * 100).tolist():
        unstamped.store(messages.joints([], [], stamp_ns=0), _START + time_ms * _MS)
    for stream in (joints, unstamped):
        health = stream.health(_START)
        assert (health.dropped, health.lossy) == (0, False)


def test_recording_that_starts_over_is_no_gap(messages):
    stream = Stream('image_primary', periodic=True)
    _feed(stream, messages, [33 * i for i in range(20)] * 2)
    assert stream.health(_START).dropped == 0


def test_silent_stream_has_no_age(messages):
    health = Stream('image_primary', periodic=True).health(_START)
    assert health.age_s is None
    assert health.rate_hz == 0.0


def test_missing_stamps_are_replaced_by_the_time_of_receipt_with_one_warning(messages, caplog):
    stream = Stream('image_wrist')
    for received_ns in (10, 20, 30):
        stream.store(messages.joints([], [], stamp_ns=0), received_ns)
    assert stream.newest.stamp_ns == 30
    assert [record.levelname for record in caplog.records] == ['WARNING']
    assert 'image_wrist' in caplog.text


def test_bad_data_is_told_once_and_so_is_the_recovery(caplog):
    stream = Stream('image_wrist')
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            stream.report_bad('image is truncated')
        for _ in range(9):
            stream.report_good()
        stream.report_bad('image is empty')
    assert [record.levelname for record in caplog.records] == ['WARNING', 'INFO', 'WARNING']
    assert 'recovered' in caplog.records[1].getMessage()
    health = stream.health(0)
    assert (health.bad, health.problem) == (4, 'image is empty')


def test_data_that_is_bad_now_and_then_does_not_flood_the_log(caplog):
    stream = Stream('image_wrist')
    with caplog.at_level(logging.INFO):
        for _ in range(50):
            stream.report_bad('image is truncated')
            stream.report_good()
            stream.report_good()
    assert [record.levelname for record in caplog.records] == ['WARNING']
    assert stream.health(0).problem == ''


def test_clear_forgets_message_and_rate_but_not_the_counts(messages):
    stream = Stream('image_primary', periodic=True)
    _feed(stream, messages, [0, 33])
    stream.clear()
    assert stream.newest is None
    assert stream.health(_START).received == 2
    assert stream.health(_START).rate_hz == 0.0
    assert np.isfinite(stream.health(_START).rate_hz)
