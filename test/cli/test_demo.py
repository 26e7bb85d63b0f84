"""`octo-ros demo`: simulator, controller and shipped policy over real DDS, as a user starts it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from octo_ros.sim import gl

pytest.importorskip('rclpy', reason='needs ROS 2 (pip install octo_ros[ros])')
if gl.problem():
    pytest.skip(gl.problem(), allow_module_level=True)

COMMAND = Path(sys.executable).parent / 'octo-ros'
DEADLINE_S = 180.0
SHORT = ('--max-steps', '7')


class Demo:
    """A running demo, and what it says and leaves."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self._output = folder.with_suffix('.out').open('w+')
        self._process = subprocess.Popen(
            [COMMAND, 'demo', '--out', folder, *words], stdout=self._output,
            stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, 'ROS_LOG_DIR': str(folder / 'log')})

    @property
    def said(self) -> str:
        return self.folder.with_suffix('.out').read_text()

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.said or self._process.poll() is not None, text)
        assert text in self.said

    def interrupt(self) -> None:
        """What Ctrl-C does: it goes to the whole group of the terminal."""
        os.killpg(self._process.pid, signal.SIGINT)

    def wait(self) -> int:
        return self._process.wait(DEADLINE_S)

    def family(self, module: str = '') -> list[int]:
        """The living processes that were started for this demo, known by their environment."""
        mark = f'ROS_LOG_DIR={self.folder / "log"}'.encode()
        found = []
        for entry in Path('/proc').glob('[0-9]*'):
            try:
                if (mark in (entry / 'environ').read_bytes().split(b'\0')
                        and module.encode() in (entry / 'cmdline').read_bytes()):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def close(self) -> None:
        for pid in self.family():
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f'not in time: {what}'
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path):
    started = []

    def make(name: str, *words: str) -> Demo:
        started.append(Demo(tmp_path / name, *words))
        return started[-1]

    yield make
    for demo in started:
        demo.close()


@pytest.fixture(scope='module')
def two(tmp_path_factory) -> list[Demo]:
    """Two demos at the same time: one runs to its end, the other gets Ctrl-C in mid-run."""
    folder = tmp_path_factory.mktemp('demos')
    demos = [Demo(folder / 'whole', *SHORT),
             Demo(folder / 'one', '--instruction', 'put the green block in the bowl')]
    try:
        demos[1].wait_for('  1: instruction:')
        demos[1].interrupt()
        codes = [demo.wait() for demo in demos]
        assert codes == [0, 130], [demo.said for demo in demos]
        assert not any(demo.family() for demo in demos)
    finally:
        for demo in demos:
            demo.close()
    return demos


def test_the_demo_tells_of_every_task_and_hides_no_failure(two):
    said = two[0].said
    rows = re.findall(r'^  (\d)  (.+?)  +(words|goal images|words, changed.+?)  +(\S.*)$', said,
                      re.MULTILINE)
    assert [row[1:3] for row in rows] == [
        ('lift the red block', 'words'), ('lift the blue block', 'goal images'),
        ('lift the blue block -> put the green block on the plate',
         'words, changed after 1.0 s')]
    # Nobody lifts a block in 1.4 s.
    assert all('FAILED after 1.4 s' in row[3] for row in rows)
    assert '0 of 3 done, one try each' in said
    assert 'change of task' in said


def test_the_demo_measures_latency_and_rates(two):
    figures = dict(re.findall(r'^  (.{17}) (.+)$', two[0].said, re.MULTILINE))
    figures = {name.strip(): text for name, text in figures.items()}
    assert re.match(r'\d+ ms median, \d+ ms p95', figures['views to command'])
    assert re.match(r'[\d./]+ ms', figures['inference'])
    assert float(figures['commands'].split()[0]) > 10
    assert int(figures['image_primary'].split()[0]) > 20
    assert 0.0 < float(figures['real time'].split()[1]) < 1.1


def test_a_film_and_a_picture_are_left(two):
    film = cv2.VideoCapture(str(two[0].folder / 'demo.mp4'))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) > 3 * 12
    found, frame = film.read()
    assert found
    assert frame.shape == (520, 672, 3)
    assert frame.std() > 20
    film.release()
    picture = cv2.imread(str(two[0].folder / 'demo.png'))
    assert picture.shape[1] > 1000
    assert picture[60:200].std() > 20


def test_two_demos_at_a_time_keep_apart(two):
    whole, one = ((demo.folder / 'controller.log').read_text() for demo in two)
    assert 'lift the red block' in whole
    assert 'green block in the bowl' not in whole
    assert "Instruction: 'put the green block in the bowl'" in one
    assert 'lift the red block' not in one


def test_processes_of_the_demo_end_in_good_order(two):
    for demo in two:
        for log in ('controller.log', 'simulator.log'):
            assert 'Traceback' not in (demo.folder / log).read_text()
    assert two[1].said.endswith('octo-ros demo: interrupted\n')


def test_ctrl_c_while_it_starts_leaves_no_process(start):
    demo = start('demo')
    wait_until(lambda: len(demo.family()) == 3, 'demo, controller and simulator')
    demo.interrupt()
    assert demo.wait() == 130
    assert demo.said.endswith('octo-ros demo: interrupted\n')
    assert not demo.family()


def test_the_death_of_the_simulator_is_told(start):
    demo = start('demo')
    demo.wait_for('  1: instruction:')
    pid, = demo.family('sim_node')
    os.kill(pid, signal.SIGKILL)
    assert demo.wait() == 2
    assert 'octo-ros demo: the simulator must run, it ended with exit code -9' in demo.said
    assert not demo.family()


def test_a_window_without_a_display_is_refused_at_once(start, monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    demo = start('demo', '--view')
    assert demo.wait() == 2
    assert 'a window needs a display' in demo.said


def test_words_whose_success_cannot_be_told_are_refused_with_the_closest(start):
    demo = start('demo', '--instruction', 'lift the rde block')
    assert demo.wait() == 2
    assert "(did you mean 'lift the red block'?)" in demo.said
