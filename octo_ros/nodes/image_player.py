"""`image_player`: plays a recording's cameras and whatever else is in it, as if they were there.

With fresh stamps it stands in for camera drivers. With `clock` it keeps the recorded stamps and
publishes /clock, for nodes that run with use_sim_time.
"""

if __name__ == '__main__':  # before anything that takes long to import
    from octo_ros.nodes import entry
    entry.end_on_interrupt()

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from trajectory_msgs.msg import JointTrajectory

from octo_ros import params
from octo_ros.bags.reader import IMAGE_TYPES
from octo_ros.bags.reader import BagMessage
from octo_ros.bags.reader import BagReader
from octo_ros.errors import BagError
from octo_ros.errors import OctoError
from octo_ros.nodes import parameters
from octo_ros.nodes import qos
from octo_ros.nodes import spin
from octo_ros.nodes.publishers import message_class
from octo_ros.params import param

NAME = 'image_player'
_NS = 1_000_000_000
_CLOCK_PERIOD_S = 0.01
_POLL_S = 0.05
_CLOCK = '/clock'
_OF_THE_SYSTEM = (_CLOCK, '/rosout', '/parameter_events')
_CATCH_UP = 2.0  # times the rate
_MOST_LATE_S = 1.0  # further behind, it is given up to catch up
# In a loop, the time from the last message of one round to the first of the next.
_LOOP_GAP_NS = 200_000_000


@dataclasses.dataclass(frozen=True)
class PlayerParams:
    """What is played, and how."""

    bag: str = param('', 'Recording: a rosbag2 folder, or one .mcap or .db3 file.')
    topics: tuple[str, ...] = param(
        (), 'Topics to play; none: all but /clock, /rosout, /parameter_events and what the node '
        'of `wait_for` published itself.')
    rate: float = param(1.0, 'Speed relative to the recording.', gt=0.0, le=100.0)
    loop: bool = param(False, 'Start over at the end.')
    clock: bool = param(
        False, 'Keep the recorded stamps and publish /clock; false: stamp with the present time.')
    wait_for: str = param(
        '', 'Lifecycle node that must be active before the first message; none: start as soon '
        'as somebody subscribes to a camera.')
    expect: str = param(
        '', 'Topic of action chunks; the player fails when it played to the end and none came.')
    tail_s: float = param(
        0.0, 'How long to stay, with the clock running, after the last message.', unit='s',
        ge=0.0, le=600.0)
    clock_offset_s: float = param(
        0.0, 'Taken off the times of recording, with `clock`: how far they are ahead of the '
        'header stamps.', unit='s', ge=-1e10, le=1e10)


def playable(topics: Iterable[str], options: PlayerParams) -> tuple[str, ...]:
    """Returns what may go out unasked: a recorded command must not reach a robot again."""
    return tuple(topic for topic in topics if topic not in _OF_THE_SYSTEM and not (
        options.wait_for and topic.startswith(f'{options.wait_for}/')))


class _Pace:
    """When each time of the recording is due, told from when the first one was.

    So being late with one message does not make the next ones late. What is behind is caught up
    with at a bounded speed, for a burst of images would be lost on its way.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._zero_s = self._passed_s = time.monotonic()
        self._first_ns = self._passed_ns = 0

    def begin(self, first_ns: int, after_ns: int | None) -> None:
        """Begins a round with its first time; `after_ns` on the round before is that moment."""
        self._zero_s = time.monotonic() if after_ns is None else self._due_s(after_ns)
        self._first_ns = first_ns
        self.passed(first_ns)

    def left_s(self, time_ns: int) -> float:
        """Returns how long it is until a time of the recording may be passed [s]."""
        gap_s = (time_ns - self._passed_ns) / _NS / self._rate
        return max(self._due_s(time_ns), self._passed_s + gap_s / _CATCH_UP) - time.monotonic()

    def passed(self, time_ns: int) -> float:
        """Notes that a time is passed now; returns how late that is [s]."""
        self._passed_s, self._passed_ns = time.monotonic(), time_ns
        return self._passed_s - self._due_s(time_ns)

    def delay(self, seconds: float) -> None:
        """Makes all that follows later."""
        self._zero_s += seconds

    def _due_s(self, time_ns: int) -> float:
        return self._zero_s + (time_ns - self._first_ns) / _NS / self._rate


class ImagePlayer(parameters.ParameterNode):
    """Plays one recording and ends."""

    def __init__(self, on_message: Callable[[], Any] | None = None, **options: Any) -> None:
        """Makes the node; `start` plays.

        Args:
            on_message: called after each published message.
            **options: for `rclpy.node.Node`.
        """
        super().__init__(NAME, **options)
        parameters.declare(self, params.leaves(PlayerParams))
        self._on_message = on_message
        self._topic_publishers: dict[str, Publisher] = {}
        self._clock_publisher: Publisher | None = None
        self._played_ns = 0
        self._late = False
        self._chunks = 0

    @property
    def played_ns(self) -> int:
        """Time of the recording up to which it was played, as /clock tells it [ns]; 0 before."""
        return self._played_ns

    def start(self, stopping: threading.Event) -> None:
        """Plays until the end or until `stopping` is set; sets it at the end. Raises OctoError."""
        options = params.from_flat(
            PlayerParams, parameters.given(self), source=f'parameters of {self.get_name()}',
            beside=parameters.FOREIGN_NAMES)
        with BagReader(options.bag, clock_offset_s=options.clock_offset_s) as bag:
            for topic in options.topics:
                bag.require(topic)
            cameras = self._advertise(bag, options.topics or playable(bag.topics, options))
            if options.clock:
                self._clock_publisher = self.create_publisher(
                    Clock, _CLOCK, qos.named('newest_reliable'))
            if options.expect:
                self.create_subscription(
                    JointTrajectory, options.expect, self._count, qos.named('reliable'))
            if self._wait(options, cameras, stopping):
                self._play(bag, options, stopping)
        if options.expect and not stopping.is_set():
            self._tell_chunks(options.expect)
        stopping.set()

    def stop(self) -> None:
        """Has nothing to bring to rest."""

    def _count(self, _: JointTrajectory) -> None:
        self._chunks += 1

    def _tell_chunks(self, topic: str) -> None:
        if not self._chunks:
            raise OctoError(
                f'a chunk must have come on {topic} by the end of the recording, got none; the '
                'controller says above what it waited for')
        self.get_logger().info(f'The recording is over; chunks on {topic}: {self._chunks}')

    def _advertise(self, bag: BagReader, topics: tuple[str, ...]) -> list[Publisher]:
        """Makes the publishers; returns those of cameras."""
        for topic in topics:
            try:
                cls = message_class(bag.topics[topic])
            except (ImportError, AttributeError):
                self.get_logger().warning(
                    f"'{topic}' is left out: {bag.topics[topic]} is not installed")
                continue
            profile = 'latched' if bag.topics[topic] == 'std_msgs/msg/String' else 'reliable'
            self._topic_publishers[topic] = self.create_publisher(cls, topic, qos.named(profile))
        cameras = [publisher for topic, publisher in self._topic_publishers.items()
                   if bag.topics[topic] in IMAGE_TYPES]
        if not cameras:
            raise BagError(f'recording {bag.path} must have a camera among the topics to play, '
                           f"got {', '.join(topics)}")
        return cameras

    def _wait(self, options: PlayerParams, cameras: list[Publisher],
              stopping: threading.Event) -> bool:
        """Waits for listeners; returns False when told to stop meanwhile."""
        ready = self._state_check(options.wait_for) if options.wait_for else (
            lambda: any(camera.get_subscription_count() for camera in cameras))
        self.get_logger().info(
            f"Waiting for {options.wait_for or 'a subscription of a camera'}")
        while not ready():
            if stopping.wait(_POLL_S):
                return False
        return True

    def _state_check(self, name: str) -> Callable[[], bool]:
        client: Client = self.create_client(GetState, f'{name}/get_state')
        pending: list[Any] = []

        def active() -> bool:
            if not client.service_is_ready():
                pending.clear()
                return False
            if not pending:
                pending.append(client.call_async(GetState.Request()))
            if not pending[0].done():
                return False
            response = pending.pop().result()
            return response.current_state.id == State.PRIMARY_STATE_ACTIVE

        return active

    def _play(self, bag: BagReader, options: PlayerParams, stopping: threading.Event) -> None:
        self.get_logger().info(f"Playing '{options.bag}'" + (' in a loop' * options.loop))
        pace = _Pace(options.rate)
        after_ns: int | None = None
        while True:
            self._round(bag, options, pace, after_ns, stopping)
            if stopping.is_set() or not options.loop:
                break
            after_ns = self._played_ns + _LOOP_GAP_NS
            self._pass_time(after_ns, options, pace, stopping)
        if not stopping.is_set():
            tail_ns = round(options.tail_s * options.rate * _NS)
            self._pass_time(self._played_ns + tail_ns, options, pace, stopping)

    def _round(self, bag: BagReader, options: PlayerParams, pace: _Pace, after_ns: int | None,
               stopping: threading.Event) -> None:
        """Plays the recording once."""
        begun = False
        for item in self._messages(bag):
            if not begun:
                pace.begin(item.log_ns, after_ns)
                self._set_time(item.log_ns)
                begun = True
            self._pass_time(item.log_ns, options, pace, stopping)
            if stopping.is_set():
                return
            self._publish(bag, item, fresh=not options.clock)
        if not begun:
            raise BagError(f'recording {bag.path} must hold messages on the topics to play')

    def _messages(self, bag: BagReader) -> Iterator[BagMessage]:
        return bag.messages(list(self._topic_publishers))

    def _pass_time(self, to_ns: int, options: PlayerParams, pace: _Pace,
                   stopping: threading.Event) -> None:
        """Waits for a time of the recording, with the clock ticking."""
        while (left_s := pace.left_s(to_ns)) > 0.0:
            if stopping.wait(min(left_s, _CLOCK_PERIOD_S if options.clock else left_s)):
                return
            before_ns = round(max(0.0, pace.left_s(to_ns)) * options.rate * _NS)
            self._set_time(max(self._played_ns, to_ns - before_ns))
        late_s = pace.passed(to_ns)
        if late_s > _MOST_LATE_S:
            pace.delay(late_s)
            if not self._late:
                self.get_logger().warning(
                    'This machine is too slow to play at this rate, or stood still; time runs '
                    'slower. Lower the rate')
            self._late = True
        if to_ns > self._played_ns:
            self._set_time(to_ns)

    def _set_time(self, now_ns: int) -> None:
        self._played_ns = now_ns
        if self._clock_publisher is not None:
            self._clock_publisher.publish(
                Clock(clock=Time(sec=now_ns // _NS, nanosec=now_ns % _NS)))

    def _publish(self, bag: BagReader, item: BagMessage, *, fresh: bool) -> None:
        message = item.message
        if fresh and hasattr(message, 'header'):
            now_ns = self.get_clock().now().nanoseconds
            message.header.stamp.sec = now_ns // _NS
            message.header.stamp.nanosec = now_ns % _NS
        # rclpy takes a serialised message as it is: no copy from one message class to the other.
        self._topic_publishers[item.topic].publish(
            bytes(bag.types.serialize_cdr(message, bag.topics[item.topic])))
        if self._on_message is not None:
            self._on_message()


def main(arguments: list[str] | None = None) -> int:
    """Plays until the end or until told to stop; returns the exit code."""
    return spin.run(ImagePlayer, arguments)


if __name__ == '__main__':
    sys.exit(main())
