"""LeRobot data sets (versions 2.0, 2.1 and 3.0) to demonstrations."""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.data.assemble import FrameSource
from octo_ros.data.assemble import RawEpisode
from octo_ros.data.assemble import assemble
from octo_ros.data.assemble import step_edges
from octo_ros.data.encoded_images import decode_frames
from octo_ros.data.findings import Demonstration
from octo_ros.data.findings import Finding
from octo_ros.data.frames import Frames
from octo_ros.data.frames import Trouble
from octo_ros.data.import_spec import ImportSpec
from octo_ros.data.import_spec import find_feature
from octo_ros.data.import_spec import guess_cameras
from octo_ros.data.lerobot_index import EpisodeEntry
from octo_ros.data.lerobot_index import load_index
from octo_ros.data.lerobot_index import read_table
from octo_ros.data.lerobot_info import ACTION
from octo_ros.data.lerobot_info import CAMERA_PREFIXES
from octo_ros.data.lerobot_info import STATE
from octo_ros.data.lerobot_info import Feature
from octo_ros.data.lerobot_info import load_info
from octo_ros.data.lerobot_video import read_frames
from octo_ros.errors import DataError

_EPISODE = 'episode_index'
_TIME = 'timestamp'
_TASK = 'task_index'
_SUCCESS = 'next.success'
_HALF = 0.5  # of the time between rows: no other frame is nearer


class LeRobotSource:
    """The episodes of a LeRobot data set.

    Attributes:
        summary: what it is, in one line.
        total: how many episodes it has.
    """

    def __init__(self, root: Path, spec: ImportSpec) -> None:
        """Reads the description and the index.

        Raises:
            DataError: a file is missing or damaged, the version is unknown, or a feature that
                was asked for is missing or of another form.
        """
        self._spec = spec
        self._info = load_info(root)
        known = list(self._info.features)
        self._action = self._vector(spec.action or ACTION, known)
        self._state = None if spec.state is None and STATE not in known else self._vector(
            spec.state or STATE, known)
        self._cameras = {
            key: find_feature(str(root), name, self._info.cameras, CAMERA_PREFIXES)
            for key, name in spec.cameras.items()} or guess_cameras(str(root), self._info.cameras)
        self._order = spec.columns(f"{root}: '{self._action.key}'", self._action.shape[0],
                                   self._action.names)
        self._joints = [] if self._state is None else spec.state_columns(
            f"{root}: '{self._state.key}'", self._state.shape[0], self._state.names)
        step_edges(1, 1.0 / self._info.fps, spec.step_s, str(root))
        if spec.reached and self._state is None:
            raise DataError(f"{root} must have '{STATE}' to take reached actions from, got none; "
                            'leave the actions as recorded')
        self._index = load_index(self._info)
        self._file: Path | None = None
        self._table: pa.Table | None = None
        self.total: int | None = len(self._index.episodes)
        self.summary = (f'{root}: LeRobot {self._info.version}, {self.total} episodes, '
                        f'{self._info.fps:g} rows a second, a policy step every '
                        f'{spec.step_s:.4g} s')

    def __iter__(self) -> Iterator[Demonstration]:
        """Yields the episodes; one whose instruction changes comes as one for each."""
        for entry in self._index.episodes:
            name = f'{self._info.root}#{entry.index}'
            try:
                table = self._rows(entry)
                parts = list(self._parts(entry, table))
            except DataError as error:
                yield Demonstration(None, (Finding(name, 'damage', '', None, str(error)),))
                continue
            findings = []
            if len(table) != entry.length:
                findings.append(Finding(
                    name, 'damage', '', None, f'{entry.data.name} has {len(table)} rows of this '
                    f'episode, the index says {entry.length}'))
            for part in parts:
                yield self._part(entry, table, part, name if len(parts) == 1 else
                                 f'{name}[{part.start}:{part.stop}]', findings)
                findings = []

    def _part(self, entry: EpisodeEntry, table: pa.Table, part: slice, name: str,
              findings: list[Finding]) -> Demonstration:
        table = table.slice(part.start, part.stop - part.start)
        try:
            return assemble(self._raw(entry, table, part, name), self._spec, findings)
        except DataError as error:
            return Demonstration(None, (*findings, Finding(name, 'damage', '', None, str(error))))

    def _raw(self, entry: EpisodeEntry, table: pa.Table, part: slice, name: str) -> RawEpisode:
        interval_s = 1.0 / self._info.fps
        times = _numbers(table, _TIME, 1, name)[:, 0]
        steps = np.abs(np.diff(times) - interval_s) <= _HALF * interval_s
        cameras: dict[str, tuple[str, FrameSource]] = {}
        for key, feature in self._cameras.items():
            source: FrameSource
            if self._info.features[feature].dtype == 'video':
                source = functools.partial(self._video, entry, feature, times)
            else:
                source = functools.partial(decode_frames, self._pictures(table, feature))
            absent = frozenset(
                row - part.start for row in entry.extra.absent.get(key, frozenset()))
            cameras[key] = feature, functools.partial(_without, source, absent)
        return RawEpisode(
            name=name, cameras=cameras, interval_s=interval_s, action_name=self._action.key,
            actions=_numbers(table, self._action.key, self._action.shape[0], name)[:, self._order],
            states=None if self._state is None else _numbers(
                table, self._state.key, self._state.shape[0], name)[:, self._joints],
            state_name=self._state.key if self._state else '', whole=np.append(steps, True),
            instructions=self._instructions(entry, table), success=self._success(entry, table),
            metadata=entry.extra.metadata)

    def _rows(self, entry: EpisodeEntry) -> pa.Table:
        """Returns the rows of an episode; the file that was read last is kept."""
        if self._file != entry.data or self._table is None:
            wanted = {self._action.key, _EPISODE, _TIME, _TASK, _SUCCESS, *(
                feature for feature in self._cameras.values()
                if self._info.features[feature].dtype == 'image')}
            if self._state is not None:
                wanted.add(self._state.key)
            self._table = read_table(entry.data, sorted(wanted))
            self._file = entry.data
        if _EPISODE not in self._table.column_names:
            return self._table
        return self._table.filter(pc.equal(self._table[_EPISODE], entry.index))

    def _parts(self, entry: EpisodeEntry, table: pa.Table) -> Iterator[slice]:
        """Yields the stretches of rows with one instruction."""
        if not len(table):
            raise DataError(f'{entry.data} must hold the rows of this episode, got none')
        if _TASK not in table.column_names:
            yield slice(0, len(table))
            return
        tasks = _numbers(table, _TASK, 1, str(entry.data))[:, 0]
        known = np.flatnonzero(~np.isnan(tasks))
        if len(known):  # a row without a task has that of the one before
            before = np.searchsorted(known, np.arange(len(tasks)), side='right') - 1
            tasks = tasks[known[np.maximum(before, 0)]]
        changes = np.flatnonzero(np.diff(tasks)) if len(known) else np.empty(0, np.int64)
        edges = [0, *(changes + 1).tolist(), len(tasks)]
        for start, stop in itertools.pairwise(edges):
            yield slice(start, stop)

    def _instructions(self, entry: EpisodeEntry, table: pa.Table) -> tuple[str, ...]:
        told = entry.extra.instructions
        numbers = table[_TASK].drop_null().to_pylist() if _TASK in table.column_names else []
        number = numbers[0] if numbers else None
        task = self._index.tasks.get(number) if number is not None else (*entry.tasks, '')[0]
        if task is None:
            raise DataError(f"{entry.data}: '{_TASK}' must be one of the {len(self._index.tasks)} "
                            f'tasks, got {number}')
        return told if told and told[0] == task else (task,)

    def _success(self, entry: EpisodeEntry, table: pa.Table) -> bool | None:
        if entry.extra.success is not None or _SUCCESS not in table.column_names:
            return entry.extra.success
        return bool((_numbers(table, _SUCCESS, 1, str(entry.data)) > 0).any())  # NaN is no success

    def _video(self, entry: EpisodeEntry, feature: str, times: Float[np.ndarray, 't'],
               rows: Int[np.ndarray, 'n'], size: tuple[int, int] | None) -> Frames:
        span = entry.videos[feature]
        # The first row may come after the episode's start; the video's clock counts from there.
        frames = read_frames(span.file, span.start_s + times[rows], _HALF / self._info.fps, size)
        return Frames(frames.images, [
            Trouble(None if item.row is None else int(rows[item.row]), item.kind, item.text)
            for item in frames.troubles])

    def _pictures(self, table: pa.Table, feature: str) -> list[bytes | None]:
        """Returns the encoded pictures of a column; those beside the table are read."""
        found = []
        for item in table[feature].to_pylist():
            data = item.get('bytes') if isinstance(item, dict) else item
            path = item.get('path') if isinstance(item, dict) else None
            if data is None and path:
                file = self._info.path('{path}', path=path)
                data = file.read_bytes() if file.is_file() else None
            found.append(data if isinstance(data, bytes) else None)
        return found

    def _vector(self, name: str, known: list[str]) -> Feature:
        """Returns a feature that is a vector of numbers."""
        root = self._info.root
        feature = self._info.features[find_feature(str(root), name, known, ('observation.',))]
        if len(feature.shape) != 1 or feature.dtype in ('string', 'video', 'image'):
            raise DataError(f"{root}: '{name}' must be a vector of numbers, got {feature.dtype} "
                            f'with the shape {feature.shape}')
        return feature


def _without(source: FrameSource, absent: frozenset[int], rows: Int[np.ndarray, 'n'],
             size: tuple[int, int] | None) -> Frames:
    """Returns frames, less those that were exported for want of one."""
    frames = source(rows, size)
    return Frames([None if int(row) in absent else image
                   for row, image in zip(rows, frames.images, strict=True)], frames.troubles)


def _numbers(table: pa.Table, name: str, size: int, where: str) -> Float[np.ndarray, 't d']:
    """Returns a column of numbers or of lists of numbers; what is absent is NaN."""
    if name not in table.column_names:
        raise DataError(f"{where}: the table must have the column '{name}', got "
                        f"{', '.join(table.column_names)}")
    values: Any = table[name].combine_chunks()
    values = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
    try:
        if pa.types.is_nested(values.type):
            there = values.is_valid().to_numpy(zero_copy_only=False)
            lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
            wrong = np.flatnonzero(there & (lengths != size))
            if len(wrong):
                raise DataError(f"{where}: '{name}' must have {size} numbers in every row, got "
                                f'{lengths[wrong[0]]:g} in row {wrong[0]}')
            numbers = np.full((len(values), size), np.nan)
            flat = pc.list_flatten(values.drop_null()).cast(pa.float64())
            numbers[there] = flat.to_numpy(zero_copy_only=False).reshape(-1, size)
            return numbers
        flat = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise DataError(f"{where}: '{name}' must hold numbers, got {values.type}") from error
    return np.asarray(flat, np.float64).reshape(-1, size)
