"""RLDS episodes of Bridge form to demonstrations, without TensorFlow.

An episode is one tf.train.Example: what changes over time lies under `steps/`, all steps one
behind the other. Two forms of Bridge are known by themselves: RAIL's release (`action` with 7
numbers, `observation/image_0` to `image_3`, `language_instruction`) and that of Open X-Embodiment
(`action/world_vector`, `rotation_delta` and `open_gripper`, `observation/image`,
`observation/natural_language_instruction`). Other sets need to be told names (`ImportSpec`).
"""

import fnmatch
import functools
import zlib
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.data.assemble import RawEpisode
from octo_ros.data.assemble import assemble
from octo_ros.data.encoded_images import decode_frames
from octo_ros.data.encoded_images import decode_picture
from octo_ros.data.findings import Demonstration
from octo_ros.data.findings import Finding
from octo_ros.data.import_spec import ImportSpec
from octo_ros.data.import_spec import find_feature
from octo_ros.data.import_spec import guess_cameras
from octo_ros.data.rlds_layout import RldsLayout
from octo_ros.data.rlds_layout import read_layout
from octo_ros.data.tfrecord import Record
from octo_ros.data.tfrecord import read_records
from octo_ros.data.tfrecord_example import Values
from octo_ros.data.tfrecord_example import parse_example
from octo_ros.errors import DataError

_MOST_WAITING = 8  # episodes that do not fit before one does: then the options are at fault
_STEPS = 'steps/'
_OBSERVATION = 'steps/observation/'
_METADATA = 'episode_metadata/'
_PREFIXES = (_OBSERVATION, _STEPS)
_SPLIT_ACTION = ('world_vector', 'rotation_delta', 'open_gripper')
_INSTRUCTIONS = ('steps/language_instruction*', 'steps/observation/natural_language_instruction')
_FLAGS = ('steps/is_first', 'steps/is_last', 'steps/is_terminal')


class RldsSource:
    """The episodes of an RLDS data set.

    Attributes:
        summary: what it is, in one line.
        total: how many episodes it should have; None when nobody says.
    """

    def __init__(self, path: Path, spec: ImportSpec) -> None:
        """Finds the files and features.

        Raises:
            DataError: a split, a feature or all shards are missing.
        """
        self._spec = spec
        self._fits = False
        self._layout: RldsLayout = read_layout(path, spec.split)
        counts = self._layout.counts
        self.total = sum(counts.values()) if len(counts) == len(self._layout.shards) else None
        self.summary = (f'{path}: RLDS, {len(self._layout.shards)} shards, a step is taken as '
                        f'{spec.step_s:.4g} s')

    def __iter__(self) -> Iterator[Demonstration]:
        """Yields the episodes, and what is wrong with the files as findings without an episode.

        Raises:
            DataError: what was asked for fits no episode, or not one of the first; the error is
                that of the first.
        """
        for name in self._layout.missing:
            yield self._fault(name, 'missing', 'this shard is not there')
        # Until one episode fits, nobody knows whether the records or the options are at fault.
        first: DataError | None = None
        waiting: list[Demonstration] = []
        for item, error in self._items():
            if error is not None and not self._fits:
                first = first or error
                waiting.append(item)
                if len(waiting) > _MOST_WAITING:
                    raise first
                continue
            if self._fits:
                yield from waiting
                waiting = []
            yield item
        if first is not None and not self._fits:
            raise first

    def _items(self) -> Iterator[tuple[Demonstration, DataError | None]]:
        """Yields what was found, with the error where an episode did not fit."""
        for shard in self._layout.shards:
            notes: list[str] = []
            count = 0
            for record in read_records(shard, notes.append):
                count += 1
                yield self._episode(shard, record)
            for text in notes:
                yield self._fault(str(shard), 'damage', text), None
            told = self._layout.counts.get(shard.name, count)
            if told != count and not notes:
                yield self._fault(
                    str(shard), 'damage',
                    f'the shard has {count} records, dataset_info.json says {told}'), None

    def _episode(self, shard: Path, record: Record) -> tuple[Demonstration, DataError | None]:
        name = f'{shard}#{record.number}'
        try:
            features = parse_example(record.data, _is_wanted)
        except DataError as error:
            return self._fault(name, 'damage', f'record {record.number} at byte {record.offset} '
                               f'is no tf.train.Example: {error}'), None
        try:
            found = _Reader(name, features, self._layout, self._spec).read()
        except DataError as error:
            fault = self._fault(name, 'damage',
                                f'record {record.number} at byte {record.offset}: {error}')
            return fault, error.with_traceback(None)  # which holds the episode's pictures
        self._fits = True
        return found, None

    @staticmethod
    def _fault(source: str, kind: str, text: str) -> Demonstration:
        return Demonstration(None, (Finding(source, kind, '', None, text),))


def _is_wanted(name: str) -> bool:
    return not name.endswith('language_embedding')


class _Reader:
    """The reading of one episode."""

    def __init__(self, name: str, features: Mapping[str, Values], layout: RldsLayout,
                 spec: ImportSpec) -> None:
        self._name = name
        self._features = features
        self._layout = layout
        self._spec = spec
        self._steps = self._count_steps()

    def read(self) -> Demonstration:
        """Returns the episode.

        Raises:
            DataError: a feature that was asked for is missing or of another form.
        """
        spec = self._spec
        action_name, actions = self._action()
        state_name = self._state_name()
        findings: list[Finding] = []
        cameras = {}
        for key, feature in self._cameras().items():
            pictures = self._features[feature]
            if not isinstance(pictures, list) or len(pictures) != self._steps:
                raise DataError(
                    f"{self._name}: '{feature}' must hold a picture for each of the "
                    f'{self._steps} steps, got {len(pictures)}')
            if self._is_dummy(feature, pictures):
                findings.append(Finding(self._name, 'missing', feature, None,
                                        'the episode was recorded without this camera'))
            cameras[key] = feature, functools.partial(decode_frames, pictures)
        if findings:
            return Demonstration(None, tuple(findings))
        raw = RawEpisode(
            name=self._name, actions=actions, cameras=cameras, interval_s=spec.step_s,
            action_name=action_name, state_name=state_name or '',
            states=None if state_name is None else self._numbers(state_name),
            instructions=self._instructions(), metadata=self._metadata())
        return assemble(raw, spec)

    def _count_steps(self) -> int:
        for name in _FLAGS:
            if name in self._features:
                return len(self._features[name])
        texts = [len(values) for name, values in self._features.items()
                 if name.startswith(_STEPS) and isinstance(values, list) and values]
        if not texts:
            raise DataError(f'{self._name} must be an RLDS episode with steps/is_first or '
                            f"pictures, got {', '.join(sorted(self._features)) or 'nothing'}")
        return max(texts)

    def _action(self) -> tuple[str, Float[np.ndarray, 't ad']]:
        known = sorted(self._features)
        name = self._spec.action or 'action'
        parts = [f'{_STEPS}{name}/{part}' for part in _SPLIT_ACTION]
        if all(part in known for part in parts):
            values = np.concatenate([self._numbers(part) for part in parts], axis=1)
        else:
            name = find_feature(self._name, name, known, _PREFIXES[::-1])
            values = self._numbers(name)
        order = self._spec.columns(f"{self._name}: '{name}'", values.shape[1], None)
        return name, values[:, order]

    def _state_name(self) -> str | None:
        if self._spec.state_names:  # this format has no names
            self._spec.state_columns(self._name, 0, None)
        if self._spec.state is None and f'{_OBSERVATION}state' not in self._features:
            return None
        return find_feature(self._name, self._spec.state or 'state', sorted(self._features),
                            _PREFIXES)

    def _cameras(self) -> Mapping[str, str]:
        told = [name for name, info in self._layout.features.items() if info.picture]
        known = sorted(name for name in told or self._features if name in self._features
                       and name.startswith(_STEPS) and 'depth' not in name
                       and isinstance(self._features[name], list)
                       and (told or 'instruction' not in name))
        if not self._spec.cameras:
            return guess_cameras(self._name, known)
        return {key: find_feature(self._name, name, known, _PREFIXES)
                for key, name in self._spec.cameras.items()}

    def _is_dummy(self, feature: str, pictures: list[bytes]) -> bool:
        """Whether a camera is there in name only.

        The flag alone does not tell: released files of Bridge say no of cameras that are there.
        Where it is right, the pictures are black.
        """
        flag = self._features.get(f'{_METADATA}has_{feature.removeprefix(_OBSERVATION)}')
        if flag is None or not len(flag) or bool(flag[0]) or not pictures:
            return False
        first = decode_picture(pictures[0])
        return first is not None and not first.any()

    def _numbers(self, name: str) -> Float[np.ndarray, 't d']:
        values = self._features[name]
        info = self._layout.features.get(name)
        if isinstance(values, list) and info is not None and info.encoding in ('bytes', 'zlib'):
            try:
                raw = [zlib.decompress(item) if info.encoding == 'zlib' else item
                       for item in values]
                values = np.concatenate([np.frombuffer(item, info.dtype) for item in raw])
            except (zlib.error, ValueError, TypeError) as error:
                raise DataError(f"{self._name}: '{name}' must be {info.encoding} of "
                                f'{info.dtype}, got: {error}') from error
        if isinstance(values, list) or not len(values) or len(values) % self._steps:
            kind = 'bytes' if isinstance(values, list) and values else 'values'
            raise DataError(f"{self._name}: '{name}' must hold as many numbers for each of the "
                            f'{self._steps} steps, got {len(values)} {kind}')
        return np.asarray(values, np.float64).reshape(self._steps, -1)

    def _instructions(self) -> tuple[str, ...]:
        known = sorted(self._features)
        if self._spec.instruction is not None:
            names = [find_feature(self._name, self._spec.instruction, known, _PREFIXES)]
        else:
            names = [name for pattern in _INSTRUCTIONS for name in fnmatch.filter(known, pattern)]
        texts = [values[0] for name in names if (values := self._features[name])
                 if isinstance(values, list)]
        return tuple(dict.fromkeys(text.decode('utf-8', 'replace').strip() for text in texts))

    def _metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, values in self._features.items():
            if name.startswith(_METADATA) and len(values) == 1:
                value = values[0]
                found[name.removeprefix(_METADATA)] = (
                    value.decode('utf-8', 'replace') if isinstance(value, bytes) else value.item())
        return found
