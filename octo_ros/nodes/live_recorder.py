"""Records episodes of a running robot: its cameras, state and actions, as they come."""

import collections
import dataclasses
import logging
import threading
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.serialization import deserialize_message
from std_msgs.msg import Float64MultiArray

from octo_ros.bags.episodes import ACTION_TYPES
from octo_ros.bags.episodes import COMMAND_TYPES
from octo_ros.bags.reader import IMAGE_TYPES
from octo_ros.bags.recording import ACTION_TOPIC
from octo_ros.bags.recording import INSTRUCTION_TOPIC
from octo_ros.bags.recording import EpisodeBag
from octo_ros.bags.recording import register_types
from octo_ros.bags.twist_actions import GRIPPER
from octo_ros.bags.twist_actions import TWIST
from octo_ros.bags.twist_actions import Step
from octo_ros.bags.twist_actions import TwistMessages
from octo_ros.bags.twist_actions import fit_fault
from octo_ros.bags.twist_actions import frame_fault
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.messages.conversions import stamp_ns
from octo_ros.nodes.message_definitions import definitions_of
from octo_ros.nodes.publishers import message_class
from octo_ros.nodes.spin import Spinner
from octo_ros.policy.profile import RobotProfile

_LOG = logging.getLogger('octo_ros.record')
STATE = 'sensor_msgs/msg/JointState'
_POLL_S = 0.05
_DEPTH = 50


@dataclasses.dataclass(frozen=True)
class LiveTopics:
    """What is recorded of a running robot.

    Attributes:
        cameras: images, raw or compressed.
        action: what the robot is told; twists are also recorded as actions of the policy.
        state: measured joints, if any.
        gripper: commands of the gripper, for twists and poses.
        others: anything else; it may be silent.
    """

    cameras: tuple[str, ...]
    action: str
    state: str = ''
    gripper: str = ''
    others: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """Without messages on these an episode is worth nothing."""
        return (*self.cameras, self.action, *filter(None, [self.state]))

    @property
    def types(self) -> list[tuple[str, tuple[str, ...]]]:
        """Topics with the types that can be used later; none for any type."""
        wanted = [*((topic, IMAGE_TYPES) for topic in self.cameras),
                  (self.action, (*ACTION_TYPES, *COMMAND_TYPES)), (self.state, (STATE,)),
                  (self.gripper, (GRIPPER,)), *((topic, ()) for topic in self.others)]
        return [(topic, types) for topic, types in wanted if topic]


class LiveRecorder:
    """Listens to topics, and writes what comes between `start` and `stop` into a recording."""

    def __init__(self, topics: LiveTopics, profile: RobotProfile, *, wait_s: float = 10.0) -> None:
        """Subscribes to topics that exist, with the quality of service of their publishers.

        Args:
            topics: what to record.
            profile: of the robot: meaning of the actions, and their duration.
            wait_s: for topics that are not there yet.

        Raises:
            ParameterError: a topic is not there, is of a type that cannot be used, or the action
                does not fit the robot.
        """
        self._profile = profile
        self._topics = topics
        self._kinds: dict[str, str] = {}
        # What was said before an episode and holds in it, to be written at its beginning.
        self._latched: dict[str, collections.deque[bytes]] = {}
        self._twists = TwistMessages(profile)
        self._fault = ''  # of the last twist, or of any of the episode
        self._bag: EpisodeBag | None = None
        self._lock = threading.Lock()
        self.counts: dict[str, int] = {}
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = Node('octo_recorder', context=self._context)
        self._spinner = Spinner(self._node)
        try:
            for topic, types in topics.types:
                self._require(topic, types, wait_s)
            self._require_commands_to_fit()
            for topic in self._kinds:
                self._subscribe(topic)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> 'LiveRecorder':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends listening; an episode that was not stopped is dropped."""
        with self._lock:
            bag, self._bag = self._bag, None
        if bag is not None:
            bag.discard()
        self._spinner.stop()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def start(self, path: Path, instruction: str, facts: Mapping[str, Any]) -> None:
        """Begins an episode.

        Raises:
            BagError: there is something at `path`.
            OctoError: the twists are in another frame than the robot's.
        """
        if self._fault:
            raise OctoError(f'{self._topics.action}: {self._fault}')
        bag = EpisodeBag(path)
        now_ns = self._now_ns()
        bag.add_facts(now_ns, facts)
        if instruction:
            bag.add_text(INSTRUCTION_TOPIC, now_ns, instruction)
        with self._lock:
            self.counts = dict.fromkeys(self.counts, 0)
            self._twists.restart()
            for topic, messages in self._latched.items():
                for data in messages:
                    bag.write(topic, self._kinds[topic], now_ns, data)
                self.counts[topic] = len(messages)
            self._bag = bag

    def stop(self, success: bool | None) -> dict[str, int]:
        """Ends an episode.

        Args:
            success: whether it was good; None drops it.

        Returns:
            Topic to number of messages.

        Raises:
            OctoError: a topic that is needed gave nothing, or twists came in another frame than
                the robot's; the episode is dropped.
        """
        with self._lock:
            bag, self._bag = self._bag, None
            counts, fault = dict(self.counts), self._fault
        if bag is None:
            return {}
        silent = [topic for topic in self._topics.needed if not counts[topic]]
        if success is None or silent or fault:
            bag.discard()
            if success is None:
                return {}
            if silent:
                raise OctoError('every camera, action and state must give messages, got none on '
                                f"{', '.join(silent)}; the episode is dropped")
            raise OctoError(f'{self._topics.action}: {fault}; the episode is dropped')
        self._write_actions(bag, self._twists.finish())
        bag.add_success(self._now_ns(), success)
        bag.finish()
        return counts

    def _require(self, topic: str, types: Sequence[str], wait_s: float) -> None:
        """Waits for a topic. Raises ParameterError for one of another type."""
        kind = self._type_of(topic, wait_s)
        if types and kind not in types:
            raise ParameterError(f"topic '{topic}' must have the type {' or '.join(types)} for "
                                 f'what it is to record, got {kind}; choose another topic')
        self._kinds[topic] = kind

    def _require_commands_to_fit(self) -> None:
        """Raises ParameterError for twists or poses that cannot become actions of the robot."""
        kind = self._kinds[self._topics.action]
        fault = fit_fault(kind, self._profile, self._topics.gripper, '--action')
        if kind in COMMAND_TYPES and fault:
            raise ParameterError(fault)

    def _subscribe(self, topic: str) -> None:
        kind = self._kinds[topic]
        try:
            message_type = message_class(kind)
            register_types(definitions_of(kind))
        except (ImportError, AttributeError) as error:
            raise ParameterError(
                f"topic '{topic}' must be of a type that is installed here, got {kind} ({error}); "
                "install and source its package, or leave the topic out") from error
        offered = [info.qos_profile for info in self._node.get_publishers_info_by_topic(topic)]
        reliable = offered and all(
            profile.reliability == ReliabilityPolicy.RELIABLE for profile in offered)
        # An old frame or action of a latched topic is no part of an episode.
        latched = topic not in self._topics.needed and bool(offered) and all(
            profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in offered)
        if latched or topic == self._topics.gripper:
            self._latched[topic] = collections.deque(maxlen=max(1, len(offered)))
        self.counts[topic] = 0
        self._node.create_subscription(
            message_type, topic, self._recording(topic, kind), QoSProfile(
                depth=_DEPTH,
                reliability=ReliabilityPolicy.RELIABLE if reliable
                else ReliabilityPolicy.BEST_EFFORT,
                durability=DurabilityPolicy.TRANSIENT_LOCAL if latched
                else DurabilityPolicy.VOLATILE), raw=True)

    def _type_of(self, topic: str, wait_s: float) -> str:
        pause = threading.Event()
        for _ in range(max(1, round(wait_s / _POLL_S))):
            known = dict(self._node.get_topic_names_and_types())
            if topic in known and self._node.count_publishers(topic):
                return known[topic][0]
            pause.wait(_POLL_S)
        there = sorted(name for name in known if self._node.count_publishers(name))
        raise ParameterError(f"topic '{topic}' must be published, it is not; there are "
                             f"{', '.join(there)}{closest(topic, there)}")

    def _recording(self, topic: str, kind: str) -> Callable[[bytes], None]:
        def record(data: bytes) -> None:
            now_ns = self._now_ns()
            with self._lock:
                if topic in self._latched:
                    self._latched[topic].append(data)
                if topic == self._topics.gripper:
                    fault = self._twists.take_gripper(
                        deserialize_message(data, Float64MultiArray))
                    if fault:
                        _LOG.warning("'%s': %s", topic, fault)
                if self._bag is not None:
                    self._bag.write(topic, kind, now_ns, data)
                self.counts[topic] += 1  # what was not written does not count
                if topic == self._topics.action and kind == TWIST:
                    self._take_twist(now_ns, deserialize_message(data, TwistStamped))

        return record

    def _take_twist(self, now_ns: int, message: TwistStamped) -> None:
        fault = frame_fault(message.header.frame_id, self._profile)
        if self._bag is None:
            self._fault = fault
            return
        self._fault = self._fault or fault
        if not self._fault:
            self._write_actions(self._bag, self._twists.take(
                message, stamp_ns(message) or now_ns))

    def _write_actions(self, bag: EpisodeBag, steps: Sequence[Step]) -> None:
        for begin_ns, action in steps:
            bag.add_joints(ACTION_TOPIC, begin_ns, self._profile.action.names, action)

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds
