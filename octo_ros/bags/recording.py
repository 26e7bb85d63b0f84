"""Writes an episode as a rosbag2 recording (mcap), with the topics of a robot.

| topic | type | content |
|---|---|---|
| `/camera_<name>/image_raw/compressed` | CompressedImage | one frame a policy step |
| `/instruction` | String | what was asked for, once |
| `/state` | JointState | x, y, z, roll, pitch, yaw, gripper of the end effector, measured |
| `/expert_action` | JointState | the action taken after what was seen, by its names |
| `/joint_states` | JointState | measured joints, where they are known |
| `/success` | Bool | whether the task was done, once, at the end |
| `/episode` | String | further facts as a JSON object (`seed`, `task`, `paraphrases`), once |

All messages of a step carry one stamp. A recording of `ros2 bag record` with the first four is as
good for training.
"""

import dataclasses
import functools
import json
import shutil
import tempfile
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Literal

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore
from rosbags.typesys.store import Typestore

from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.array_typing import UInt8
from octo_ros.errors import BagError
from octo_ros.params import param

CAMERA_TOPIC = '/camera_{}/image_raw/compressed'
INSTRUCTION_TOPIC = '/instruction'
STATE_TOPIC = '/state'
ACTION_TOPIC = '/expert_action'
JOINTS_TOPIC = '/joint_states'
SUCCESS_TOPIC = '/success'
FACTS_TOPIC = '/episode'
NAMES = ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper')

_IMAGE = 'sensor_msgs/msg/CompressedImage'
_JOINTS = 'sensor_msgs/msg/JointState'
_TEXT = 'std_msgs/msg/String'
_BOOL = 'std_msgs/msg/Bool'
_BAG_VERSION: Literal[9] = 9
_NS = 1_000_000_000


@dataclasses.dataclass(frozen=True)
class ImageFormat:
    """How frames are compressed."""

    format: str = param(
        'jpeg', 'jpeg is small and quick; png keeps every bit.', one_of=('jpeg', 'png'))
    jpeg_quality: int = param(95, 'Quality of jpeg.', ge=1, le=100)

    def encode(self, image: UInt8[np.ndarray, 'ih iw 3']) -> UInt8[np.ndarray, 'n']:
        """Returns the bytes of an RGB image."""
        options = ([cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality] if self.format == 'jpeg'
                   else [cv2.IMWRITE_PNG_COMPRESSION, 1])
        suffix = '.jpg' if self.format == 'jpeg' else '.png'
        return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].reshape(-1)


@dataclasses.dataclass(frozen=True)
class RecordedEpisode:
    """What is written of one episode of t steps; row k was seen before action k.

    Attributes:
        instruction: what was asked for.
        success: whether it was done; None when nobody said.
        stamps_ns: time of each step since the start of the episode [ns].
        images: RGB frames by camera name (`primary`).
        state: measured numbers by `names`.
        actions: actions by `names`.
        joints: measured joint positions by `joint_names` [rad], or None.
        joint_names: names of the joints.
        names: of the numbers of state and action.
        facts: further values that JSON can hold.
    """

    instruction: str
    success: bool | None
    stamps_ns: Int[np.ndarray, 't']
    images: Mapping[str, UInt8[np.ndarray, 't ih iw 3']]
    state: Float[np.ndarray, 't p']
    actions: Float[np.ndarray, 't ad']
    joints: Float[np.ndarray, 't j'] | None = None
    joint_names: Sequence[str] = ()
    names: Sequence[str] = NAMES
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def write_episode(path: str | Path, episode: RecordedEpisode, *, start_ns: int,
                  image_format: ImageFormat | None = None) -> None:
    """Writes one recording. The folder appears whole, or not at all.

    The same episode, format and start give the same bytes.

    Args:
        path: the folder to make.
        episode: what to write.
        start_ns: stamp of its beginning [ns since 1970].
        image_format: how frames are compressed.

    Raises:
        BagError: there is something at `path`.
    """
    path = Path(path)
    if path.exists():
        raise BagError(f'recording {path} must be new, got something there; choose another folder')
    path.parent.mkdir(parents=True, exist_ok=True)
    types = _types()
    # rosbags names the file inside after the folder, so the folder has its name from the start.
    partial = Path(tempfile.mkdtemp(prefix='.partial-', dir=path.parent))
    try:
        with Writer(partial / path.name, version=_BAG_VERSION,
                    storage_plugin=StoragePlugin.MCAP) as writer:
            connections: dict[str, Any] = {}
            for offset_ns, topic, kind, message in _messages(
                    episode, start_ns, image_format or ImageFormat(), types):
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=types)
                writer.write(connections[topic], start_ns + offset_ns,
                             types.serialize_cdr(message, kind))
        (partial / path.name).rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@functools.cache
def _types() -> Typestore:
    return get_typestore(Stores.ROS2_KILTED)


def _messages(episode: RecordedEpisode, start_ns: int, image_format: ImageFormat,
              types: Typestore) -> Iterator[tuple[int, str, str, Any]]:
    """Yields time since the start [ns], topic, type and message, in order of time."""
    text, flag = types.types[_TEXT], types.types[_BOOL]
    begin_ns = int(episode.stamps_ns[0])
    if episode.facts:
        yield begin_ns, FACTS_TOPIC, _TEXT, text(json.dumps(dict(episode.facts), sort_keys=True))
    if episode.instruction:
        yield begin_ns, INSTRUCTION_TOPIC, _TEXT, text(episode.instruction)
    for row, offset_ns in enumerate(episode.stamps_ns.tolist()):
        def header(frame_id: str, stamp_ns: int = start_ns + offset_ns) -> Any:
            stamp = types.types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, _NS))
            return types.types['std_msgs/msg/Header'](stamp, frame_id)

        for camera, frames in episode.images.items():
            yield offset_ns, CAMERA_TOPIC.format(camera), _IMAGE, types.types[_IMAGE](
                header(f'camera_{camera}'), f'rgb8; {image_format.format} compressed bgr8',
                image_format.encode(frames[row]))
        for topic, names, values in (
                (STATE_TOPIC, episode.names, episode.state),
                (JOINTS_TOPIC, episode.joint_names, episode.joints),
                (ACTION_TOPIC, episode.names, episode.actions)):
            if values is not None:
                yield offset_ns, topic, _JOINTS, types.types[_JOINTS](
                    header('base_link'), list(names), values[row].astype(np.float64),
                    np.zeros(0), np.zeros(0))
    if episode.success is not None:
        yield int(episode.stamps_ns[-1]), SUCCESS_TOPIC, _BOOL, flag(episode.success)
