"""The two switches that let commands out."""

import pytest

from octo_ros.errors import OctoError
from octo_ros.nodes.arming import Arming


def test_starts_disarmed_and_says_how_to_arm() -> None:
    assert '~/arm' in Arming().hold_reason


def test_armed_holds_for_no_reason() -> None:
    arming = Arming()
    arming.arm()
    assert arming.hold_reason == ''
    arming.disarm()
    assert arming.hold_reason


def test_an_emergency_stop_stays_until_it_is_cleared_and_armed_again() -> None:
    arming = Arming()
    arming.arm()
    assert arming.set_emergency(True)
    assert 'emergency stop' in arming.hold_reason
    with pytest.raises(OctoError, match='must be cleared'):
        arming.arm()
    assert arming.set_emergency(False)
    assert 'disarmed' in arming.hold_reason
    arming.arm()
    assert arming.hold_reason == ''


def test_only_changes_of_the_emergency_stop_are_news() -> None:
    arming = Arming()
    assert not arming.set_emergency(False)
    assert arming.set_emergency(True)
    assert not arming.set_emergency(True)


def test_a_start_does_not_override_a_standing_emergency_stop() -> None:
    arming = Arming()
    arming.set_emergency(True)
    arming.start(True)
    arming.set_emergency(False)
    assert 'disarmed' in arming.hold_reason


def test_a_start_does_not_undo_a_stop_that_nobody_ended() -> None:
    stops = {
        'disarmed': Arming.disarm,
        'emergency': lambda arming: (arming.set_emergency(True), arming.set_emergency(False))}
    for name, stop in stops.items():
        arming = Arming()
        arming.start(True)
        stop(arming)
        arming.start(True)
        assert 'disarmed' in arming.hold_reason, name
        arming.arm()
        arming.start(True)
        assert arming.hold_reason == '', name
