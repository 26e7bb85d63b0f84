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

from rclpy.event_handler import PublisherEventCallbacks  # noqa: E402
from rclpy.executors import ExternalShutdownException  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from octo_ros.nodes import qos  # noqa: E402
from octo_ros.nodes.controller_node import ControllerNode  # noqa: E402
from octo_ros.nodes.spin import Spinner  # noqa: E402
from octo_ros.policy.fakes import FakePolicy  # noqa: E402

DEADLINE_S = 20.0
DOMAINS = range(1, 100)
# A test owns a domain while it holds the TCP port with this offset, across all processes.
PORT_OFFSET = 43000


def twist_values(message: Any) -> list[float]:
    """Returns the linear and the angular speeds of a TwistStamped."""
    twist = message.twist
    return [twist.linear.x, twist.linear.y, twist.linear.z,
            twist.angular.x, twist.angular.y, twist.angular.z]


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
        # rclpy's own callbacks for QoS that does not fit use a deprecated method to warn.
        publisher = self.node.create_publisher(
            message_type, topic, qos.named(profile),
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=False))
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


class Controller:
    """A controller node on a fake policy, spun as its own process would spin it."""

    def __init__(self, ros: Ros, policy: Any, values: dict[str, Any]) -> None:
        parameters = {'profile.statistics_key': '', **values}
        self.node = ControllerNode(
            policy, context=ros.context, parameter_overrides=[
                rclpy.Parameter(name, value=value) for name, value in parameters.items()])
        self._spinner = Spinner(self.node)
        self._stopped = False

    def start(self) -> 'Controller':
        self.node.start(threading.Event())
        return self

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self.node.stop()
            self._spinner.stop()
            self.node.destroy_node()


@pytest.fixture
def make_controller(ros: Ros) -> Iterator[Callable[..., Controller]]:
    """Makes controllers: `make_controller(policy, **{'loop.window': 1})`."""
    made: list[Controller] = []

    def make(policy: Any = None, **values: Any) -> Controller:
        made.append(Controller(ros, FakePolicy() if policy is None else policy, values))
        return made[-1]

    yield make
    for controller in made:
        controller.stop()


class Camera:
    """Publishes images of one colour at a rate, with the node's time as stamp."""

    def __init__(self, ros: Ros, topic: str, *, rate_hz: float = 30.0, level: int = 0,
                 size: tuple[int, int] = (32, 32)) -> None:
        self._ros = ros
        self.publisher = ros.publisher(Image, topic, 'reliable')
        height, width = size
        self._image = Image(height=height, width=width, encoding='rgb8', step=3 * width,
                            data=bytes([level]) * (3 * height * width))
        self.sent = 0
        self._timer = ros.node.create_timer(1.0 / rate_hz, self.publish)

    def publish(self) -> None:
        self._image.header.stamp = self._ros.node.get_clock().now().to_msg()
        self.publisher.publish(self._image)
        self.sent += 1

    def stop(self) -> None:
        self._ros.node.destroy_timer(self._timer)


@pytest.fixture
def make_camera(ros: Ros) -> Callable[..., Camera]:
    """Makes cameras: `make_camera('image_primary', rate_hz=30.0)`."""
    return lambda topic, **options: Camera(ros, topic, **options)


@pytest.fixture
def make_sim(ros):
    """Returns a maker of simulator nodes, each in a thread of its own, from parameters."""
    from test.nodes.sims import Sim
    made = []

    def make(**values):
        made.append(Sim(ros, values))
        return made[-1]

    yield make
    for sim in made:
        sim.stop()
