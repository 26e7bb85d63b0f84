"""Records episodes of a running robot: its cameras, state and actions, as they come."""

import threading
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.serialization import deserialize_message
from std_msgs.msg import Float64MultiArray

from octo_ros.bags.recording import ACTION_TOPIC
from octo_ros.bags.recording import INSTRUCTION_TOPIC
from octo_ros.bags.recording import EpisodeBag
from octo_ros.bags.twist_actions import Step
from octo_ros.bags.twist_actions import TwistActions
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.messages.conversions import stamp_ns
from octo_ros.nodes.publishers import message_class
from octo_ros.nodes.spin import Spinner
from octo_ros.policy.profile import RobotProfile

TWIST = 'geometry_msgs/msg/TwistStamped'
GRIPPER = 'std_msgs/msg/Float64MultiArray'
_POLL_S = 0.05
_DEPTH = 50


class LiveRecorder:
    """Listens to topics, and writes what comes between `start` and `stop` into a recording."""

    def __init__(self, topics: list[str], profile: RobotProfile, *, action: str = '',
                 gripper: str = '', wait_s: float = 10.0) -> None:
        """Subscribes to topics that exist, with the quality of service of their publishers.

        Args:
            topics: all that is recorded as it is.
            profile: of the robot: names of the actions, and their duration.
            action: topic of the action; twists are also recorded as actions of the policy.
            gripper: topic of the gripper's commands, for twists.
            wait_s: for topics that are not there yet.

        Raises:
            ParameterError: a topic is not there, or is of a type that cannot be recorded.
        """
        self._profile = profile
        self._action, self._gripper_topic = action, gripper
        self._gripper = 1.0
        self._twists = TwistActions(profile)
        self._bag: EpisodeBag | None = None
        self._lock = threading.Lock()
        self.counts: dict[str, int] = {}
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = Node('octo_recorder', context=self._context)
        self._spinner = Spinner(self._node)
        try:
            for topic in dict.fromkeys([*topics, *filter(None, [action, gripper])]):
                self._subscribe(topic, wait_s)
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
        """Begins an episode. Raises BagError when there is something at `path`."""
        bag = EpisodeBag(path)
        now_ns = self._now_ns()
        bag.add_facts(now_ns, facts)
        if instruction:
            bag.add_text(INSTRUCTION_TOPIC, now_ns, instruction)
        with self._lock:
            self.counts = dict.fromkeys(self.counts, 0)
            self._twists = TwistActions(self._profile)
            self._bag = bag

    def stop(self, success: bool | None) -> dict[str, int]:
        """Ends an episode.

        Args:
            success: whether it was good; None drops it.

        Returns:
            Topic to number of messages.

        Raises:
            OctoError: a topic gave nothing; the episode is dropped.
        """
        with self._lock:
            bag, self._bag = self._bag, None
            counts = dict(self.counts)
        if bag is None:
            return {}
        silent = [topic for topic, count in counts.items()
                  if not count and topic != self._gripper_topic]
        if success is None or silent:
            bag.discard()
            if silent and success is not None:
                raise OctoError('every topic must give messages, got none on '
                                f"{', '.join(silent)}; the episode is dropped")
            return {}
        self._write_actions(bag, self._twists.finish())
        bag.add_success(self._now_ns(), success)
        bag.finish()
        return counts

    def _subscribe(self, topic: str, wait_s: float) -> None:
        kind = self._type_of(topic, wait_s)
        try:
            message_type = message_class(kind)
        except (ImportError, AttributeError) as error:
            raise ParameterError(f"topic '{topic}' must be of an installed type, got {kind}"
                                 ) from error
        offered = [info.qos_profile for info in self._node.get_publishers_info_by_topic(topic)]
        reliable = offered and all(
            profile.reliability == ReliabilityPolicy.RELIABLE for profile in offered)
        self.counts[topic] = 0
        self._node.create_subscription(
            message_type, topic, self._recording(topic, kind), QoSProfile(
                depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE if reliable
                else ReliabilityPolicy.BEST_EFFORT), raw=True)

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
                self.counts[topic] += 1
                if topic == self._gripper_topic and kind == GRIPPER:
                    numbers = list(deserialize_message(data, Float64MultiArray).data)
                    self._gripper = float(numbers[0]) if numbers else self._gripper
                if self._bag is None:
                    return
                self._bag.write(topic, kind, now_ns, data)
                if topic == self._action and kind == TWIST:
                    self._add_action(self._bag, now_ns, deserialize_message(data, TwistStamped))

        return record

    def _add_action(self, bag: EpisodeBag, now_ns: int, message: TwistStamped) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        self._write_actions(bag, self._twists.add(stamp_ns(message) or now_ns, np.array(
            [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]), self._gripper))

    def _write_actions(self, bag: EpisodeBag, steps: Sequence[Step]) -> None:
        for begin_ns, action in steps:
            bag.add_joints(ACTION_TOPIC, begin_ns, self._profile.action.names, action)

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds
