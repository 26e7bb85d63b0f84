"""Episodes on disk, ready for training: frames at the policy's size, one array per key.

A set is a folder with `episodes.json` and numpy files that hold the steps of all episodes one
behind the other (`image_primary.npy` as uint8, `actions.npy`, ...). They are memory-mapped, so a
batch costs the copying of its frames and a set may be larger than the memory.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from typing import BinaryIO

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.data.episode import Episode
from octo_ros.data.replacing import Making
from octo_ros.data.replacing import check_target
from octo_ros.data.replacing import read_index
from octo_ros.errors import DataError
from octo_ros.policy.images import preprocess
from octo_ros.policy.proprio import PROPRIO
from octo_ros.policy.proprio import VELOCITY
from octo_ros.policy.proprio import velocity

INDEX = 'episodes.json'
_FORMAT = 'octo_ros episodes 1'
_ACTIONS = 'actions'
_PRESENT = 'present_'


class EpisodeWriter:
    """Writes a set; a context manager. The folder appears whole at the end, or not at all."""

    def __init__(self, path: str | Path, image_sizes: Mapping[str, tuple[int, int]], *,
                 overwrite: bool = False) -> None:
        """Opens a set for writing.

        Args:
            path: the folder to make.
            image_sizes: observation key to height and width [pixel]; frames are resized to it as
                at run time, without the crop, which training does at random.
            overwrite: replace a set that is there, or an empty folder.

        Raises:
            DataError: the folder is there already, or it is to be replaced and is no set.
        """
        self.path = Path(path).expanduser()
        self._overwrite = overwrite
        self._check_target()
        self._making = Making(self.path)
        self._sizes = dict(image_sizes)
        self._arrays: dict[str, _GrowingArray] = {}
        self._entries: list[dict[str, Any]] = []
        self._steps = 0

    def __enter__(self) -> 'EpisodeWriter':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for array in self._arrays.values():
            array.close()
        try:
            if kind is None and self._entries:
                self._finish()
        finally:
            self._making.end()
        if kind is None and not self._entries:
            raise DataError(f'{self.path} must hold at least one episode, got none')

    def add(self, episode: Episode) -> None:
        """Adds an episode.

        Raises:
            DataError: it is not in order, lacks a camera, or its dimensions differ from those of
                the episodes before.
        """
        episode.check()
        missing = [key for key in self._sizes if key not in episode.images]
        if missing:
            raise DataError(
                f"{episode.name}: must have {', '.join(self._sizes)}, lacks {', '.join(missing)}")
        for key, size in self._sizes.items():
            frames = np.stack([preprocess(frame, size) for frame in episode.images[key]])
            self._append(key, frames, episode)
            there = episode.present.get(key)
            self._append(_PRESENT + key, np.ones(len(episode), bool) if there is None else there,
                         episode)
        self._append(_ACTIONS, episode.actions.astype(np.float32), episode)
        if (episode.proprio is not None) != (PROPRIO in self._arrays) and self._entries:
            raise DataError(f'{episode.name}: proprio must be in all episodes or in none')
        if episode.proprio is not None:
            self._append(PROPRIO, episode.proprio.astype(np.float32), episode)
        self._entries.append({
            'name': episode.name, 'start': self._steps, 'length': len(episode),
            'instructions': list(episode.instructions), 'step_s': episode.step_s,
            'success': episode.success, 'metadata': dict(episode.metadata)})
        self._steps += len(episode)

    def _append(self, name: str, values: np.ndarray, episode: Episode) -> None:
        array = self._arrays.get(name)
        if array is None:
            file = self._making.folder / f'{name}.npy'
            array = _GrowingArray(file, values.dtype, values.shape[1:])
            self._arrays[name] = array
        if values.shape[1:] != array.shape:
            raise DataError(
                f'{episode.name}: {name} must have the shape {array.shape} per step as in the '
                f'episodes before, got {values.shape[1:]}')
        array.append(values)

    def _finish(self) -> None:
        (self._making.folder / INDEX).write_text(json.dumps({
            'format': _FORMAT, 'images': {key: list(size) for key, size in self._sizes.items()},
            'episodes': self._entries}, indent=1))
        self._check_target()  # anything may have come there since
        self._making.finish()

    def _check_target(self) -> None:
        check_target(self.path, 'an episode set', _is_set, overwrite=self._overwrite)


def _is_set(folder: Path) -> bool:
    """Whether a folder holds a set, of this format, and nothing else."""
    index = read_index(folder / INDEX)
    images = index.get('images', {})
    known = {INDEX, *(f'{name}.npy' for name in (
        _ACTIONS, PROPRIO, *images, *(_PRESENT + key for key in images)))}
    return is_episode_set(folder) and {item.name for item in folder.iterdir()} <= known


def is_episode_set(folder: Path) -> bool:
    """Whether a folder has the index of a set, of this format."""
    return read_index(folder / INDEX).get('format') == _FORMAT


class EpisodeSet:
    """A set opened for reading. It can be sent to worker processes: they map the files anew.

    Attributes:
        path: the folder.
        entries: name, start, length, instructions, step_s, success and metadata per episode.
        image_sizes: observation key to height and width [pixel].
        starts: where each episode begins in the arrays.
        lengths: steps of each episode.
        images: observation key to the frames of all steps.
        present: observation key to True where the camera gave a frame.
        actions: actions of all steps.
        proprio: proprio of all steps, or None.
    """

    def __init__(self, path: str | Path) -> None:
        """Maps the files of a set.

        Raises:
            DataError: it is missing, damaged or of another format.
        """
        self.path = Path(path).expanduser()
        try:
            index = json.loads((self.path / INDEX).read_text())
        except (OSError, ValueError) as error:
            raise DataError(
                f'{self.path} must be an episode set with {INDEX}: {error}; make one with '
                '`octo-ros data build`') from error
        if index.get('format') != _FORMAT:
            raise DataError(f"{self.path / INDEX}: format must be '{_FORMAT}', got "
                            f"'{index.get('format')}'; build the set again")
        self.entries: list[dict[str, Any]] = index['episodes']
        self.image_sizes = {key: (size[0], size[1]) for key, size in index['images'].items()}
        self.starts = np.array([e['start'] for e in self.entries])
        self.lengths = np.array([e['length'] for e in self.entries])
        self.images = {key: self._map(key) for key in self.image_sizes}
        self.present = {key: self._map(_PRESENT + key) for key in self.image_sizes}
        self.actions = self._map(_ACTIONS)
        has_proprio = (self.path / f'{PROPRIO}.npy').is_file()
        self.proprio = self._map(PROPRIO) if has_proprio else None

    def __len__(self) -> int:
        """Returns the number of episodes."""
        return len(self.entries)

    def __reduce__(self) -> tuple[Any, ...]:
        return EpisodeSet, (str(self.path),)

    @property
    def steps(self) -> int:
        """Number of steps of all episodes."""
        return int(self.lengths.sum())

    def vectors(self, *, velocity: bool) -> dict[str, Float[np.ndarray, 'n p']]:
        """Returns `proprio` and, if wanted, `velocity` of all steps; nothing without proprio."""
        if self.proprio is None:
            return {}
        return {PROPRIO: self.proprio, **({VELOCITY: self._velocity} if velocity else {})}

    @functools.cached_property
    def _velocity(self) -> Float[np.ndarray, 'n p']:
        episodes = (self.episode(index) for index in range(len(self)))
        return np.concatenate([
            velocity(np.asarray(episode.proprio),
                     np.round(np.arange(len(episode)) * episode.step_s * 1e9).astype(np.int64))
            for episode in episodes])

    def episode(self, index: int) -> Episode:
        """Returns one episode; its arrays are views of the files."""
        entry = self.entries[index]
        span = slice(entry['start'], entry['start'] + entry['length'])
        return Episode(
            name=entry['name'], images={key: frames[span] for key, frames in self.images.items()},
            actions=self.actions[span], instructions=tuple(entry['instructions']),
            proprio=None if self.proprio is None else self.proprio[span],
            present={key: mask[span] for key, mask in self.present.items()},
            step_s=entry['step_s'], success=entry['success'], metadata=entry['metadata'])

    def _map(self, name: str) -> np.ndarray:
        file = self.path / f'{name}.npy'
        try:
            array = np.load(file, mmap_mode='r')
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f'{file}: cannot be read ({error}); build the set again') from error
        if len(array) != self.steps:
            raise DataError(f'{file}: must hold the {self.steps} steps of {INDEX}, got '
                            f'{len(array)}; build the set again')
        return array


class _GrowingArray:
    """A .npy file that grows along its first axis; numpy leaves room in the header for that."""

    def __init__(self, file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._dtype = dtype
        self._length = 0
        self._file: BinaryIO = file.open('wb')
        self._write_header()
        self._body = self._file.tell()

    def append(self, values: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._length += len(values)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        if self._file.tell() != self._body:
            raise DataError(f'{self._file.name}: its header must keep its size')
        self._file.close()

    def _write_header(self) -> None:
        np.lib.format.write_array_header_1_0(self._file, {
            'descr': np.lib.format.dtype_to_descr(self._dtype), 'fortran_order': False,
            'shape': (self._length, *self.shape)})
