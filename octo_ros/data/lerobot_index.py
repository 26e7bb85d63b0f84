"""Which episodes a LeRobot data set has, in which files they lie, and what was asked for."""

import dataclasses
import json
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from octo_ros.data.lerobot_info import OURS
from octo_ros.data.lerobot_info import V30
from octo_ros.data.lerobot_info import LeRobotInfo
from octo_ros.errors import DataError

_EPISODES_V2 = 'meta/episodes.jsonl'
_TASKS_V2 = 'meta/tasks.jsonl'
_EPISODES_V3 = 'meta/episodes'
_TASKS_V3 = 'meta/tasks.parquet'
_INDEX_COLUMNS = ('task', '__index_level_0__')  # pandas' name for an index without one


@dataclasses.dataclass(frozen=True)
class VideoSpan:
    """Where an episode's frames lie: the file, and the time of its first frame in it [s]."""

    file: Path
    start_s: float


@dataclasses.dataclass(frozen=True)
class EpisodeEntry:
    """An episode in the index.

    Attributes:
        index: its number.
        length: how many rows it should have.
        tasks: its instructions.
        data: the parquet file.
        videos: feature to place, for cameras that are stored as videos.
        extra: what our own export adds.
    """

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    videos: Mapping[str, VideoSpan]
    extra: 'Extra'


@dataclasses.dataclass(frozen=True)
class Extra:
    """What LeRobot has no place for; empty in data sets of others.

    Attributes:
        instructions: the instruction and its paraphrases.
        success: whether the episode reached its aim, if known.
        metadata: further values.
        absent: observation key to the rows without a frame.
    """

    instructions: tuple[str, ...] = ()
    success: bool | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    absent: Mapping[str, frozenset[int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LeRobotIndex:
    """The episodes in order, and the instructions by their number."""

    episodes: tuple[EpisodeEntry, ...]
    tasks: Mapping[int, str]


def load_index(info: LeRobotInfo) -> LeRobotIndex:
    """Reads the index of episodes and tasks.

    Raises:
        DataError: a file of it is missing or damaged, or has no episode.
    """
    videos = [key for key, feature in info.features.items() if feature.dtype == 'video']
    if info.version == V30:
        tasks, found = _tasks_v3(info.root), _rows_v3(info.root)
    else:
        tasks = {_value(file, row, 'task_index', int): str(row.get('task', ''))
                 for file, row in _lines(info.root / _TASKS_V2)}
        found = _lines(info.root / _EPISODES_V2)
    entries = [_entry(info, file, row, videos) for file, row in found]
    if not entries:
        raise DataError(f'{info.root} must have at least one episode, got none')
    return LeRobotIndex(tuple(sorted(entries, key=lambda entry: entry.index)), tasks)


def read_table(file: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads a parquet file.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        with pq.ParquetFile(file) as table:
            return table.read(columns=columns)
    except (OSError, pa.ArrowException) as error:
        first = (str(error).splitlines() or [''])[0]
        raise DataError(f'{file} must be a parquet file that can be read, got: {first}') from error


def _entry(info: LeRobotInfo, file: Path, row: Mapping[str, Any], videos: list[str]
           ) -> EpisodeEntry:
    index = _value(file, row, 'episode_index', int)
    if info.version == V30:
        data = info.path(info.data_path, chunk_index=_value(file, row, 'data/chunk_index', int),
                         file_index=_value(file, row, 'data/file_index', int))
        spans = {key: VideoSpan(
            info.path(info.video_path, video_key=key,
                      chunk_index=_value(file, row, f'videos/{key}/chunk_index', int),
                      file_index=_value(file, row, f'videos/{key}/file_index', int)),
            _value(file, row, f'videos/{key}/from_timestamp', float)) for key in videos}
    else:
        place = {'episode_chunk': index // info.chunks_size, 'episode_index': index}
        data = info.path(info.data_path, **place)
        spans = {key: VideoSpan(info.path(info.video_path, video_key=key, **place), 0.0)
                 for key in videos}
    tasks = row.get('tasks')
    return EpisodeEntry(
        index, _value(file, row, 'length', int),
        tuple(str(task) for task in tasks) if isinstance(tasks, list) else (), data, spans,
        _extra(row.get(OURS)))


def _extra(text: Any) -> Extra:
    """Reads our own column; what is not of its form is passed over."""
    try:
        found = json.loads(text)
        success = found.get('success')
        return Extra(
            instructions=tuple(str(item) for item in found.get('instructions', [])),
            success=success if isinstance(success, bool) else None,
            metadata=dict(found.get('metadata', {})),
            absent={str(key): frozenset(int(row) for row in rows)
                    for key, rows in found.get('absent', {}).items()})
    except (TypeError, ValueError, AttributeError):
        return Extra()


def _value(file: Path, row: Mapping[str, Any], key: str, kind: type) -> Any:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != kind(value):
        raise DataError(f"{file}: every row must have '{key}' as {kind.__name__}, got {value!r}")
    return kind(value)


def _lines(file: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields the objects of a file of JSON lines."""
    try:
        lines = file.read_text(encoding='utf-8').splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f'{file} must be a file of JSON lines, got: {error}') from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f'{file}, line {number}: must be JSON, got: {error}') from error
        if not isinstance(row, dict):
            raise DataError(f'{file}, line {number}: must be an object, got {row!r}')
        yield file, row


def _rows_v3(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields the rows of the index of episodes, without their statistics."""
    files = sorted((root / _EPISODES_V3).glob('*/*.parquet'))
    if not files:
        raise DataError(f'{root / _EPISODES_V3} must hold chunk-000/file-000.parquet with the '
                        'index of episodes, got no parquet file')
    for file in files:
        try:
            names = pq.read_schema(file).names
        except (OSError, pa.ArrowException) as error:
            raise DataError(f'{file} must be a parquet file that can be read, got: '
                            f'{error}') from error
        table = read_table(file, [name for name in names if not name.startswith('stats/')])
        yield from ((file, row) for row in table.to_pylist())


def _tasks_v3(root: Path) -> dict[int, str]:
    file = root / _TASKS_V3
    rows = read_table(file).to_pylist()
    column = next((name for name in _INDEX_COLUMNS if rows and name in rows[0]), None)
    if rows and column is None:
        raise DataError(f"{file} must have the columns 'task_index' and 'task', got "
                        f"{', '.join(rows[0])}")
    return {_value(file, row, 'task_index', int): str(row[column]) for row in rows}
