"""What the log says of holding and running."""

import pytest

from octo_ros.nodes.state_log import StateLog


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def log(lines, warnings) -> StateLog:
    def warn(line: str) -> None:
        lines.append(line)
        warnings.append(line)

    return StateLog(lines.append, warn)


def test_a_hold_that_nobody_meant_is_a_warning_once_the_robot_ran(log, warnings) -> None:
    log.note('no message yet', 0.0)
    assert not warnings
    log.note('', 1.0)
    log.note('late', 2.0)
    log.note('camera 1.0 s old', 4.0)
    log.note('camera 3.0 s old', 6.0)
    assert warnings == ['Holding: late', 'Holding: camera 1.0 s old']
    log.note('', 7.0)
    log.note('disarmed', 8.0, meant=True)
    log.note('camera 1.0 s old', 10.0)
    assert len(warnings) == 2


def test_the_log_does_not_end_with_holding_after_a_recovery(log, lines) -> None:
    log.note('', 0.0)
    log.note('late', 0.02)
    log.note('', 0.04)
    assert lines == ['Running', 'Holding: late', 'Running']


def test_short_holds_one_after_the_other_are_not_all_logged(log, lines) -> None:
    for step in range(50):
        log.note('late' if step % 2 else '', step * 0.1)
    assert 6 <= len(lines) <= 11
    log.note('late', 6.0)
    assert lines[-1] == 'Holding: late'
    log.note('', 6.1)
    assert lines[-1] == 'Running'


def test_a_hold_that_lasts_is_logged_once_the_interval_is_over(log, lines) -> None:
    log.note('late', 0.0)
    log.note('', 0.1)
    log.note('camera', 0.2)
    assert lines[-1] == 'Running'
    log.note('camera', 1.1)
    assert lines[-1] == 'Holding: camera'


def test_an_age_that_grows_is_no_news_and_a_restart_is(log, lines) -> None:
    log.note('1.0 s old', 0.0)
    log.note('2.5 s old', 5.0)
    assert lines == ['Holding: 1.0 s old']
    log.restart()
    log.note('3.5 s old', 6.0)
    assert len(lines) == 2
