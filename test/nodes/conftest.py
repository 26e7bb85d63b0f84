"""Real rclpy over real DDS, confined to this machine and to one test at a time."""

import os
import socket
import threading
import time
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2 (pip install octo_ros[ros])')
# The generator of message code imports lark, which uses a deprecated module of Python.
with warnings.catch_warnings():
    warnings.simplefilter('ignore', DeprecationWarning)
    pytest.importorskip('rosidl_generator_py')

from rclpy.executors import ExternalShutdownException  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402

from octo_ros.nodes import qos  # noqa: E402

DEADLINE_S = 20.0
DOMAINS = range(1, 100)
# A test owns a domain while it holds the TCP port with this offset, across all processes.
PORT_OFFSET = 43000


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
    """Returns what `condition` gives once that is true; fails at the deadline."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, f'not within {timeout_s} s: {what}'
        pause.wait(0.005)
    return value


class Ros:
    """A node of the test's own, spun in a thread."""

    def __init__(self, context: rclpy.Context, domain_id: int) -> None:
        self.context = context
        self.domain_id = domain_id
        self.node = Node('tester', context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def publisher(self, message_type: type, topic: str, profile: str = 'reliable', *,
                  subscribers: int = 1) -> Any:
        """Returns a publisher that is matched with so many subscriptions."""
        publisher = self.node.create_publisher(message_type, topic, qos.named(profile))
        wait_until(lambda: publisher.get_subscription_count() >= subscribers,
                   f'{subscribers} subscriptions of {topic}')
        return publisher

    def collect(self, message_type: type, topic: str, profile: str = 'reliable', *,
                publishers: int = 1) -> list[Any]:
        """Returns a list that grows with every message on the topic."""
        messages: list[Any] = []
        self.node.create_subscription(message_type, topic, messages.append, qos.named(profile))
        wait_until(lambda: self.node.count_publishers(topic) >= publishers,
                   f'{publishers} publishers of {topic}')
        return messages

    def call(self, service_type: type, name: str, **fields: Any) -> Any:
        """Calls a service and returns its response."""
        client = self.node.create_client(service_type, name)
        assert client.wait_for_service(DEADLINE_S), f'no service {name}'
        future = client.call_async(service_type.Request(**fields))
        wait_until(future.done, f'the answer of {name}')
        return future.result()

    wait_until = staticmethod(wait_until)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(DEADLINE_S)
        self.node.destroy_node()


def _own_domain() -> tuple[int, socket.socket]:
    start = os.getpid() % len(DOMAINS)
    for domain_id in [*DOMAINS[start:], *DOMAINS[:start]]:
        guard = socket.socket()
        try:
            guard.bind(('127.0.0.1', PORT_OFFSET + domain_id))
        except OSError:
            guard.close()
            continue
        return domain_id, guard
    raise RuntimeError('no DDS domain is free')


@pytest.fixture
def domain_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A DDS domain that no other test uses, on this machine only."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_PYTHON_CHECK_FIELDS', '1')
    own, guard = _own_domain()
    monkeypatch.setenv('ROS_DOMAIN_ID', str(own))
    with guard:
        yield own


@pytest.fixture
def ros(domain_id: int) -> Iterator[Ros]:
    """ROS in a context of its own."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    harness = Ros(context, domain_id)
    yield harness
    harness.close()
    rclpy.try_shutdown(context=context)
