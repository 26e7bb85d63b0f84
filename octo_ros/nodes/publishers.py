"""What the controller publishes below its own name."""

import importlib
from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher

from octo_ros.nodes import qos

_COMMANDS = 'command/'


def message_class(type_name: str) -> type:
    """Returns the class of a message type such as `geometry_msgs/msg/TwistStamped`."""
    package, kind, name = type_name.split('/')
    return getattr(importlib.import_module(f'{package}.{kind}'), name)


class Outputs:
    """One publisher for each topic of a robot profile."""

    def __init__(self, node: Node, topics: Mapping[str, str], *, chunk_qos: str,
                 command_qos: str) -> None:
        """Makes the publishers.

        Args:
            node: owner of the publishers; topics are private to its name.
            topics: topic name to message type, as `CommandMessages.topics`.
            chunk_qos: name of the quality of service of chunks.
            command_qos: name of the quality of service of commands.
        """
        self._node = node
        self._publishers: dict[str, Publisher] = {
            topic: node.create_publisher(
                message_class(type_name), f'~/{topic}',
                qos.named(command_qos if topic.startswith(_COMMANDS) else chunk_qos))
            for topic, type_name in topics.items()}

    def publish(self, messages: Mapping[str, Any], *, commands: bool) -> None:
        """Publishes messages by topic; commands among them only if `commands`."""
        for topic, message in messages.items():
            if commands or not topic.startswith(_COMMANDS):
                self._publishers[topic].publish(message)

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers = {}
