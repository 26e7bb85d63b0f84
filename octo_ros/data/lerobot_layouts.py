"""Where the two versions of LeRobot's format put an episode, and how they index it."""

import json
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from octo_ros.array_typing import UInt8
from octo_ros.data.lerobot_encoder import VideoFile
from octo_ros.data.lerobot_encoder import video_info
from octo_ros.data.lerobot_info import OURS
from octo_ros.data.lerobot_info import V21
from octo_ros.data.lerobot_info import V30
from octo_ros.data.lerobot_stats import Stats
from octo_ros.data.lerobot_stats import flat_stats
from octo_ros.data.lerobot_tables import tasks_table

CHUNK = 1000  # files in a folder
_MEGABYTE = 2**20
_FILE = 'chunk-{chunk_index:03d}/file-{file_index:03d}'
_EPISODE = 'episode_{episode_index:06d}'
_OLD_CHUNK = 'chunk-{episode_chunk:03d}'
_EPISODES_PER_FILE = 1000


class Limits(NamedTuple):
    """Sizes from which version 3.0 begins a new file [MiB]."""

    data_mb: int = 100
    video_mb: int = 200


class Written(NamedTuple):
    """An episode to write.

    Attributes:
        number: its number.
        start: number of its first row.
        task: its instruction.
        table: its rows.
        frames: camera feature to frames.
        stats: feature to statistics.
        extra: what LeRobot has no place for, as JSON.
    """

    number: int
    start: int
    task: str
    table: pa.Table
    frames: Mapping[str, UInt8[np.ndarray, 't ih iw 3']]
    stats: Mapping[str, Stats]
    extra: str


class Layout(Protocol):
    """A version of the format."""

    paths: Mapping[str, Any]

    def add(self, episode: Written) -> None:
        """Writes an episode."""
        ...

    def finish(self, tasks: Sequence[str], stats: Mapping[str, Stats]) -> dict[str, Any]:
        """Writes the index; returns what `info.json` says beside `paths`."""
        ...

    def close(self) -> None:
        """Closes all files; also after an error."""
        ...

    def video_info(self, key: str) -> dict[str, Any]:
        """Returns what is known of a camera's videos."""
        ...


class LayoutV21:
    """Version 2.1: a table and a video for each episode."""

    paths: Mapping[str, Any] = {
        'codebase_version': V21, 'chunks_size': CHUNK,
        'data_path': f'data/{_OLD_CHUNK}/{_EPISODE}.parquet',
        'video_path': f'videos/{_OLD_CHUNK}/{{video_key}}/{_EPISODE}.mp4'}

    def __init__(self, root: Path, fps: Fraction, codec: str) -> None:
        self._root = root
        self._fps = fps
        self._codec = codec
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, Any]] = []
        self._videos: dict[str, Path] = {}

    def add(self, episode: Written) -> None:
        """Writes an episode."""
        place = {'episode_index': episode.number, 'episode_chunk': episode.number // CHUNK}
        data = self._root / self.paths['data_path'].format(**place)
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(episode.table, data)
        for key, frames in episode.frames.items():
            file = self._root / self.paths['video_path'].format(video_key=key, **place)
            self._videos.setdefault(key, file)
            with VideoFile(file, self._fps, frames.shape[1:3], self._codec) as video:
                video.add(frames)
        self._episodes.append({
            'episode_index': episode.number, 'tasks': [episode.task],
            'length': len(episode.table), OURS: episode.extra})
        self._stats.append({'episode_index': episode.number, 'stats': dict(episode.stats)})

    def finish(self, tasks: Sequence[str], stats: Mapping[str, Stats]) -> dict[str, Any]:
        """Writes the index; LeRobot takes the statistics of all from those of each."""
        meta = self._root / 'meta'
        _write_lines(meta / 'episodes.jsonl', self._episodes)
        _write_lines(meta / 'episodes_stats.jsonl', self._stats)
        _write_lines(meta / 'tasks.jsonl', (
            {'task_index': number, 'task': task} for number, task in enumerate(tasks)))
        count = len(self._episodes)
        return {'total_videos': count * len(self._videos),
                'total_chunks': (count + CHUNK - 1) // CHUNK}

    def close(self) -> None:
        """Has nothing open between episodes."""

    def video_info(self, key: str) -> dict[str, Any]:
        """Returns what is known of a camera's videos."""
        return video_info(self._videos[key])


class LayoutV30:
    """Version 3.0: several episodes in a table, and behind each other in a video."""

    paths: Mapping[str, Any] = {
        'codebase_version': V30, 'chunks_size': CHUNK, 'data_path': f'data/{_FILE}.parquet',
        'video_path': f'videos/{{video_key}}/{_FILE}.mp4'}

    def __init__(self, root: Path, fps: Fraction, codec: str, limits: Limits) -> None:
        self._root = root
        self._fps = fps
        self._codec = codec
        self._limits = limits
        self._rows: list[dict[str, Any]] = []
        self._data: pq.ParquetWriter | None = None
        self._data_number = self._data_bytes = 0
        self._videos: dict[str, tuple[int, VideoFile]] = {}
        self._first: dict[str, Path] = {}

    def add(self, episode: Written) -> None:
        """Writes an episode."""
        count = len(self._rows)
        row = {
            'episode_index': episode.number, 'tasks': [episode.task],
            'length': len(episode.table), **self._add_data(episode.table),
            'dataset_from_index': episode.start,
            'dataset_to_index': episode.start + len(episode.table)}
        for key, frames in episode.frames.items():
            row |= self._add_video(key, frames)
        self._rows.append(row | flat_stats(episode.stats) | {
            'meta/episodes/chunk_index': count // (CHUNK * _EPISODES_PER_FILE),
            'meta/episodes/file_index': count // _EPISODES_PER_FILE % CHUNK,
            OURS: episode.extra})

    def finish(self, tasks: Sequence[str], stats: Mapping[str, Stats]) -> dict[str, Any]:
        """Writes the index, and the statistics of all."""
        self.close()
        meta = self._root / 'meta'
        for start in range(0, len(self._rows), _EPISODES_PER_FILE):
            rows = self._rows[start:start + _EPISODES_PER_FILE]
            file = meta / 'episodes' / (_FILE.format(
                chunk_index=rows[0]['meta/episodes/chunk_index'],
                file_index=rows[0]['meta/episodes/file_index']) + '.parquet')
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), file)
        pq.write_table(tasks_table(tasks), meta / 'tasks.parquet')
        (meta / 'stats.json').write_text(json.dumps(stats, indent=4))
        return {'data_files_size_in_mb': self._limits.data_mb,
                'video_files_size_in_mb': self._limits.video_mb}

    def close(self) -> None:
        """Closes the files that are open."""
        data, self._data = self._data, None
        if data is not None:
            data.close()
        for _, video in self._videos.values():
            video.close()
        self._videos = {}

    def video_info(self, key: str) -> dict[str, Any]:
        """Returns what is known of a camera's videos; to be asked when they are closed."""
        return video_info(self._first[key])

    def _add_data(self, table: pa.Table) -> dict[str, int]:
        full = self._data_bytes + table.nbytes >= self._limits.data_mb * _MEGABYTE
        if self._data is not None and full:
            self._data.close()
            self._data = None
            self._data_number += 1
        if self._data is None:
            file = self._root / self.paths['data_path'].format(**_place(self._data_number))
            file.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(file, table.schema)
            self._data_bytes = 0
        self._data.write_table(table)
        self._data_bytes += table.nbytes
        return {f'data/{name}': value for name, value in _place(self._data_number).items()}

    def _add_video(self, key: str, frames: UInt8[np.ndarray, 't ih iw 3']) -> dict[str, Any]:
        number, video = self._videos.get(key, (0, None))
        if video is not None and video.size_bytes >= self._limits.video_mb * _MEGABYTE:
            video.close()
            number, video = number + 1, None
        if video is None:
            file = self._root / self.paths['video_path'].format(video_key=key, **_place(number))
            self._first.setdefault(key, file)
            video = VideoFile(file, self._fps, frames.shape[1:3], self._codec)
            self._videos[key] = number, video
        start = video.frames
        video.add(frames)
        told = _place(number) | {'from_timestamp': float(start / self._fps),
                                 'to_timestamp': float(video.frames / self._fps)}
        return {f'videos/{key}/{name}': value for name, value in told.items()}


def _place(number: int) -> dict[str, int]:
    return {'chunk_index': number // CHUNK, 'file_index': number % CHUNK}


def _write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows),
                    encoding='utf-8')
