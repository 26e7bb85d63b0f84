"""A subscription that hears latched and plain publishers alike, each message once.

A subscription that asks for the last message of a latched (transient local) publisher is not
connected to a plain (volatile) one at all: DDS holds the two incompatible. For an instruction
that is a nuisance, for an emergency stop a hazard. So there are two subscriptions behind each
such topic; what a latched publisher sends arrives on both and is passed on once.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile

# Duplicates follow each other within milliseconds; this many messages may lie between.
_REMEMBERED = 32


class LatchedSubscription:
    """Two subscriptions of one topic, seen as one."""

    def __init__(self, node: Node, message_type: type, topic: str,
                 callback: Callable[[Any], None], group: CallbackGroup, *,
                 past: Iterable[int] = ()) -> None:
        """Subscribes.

        Args:
            node: owner of the subscriptions.
            message_type: class of the messages.
            topic: name, relative names are resolved as usual.
            callback: called once for each message.
            group: a mutually exclusive group, so that the two do not run at the same time.
            past: what was `heard` by an earlier one; a latched publisher sends its last message
                to every new subscription, and it is not passed on again.
        """
        self._node = node
        self._callback = callback
        self._seen: collections.deque[int] = collections.deque(past, maxlen=_REMEMBERED)
        self._subscriptions = [
            self._subscribe(message_type, topic, durability, group)
            for durability in (DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE)]

    @property
    def heard(self) -> tuple[int, ...]:
        """Source stamps of the last messages [ns]."""
        return tuple(self._seen)

    def _subscribe(self, message_type: type, topic: str, durability: DurabilityPolicy,
                   group: CallbackGroup) -> Any:
        # Deep enough that neither loses any of a burst: then what one of them brings first is
        # never older than what the other brought before, and the last word is the last sent.
        profile = QoSProfile(depth=_REMEMBERED // 2, durability=durability)
        # By default rclpy warns of publishers that the latched one does not fit; the other does.
        return self._node.create_subscription(
            message_type, topic, self._on_message, profile, callback_group=group,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False))

    def _on_message(self, message: Any, info: Any) -> None:
        # The source stamp is the same on both subscriptions, and distinct between messages. A
        # middleware that knows none gives 0; then a message twice is better than none.
        source_ns = info['source_timestamp']
        if source_ns and source_ns in self._seen:
            return
        self._seen.append(source_ns)
        self._callback(message)

    def destroy(self) -> None:
        """Ends both subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
