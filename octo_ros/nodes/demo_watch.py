"""Listens to a controller at work: views, chunks, commands and diagnostics, with their times.

Times of sending and receipt are those that DDS notes, in the clock of this machine, so how busy
this process is does not matter.
"""

import collections
import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from octo_ros.array_typing import Float
from octo_ros.nodes import qos
from octo_ros.nodes.controller_node import NAME

_NS = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Frame:
    """A camera's frame as it arrived.

    Attributes:
        camera: its observation key.
        stamp_s: of its header [s].
        jpeg: the compressed image.
    """

    camera: str
    stamp_s: float
    jpeg: bytes


@dataclasses.dataclass(frozen=True)
class Chunk:
    """An action chunk as it arrived.

    Attributes:
        stamp_ns: stamp of the observation that it was computed from [ns].
        arrival_s: wall time [s].
        actions: un-normalised.
    """

    stamp_ns: int
    arrival_s: float
    actions: Float[np.ndarray, 'ah ad']

    @property
    def stamp_s(self) -> float:
        """The same stamp [s]."""
        return self.stamp_ns / _NS


@dataclasses.dataclass
class Seen:
    """What was seen.

    Attributes:
        names: of the action dimensions.
        frames: of the cameras.
        chunks: in order of arrival.
        commands: wall time of arrival of each command [s].
        states: stamp of each measured state [ns] to the wall time at which it was sent [s].
        hand: stamp [s] and measured position of the end effector [m].
        diagnostics: last values of each entry by its name.
    """

    names: Sequence[str] = ()
    frames: list[Frame] = dataclasses.field(default_factory=list)
    chunks: list[Chunk] = dataclasses.field(default_factory=list)
    commands: list[float] = dataclasses.field(default_factory=list)
    states: dict[int, float] = dataclasses.field(default_factory=dict)
    hand: list[tuple[float, Float[np.ndarray, '3']]] = dataclasses.field(default_factory=list)
    diagnostics: dict[str, dict[str, str]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(dict))

    @property
    def now_s(self) -> float:
        """The newest stamp of the robot [s]; 0 before the first."""
        return self.hand[-1][0] if self.hand else 0.0


class Watch:
    """Subscribes with a node and notes what comes in `seen`."""

    def __init__(self, node: Node, cameras: Mapping[str, str], *, quality: str,
                 state_topic: str = '') -> None:
        """Subscribes.

        Args:
            node: whose callbacks note what comes.
            cameras: observation key to topic of compressed images.
            quality: name of the QoS of the cameras.
            state_topic: of the measured state (JointState: x, y, z first); none when empty.
        """
        self.seen = Seen()
        for key, topic in cameras.items():
            node.create_subscription(
                CompressedImage, topic, self._noting_frames(key), qos.named(quality))
        for kind, topic, note in (
                (JointTrajectory, f'{NAME}/action_chunk', self._on_chunk),
                (TwistStamped, f'{NAME}/command/twist', self._on_command),
                (DiagnosticArray, '/diagnostics', self._on_diagnostics)):
            node.create_subscription(kind, topic, note, qos.named('reliable'))
        if state_topic:
            node.create_subscription(
                JointState, state_topic, self._on_state, qos.named('reliable'))

    def _noting_frames(self, key: str) -> Callable[[CompressedImage], None]:
        def note(message: CompressedImage) -> None:
            self.seen.frames.append(
                Frame(key, _stamp_ns(message) / _NS, bytes(message.data)))

        return note

    def _on_chunk(self, message: JointTrajectory, info: Any) -> None:
        self.seen.names = tuple(message.joint_names)
        self.seen.chunks.append(Chunk(
            _stamp_ns(message), info['received_timestamp'] / _NS,
            np.array([point.positions for point in message.points])))

    def _on_command(self, _message: TwistStamped, info: Any) -> None:
        self.seen.commands.append(info['received_timestamp'] / _NS)

    def _on_state(self, message: JointState, info: Any) -> None:
        stamp_ns = _stamp_ns(message)
        self.seen.states[stamp_ns] = info['source_timestamp'] / _NS
        self.seen.hand.append((stamp_ns / _NS, np.array(message.position[:3])))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.seen.diagnostics[status.name] = {
                'state': status.message, **{item.key: item.value for item in status.values}}


def latencies_s(seen: Seen, begin_s: float, end_s: float) -> list[float]:
    """Returns the time from what was seen to the first command by it, for each chunk [s].

    It begins when the measured state that belongs to the views was sent and ends when the first
    command after the chunk arrives: two ways over DDS, decoding and inference are in it.

    Args:
        seen: what was seen.
        begin_s: wall time from which chunks count [s].
        end_s: wall time after which commands do not [s].
    """
    commands = np.array([time_s for time_s in seen.commands if begin_s <= time_s <= end_s])
    found = []
    for chunk in seen.chunks:
        sent_s = seen.states.get(chunk.stamp_ns)
        after = int(np.searchsorted(commands, chunk.arrival_s))
        if sent_s is not None and chunk.arrival_s >= begin_s and after < len(commands):
            found.append(float(commands[after]) - sent_s)
    return found


def rate_hz(times_s: Sequence[float]) -> float:
    """Returns how many a second there were; 0 for less than two."""
    span_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
    return (len(times_s) - 1) / span_s if span_s > 0.0 else 0.0


def _stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * _NS + message.header.stamp.nanosec
