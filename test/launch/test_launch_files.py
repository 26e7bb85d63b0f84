"""`ros2 launch` really runs each launch file."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator

import pytest

pytest.importorskip('ros2launch', reason='needs ros2 launch, which comes with a ROS 2 install')

from octo_ros.assets import shipped_checkpoint
from octo_ros.assets import shipped_recording

DEADLINE_S = 60.0
CAMERAS = ['primary:=/camera_primary/image_raw', 'wrist:=/camera_wrist/image_raw',
           'transport:=compressed']


class Launch:
    """A running `ros2 launch` and what it has printed."""

    def __init__(self, environment: dict[str, str], words: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-c', 'import sys; from ros2cli.cli import main; sys.exit(main())',
             'launch', *words],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True)
        self.output = ''
        self._ended = False
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            with self._grown:
                self.output += re.sub(r'\x1b\[\d*m', '', line)
                self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def wait_for(self, pattern: str) -> re.Match:
        with self._grown:
            self._grown.wait_for(
                lambda: self._ended or re.search(pattern, self.output), DEADLINE_S)
        found = re.search(pattern, self.output)
        assert found, f'no {pattern!r} in:\n{self.output}'
        return found

    def wait(self) -> int:
        code = self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code

    def interrupt(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(DEADLINE_S)
        self._process.stdout.close()


@pytest.fixture
def launch(environment: dict[str, str]) -> Iterator[Callable[..., Launch]]:
    started: list[Launch] = []

    def start(*words: str, package: tuple[str, ...] = ('octo_ros',), **variables: str) -> Launch:
        started.append(Launch({**environment, **variables}, (*package, *words)))
        return started[-1]

    yield start
    for item in started:
        item.close()


def test_octo_maps_cameras_and_ends_cleanly_on_ctrl_c(launch) -> None:
    running = launch(
        'octo.launch.py', f'checkpoint:={shipped_checkpoint()}', 'robot:=widowx',
        'namespace:=arm', 'instruction:=put the red block: now', *CAMERAS)
    running.wait_for(r"\[arm.octo_controller\]: Configured for 'widowx': "
                     'image_primary, image_wrist')
    running.wait_for("Holding: .*'image_primary'")
    assert running.interrupt() == 0
    assert 'process has finished cleanly' in running.output
    assert 'Traceback' not in running.output


def test_a_params_file_that_starts_disarmed_is_obeyed(launch, tmp_path: pathlib.Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('/**:\n  ros__parameters:\n    arm_at_start: false\n    robot: viperx_sim\n'
                   '    transport: compressed\n    instruction: go\n')
    running = launch('octo.launch.py', f'checkpoint:={shipped_checkpoint()}',
                     f'params_file:={own}', 'primary:=/camera', 'wrist:=/wrist')
    running.wait_for("Configured for 'viperx_sim'")
    running.wait_for('Holding: disarmed')
    assert running.interrupt() == 0


def test_an_argument_that_is_given_overrules_the_params_file(
        launch, tmp_path: pathlib.Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('/**:\n  ros__parameters:\n    robot: widowy\n    arm_at_start: true\n')
    running = launch('octo.launch.py', f'checkpoint:={shipped_checkpoint()}',
                     f'params_file:={own}', 'robot:=viperx_sim', 'arm_at_start:=false')
    running.wait_for("Configured for 'viperx_sim'")
    running.wait_for('Holding: disarmed')
    assert running.interrupt() == 0


def test_octo_says_what_is_wrong_and_ends(launch) -> None:
    running = launch('octo.launch.py', f'checkpoint:={shipped_checkpoint()}', 'robot:=widowy')
    running.wait_for("got 'widowy' \\(did you mean 'widowx'\\?\\)")
    running.wait_for('octo_controller must run to its end, it ended with exit code 1')
    assert running.wait() == 1
    assert 'Traceback' not in running.output


@pytest.mark.parametrize(('file', 'word', 'choices'), [
    ('octo.launch.py', 'autostart:=maybe', "'true', 'false'"),
    ('octo.launch.py', 'log_level:=verbose', "'debug', 'info', 'warn'"),
    ('replay.launch.py', 'clock:=maybe', "'true', 'false'"),
    ('sim.launch.py', 'viewer:=maybe', "'true', 'false'")])
def test_a_value_that_cannot_be_is_refused_with_the_name_of_its_argument(
        launch, file: str, word: str, choices: str) -> None:
    running = launch(file, word, *(['bag:=any'] if file.startswith('replay') else []))
    name, _, value = word.partition(':=')
    running.wait_for(f'"{name}".*"{value}".*{choices}')
    assert running.wait() == 1


def test_a_launch_file_around_octo_goes_on_when_the_controller_fails(
        launch, prefix, tmp_path: pathlib.Path) -> None:
    own = tmp_path / 'own.launch.py'
    own.write_text(
        'import sys\n'
        'from launch import LaunchDescription\n'
        'from launch.actions import ExecuteProcess\n'
        'from launch.actions import IncludeLaunchDescription\n'
        'from launch.launch_description_sources import PythonLaunchDescriptionSource\n'
        'def generate_launch_description():\n'
        '    return LaunchDescription([\n'
        '        IncludeLaunchDescription(PythonLaunchDescriptionSource(\n'
        f'            "{prefix}/share/octo_ros/launch/octo.launch.py"),\n'
        '            launch_arguments={"robot": "widowy", "checkpoint": "/no/such"}.items()),\n'
        '        ExecuteProcess(cmd=[sys.executable, "-c",\n'
        '        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}); "\n'
        '        "print(\'waits\', flush=True); signal.sigwait({signal.SIGINT})"],\n'
        '        output="screen")])\n')
    running = launch(str(own), package=())
    running.wait_for('process has died')
    running.wait_for('waits')
    assert running.interrupt() == 0
    assert 'must run to its end' not in running.output


@pytest.mark.parametrize(('words', 'hint'), [
    (['octo.launch.py', 'primry:=/cam'], "'primry'.*octo.launch.py.*did you mean 'primary'"),
    (['replay.launch.py', 'bag:=x', 'primry:=/cam'], "did you mean 'primary'"),
    (['replay.launch.py', 'bag:=x', 'rte:=2.0'], "did you mean 'rate'"),
    (['sim.launch.py', 'camra_rate_hz:=5.0'], "did you mean 'camera_rate_hz'"),
    (['demo.launch.py', 'viewr:=true'], "did you mean 'viewer'"),
])
def test_a_misspelt_argument_is_refused_before_anything_starts(launch, words, hint) -> None:
    running = launch(*words)
    running.wait_for(hint)
    assert running.wait() == 1
    assert 'process started' not in running.output


def test_arguments_of_a_launch_file_around_ours_are_not_judged(
        launch, prefix, tmp_path: pathlib.Path) -> None:
    own = tmp_path / 'own.launch.py'
    own.write_text(
        'from launch import LaunchDescription\n'
        'from launch.actions import IncludeLaunchDescription\n'
        'from launch.launch_description_sources import PythonLaunchDescriptionSource\n'
        'def generate_launch_description():\n'
        '    return LaunchDescription([IncludeLaunchDescription(PythonLaunchDescriptionSource(\n'
        f'        "{prefix}/share/octo_ros/launch/octo.launch.py"))])\n')
    running = launch(str(own), 'primry:=/of/somebody/else',
                     f'checkpoint:={shipped_checkpoint()}', package=())
    running.wait_for('Configured')  # interrupted as a process starts, ros2 launch hangs
    assert running.interrupt() == 0


def test_a_params_file_that_is_not_there_is_refused(launch) -> None:
    running = launch('octo.launch.py', 'params_file:=/no/such.yaml')
    running.wait_for("'params_file' must be a file.*got '/no/such.yaml'")
    assert running.wait() == 1
    assert 'process started' not in running.output


@pytest.mark.parametrize(('words', 'hint'), [
    (['primary:=/cam-1/image_raw'], "'primary' must .*got '-' in '/cam-1/image_raw'"),
    (['cameras:=sketch=/1st/sketch'], "'cameras' must .*got '/1st/sketch'"),
    (['cameras:=sk-etch=/sketch'], "'cameras' must .*got '-' in 'image_sk-etch'"),
    (['measured_joints:=/arm.left'], "'measured_joints' must .*got '\\.' in '/arm.left'"),
    (['primary:=/a', 'cameras:=primary=/b'], "image_primary.* one topic, got '/a' and '/b'"),
    (['cameras:=wrist=/a image_wrist=/b'], "image_wrist.* one topic, got '/a' and '/b'"),
])
def test_topics_that_cannot_be_are_refused_by_their_argument(launch, words, hint) -> None:
    running = launch('octo.launch.py', *words)
    running.wait_for(hint)
    assert running.wait() == 1
    assert 'process started' not in running.output


def test_octo_takes_any_key_of_the_checkpoint_and_lists_those_it_has(launch) -> None:
    running = launch('octo.launch.py', f'checkpoint:={shipped_checkpoint()}',
                     'cameras:=sketch=/sketch')
    running.wait_for(r"\(image_primary, image_wrist\), got 'image_sketch'")
    assert running.wait() == 1


def test_replay_plays_a_recording_and_ends_by_itself(launch) -> None:
    begin_s = time.monotonic()
    running = launch(
        'replay.launch.py', f'bag:={shipped_recording()}', f'checkpoint:={shipped_checkpoint()}',
        'namespace:=/arm', 'rate:=2.0', *CAMERAS)
    running.wait_for(r'\[image_player\]: Waiting for /arm/octo_controller')
    running.wait_for(r'\[image_player\]: Playing')
    running.wait_for(r'\[arm.octo_controller\]: Running')
    running.wait_for(r'chunks on /arm/octo_controller/action_chunk: \d\d')
    assert running.wait() == 0
    assert running.output.count('process has finished cleanly') == 2
    assert time.monotonic() - begin_s < DEADLINE_S


def test_replay_takes_the_instruction_that_is_given_and_not_the_recorded_one(launch) -> None:
    running = launch(
        'replay.launch.py', f'bag:={shipped_recording()}', f'checkpoint:={shipped_checkpoint()}',
        'rate:=5.0', 'instruction:=wave', *CAMERAS)
    running.wait_for(r'chunks on /octo_controller/action_chunk: \d\d')
    assert running.wait() == 0
    assert re.findall(r"Instruction: '(.*)'", running.output) == ['wave']


def test_replay_without_a_chunk_ends_with_an_error(launch) -> None:
    running = launch(
        'replay.launch.py', f'bag:={shipped_recording()}', f'checkpoint:={shipped_checkpoint()}',
        'rate:=20.0', 'topics:=/camera_wrist/image_raw/compressed /instruction', *CAMERAS)
    running.wait_for('must have come on /octo_controller/action_chunk .* got none')
    running.wait_for('image_player must run to its end, it ended with exit code 1')
    assert running.wait() == 1
    assert 'Traceback' not in running.output


def test_replay_ends_with_an_error_when_the_controller_does(launch) -> None:
    running = launch('replay.launch.py', f'bag:={shipped_recording()}', 'checkpoint:=/no/such')
    running.wait_for('octo_controller must run to its end, it ended with exit code 1')
    assert running.wait() == 1
    assert 'Traceback' not in running.output


def test_the_arguments_are_described(environment) -> None:
    for name in ('octo.launch.py', 'replay.launch.py'):
        shown = subprocess.run(
            [sys.executable, '-c', 'import sys; from ros2cli.cli import main; sys.exit(main())',
             'launch', 'octo_ros', name, '--show-args'],
            env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout
        for argument in ('checkpoint', 'primary', 'secondary', 'wrist', 'transport', 'robot',
                         'instruction', 'namespace'):
            assert f"'{argument}':" in shown


def test_a_profile_of_the_user_is_left_alone(launch, tmp_path: pathlib.Path) -> None:
    own = tmp_path / 'own.xml'
    own.write_text('<?xml version="1.0"?><dds xmlns="http://www.eprosima.com"><profiles/></dds>')
    running = launch(
        'octo.launch.py', f'checkpoint:={shipped_checkpoint()}', 'autostart:=false',
        FASTDDS_DEFAULT_PROFILES_FILE=str(own))
    pid = running.wait_for(r'process started with pid \[(\d+)\]').group(1)
    child = pathlib.Path(f'/proc/{pid}/environ').read_bytes().decode()
    assert f'FASTDDS_DEFAULT_PROFILES_FILE={own}' in child


def test_the_simulator_and_a_controller_do_the_task_of_the_scene(launch) -> None:
    running = launch('demo.launch.py', 'seed:=3', 'task:=lift_red')
    running.wait_for('Policy: .*/assets/checkpoints/')
    running.wait_for('say what to do    ros2 topic pub --once /instruction')
    running.wait_for(r"\[octo_sim\]: Task 'lift_red' in the scene of seed 3")
    running.wait_for(r"\[octo_controller\]: Configured for 'viperx_sim'")
    running.wait_for(r"\[octo_controller\]: Instruction: '.*red")
    running.wait_for(r'\[octo_controller\]: Running')
    assert running.interrupt() == 0
    assert running.output.count('process has finished cleanly') == 2
    assert 'Traceback' not in running.output


def test_the_simulator_alone_takes_its_parameters_as_arguments(launch) -> None:
    running = launch('sim.launch.py', 'seed:=4', 'rate:=2.0')
    running.wait_for("'rate' must be 1 without 'clock'")
    assert running.wait() == 1
    assert 'Traceback' not in running.output
