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
from rosbags.typesys import TypesysError
from rosbags.typesys import get_types_from_msg
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


def register_types(definitions: Mapping[str, str]) -> None:
    """Lets recordings hold messages of these types, given by name as the text of message files.

    Types that are known already stay as they are.

    Raises:
        BagError: a definition cannot be read.
    """
    try:
        new = {name: fields for kind, text in definitions.items() if kind not in _types().fielddefs
               for name, fields in get_types_from_msg(text, kind).items()}
        _types().register(new)
        for name in new:
            _types().generate_msgdef(name)
    except TypesysError as error:
        raise BagError(f"message types {', '.join(definitions)} must be such as recordings can "
                       f'hold, got: {error}') from error


class EpisodeBag:
    """A recording that is being written. Its folder appears whole at the end, or not at all."""

    def __init__(self, path: str | Path) -> None:
        """Takes the folder to make.

        Raises:
            BagError: there is something there.
        """
        self.path = Path(path)
        if self.path.exists():
            raise BagError(f'recording {self.path} must be new, got something there; choose '
                           'another folder')
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.types = _types()
        # rosbags names the file inside after the folder, so it has its name from the start.
        self._partial = Path(tempfile.mkdtemp(prefix='.partial-', dir=self.path.parent))
        self._connections: dict[str, Any] = {}
        self._writer = Writer(self._partial / self.path.name, version=_BAG_VERSION,
                              storage_plugin=StoragePlugin.MCAP)
        self._writer.open()

    def write(self, topic: str, kind: str, time_ns: int, data: bytes | memoryview) -> None:
        """Writes a serialised message."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self.types)
        self._writer.write(self._connections[topic], time_ns, data)

    def add(self, topic: str, kind: str, time_ns: int, message: Any) -> None:
        """Writes a message of a class of `types`."""
        self.write(topic, kind, time_ns, self.types.serialize_cdr(message, kind))

    def add_text(self, topic: str, time_ns: int, text: str) -> None:
        """Writes a std_msgs/String."""
        self.add(topic, _TEXT, time_ns, self.types.types[_TEXT](text))

    def add_facts(self, time_ns: int, facts: Mapping[str, Any]) -> None:
        """Writes further facts, of values that JSON can hold."""
        self.add_text(FACTS_TOPIC, time_ns, json.dumps(dict(facts), sort_keys=True))

    def add_success(self, time_ns: int, success: bool) -> None:
        """Writes whether the task was done."""
        self.add(SUCCESS_TOPIC, _BOOL, time_ns, self.types.types[_BOOL](success))

    def add_joints(self, topic: str, time_ns: int, names: Sequence[str],
                   values: Float[np.ndarray, 'n']) -> None:
        """Writes a sensor_msgs/JointState that is stamped with its time."""
        empty = np.zeros(0)
        self.add(topic, _JOINTS, time_ns, self.types.types[_JOINTS](
            self._header(time_ns, 'base_link'), list(names), np.asarray(values, np.float64),
            empty, empty))

    def add_image(self, camera: str, time_ns: int, image: UInt8[np.ndarray, 'ih iw 3'],
                  image_format: ImageFormat) -> None:
        """Writes the frame of a camera, compressed."""
        self.add(CAMERA_TOPIC.format(camera), _IMAGE, time_ns, self.types.types[_IMAGE](
            self._header(time_ns, f'camera_{camera}'),
            f'rgb8; {image_format.format} compressed bgr8', image_format.encode(image)))

    def finish(self) -> None:
        """Closes the recording and puts it in its place."""
        self._writer.close()
        (self._partial / self.path.name).rename(self.path)
        self.discard()

    def discard(self) -> None:
        """Deletes what was written, unless it was finished."""
        self._writer.abort()  # which does nothing to a closed one
        shutil.rmtree(self._partial, ignore_errors=True)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        stamp = self.types.types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, _NS))
        return self.types.types['std_msgs/msg/Header'](stamp, frame_id)


def write_episode(path: str | Path, episode: RecordedEpisode, *, start_ns: int,
                  image_format: ImageFormat | None = None) -> None:
    """Writes one recording. The same episode, format and start give the same bytes.

    Args:
        path: the folder to make.
        episode: what to write.
        start_ns: stamp of its beginning [ns since 1970].
        image_format: how frames are compressed.

    Raises:
        BagError: there is something at `path`.
    """
    bag = EpisodeBag(path)
    try:
        _write(bag, episode, start_ns, image_format or ImageFormat())
        bag.finish()
    finally:
        bag.discard()


def _write(bag: EpisodeBag, episode: RecordedEpisode, start_ns: int, image_format: ImageFormat,
           ) -> None:
    times_ns = [start_ns + offset_ns for offset_ns in episode.stamps_ns.tolist()]
    if episode.facts:
        bag.add_facts(times_ns[0], episode.facts)
    if episode.instruction:
        bag.add_text(INSTRUCTION_TOPIC, times_ns[0], episode.instruction)
    for row, time_ns in enumerate(times_ns):
        for camera, frames in episode.images.items():
            bag.add_image(camera, time_ns, frames[row], image_format)
        bag.add_joints(STATE_TOPIC, time_ns, episode.names, episode.state[row])
        if episode.joints is not None:
            bag.add_joints(JOINTS_TOPIC, time_ns, episode.joint_names, episode.joints[row])
        bag.add_joints(ACTION_TOPIC, time_ns, episode.names, episode.actions[row])
    if episode.success is not None:
        bag.add_success(times_ns[-1], episode.success)


@functools.cache
def _types() -> Typestore:
    return get_typestore(Stores.ROS2_KILTED)
