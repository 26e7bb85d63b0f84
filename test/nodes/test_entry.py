"""Ctrl-C while the programs of the nodes still import their libraries."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from test.processes import wait_until

TIMEOUT_S = 30.0
# As pip and colcon write them, for setup.py's entry points.
PROGRAMS = {
    name: ['-c', f'import sys; from octo_ros.nodes.entry import {name}; sys.exit({name}())']
    for name in ('controller', 'player', 'simulator')}
MODULES = {name: ['-m', f'octo_ros.nodes.{name}']
           for name in ('controller_node', 'image_player', 'sim_node')}

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')


@pytest.fixture
def start(domain_id):
    started = []

    def make(words):
        started.append(subprocess.Popen([sys.executable, *words], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return started[-1]

    yield make
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize('library', ['numpy', 'rclpy'])
@pytest.mark.parametrize('words', [*PROGRAMS.values(), *MODULES.values()],
                         ids=[*PROGRAMS, *MODULES])
def test_ctrl_c_while_libraries_are_imported_leaves_no_traceback(start, words, library):
    process = start(words)
    mapped = Path(f'/proc/{process.pid}/maps')
    wait_until(lambda: f'/{library}/' in mapped.read_text(), f'the import of {library}')
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=TIMEOUT_S)
    assert (output, errors) == ('', '')
    assert process.returncode == 130


@pytest.mark.parametrize('words', [PROGRAMS['controller'], MODULES['controller_node']],
                         ids=['program', 'module'])
def test_sigterm_while_libraries_are_imported_ends_as_ever(start, words):
    process = start(words)
    mapped = Path(f'/proc/{process.pid}/maps')
    wait_until(lambda: '/numpy/' in mapped.read_text(), 'the import of numpy')
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=TIMEOUT_S) == ('', '')
    assert process.returncode == -signal.SIGTERM
