"""What a recording holds for the policy: which topic is which camera, the action, the task."""

import dataclasses
import re
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.bags.reader import IMAGE_TYPES
from octo_ros.bags.reader import BagReader
from octo_ros.bags.twist_actions import GRIPPER
from octo_ros.bags.twist_actions import POSE
from octo_ros.bags.twist_actions import TWIST
from octo_ros.errors import BagError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.messages.conversions import stamp_ns
from octo_ros.messages.ingest import MEASURED_JOINTS
from octo_ros.messages.ingest import MEASURED_POSE
from octo_ros.policy.proprio import PROPRIO

ACTION_TYPES = ('sensor_msgs/msg/JointState', 'std_msgs/msg/Float64MultiArray',
                'trajectory_msgs/msg/JointTrajectory')
COMMAND_TYPES = (TWIST, POSE)  # these become actions by the robot's profile
DEFAULT_ACTION_TOPICS = ('/expert_action', '/action')
DEFAULT_INSTRUCTION_TOPIC = '/instruction'
_STATE_TYPES = {PROPRIO: 'sensor_msgs/msg/JointState',
                MEASURED_JOINTS: 'sensor_msgs/msg/JointState',
                MEASURED_POSE: 'geometry_msgs/msg/PoseStamped'}


@dataclasses.dataclass(frozen=True)
class TopicMap:
    """Which topics of a recording play which part.

    Attributes:
        streams: the runtime's stream name (`image_primary`, `proprio`, ...) to topic; states may
            share one.
        instruction: topic of the text task, or None.
        action: topic of the recorded action to compare with, or None.
        action_guessed: nobody asked for that topic, so it may be left out if it does not fit.
        gripper: topic of gripper commands, for actions that are twists or poses, or None.
    """

    streams: Mapping[str, str]
    instruction: str | None
    action: str | None
    action_guessed: bool = False
    gripper: str | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics that are read, each once."""
        wanted = (*self.streams.values(), self.instruction, self.action, self.gripper)
        return tuple(dict.fromkeys(topic for topic in wanted if topic is not None))

    @property
    def image_keys(self) -> tuple[str, ...]:
        """The observation keys that have a camera."""
        return tuple(key for key in self.streams if key.startswith('image_'))


def map_topics(bag: BagReader, image_keys: Sequence[str], *, cameras: Mapping[str, str],
               others: Mapping[str, str] | None = None, instruction: str | None = None,
               action: str | None = None, gripper: str | None = None) -> TopicMap:
    """Finds the topics of a recording that the policy uses.

    Args:
        bag: the recording.
        image_keys: the checkpoint's observation keys.
        cameras: key, with or without `image_`, to topic. When empty, topics that name a key are
            taken (`/image_wrist`, `/camera_wrist/image_raw`), or the only camera for the
            checkpoint's first key.
        others: further stream name to topic (`proprio`, `measured_pose`, `measured_joints`).
        instruction: topic of the text task; `/instruction` when None and there.
        action: topic of the recorded action; `/expert_action` or `/action` when None and there.
        gripper: topic of gripper commands, for actions that are twists or poses.

    Raises:
        BagError: a topic is not in the recording, or has another type, or no camera is found.
        ParameterError: a key is not in the checkpoint, or two cameras are one.
    """
    streams: dict[str, str] = {}
    for key, topic in cameras.items():
        name = _full_key(key, image_keys)
        if name in streams:
            raise ParameterError(f"camera '{name}' must be given once, got {streams[name]} and "
                                 f'{topic}')
        streams[name] = topic
    if len(set(streams.values())) < len(streams):
        raise ParameterError('every camera must have a topic of its own, got '
                             + ', '.join(f'{key}={topic}' for key, topic in cameras.items()))
    if not streams:
        streams = _guess_cameras(bag, image_keys)
    for topic in streams.values():
        _require(bag, topic, IMAGE_TYPES)
    for name, topic in (others or {}).items():
        _require(bag, topic, (_STATE_TYPES[name],))
        streams[name] = topic
    if instruction is None and DEFAULT_INSTRUCTION_TOPIC in bag.topics:
        instruction = DEFAULT_INSTRUCTION_TOPIC
    elif instruction is not None:
        _require(bag, instruction, ('std_msgs/msg/String',))
    if gripper is not None:
        _require(bag, gripper, (GRIPPER,))
    return TopicMap(streams, instruction, _action(bag, action), action is None, gripper)


def decode_action(message: Any, names: Sequence[str]) -> Float[np.ndarray, 'ad']:
    """Returns the action of a recorded message, ordered by `names` where it names its numbers.

    Raises:
        BagError: it has another number of values than the policy's action.
    """
    given: list[str] = []
    if hasattr(message, 'points'):
        values = message.points[0].positions if message.points else ()
        given = list(message.joint_names)
    elif hasattr(message, 'position'):
        values, given = message.position, list(message.name)
    else:
        values = message.data
    numbers = np.asarray(values, np.float64)
    if len(given) == numbers.size and set(names) <= set(given):
        return numbers[[given.index(name) for name in names]]
    if numbers.size != len(names):
        raise BagError(
            f"recorded action must hold the {len(names)} numbers {', '.join(names)}, got "
            f"{numbers.size}: {', '.join(given) or 'unnamed'}; choose another --action-topic or "
            'robot profile')
    return numbers


def require_finite(action: Float[np.ndarray, 'ad'], names: Sequence[str]) -> None:
    """Raises BagError for an action with NaN or infinity."""
    bad = [f'{value} for {name}' for name, value in zip(names, action, strict=True)
           if not np.isfinite(value)]
    if bad:
        raise BagError(f"recorded action must be finite, got {', '.join(bad)}")


def action_stamp_ns(message: Any, log_ns: int) -> int:
    """Returns the header stamp of a recorded action, or its time of recording [ns]."""
    return (stamp_ns(message) if hasattr(message, 'header') else 0) or log_ns


def _action(bag: BagReader, topic: str | None) -> str | None:
    if topic is None:
        return next((t for t in DEFAULT_ACTION_TOPICS if bag.topics.get(t) in ACTION_TYPES), None)
    _require(bag, topic, (*ACTION_TYPES, *COMMAND_TYPES))
    return topic


def _full_key(key: str, image_keys: Sequence[str]) -> str:
    name = key if key.startswith('image_') else f'image_{key}'
    if name not in image_keys:
        raise ParameterError(
            f"camera must be one of the checkpoint's {', '.join(image_keys)}, got '{key}'"
            f'{closest(name, image_keys)}')
    return name


def _guess_cameras(bag: BagReader, image_keys: Sequence[str]) -> dict[str, str]:
    topics = bag.topics_of(IMAGE_TYPES)
    found: dict[str, str] = {}
    for key in image_keys:
        named = [topic for topic in topics if key in topic.split('/')]
        word = key.removeprefix('image_')
        named = named or [topic for topic in topics if word in re.split('[/_]', topic)]
        if len(named) == 1 and named[0] not in found.values():
            found[key] = named[0]
    if not found and len(topics) == 1:
        found = {image_keys[0]: topics[0]}
    if not found:
        first = image_keys[0].removeprefix('image_')
        raise BagError(
            f"recording {bag.path} must have a camera for {', '.join(image_keys)}, got the image "
            f"topics {', '.join(topics) or 'none'}; say which is which, for instance --camera "
            f"{first}={topics[0] if topics else '/camera/image_raw'}")
    return found


def _require(bag: BagReader, topic: str, types: Sequence[str]) -> None:
    bag.require(topic)
    if bag.topics[topic] not in types:
        raise BagError(f"topic '{topic}' must have the type {' or '.join(types)}, got "
                       f'{bag.topics[topic]}')
