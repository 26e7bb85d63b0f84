"""Sends camera-sized images from one process to another and counts what arrives.

`python -m octo_ros.nodes.dds_probe` prints one JSON line: `sent`, `received`, `latency_ms`
(median) and the path of the Fast DDS profile that ships with the package. The default set-up of
Fast DDS loses such frames; within one process it would not, hence the second process.
"""

import json
import statistics
import subprocess
import sys
import time

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from octo_ros.assets import config_dir
from octo_ros.errors import OctoError

FRAMES, RATE_HZ = 45, 30
TOPIC = 'octo_ros_probe'
DISCOVERY_TIMEOUT_S = 15.0
LAST_FRAME_WAIT_S = 0.5


def send() -> None:
    """Publishes the frames at camera rate once somebody listens."""
    rclpy.init()
    node = rclpy.create_node('octo_ros_probe_tx')
    publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
    image = Image(height=480, width=640, encoding='rgb8', step=1920, data=bytes(480 * 1920))
    deadline = time.monotonic() + DISCOVERY_TIMEOUT_S
    while not publisher.get_subscription_count() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.05)
    due = time.monotonic()
    for _ in range(FRAMES):
        image.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(image)
        due += 1 / RATE_HZ
        _spin_until(node, due)
    node.destroy_node()
    rclpy.shutdown()


def probe() -> dict[str, float | str]:
    """Returns what was sent, what arrived and how fast.

    Raises:
        OctoError: two processes on this machine do not find each other.
    """
    rclpy.init()
    node = rclpy.create_node('octo_ros_probe_rx')
    latencies_s: list[float] = []

    def on_image(message: Image) -> None:
        stamp = message.header.stamp
        latencies_s.append(time.time() - stamp.sec - stamp.nanosec * 1e-9)

    node.create_subscription(Image, TOPIC, on_image, qos_profile_sensor_data)
    sender = subprocess.Popen([sys.executable, '-m', 'octo_ros.nodes.dds_probe', '--send'])
    try:
        while sender.poll() is None:
            rclpy.spin_once(node, timeout_sec=0.1)
        _spin_until(node, time.monotonic() + LAST_FRAME_WAIT_S)
    finally:
        sender.kill()
        sender.wait()
        node.destroy_node()
        rclpy.shutdown()
    if not latencies_s:
        raise OctoError('two processes on this machine must find each other over DDS, none of '
                        f'{FRAMES} images arrived: check ROS_DOMAIN_ID, '
                        'ROS_AUTOMATIC_DISCOVERY_RANGE and the firewall')
    return {'sent': FRAMES, 'received': len(latencies_s),
            'latency_ms': 1e3 * statistics.median(latencies_s),
            'profile': str(config_dir() / 'fastdds.xml')}


def _spin_until(node: Node, due_s: float) -> None:
    while (left := due_s - time.monotonic()) > 0:
        rclpy.spin_once(node, timeout_sec=left)


if __name__ == '__main__':
    if '--send' in sys.argv[1:]:
        send()
    else:
        try:
            print(json.dumps(probe()))
        except OctoError as error:
            sys.exit(str(error))
