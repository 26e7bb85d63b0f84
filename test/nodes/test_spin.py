"""The end of a process whose threads do not listen."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / 'run_slow_node.py'
TIMEOUT_S = 30.0


@pytest.fixture
def start(domain_id):
    started = []

    def make(place):
        started.append(subprocess.Popen([sys.executable, str(PROGRAM), place], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        assert started[-1].stdout.readline() == 'working\n'
        return started[-1]

    yield make
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(('place', 'words'), [
    ('start', 'Told to stop during a step that cannot be interrupted'),
    ('callback', 'A callback does not end')])
def test_a_signal_ends_a_process_that_is_deep_in_compiled_code(start, place, words, number):
    process = start(place)
    began_s = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert time.monotonic() - began_s < 12.0
    assert words in errors
    assert 'Traceback' not in errors
