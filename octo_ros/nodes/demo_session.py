"""The demo over a recording: starts the controller and a camera publisher, listens, sums up.

Both run in processes of their own, as on a robot, and talk over real DDS. This process is the
third party: it says what to do on the latched topic `instruction` and collects what comes out.
"""

import dataclasses
import subprocess
import time
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from octo_ros.errors import OctoError
from octo_ros.nodes import processes
from octo_ros.nodes import qos
from octo_ros.nodes.controller_node import NAME
from octo_ros.nodes.demo_watch import Seen
from octo_ros.nodes.demo_watch import Watch

START_TIMEOUT_S = 240.0
PLAY_TIMEOUT_S = 120.0
SETTLE_S = 1.5  # the last chunk and one more report of the diagnostics arrive in this time


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

    @property
    def log(self) -> Path:
        """Where the controller's words go."""
        return self.folder / 'controller.log'


def run(options: DemoOptions, say: Callable[[str], Any]) -> tuple[Seen, float]:
    """Runs the demo to its end.

    Args:
        options: what to run.
        say: told of the progress, one line each.

    Returns:
        What was seen, and the time until the controller was ready [s].

    Raises:
        OctoError: a process fails, or no chunk arrives.
    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is for us
    node = Node('octo_ros_demo')
    watch = Watch(node, options.cameras, quality='sensor')
    node.create_publisher(String, 'instruction', qos.named('latched')).publish(
        String(data=options.instruction))
    try:
        with processes.running(controller_command(options), options.log) as controller:
            say('controller: load the checkpoint and compile')
            begin_s = time.monotonic()
            _spin(node, lambda: node.count_publishers(f'{NAME}/action_chunk'), START_TIMEOUT_S,
                  controller, 'be ready', options.log)
            start_s = time.monotonic() - begin_s
            say(f'cameras: play {options.recording.name}')
            with processes.running(player_command(options),
                                   options.folder / 'cameras.log') as cameras:
                _spin(node, lambda: cameras.poll() is not None, PLAY_TIMEOUT_S, controller,
                      'run on', options.log)
            end_s = time.monotonic() + SETTLE_S
            _spin(node, lambda: time.monotonic() > end_s, PLAY_TIMEOUT_S, controller, 'run on',
                  options.log)
    finally:
        node.destroy_node()
        rclpy.shutdown()
    if not watch.seen.chunks:
        raise OctoError('the controller must answer with action chunks, got none; see '
                        f'{options.log} and cameras.log beside it')
    return watch.seen, start_s


def controller_command(options: DemoOptions) -> list[str]:
    """Returns the command line of the controller: the same node that a robot runs."""
    return processes.node_command('octo_ros.nodes.controller_node', {
        'policy.checkpoint': options.checkpoint, 'robot': options.robot,
        'transport': 'compressed', 'cameras': list(options.cameras)}, options.cameras)


def player_command(options: DemoOptions) -> list[str]:
    """Returns the command line of the camera publisher."""
    return processes.node_command('octo_ros.nodes.image_player', {
        'bag': str(options.recording), 'topics': list(options.cameras.values()),
        'loop': False}, {})


def _spin(node: Node, done: Callable[[], Any], timeout_s: float,
          process: 'subprocess.Popen[bytes]', what: str, log: Path) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        rclpy.spin_once(node, timeout_sec=0.1)
        if process.poll() is not None or time.monotonic() > deadline:
            code = process.poll()
            state = f'no end after {timeout_s:.0f} s' if code is None else f'exit code {code}'
            raise OctoError(f'the controller must {what}, got {state}; its last words:\n'
                            f'{processes.last_words(log)}')
