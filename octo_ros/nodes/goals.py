"""Goal images: callbacks keep the newest message of each key, a thread apart decodes it.

A goal may be a photograph of many megapixels. To decode one takes a second, which the thread that
commands the robot and listens to the emergency stop does not have.
"""

import threading
from collections.abc import Callable
from collections.abc import MutableMapping
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from octo_ros.errors import OctoError
from octo_ros.errors import closest
from octo_ros.messages.runtime import Runtime
from octo_ros.nodes.latched import LatchedSubscription
from octo_ros.nodes.silence import clashing_types
from octo_ros.nodes.worker import Worker

_WORKER_TIMEOUT_S = 10.0


class Goals:
    """The subscriptions of goal images, one for each key that the checkpoint takes a goal of."""

    def __init__(self, node: Node, runtime: Runtime, image_type: type,
                 group: CallbackGroup,
                 past: MutableMapping[str, tuple[int, ...]] | None = None) -> None:
        """Subscribes.

        Args:
            node: owner of the subscriptions.
            runtime: takes the goals.
            image_type: class of the messages.
            group: a mutually exclusive group.
            past: topic to stamps of messages that were forgotten; kept for those who come after,
                so that latched publishers do not bring them back.
        """
        self._node = node
        self._runtime = runtime
        self._bad: set[str] = set()
        self._strays: set[str] = set()
        self._lock = threading.Lock()
        self._pending: dict[str, Any] = {}
        self._worker: Worker[str] = Worker(self._take_all, self._on_error, name='octo-goals')
        self._past = {} if past is None else past
        self._subscriptions = {
            topic: LatchedSubscription(node, image_type, topic, self._keeping(key), group,
                                       past=self._past.get(topic, ()))
            for key in runtime.spec.goal_keys for topic in [f'goal/{key}']}

    def warn_of_strays(self) -> None:
        """Warns once of each topic with a goal that cannot be taken; call it now and then."""
        self._warn_of_types()
        known = self._runtime.spec.goal_keys
        prefix = self._node.resolve_topic_name('goal') + '/'
        for topic, _ in self._node.get_topic_names_and_types():
            key = topic.removeprefix(prefix)
            # Below a known key are the other transports of the same publisher.
            if (key == topic or key.partition('/')[0] in known or topic in self._strays
                    or self._node.count_subscribers(topic)
                    or not self._node.count_publishers(topic)):
                continue
            self._strays.add(topic)
            self._node.get_logger().warning(
                f"Nobody listens to {topic}: a goal must be for one of "
                f"{', '.join(known) or 'no key'}, got '{key}'{closest(key, known)}")

    def _warn_of_types(self) -> None:
        for topic in self._subscriptions.keys() - self._strays:
            clash = clashing_types(self._node, topic)
            if clash:
                self._strays.add(topic)
                self._node.get_logger().warning(
                    f"The goal on '{topic}' is not taken: it is {clash}, as the parameter "
                    'transport says')

    def forget(self) -> None:
        """Drops what was received but not decoded yet; nothing received so far comes again."""
        self._drop_pending()
        for topic, subscription in self._subscriptions.items():
            self._past[topic] = subscription.heard

    def destroy(self) -> None:
        """Ends subscriptions and thread."""
        for subscription in self._subscriptions.values():
            subscription.destroy()
        self._drop_pending()
        if not self._worker.stop(_WORKER_TIMEOUT_S):
            self._node.get_logger().warning('A goal image is still being decoded; it is dropped')

    def _drop_pending(self) -> None:
        with self._lock:
            self._pending.clear()

    def _keeping(self, key: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            with self._lock:
                self._pending[key] = message
            self._worker.submit(key)

        return keep

    def _take_all(self, _newest: str) -> None:
        # The worker keeps one job only; goals of several keys may wait.
        while (waiting := self._next()) is not None:
            self._take(*waiting)

    def _next(self) -> tuple[str, Any] | None:
        with self._lock:
            key = next(iter(self._pending), None)
            return None if key is None else (key, self._pending.pop(key))

    def _take(self, key: str, message: Any) -> None:
        logger = self._node.get_logger()
        try:
            notes = self._runtime.set_goal(key, message)
        except OctoError as error:
            if key not in self._bad:
                logger.warning(f'goal/{key}: {error}; the task stays as it was')
            self._bad.add(key)
            return
        recovered = ', it can be used again' if key in self._bad else ''
        self._bad.discard(key)
        logger.info('; '.join([f'New goal image for {key}{recovered}', *notes]))

    def _on_error(self, key: str, error: Exception) -> None:
        self._node.get_logger().error(
            f'A goal image failed, the task stays as it was: {type(error).__name__}: {error}')
        self._worker.submit(key)  # further goals may wait
