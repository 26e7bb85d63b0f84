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
        started.append(subprocess.Popen(
            [sys.executable, str(PROGRAM), place], text=True, stdin=subprocess.PIPE,
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


def test_further_signals_do_not_kill_a_process_that_is_on_its_way_out(start):
    process = start('leave')
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == 'leaving\n'
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert 'Traceback' not in errors


def test_a_second_ctrl_c_while_a_node_stops_says_nothing(start):
    process = start('stop')
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == 'stopping\n'
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, errors) == (0, '')


@pytest.mark.parametrize(('place', 'reason'), [
    ('error', 'the knob must be turned'), ('fault', 'IndexError: no item 7')])
def test_a_node_that_fails_while_a_callback_does_not_end_says_why_with_code_1(
        start, place, reason):
    process = start(place)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert reason in errors
    assert ('Traceback' in errors) == (place == 'fault')


@pytest.mark.parametrize(('words', 'reason'), [
    (['-p', 'word:='], 'word:='),
    (['-p', 'word'], "'-p word'"),
    (['--params-file', '/no/such.yaml'], '/no/such.yaml'),
    (['--nonsense'], '--nonsense'),
])
def test_ros_arguments_that_rcl_refuses_are_told_without_a_traceback(domain_id, words, reason):
    done = subprocess.run([sys.executable, '-m', 'octo_ros.nodes.image_player', '--ros-args',
                           *words],
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert 'must be such as rcl can read' in last
    assert reason in last
