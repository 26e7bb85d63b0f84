"""Signals end a command wherever they find it."""

import gc
import signal

import pytest

from octo_ros.cli.interrupts import Stopped
from octo_ros.cli.interrupts import ended_by_signals
from octo_ros.cli.interrupts import kept_until_imported
from test.processes import wait_until


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('times', [1, 3])
def test_a_signal_that_comes_during_garbage_collection_is_not_lost(number, times, capsys):
    """What a callback of the collector raises is swallowed, and JAX has one: Ctrl-C was lost."""
    left = [number] * times

    def interrupt(_phase: str, _info: dict[str, int]) -> None:
        if left:
            signal.raise_signal(left.pop())

    with pytest.raises(KeyboardInterrupt) as stop, ended_by_signals():
        gc.callbacks.append(interrupt)
        try:
            for _ in range(times):
                gc.collect(0)
            wait_until(lambda: False, 'an end', timeout_s=5)
        finally:
            gc.callbacks.remove(interrupt)
    assert isinstance(stop.value, Stopped) == (number == signal.SIGTERM)
    assert not capsys.readouterr().err
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize('block', [ended_by_signals, kept_until_imported])
def test_a_command_of_nohup_outlives_its_terminal(block):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with block():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
