"""`meta/info.json` of a LeRobot data set: its version, rate, features and where files lie.

Known are the versions 2.0 and 2.1 (a file an episode) and 3.0 (several episodes a file).
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any

from octo_ros.errors import DataError
from octo_ros.errors import closest

INFO = 'meta/info.json'
V20, V21, V30 = 'v2.0', 'v2.1', 'v3.0'
VERSIONS = (V20, V21, V30)
OURS = 'octo_ros'  # column of the index with what LeRobot has no place for
ACTION = 'action'
STATE = 'observation.state'
CAMERA_PREFIXES = ('observation.images.', 'observation.')
_PICTURES = ('image', 'video')


@dataclasses.dataclass(frozen=True)
class Feature:
    """A feature of the data set.

    Attributes:
        key: its name.
        dtype: `video`, `image`, `string` or a numpy name.
        shape: shape of one step's value.
        names: what its numbers are called, if that is told and there is one for each.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None

    @property
    def is_camera(self) -> bool:
        """Whether it holds colour pictures."""
        return self.dtype in _PICTURES and (len(self.shape) != 3 or 1 not in self.shape[::2])


@dataclasses.dataclass(frozen=True)
class LeRobotInfo:
    """A data set's description.

    Attributes:
        root: the folder.
        version: one of `VERSIONS`.
        fps: rows per second.
        features: name to feature.
        data_path: template of the parquet files' paths.
        video_path: template of the videos' paths; empty without videos.
        chunks_size: episodes (2.x) or files (3.0) in a folder.
        robot_type: what the data set says of the robot; may be empty.
    """

    root: Path
    version: str
    fps: float
    features: Mapping[str, Feature]
    data_path: str
    video_path: str
    chunks_size: int
    robot_type: str

    @property
    def cameras(self) -> list[str]:
        """Names of the features with colour pictures."""
        return [key for key, feature in self.features.items() if feature.is_camera]

    def path(self, template: str, **values: Any) -> Path:
        """Returns a file of the data set by the template of its path.

        Raises:
            DataError: the template asks for something else, or leads out of the folder.
        """
        try:
            name = template.format(**values)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise DataError(f"{self.root / INFO}: the path '{template}' must be made of "
                            f"{', '.join(values)}, got: {error!r}") from error
        inside = PurePosixPath(name)
        if inside.is_absolute() or '..' in inside.parts:
            raise DataError(f"{self.root / INFO}: the path '{template}' must stay in the data "
                            f"set's folder, got '{name}'")
        return self.root / inside


def is_lerobot(path: Path) -> bool:
    """Whether a folder is a LeRobot data set."""
    return (path / INFO).is_file()


def load_info(root: Path) -> LeRobotInfo:
    """Reads the description.

    Raises:
        DataError: it is missing, damaged, of an unknown version or lacks something.
    """
    file = root / INFO
    try:
        info = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{file} must describe a LeRobot data set, got: {error}') from error
    if not isinstance(info, dict):
        raise DataError(f'{file} must hold a JSON object, got {type(info).__name__}')
    version = info.get('codebase_version')
    if version not in VERSIONS:
        raise DataError(
            f"{file}: 'codebase_version' must be one of {', '.join(VERSIONS)}, got '{version}'; "
            "convert the data set with LeRobot's own scripts")
    fps = _get(file, info, 'fps', (int, float))
    if not (math.isfinite(fps) and fps > 0):
        raise DataError(f"{file}: 'fps' must be above 0, got {fps}")
    features = {key: _feature(file, key, value)
                for key, value in _get(file, info, 'features', (dict,)).items()}
    return LeRobotInfo(
        root=root, version=version, fps=float(fps), features=features,
        data_path=_get(file, info, 'data_path', (str,)), video_path=info.get('video_path') or '',
        chunks_size=max(int(info.get('chunks_size', 1000)), 1),
        robot_type=str(info.get('robot_type') or ''))


def _get(file: Path, info: Mapping[str, Any], key: str, kinds: tuple[type, ...]) -> Any:
    value = info.get(key)
    if not isinstance(value, kinds) or isinstance(value, bool):
        hint = closest(key, info) if key not in info else ''
        raise DataError(f"{file}: '{key}' must be {' or '.join(kind.__name__ for kind in kinds)}, "
                        f'got {value!r}{hint}')
    return value


def _feature(file: Path, key: str, value: Any) -> Feature:
    try:
        shape = tuple(int(size) for size in value['shape'])
        dtype = str(value['dtype'])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: feature '{key}' must have 'dtype' and 'shape', got "
                        f'{value!r}') from error
    return Feature(key, dtype, shape, _names(value.get('names'), math.prod(shape)))


def _names(told: Any, count: int) -> tuple[str, ...] | None:
    """Returns the names of a feature's numbers; older sets nest them (`{'motors': [...]}`)."""
    if isinstance(told, dict):
        parts = [item if isinstance(item, list) else [name] for name, item in told.items()]
        told = [name for part in parts for name in part]
    if not isinstance(told, list) or len(told) != count:
        return None
    return tuple(str(name) for name in told)
