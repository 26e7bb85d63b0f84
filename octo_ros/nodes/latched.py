"""A subscription that hears publishers of any QoS, each message once.

A subscription that asks for the last message of a latched (transient local) publisher is not
connected to a plain (volatile) one at all: DDS holds the two incompatible. For an instruction
that is a nuisance, for an emergency stop a hazard. So there are two subscriptions behind each
such topic; what a latched publisher sends arrives on both and is passed on once.

Both are reliable, and DDS connects neither to a best-effort publisher. When one appears, a third,
best-effort subscription is added. It is not there from the start, since it brings what a reliable
publisher sends as well, and after a loss out of turn.
"""

import collections
import threading
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy

# Duplicates follow each other within milliseconds; this many messages may lie between.
_REMEMBERED = 32


class LatchedSubscription:
    """Two subscriptions of one topic, or three, seen as one."""

    def __init__(self, node: Node, message_type: type, topic: str,
                 callback: Callable[[Any], None], group: CallbackGroup, *,
                 past: Iterable[int] = ()) -> None:
        """Subscribes.

        Args:
            node: owner of the subscriptions.
            message_type: class of the messages.
            topic: name, relative names are resolved as usual.
            callback: called once for each message.
            group: a mutually exclusive group, so that no two of them run at the same time.
            past: what was `heard` by an earlier one; a latched publisher sends its last message
                to every new subscription, and it is not passed on again.
        """
        self._node = node
        self._callback = callback
        self._seen: collections.deque[int] = collections.deque(past, maxlen=_REMEMBERED)
        # Events of the first may come, in another thread, before the last is made.
        self._lock = threading.Lock()
        with self._lock:
            self._subscriptions = [
                self._subscribe(message_type, topic, group, DurabilityPolicy.TRANSIENT_LOCAL),
                self._subscribe(
                    message_type, topic, group, DurabilityPolicy.VOLATILE,
                    on_incompatible=lambda _: self._add_best_effort(message_type, topic, group))]

    @property
    def heard(self) -> tuple[int, ...]:
        """Source stamps of the last messages [ns]."""
        return tuple(self._seen)

    def _subscribe(self, message_type: type, topic: str, group: CallbackGroup,
                   durability: DurabilityPolicy, *,
                   reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE,
                   on_incompatible: Callable[[Any], None] | None = None) -> Any:
        # Deep enough that no one loses any of a burst: then what one of the reliable two brings
        # first is never older than what the other brought before, and the last word is the last
        # sent.
        profile = QoSProfile(
            depth=_REMEMBERED // 2, durability=durability, reliability=reliability)
        # By default rclpy warns of publishers that the latched one does not fit; another does.
        return self._node.create_subscription(
            message_type, topic, self._on_message, profile, callback_group=group,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=on_incompatible, use_default_callbacks=False))

    def _add_best_effort(self, message_type: type, topic: str, group: CallbackGroup) -> None:
        # Called for the plain subscription: reliability is all that it asks of a publisher.
        with self._lock:
            if len(self._subscriptions) == 2:
                self._subscriptions.append(self._subscribe(
                    message_type, topic, group, DurabilityPolicy.VOLATILE,
                    reliability=ReliabilityPolicy.BEST_EFFORT))

    def _on_message(self, message: Any, info: Any) -> None:
        # The source stamp is the same on all subscriptions, and distinct between messages. A
        # middleware that knows none gives 0; then a message twice is better than none.
        source_ns = info['source_timestamp']
        if source_ns and source_ns in self._seen:
            return
        self._seen.append(source_ns)
        self._callback(message)

    def destroy(self) -> None:
        """Ends all subscriptions."""
        with self._lock:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []
