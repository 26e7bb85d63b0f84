"""What /diagnostics says of the controller and of each stream it needs."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_msgs.msg import KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.node import Node

from octo_ros.messages.ingest import MEASURED_JOINTS
from octo_ros.messages.ingest import MEASURED_POSE
from octo_ros.messages.stream import StreamHealth
from octo_ros.nodes import qos
from octo_ros.nodes.assembly import Assembly
from octo_ros.nodes.control import Control
from octo_ros.nodes.latency import LatencyWindow

_PERIOD_S = 1.0


def stream_status(name: str, stream: str, topic: str, health: StreamHealth, *,
                  publishers: int, max_age_s: float) -> DiagnosticStatus:
    """Returns the status of one camera or other stream.

    Args:
        name: name of the node.
        stream: `image_primary` and so on.
        topic: what it is subscribed to.
        health: what the ingest knows of it.
        publishers: number of publishers on the topic now.
        max_age_s: age from which messages are not used any more [s].
    """
    level, text = DiagnosticStatus.OK, 'receiving'
    if health.problem:
        level, text = DiagnosticStatus.ERROR, health.problem
    elif health.age_s is None:
        level = DiagnosticStatus.ERROR
        text = ('a publisher is there, but no message came: compare type and QoS'
                if publishers else 'nobody publishes on this topic')
    elif health.age_s > max_age_s:
        level, text = DiagnosticStatus.WARN, f'the newest message is {health.age_s:.1f} s old'
    elif health.lossy:
        level, text = DiagnosticStatus.WARN, 'receiving, but many frames are lost on the way'
    values = {
        'topic': topic,
        'publishers': publishers,
        'received': health.received,
        'rate [Hz]': f'{health.rate_hz:.1f}',
        'age [s]': 'none' if health.age_s is None else f'{health.age_s:.3f}',
        'dropped': health.dropped,
        'bad': health.bad,
    }
    return status(f'{name}: {stream}', level, text, values.items())


def latency_values(window: LatencyWindow) -> list[tuple[str, str]]:
    """Returns the latencies as rows such as `latency model p50/p95/p99 [ms]`."""
    return [
        (f'latency {stage} p50/p95/p99 [ms]', '/'.join(f'{value * 1e3:.1f}' for value in values))
        for stage, values in sorted(window.quantiles_s().items())]


def full_name(node: Node) -> str:
    """Returns the name of a node with its namespace, by which several are told apart."""
    return node.get_fully_qualified_name().lstrip('/')


def status(name: str, level: bytes, text: str,
           values: Iterable[tuple[str, object]]) -> DiagnosticStatus:
    """Returns one entry of a DiagnosticArray."""
    return DiagnosticStatus(
        level=level, name=name, message=text, hardware_id=name.partition(':')[0],
        values=[KeyValue(key=key, value=str(value)) for key, value in values])


class Reporter:
    """Publishes /diagnostics once a second by the wall clock, whatever simulated time does."""

    def __init__(self, node: Node, statuses: Callable[[], list[DiagnosticStatus]]) -> None:
        """Starts; `statuses` is asked each time."""
        self._node = node
        self._statuses = statuses
        self._publisher = node.create_publisher(
            DiagnosticArray, '/diagnostics', qos.named('reliable'))
        node.create_timer(_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME),
                          callback_group=MutuallyExclusiveCallbackGroup())

    def _report(self) -> None:
        message = DiagnosticArray(status=self._statuses())
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def statuses(node: Node, assembly: Assembly, control: Control,
             topics: Mapping[str, str]) -> list[DiagnosticStatus]:
    """Returns the state of a configured controller and of each stream it needs."""
    runtime = assembly.runtime
    name = full_name(node)
    health = runtime.health(node.get_clock().now().nanoseconds)
    reason = control.hold_reason
    goals = ', '.join(runtime.task.goals)
    controller = status(
        name, DiagnosticStatus.WARN if reason else DiagnosticStatus.OK,
        f'holding: {reason}' if reason else 'running',
        [('instruction', runtime.task.text or ''), ('goal images', goals or 'none'),
         ('chunks', control.chunks), ('clipped steps', runtime.clipped_steps),
         ('robot', assembly.params.robot),
         *latency_values(control.latencies)])
    return [controller, *(
        stream_status(name, stream, topics[stream], state,
                      publishers=node.count_publishers(topics[stream]),
                      max_age_s=assembly.params.loop.max_observation_age_s)
        for stream, state in health.items()
        # A profile can start from a pose or joints of its own; then these are not missing.
        if stream not in (MEASURED_POSE, MEASURED_JOINTS) or state.received)]
