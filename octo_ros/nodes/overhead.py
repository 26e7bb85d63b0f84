"""Measures what the node adds to an inference: from the stamp of an image to chunk and command.

`python -m octo_ros.nodes.overhead SAMPLES` runs the real controller in a second process, with a
policy that answers at once, plays two 640x480 JPEG cameras at 30 Hz into it over DDS and prints
one JSON object: `image_to_chunk` and `image_to_command`, each `runs`, `median_ms`, `p95_ms` and
`p99_ms`. Decoding is in it, inference is not.
"""

import json
import subprocess
import sys
import time

import cv2
import numpy as np
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from trajectory_msgs.msg import JointTrajectory

from octo_ros.errors import OctoError
from octo_ros.nodes import qos
from octo_ros.nodes import spin
from octo_ros.nodes.controller_node import NAME
from octo_ros.nodes.controller_node import ControllerNode
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.fakes import FakePolicy

CAMERA_RATE_HZ = 30.0
STEP_S = 0.1
TIMEOUT_S = 60.0
DIGITS = 9  # of a speed, when commands are told apart by it
PARAMETERS = {'robot': 'widowx', 'transport': 'compressed',
              'profile.step_s': STEP_S, 'loop.execute_steps': 1,
              'instruction': 'put the red block on the plate'}


class Meter(Node):
    """Publishes the cameras and notes when chunks and commands arrive."""

    def __init__(self) -> None:
        """Starts to publish and to listen."""
        super().__init__('octo_ros_meter')
        # Stamp of the observation [s], arrival [s], and the speeds that it asks for [m/s].
        self.chunks: list[tuple[float, float, np.ndarray]] = []
        self.twists: dict[float, float] = {}  # speed along x [m/s] to its first arrival [s]
        noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
        frame = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
        coded = cv2.imencode('.jpg', frame)[1].tobytes()
        self._image = CompressedImage(format='rgb8; jpeg compressed bgr8', data=coded)
        self._cameras = [
            self.create_publisher(CompressedImage, key, qos.named('sensor'))
            for key in DEFAULT_SPEC.image_sizes]
        self.create_subscription(
            JointTrajectory, f'{NAME}/action_chunk', self._on_chunk, qos.named('reliable'))
        self.create_subscription(
            TwistStamped, f'{NAME}/command/twist', self._on_twist, qos.named('reliable'))
        self.create_timer(1 / CAMERA_RATE_HZ, self._publish)

    def _publish(self) -> None:
        self._image.header.stamp = self.get_clock().now().to_msg()
        for camera in self._cameras:
            camera.publish(self._image)

    def _on_chunk(self, chunk: JointTrajectory) -> None:
        stamp = chunk.header.stamp
        speeds = np.array([point.positions[0] for point in chunk.points]) / STEP_S
        self.chunks.append((stamp.sec + stamp.nanosec * 1e-9, time.time(), speeds))

    def _on_twist(self, twist: TwistStamped) -> None:
        self.twists.setdefault(round(twist.twist.linear.x, DIGITS), time.time())

    def to_chunk_s(self) -> list[float]:
        """Returns the time from the image's stamp to the arrival of each chunk [s]."""
        return [arrival_s - stamp_s for stamp_s, arrival_s, _ in self.chunks]

    def to_command_s(self) -> list[float]:
        """Returns the time from the image's stamp to the first command of each chunk [s].

        The random actions of the policy differ, so a command tells by its speed whose it is.
        """
        arrivals = [[self.twists[round(speed, DIGITS)] for speed in speeds
                     if round(speed, DIGITS) in self.twists] for _, _, speeds in self.chunks]
        return [min(found) - stamp_s
                for found, (stamp_s, _, _) in zip(arrivals, self.chunks, strict=True) if found]


def measure(samples: int) -> dict[str, dict[str, float]]:
    """Returns the latencies of chunks and of the first command of each.

    Raises:
        OctoError: the controller does not answer.
    """
    rclpy.init()
    meter = Meter()
    controller = subprocess.Popen([sys.executable, '-m', __spec__.name, '--controller'])
    deadline = time.monotonic() + TIMEOUT_S + samples * 2 * STEP_S
    try:
        while len(meter.chunks) < samples or not meter.to_command_s():
            rclpy.spin_once(meter, timeout_sec=0.1)
            if time.monotonic() > deadline or controller.poll() is not None:
                raise OctoError('the controller must answer images with chunks and commands, got '
                                f'{len(meter.chunks)} chunks, {len(meter.twists)} speeds')
    finally:
        controller.terminate()
        controller.wait()
        meter.destroy_node()
        rclpy.shutdown()
    return {'image_to_chunk': _summary(meter.to_chunk_s()),
            'image_to_command': _summary(meter.to_command_s())}


def _summary(latencies_s: list[float]) -> dict[str, float]:
    median, p95, p99 = 1e3 * np.percentile(latencies_s, (50, 95, 99))
    return {'runs': len(latencies_s), 'median_ms': float(median), 'p95_ms': float(p95),
            'p99_ms': float(p99)}


def _run_controller() -> int:
    settings = [word for name, value in PARAMETERS.items()
                for word in ('-p', f'{name}:={value}')]
    return spin.run(lambda: ControllerNode(policy=FakePolicy(scale=1e-3)),
                    [sys.argv[0], '--ros-args', '--log-level', 'warn', *settings])


if __name__ == '__main__':
    if '--controller' in sys.argv[1:]:
        sys.exit(_run_controller())
    try:
        print(json.dumps(measure(int(sys.argv[1]))))
    except OctoError as error:
        sys.exit(str(error))
