"""Which messages belong to a policy step, and what is said while some are missing."""

import logging

import pytest

from octo_ros.errors import ParameterError
from octo_ros.messages.ingest import Ingest

_MS = 1_000_000
_NOW = 1_700_000_000_000_000_000


@pytest.fixture
def ingest():
    return Ingest(['image_primary', 'image_wrist'], others=['proprio'], max_age_s=0.5)


def _store(ingest, messages, name, age_ms):
    stamp_ns = _NOW - age_ms * _MS
    ingest.store(name, messages.joints(['a'], [0.0], stamp_ns=stamp_ns), stamp_ns)


def test_sample_is_stamped_by_the_first_camera(ingest, messages):
    _store(ingest, messages, 'image_primary', 40)
    _store(ingest, messages, 'image_wrist', 10)
    _store(ingest, messages, 'proprio', 1)
    sample = ingest.sample(_NOW)
    assert sample.stamp_ns == _NOW - 40 * _MS
    assert set(sample.messages) == {'image_primary', 'image_wrist', 'proprio'}


def test_stale_second_camera_is_left_out(ingest, messages):
    _store(ingest, messages, 'image_primary', 40)
    _store(ingest, messages, 'image_wrist', 600)
    _store(ingest, messages, 'proprio', 1)
    assert set(ingest.sample(_NOW).messages) == {'image_primary', 'proprio'}
    assert ingest.waiting_for(_NOW) == ''


def _run(ingest, messages, name_at, until_ms, caplog):
    """Takes a sample every 0.2 s; `name_at(ms)` says whether the second camera sends then."""
    with caplog.at_level(logging.INFO):
        for time_ms in range(0, until_ms, 200):
            for name in ['image_primary', 'proprio', *['image_wrist'] * name_at(time_ms)]:
                _store(ingest, messages, name, -time_ms)
            ingest.sample(_NOW + time_ms * _MS)
    return [record.getMessage() for record in caplog.records]


def test_second_camera_that_never_comes_is_told_once(ingest, messages, caplog):
    told = _run(ingest, messages, lambda _: False, 10_000, caplog)
    assert told == ['image_wrist: no message has come; the policy runs without it (masked)']


def test_second_camera_that_goes_away_and_comes_back_is_told_once_each(ingest, messages, caplog):
    told = _run(ingest, messages, lambda ms: not 2000 < ms < 8000, 12_000, caplog)
    assert told == ['image_wrist: the newest message is 1.2 s old; the policy runs without it '
                    '(masked)', 'image_wrist: messages come again, the policy uses them']


@pytest.mark.parametrize(('period_ms', 'first_ms'), [(200, 400), (400, 400), (1000, 0)])
def test_second_camera_that_is_slow_or_late_at_first_is_no_news(
        ingest, messages, caplog, period_ms, first_ms):
    told = _run(ingest, messages, lambda ms: ms >= first_ms and ms % period_ms == 0, 20_000,
                caplog)
    assert told == []


@pytest.mark.parametrize('missing', ['image_primary', 'proprio'])
def test_required_stream_that_never_came_is_named(ingest, messages, missing):
    for name in {'image_primary', 'proprio'} - {missing}:
        _store(ingest, messages, name, 0)
    assert ingest.sample(_NOW) is None
    assert ingest.waiting_for(_NOW) == f"no message on '{missing}' yet"


@pytest.mark.parametrize(('age_ms', 'words'), [(700, '0.70 s old'), (-700, '0.70 s ahead')])
def test_required_stream_that_is_off_in_time_is_named(ingest, messages, age_ms, words):
    _store(ingest, messages, 'proprio', 0)
    _store(ingest, messages, 'image_primary', age_ms)
    assert ingest.sample(_NOW) is None
    assert words in ingest.waiting_for(_NOW)


def test_messages_from_after_a_jump_back_of_the_clock_are_forgotten(ingest, messages):
    _store(ingest, messages, 'image_primary', 100)
    _store(ingest, messages, 'image_wrist', -100)
    ingest.drop_later_than(_NOW)
    assert ingest.fresh('image_primary', _NOW) is not None
    assert ingest.fresh('image_wrist', _NOW) is None


def test_unknown_stream_names_the_closest(ingest, messages):
    with pytest.raises(ParameterError, match="did you mean 'image_wrist'"):
        _store(ingest, messages, 'image_wrst', 0)


def test_a_camera_is_needed():
    with pytest.raises(ParameterError, match='at least one camera'):
        Ingest([], max_age_s=1.0)
