"""Plays a recording over DDS into the real controller, in a process of its own, and listens."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory

from octo_ros.bags.live import LiveChunk
from octo_ros.bags.reader import BagReader
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.messages.conversions import decode_image
from octo_ros.messages.inference import AcceptedChunk
from octo_ros.nodes import isolation
from octo_ros.nodes import processes
from octo_ros.nodes import qos
from octo_ros.nodes.controller_node import NAME
from octo_ros.nodes.image_player import ImagePlayer
from octo_ros.nodes.spin import Spinner

_NS = 1_000_000_000
_TAIL_S = 1.0
_POLL_S = 0.1
_TRANSPORTS = {'sensor_msgs/msg/Image': 'raw', 'sensor_msgs/msg/CompressedImage': 'compressed'}


def run_live(bag_path: Path, *, cameras: Mapping[str, str], others: Mapping[str, str],
             instruction: str | None, instruction_topic: str | None,
             parameters: Mapping[str, Any], goals: Mapping[str, Any] | None = None,
             clock_offset_s: float = 0.0, on_message: Callable[[], Any] | None = None
             ) -> list[LiveChunk]:
    """Plays a recording into a controller that is started for it.

    Args:
        bag_path: the recording.
        cameras: observation key to topic of the recording.
        others: `proprio`, `measured_pose` or `measured_joints` to topic of the recording.
        instruction: the task, or None for the one on `instruction_topic`.
        instruction_topic: topic of the recording that carries the task.
        parameters: further parameters of the controller by name.
        goals: observation key to goal image, a compressed image message.
        clock_offset_s: how far the times of recording are ahead of the header stamps [s].
        on_message: called after each message that was played.

    Returns:
        The chunks in order of their arrival, stamped in the time of the recording.

    Raises:
        OctoError: the controller ended, or the cameras are of different transports.
    """
    remaps = {**cameras, **others}
    if instruction is None and instruction_topic:
        remaps['instruction'] = instruction_topic
    transport = _transport(bag_path, cameras)
    values = {**parameters, 'cameras': list(cameras), 'use_sim_time': True,
              'transport': transport}
    if instruction is not None:
        values['instruction'] = instruction
    before = dict(os.environ)
    # The player of this process lives in the same domain, so this process is set up alike.
    os.environ.update(isolation.isolated(os.environ))
    context = Context()
    rclpy.init(context=context)
    controller = processes.start(
        processes.node_command('octo_ros.nodes.controller_node', values, remaps),
        stdout=sys.stderr)
    try:
        player = _player(context, on_message, {
            'bag': str(bag_path), 'topics': list(dict.fromkeys(remaps.values())),
            'clock_offset_s': clock_offset_s})
        for key, image in (goals or {}).items():
            _publish_goal(player, key, image, transport)
        return _play(player, controller)
    finally:
        processes.end(controller)
        rclpy.try_shutdown(context=context)
        os.environ.clear()
        os.environ.update(before)


def _transport(bag_path: Path, cameras: Mapping[str, str]) -> str:
    with BagReader(bag_path) as bag:
        for topic in cameras.values():
            bag.require(topic)
        kinds = {_TRANSPORTS.get(bag.topics[topic], '') for topic in cameras.values()}
    if len(kinds) != 1 or '' in kinds:
        raise ParameterError(
            'cameras of a live replay must be all raw or all compressed images, got '
            f"{', '.join(sorted(cameras.values()))}")
    return kinds.pop()


def _player(context: Context, on_message: Callable[[], Any] | None, values: Mapping[str, Any]
            ) -> ImagePlayer:
    options = {**values, 'clock': True, 'wait_for': NAME, 'tail_s': _TAIL_S}
    return ImagePlayer(on_message, context=context, parameter_overrides=[
        Parameter(name, value=value) for name, value in options.items()])


def _publish_goal(node: Node, key: str, image: Any, transport: str) -> None:
    """Publishes a goal image for whoever comes, in the transport that the controller takes."""
    message: Image | CompressedImage
    if transport == 'compressed':
        message = CompressedImage(format=image.format, data=image.data)
    else:
        pixels = decode_image(image)
        height, width = pixels.shape[:2]
        message = Image(height=height, width=width, encoding='rgb8', step=3 * width,
                        data=pixels.tobytes())
    node.create_publisher(type(message), f'goal/{key}', qos.named('latched')).publish(message)


def _play(player: ImagePlayer, controller: 'subprocess.Popen[bytes]') -> list[LiveChunk]:
    chunks: list[LiveChunk] = []
    player.create_subscription(
        JointTrajectory, f'{NAME}/action_chunk',
        lambda message: chunks.append(
            LiveChunk(_accepted(message, len(chunks)), player.played_ns)),
        qos.named('reliable'))
    stopping = threading.Event()
    threading.Thread(target=_end_with, args=(controller, stopping), daemon=True).start()
    spinner = Spinner(player)
    try:
        player.start(stopping)
    finally:
        stopping.set()
        spinner.stop()
        player.destroy_node()
    if controller.poll() is not None:
        raise OctoError('the controller must run until the recording ends, it ended with exit '
                        f'code {controller.returncode}; see its messages above')
    return chunks


def _end_with(controller: 'subprocess.Popen[bytes]', stopping: threading.Event) -> None:
    """Ends the playing when the controller ends."""
    while not stopping.wait(_POLL_S):
        if controller.poll() is not None:
            stopping.set()


def _accepted(message: JointTrajectory, chunk_id: int) -> AcceptedChunk:
    stamp = message.header.stamp
    actions = np.array([point.positions for point in message.points])
    return AcceptedChunk(chunk_id, actions, stamp.sec * _NS + stamp.nanosec, {})
