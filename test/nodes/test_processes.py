"""Processes of nodes: they end with us, however we end."""

import os
import signal
import subprocess
import sys

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from octo_ros.nodes import processes
from test.processes import alive
from test.processes import wait_until

DEADLINE_S = 20.0
# Starts a child that would run for ever, says its id, and then waits itself.
PARENT = """
import sys, time
from pathlib import Path
from octo_ros.nodes import processes
command = processes.node_command('{module}', {{}}, {{}})
with processes.running(command, Path(sys.argv[1])) as child:
    print(child.pid, flush=True)
    time.sleep(1000)
"""
CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print('ready', flush=True)
    time.sleep(1000)
except KeyboardInterrupt:
    print('interrupted', sys.argv[1:], flush=True)
"""


@pytest.fixture
def family(tmp_path):
    """A process with a child, and the child's id and log."""
    (tmp_path / 'patient_child.py').write_text(CHILD)
    log = tmp_path / 'child.log'
    parent = subprocess.Popen(
        [sys.executable, '-c', PARENT.format(module='patient_child'), str(log)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)})
    pid = int(parent.stdout.readline())
    wait_until(lambda: 'ready' in log.read_text(), 'the child')
    yield parent, pid, log
    parent.stdout.close()
    for process in (parent.pid, pid):
        if alive(process):
            os.kill(process, signal.SIGKILL)
    parent.wait()


@pytest.mark.skipif(sys.platform != 'linux', reason='the lifeline is a service of Linux')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_a_child_is_interrupted_when_its_parent_ends_by_any_signal(family, number):
    parent, pid, log = family
    parent.send_signal(number)
    parent.wait(DEADLINE_S)
    wait_until(lambda: not alive(pid), 'the end of the child')
    assert "interrupted ['--ros-args']" in log.read_text()


def test_a_child_that_is_interrupted_while_python_starts_says_nothing(tmp_path):
    log = tmp_path / 'log'
    with processes.running(processes.node_command('no_such_module', {}, {}), log) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    assert log.read_text() == ''


def test_a_process_that_does_not_listen_is_killed_when_we_are_interrupted(tmp_path):
    deaf = ("import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
            "print('ready', flush=True); time.sleep(1000)")
    log = tmp_path / 'log'
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with (pytest.raises(KeyboardInterrupt),
              processes.running([sys.executable, '-c', deaf], log) as process):
            wait_until(lambda: 'ready' in log.read_text(), 'the child')
            signal.setitimer(signal.ITIMER_REAL, 0.3)  # while it waits for the end
    finally:
        signal.signal(signal.SIGALRM, old)
    assert process.returncode == -signal.SIGKILL


def test_the_last_words_are_the_last_lines(tmp_path):
    log = tmp_path / 'log'
    assert processes.last_words(log) == ''
    log.write_text('\n'.join(map(str, range(20))))
    assert processes.last_words(log).split() == ['14', '15', '16', '17', '18', '19']


@pytest.mark.parametrize('value', [
    'put the 😀 in the 🥣', '“größer” 杯', 'a\\ud83d\\ude00 "b"',
    'del \x7f nel \x85 line\u2028end',
    '\ufeffmark', 'yes', '', ['cup', '😀'], 0.5, True])
def test_a_parameter_reaches_the_node_whatever_its_characters(domain_id, value):
    words = processes.node_command('module', {'text': value}, {})
    context = Context()
    rclpy.init(args=words, context=context, domain_id=domain_id)
    node = Node('asker', context=context, start_parameter_services=False,
                automatically_declare_parameters_from_overrides=True)
    try:
        assert node.get_parameter('text').value == value
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)
