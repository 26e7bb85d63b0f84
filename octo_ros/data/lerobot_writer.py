"""Episode sets to LeRobot data sets, versions 2.1 and 3.0."""

import contextlib
import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.data.episode import Episode
from octo_ros.data.lerobot_encoder import check_codec
from octo_ros.data.lerobot_info import INFO
from octo_ros.data.lerobot_info import V21
from octo_ros.data.lerobot_info import V30
from octo_ros.data.lerobot_layouts import Layout
from octo_ros.data.lerobot_layouts import LayoutV21
from octo_ros.data.lerobot_layouts import LayoutV30
from octo_ros.data.lerobot_layouts import Limits
from octo_ros.data.lerobot_layouts import Written
from octo_ros.data.lerobot_stats import PictureCounts
from octo_ros.data.lerobot_stats import Stats
from octo_ros.data.lerobot_stats import number_stats
from octo_ros.data.lerobot_tables import camera_feature
from octo_ros.data.lerobot_tables import data_table
from octo_ros.data.lerobot_tables import describe_features
from octo_ros.data.lerobot_tables import episode_columns
from octo_ros.data.replacing import Making
from octo_ros.data.replacing import check_apart
from octo_ros.data.replacing import check_target
from octo_ros.data.replacing import read_index
from octo_ros.data.store import EpisodeSet
from octo_ros.errors import DataError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest

VERSIONS = (V30, V21)
_SAME = 1e-6  # steps that differ by this part are of one length
_MOST_DENOMINATOR = 1000
_KIND = 'a LeRobot data set'
_FILES = {'meta': ('.json', '.jsonl', '.parquet'), 'data': ('.parquet',), 'videos': ('.mp4',)}


def export_lerobot(
    episodes: EpisodeSet, out: Path, *, version: str = V30, codec: str = 'h264',
    action_names: Sequence[str] = (), robot: str = '', overwrite: bool = False,
    limits: Limits | None = None, track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Writes a set as LeRobot reads it. The folder appears whole at the end, or not at all.

    Frames go through a video codec and lose a little; numbers stay as they are. What LeRobot has
    no place for (paraphrases, success, absent frames, metadata) goes into a column `octo_ros` of
    the index, which LeRobot passes over and our import reads.

    Args:
        episodes: the set.
        out: the folder to make.
        version: `v3.0` or `v2.1`.
        codec: `h264`, or `av1` as LeRobot's own recordings.
        action_names: names of the action's numbers; numbered when their count differs.
        robot: what to call the robot; may be empty.
        overwrite: replace a LeRobot data set that is there, or an empty folder.
        limits: sizes from which version 3.0 begins a new file; LeRobot's own when None.
        track: goes through the episodes' numbers and shows progress.

    Raises:
        ParameterError: the version or the codec is unknown.
        DataError: the folder is there already, is to be replaced and is no LeRobot data set, or
            is not apart from the set; or the episodes differ in the length of a step.
    """
    if version not in VERSIONS:
        raise ParameterError(f"the version must be one of {', '.join(VERSIONS)}, got '{version}'"
                             f'{closest(version, VERSIONS)}')
    check_codec(codec)
    out = out.expanduser()
    check_apart(out, [episodes.path])
    check_target(out, _KIND, _is_lerobot, overwrite=overwrite)
    fps = frame_rate(episodes)
    making = Making(out)
    partial = making.folder
    layout: Layout = LayoutV30(partial, fps, codec, limits or Limits()) if version == V30 else (
        LayoutV21(partial, fps, codec))
    try:
        _Export(episodes, partial, layout, fps, action_names, robot).run(track)
        check_target(out, _KIND, _is_lerobot, overwrite=overwrite)  # it may have come since
        making.finish()
    except BaseException:
        with contextlib.suppress(DataError):  # the first error counts
            layout.close()
        raise
    finally:
        making.end()


def frame_rate(episodes: EpisodeSet) -> Fraction:
    """Returns the steps per second of a set.

    Raises:
        DataError: the episodes differ.
    """
    first = float(episodes.entries[0]['step_s'])
    for entry in episodes.entries:
        if abs(entry['step_s'] - first) > _SAME * first:
            raise DataError(
                f"{episodes.path}: all episodes must have one step, got {first:.4g} s in "
                f"{episodes.entries[0]['name']} and {entry['step_s']:.4g} s in {entry['name']}; "
                'export them apart')
    return Fraction(1.0 / first).limit_denominator(_MOST_DENOMINATOR)


class _Export:
    """The writing of one data set."""

    def __init__(self, episodes: EpisodeSet, root: Path, layout: Layout, fps: Fraction,
                 action_names: Sequence[str], robot: str) -> None:
        self._episodes = episodes
        self._root = root
        self._layout = layout
        self._fps = fps
        size = episodes.actions.shape[1]
        self._action_names = list(action_names) if len(action_names) == size else [
            f'action_{index}' for index in range(size)]
        self._robot = robot
        self._quantiles = isinstance(layout, LayoutV30)
        self._tasks: dict[str, int] = {}
        self._pictures = {key: PictureCounts() for key in episodes.image_sizes}
        self._columns: dict[str, list[np.ndarray]] = {}

    def run(self, track: Callable[[Iterable[int]], Iterable[int]]) -> None:
        for number in track(range(len(self._episodes))):
            self._layout.add(self._episode(number, self._episodes.episode(number)))
        told = self._layout.finish(list(self._tasks), self._all_stats())
        self._write_info(told)

    def _episode(self, number: int, episode: Episode) -> Written:
        task = episode.instructions[0] if episode.instructions else ''
        start = int(self._episodes.starts[number])
        columns = episode_columns(
            number, start, self._tasks.setdefault(task, len(self._tasks)), float(self._fps),
            episode.actions, episode.proprio)
        stats: dict[str, Stats] = {}
        for name, values in columns.items():
            numbers = values.reshape(len(values), -1)
            self._columns.setdefault(name, []).append(numbers)
            stats[name] = number_stats(numbers, quantiles=self._quantiles)
        for key, frames in episode.images.items():
            counts = PictureCounts.of(frames)
            self._pictures[key].add(counts)
            stats[camera_feature(key)] = counts.stats(quantiles=self._quantiles)
        return Written(
            number, start, task, data_table(columns),
            {camera_feature(key): frames for key, frames in episode.images.items()}, stats,
            json.dumps(_extra(episode)))

    def _all_stats(self) -> dict[str, Stats]:
        found = {name: number_stats(np.concatenate(parts), quantiles=self._quantiles)
                 for name, parts in self._columns.items()}
        return found | {camera_feature(key): counts.stats(quantiles=self._quantiles)
                        for key, counts in self._pictures.items()}

    def _write_info(self, told: dict[str, Any]) -> None:
        """Writes what describes the whole; the last file of all."""
        episodes = self._episodes
        cameras = {camera_feature(key): (size, self._layout.video_info(camera_feature(key)))
                   for key, size in episodes.image_sizes.items()}
        states = None if episodes.proprio is None else [
            f'state_{index}' for index in range(episodes.proprio.shape[1])]
        if states is not None and len(states) == len(self._action_names):
            states = self._action_names
        fps = int(self._fps) if self._fps.denominator == 1 else float(self._fps)
        (self._root / INFO).write_text(json.dumps({
            **self._layout.paths, 'robot_type': self._robot or None, 'fps': fps,
            'total_episodes': len(episodes), 'total_frames': episodes.steps,
            'total_tasks': len(self._tasks), **told, 'splits': {'train': f'0:{len(episodes)}'},
            'features': describe_features(self._action_names, states, cameras)}, indent=4))


def _is_lerobot(folder: Path) -> bool:
    """Whether a folder holds a LeRobot data set and nothing else."""
    files = [path.relative_to(folder) for path in folder.rglob('*')
             if path.is_symlink() or not path.is_dir()]
    return 'codebase_version' in read_index(folder / INFO) and all(
        file.suffix in _FILES.get(file.parts[0], ()) for file in files)


def _extra(episode: Episode) -> dict[str, Any]:
    """Returns what LeRobot has no place for."""
    absent = {key: np.flatnonzero(~mask).tolist() for key, mask in episode.present.items()
              if not mask.all()}
    return {'name': episode.name, 'instructions': list(episode.instructions),
            'success': episode.success, 'metadata': dict(episode.metadata), 'absent': absent}
