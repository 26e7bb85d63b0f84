"""The demo's own session: starts the controller and a camera publisher, listens, sums up.

Both run in processes of their own, as on a robot, and talk over real DDS. This process is the
third party: it says what to do on the latched topic `instruction` and collects what comes out.
"""

import collections
import contextlib
import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from octo_ros.array_typing import Float
from octo_ros.errors import OctoError
from octo_ros.nodes import qos
from octo_ros.nodes.controller_node import NAME

START_TIMEOUT_S = 240.0
PLAY_TIMEOUT_S = 120.0
SETTLE_S = 1.5  # the last chunk and one more report of the diagnostics arrive in this time
END_TIMEOUT_S = 15.0
LOG_TAIL_LINES = 5


@dataclasses.dataclass(frozen=True)
class DemoOptions:
    """What to run.

    Attributes:
        checkpoint: folder or hf:// name.
        recording: bag whose cameras are played.
        cameras: observation key to topic of the recording (compressed images).
        robot: name of the robot profile.
        instruction: what to do.
        folder: where the logs of both processes go.
    """

    checkpoint: str
    recording: Path
    cameras: Mapping[str, str]
    robot: str
    instruction: str
    folder: Path


@dataclasses.dataclass(frozen=True)
class Chunk:
    """An action chunk as it arrived. Times in seconds since 1970."""

    stamp_s: float
    arrival_s: float
    actions: Float[np.ndarray, 'ah ad']


@dataclasses.dataclass
class DemoResult:
    """What was seen.

    Attributes:
        start_s: from the start of the controller's process until it was ready [s].
        names: of the action dimensions.
        chunks: in order of arrival.
        frames: stamp [s] and JPEG of the first camera.
        commands: arrival of each command [s].
        diagnostics: last values of each entry by its name.
    """

    start_s: float = 0.0
    names: Sequence[str] = ()
    chunks: list[Chunk] = dataclasses.field(default_factory=list)
    frames: list[tuple[float, bytes]] = dataclasses.field(default_factory=list)
    commands: list[float] = dataclasses.field(default_factory=list)
    diagnostics: dict[str, dict[str, str]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(dict))


class Listener(Node):
    """Says what to do and notes what the controller answers."""

    def __init__(self, options: DemoOptions) -> None:
        """Publishes the instruction and subscribes."""
        super().__init__('octo_ros_demo')
        self.result = DemoResult()
        self.create_publisher(String, 'instruction', qos.named('latched')).publish(
            String(data=options.instruction))
        self.create_subscription(
            CompressedImage, next(iter(options.cameras.values())), self._on_frame,
            qos.named('sensor'))
        self.create_subscription(
            JointTrajectory, f'{NAME}/action_chunk', self._on_chunk, qos.named('reliable'))
        self.create_subscription(
            TwistStamped, f'{NAME}/command/twist', self._on_command, qos.named('reliable'))
        self.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, qos.named('reliable'))

    @property
    def controller_ready(self) -> bool:
        """True once the controller has made its topics, which it does when it is configured."""
        return self.count_publishers(f'{NAME}/action_chunk') > 0

    def _on_frame(self, message: CompressedImage) -> None:
        self.result.frames.append((_seconds(message), bytes(message.data)))

    def _on_chunk(self, message: JointTrajectory) -> None:
        self.result.names = tuple(message.joint_names)
        self.result.chunks.append(Chunk(
            _seconds(message), time.time(),
            np.array([point.positions for point in message.points])))

    def _on_command(self, _message: TwistStamped) -> None:
        self.result.commands.append(time.time())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.result.diagnostics[status.name] = {
                'state': status.message, **{item.key: item.value for item in status.values}}


def run(options: DemoOptions, say: Callable[[str], Any]) -> DemoResult:
    """Runs the demo to its end.

    Args:
        options: what to run.
        say: told of the progress, one line each.

    Raises:
        OctoError: a process fails, or no chunk arrives.
    """
    rclpy.init()
    listener = Listener(options)
    try:
        with _process(controller_command(options), options.folder / 'controller.log') as robot:
            say('controller: load the checkpoint and compile')
            begin_s = time.monotonic()
            _spin(listener, lambda: listener.controller_ready, START_TIMEOUT_S, robot,
                  'be ready', options.folder / 'controller.log')
            listener.result.start_s = time.monotonic() - begin_s
            say(f'cameras: play {options.recording.name}')
            with _process(player_command(options), options.folder / 'cameras.log') as cameras:
                _spin(listener, lambda: cameras.poll() is not None, PLAY_TIMEOUT_S, robot,
                      'run on', options.folder / 'controller.log')
            end_s = time.monotonic() + SETTLE_S
            _spin(listener, lambda: time.monotonic() > end_s, PLAY_TIMEOUT_S, robot,
                  'run on', options.folder / 'controller.log')
    finally:
        listener.destroy_node()
        rclpy.shutdown()
    if not listener.result.chunks:
        raise OctoError('the controller must answer with action chunks, got none; see '
                        f'{options.folder}/controller.log and cameras.log')
    return listener.result


def controller_command(options: DemoOptions) -> list[str]:
    """Returns the command line of the controller: the same node that a robot runs."""
    remaps = [word for key, topic in options.cameras.items() for word in ('-r', f'{key}:={topic}')]
    keys = ', '.join(options.cameras)
    return [sys.executable, '-m', 'octo_ros.nodes.controller_node', '--ros-args', *remaps,
            '-p', f"policy.checkpoint:='{options.checkpoint}'", '-p', f'robot:={options.robot}',
            '-p', 'transport:=compressed', '-p', f'cameras:=[{keys}]']


def player_command(options: DemoOptions) -> list[str]:
    """Returns the command line of the camera publisher."""
    topics = ', '.join(options.cameras.values())
    return [sys.executable, '-m', 'octo_ros.nodes.image_player', '--ros-args',
            '-p', f"bag:='{options.recording}'", '-p', f'topics:=[{topics}]', '-p', 'loop:=false']


@contextlib.contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen]:
    """Runs a process; ends it as Ctrl-C would, harder if it does not listen."""
    with log.open('w') as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _spin(node: Node, done: Callable[[], bool], timeout_s: float, process: subprocess.Popen,
          what: str, log: Path) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        rclpy.spin_once(node, timeout_sec=0.1)
        if process.poll() is not None or time.monotonic() > deadline:
            code = process.poll()
            state = f'no end after {timeout_s:.0f} s' if code is None else f'exit code {code}'
            tail = '\n'.join(log.read_text().splitlines()[-LOG_TAIL_LINES:])
            raise OctoError(f'the controller must {what}, got {state}; its last words:\n{tail}')


def _seconds(message: Any) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
