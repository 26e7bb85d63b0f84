"""Says in the log which stream holds the policy up because nothing ever came on its topic."""

import time
from collections.abc import Mapping

from rclpy.node import Node

GRACE_S = 5.0


class SilentStreams:
    """Warns once of each stream that stays silent, with what the graph knows of its topic."""

    def __init__(self, node: Node) -> None:
        """Keeps the node, whose graph and logger are used."""
        self._node = node
        self._since_s: dict[str, float] = {}
        self._told: set[str] = set()

    def check(self, silent: Mapping[str, str]) -> None:
        """Takes the streams on which nothing came yet, with their topics; call it now and then."""
        now_s = time.monotonic()
        for name in [name for name in self._since_s if name not in silent]:
            del self._since_s[name]
            if name in self._told:
                self._told.remove(name)
                self._node.get_logger().info(f"'{name}' comes now")
        for name, topic in silent.items():
            since_s = self._since_s.setdefault(name, now_s)
            if now_s - since_s > GRACE_S and name not in self._told:
                self._told.add(name)
                self._node.get_logger().warning(
                    f"Nothing came for '{name}' yet, the robot is not moved: "
                    f'{self._cause(topic)}')

    def _cause(self, topic: str) -> str:
        if not self._node.count_publishers(topic):
            return f"nobody publishes on '{topic}'; compare `ros2 topic list`"
        clash = clashing_types(self._node, topic)
        if not clash:
            return f"'{topic}' has a publisher, but no message of it came; compare its QoS"
        return f"'{topic}' is {clash}; set the transport, or take another topic"


def clashing_types(node: Node, topic: str) -> str:
    """Says how a topic is published and wanted where no publisher has a type that the node takes.

    Args:
        node: a subscriber of the topic.
        topic: its name.

    Returns:
        `published as ..., and wanted as ...`; empty where one fits, or nobody publishes.
    """
    wanted = {info.topic_type for info in node.get_subscriptions_info_by_topic(topic)
              if info.node_name == node.get_name()}
    given = {info.topic_type for info in node.get_publishers_info_by_topic(topic)}
    if not given or given & wanted:
        return ''
    return f"published as {', '.join(sorted(given))}, and wanted as {', '.join(sorted(wanted))}"
