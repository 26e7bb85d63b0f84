"""The controller as a process of its own, with the checkpoint that ships with the package."""

import re
import signal
import subprocess
import sys
import threading

import pytest
from geometry_msgs.msg import TwistStamped

from octo_ros.assets import shipped_checkpoint
from octo_ros.assets import shipped_recording
from octo_ros.bags.reader import BagReader
from octo_ros.errors import OctoError
from octo_ros.nodes.live_replay import run_live

TIMEOUT_S = 60.0


class Process:
    """A running controller and what it says."""

    def __init__(self, *words: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, '-m', 'octo_ros.nodes.controller_node', '--ros-args', *words],
            stderr=subprocess.PIPE, text=True)
        self.said = ''
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.popen.stderr:
            self.said += line

    def end(self, number: int) -> int:
        self.popen.send_signal(number)
        return self.join()

    def join(self) -> int:
        code = self.popen.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return code

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self._reader.join(TIMEOUT_S)
        self.popen.stderr.close()


@pytest.fixture
def start(ros):
    started = []

    def make(**values) -> Process:
        values = {'policy.checkpoint': str(shipped_checkpoint()), **values}
        started.append(Process(*(
            word for name, value in values.items() for word in ('-p', f'{name}:={value}'))))
        return started[-1]

    yield make
    for process in started:
        process.close()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_robot_and_ends_the_process(
        ros, start, make_camera, number) -> None:
    process = start(instruction="'put the red block on the plate'", cameras='[image_primary]',
                    **{'profile.step_s': 0.1})
    twists = ros.collect(TwistStamped, '/octo_controller/command/twist')
    make_camera('image_primary', size=(128, 128))
    ros.wait_until(lambda: twists and twists[-1].twist.linear.x, 'motion', TIMEOUT_S)
    assert process.end(number) == 0
    ros.wait_until(lambda: not twists[-1].twist.linear.x, 'a zero twist at the end')
    assert 'Traceback' not in process.said


def test_a_signal_while_it_loads_ends_the_process_too(ros, start) -> None:
    process = start()
    ros.wait_until(lambda: 'Loading the checkpoint' in process.said, 'the start', TIMEOUT_S)
    assert process.end(signal.SIGTERM) == 0
    assert 'Traceback' not in process.said


def test_what_cannot_be_configured_ends_with_one_line_and_code_1(start) -> None:
    process = start(**{'policy.chekpoint': 'x'})
    assert process.join() == 1
    assert re.search("unknown parameter 'policy.chekpoint' .did you mean 'policy.checkpoint'",
                     process.said)
    assert 'Traceback' not in process.said


def test_a_recording_goes_live_through_the_real_node(domain_id) -> None:
    camera = '/camera_primary/image_raw/compressed'
    played = []
    chunks = run_live(
        shipped_recording(), cameras={'image_primary': camera}, others={},
        instruction='put the red block on the plate', instruction_topic=None,
        parameters={'robot': 'widowx', 'policy.checkpoint': str(shipped_checkpoint())},
        on_message=lambda: played.append(1))
    with BagReader(shipped_recording()) as bag:
        stamps = {item.message.header.stamp.sec * 10**9 + item.message.header.stamp.nanosec
                  for item in bag.messages([camera])}
    assert len(played) == len(stamps)
    assert len(chunks) >= 3
    assert {item.chunk.observed_ns for item in chunks} <= stamps
    assert all(item.arrived_ns >= item.chunk.observed_ns for item in chunks)
    assert all(item.chunk.actions.shape == (4, 7) for item in chunks)


def test_a_live_replay_tells_of_a_controller_that_ends(domain_id) -> None:
    with pytest.raises(OctoError, match='exit code 1'):
        run_live(
            shipped_recording(), others={}, instruction='go', instruction_topic=None,
            cameras={'image_sketch': '/camera_primary/image_raw/compressed'},
            parameters={'policy.checkpoint': str(shipped_checkpoint())})
