"""The files of an RLDS data set as TensorFlow Datasets lays them out.

A version folder holds `dataset_info.json` (splits and their shards), `features.json` (a tree of
features) and the shards, `NAME-SPLIT.tfrecord-00000-of-00004`. Bare TFRecord files do as well.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octo_ros.errors import DataError
from octo_ros.errors import closest

_INFO = 'dataset_info.json'
_FEATURES = 'features.json'
_SHARD = re.compile(r'(?:(?P<set>.+)-)?(?P<split>[^-]+)\.tfrecord(?:-(?P<n>\d+)-of-(?P<of>\d+))?$')
_VERSION = re.compile(r'\d+\.\d+\.\d+$')
_USUAL_SPLIT = 'train'


@dataclasses.dataclass(frozen=True)
class FeatureInfo:
    """What `features.json` says of a leaf.

    Attributes:
        dtype: numpy name of its type; empty when it is not told.
        encoding: `none`, `bytes` or `zlib` for tensors; empty for pictures and texts.
        picture: whether it is a picture.
    """

    dtype: str = ''
    encoding: str = ''
    picture: bool = False


@dataclasses.dataclass(frozen=True)
class RldsLayout:
    """The files to read.

    Attributes:
        path: the version folder, or the one file.
        name: the data set's name.
        shards: the files of the split, in order.
        missing: shards that the names of others tell of, but that are not there.
        features: path of a feature (`steps/observation/image_0`) to what is said of it; empty
            without `features.json`.
        counts: name of a shard to how many records it should hold, as far as that is told.
    """

    path: Path
    name: str
    shards: tuple[Path, ...]
    missing: tuple[str, ...]
    features: Mapping[str, FeatureInfo]
    counts: Mapping[str, int]


def rlds_folder(path: Path) -> Path | None:
    """Returns the folder or file to read when this is an RLDS data set, else None.

    A folder of versions (`bridge_dataset` with `1.0.0` in it) stands for its newest one.
    """
    if path.is_file():
        return path if _SHARD.match(path.name) else None
    if not path.is_dir():
        return None
    if (path / _INFO).is_file() or any(_SHARD.match(file.name) for file in path.iterdir()):
        return path
    versions = [folder for folder in path.iterdir() if _VERSION.match(folder.name)
                and (folder / _INFO).is_file()]
    return max(versions, key=lambda folder: [int(part) for part in folder.name.split('.')],
               default=None)


def read_layout(path: Path, split: str | None) -> RldsLayout:
    """Finds the files of a split.

    Args:
        path: what `rlds_folder` returned.
        split: the split; `train` if there is one, else all, when None.

    Raises:
        DataError: there is no such split or no shard, or a description is damaged.
    """
    folder = path.parent if path.is_file() else path
    info = _read_json(folder / _INFO)
    features = dict(_leaves(_read_json(folder / _FEATURES), ''))
    if path.is_file():
        return RldsLayout(path, str(info.get('name', path.name)), (path,), (), features, {})
    found = [(file, match) for file in sorted(folder.iterdir())
             if (match := _SHARD.match(file.name))]
    known = sorted({match['split'] for _, match in found})
    if not known:
        raise DataError(f'{path} must hold TFRecord shards, NAME-train.tfrecord-00000-of-00001, '
                        'got none')
    if split is None and _USUAL_SPLIT in known:
        split = _USUAL_SPLIT
    if split is not None and split not in known:
        raise DataError(f"{path} must have the split '{split}', got {', '.join(known)}"
                        f'{closest(split, known)}')
    chosen = [(file, match) for file, match in found if split in (None, match['split'])]
    return RldsLayout(
        path, str(info.get('name', folder.parent.name)), tuple(file for file, _ in chosen),
        tuple(_missing(chosen)), features, dict(_counts(info, chosen)))


def _missing(found: list[tuple[Path, re.Match[str]]]) -> Iterator[str]:
    """Yields the names of shards that must exist beside those found."""
    names = {file.name for file, _ in found}
    for file, match in found:
        if match['n'] is None or match['n'] != min(
                other['n'] for _, other in found if other['split'] == match['split']):
            continue
        stem = file.name[:match.start('n')]
        width = len(match['n'])
        for number in range(int(match['of'])):
            name = f'{stem}{number:0{width}d}-of-{match["of"]}'
            if name not in names:
                yield name


def _counts(info: Mapping[str, Any], found: list[tuple[Path, re.Match[str]]]
            ) -> Iterator[tuple[str, int]]:
    lengths = {str(item.get('name')): item.get('shardLengths', [])
               for item in info.get('splits', []) if isinstance(item, dict)}
    for file, match in found:
        told = lengths.get(match['split'], [])
        number = int(match['n'] or 0)
        if number < len(told) and str(told[number]).isdigit():
            yield file.name, int(told[number])


def _read_json(file: Path) -> dict[str, Any]:
    """Returns what a description holds; nothing where there is none."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{file} must be JSON, got: {error}') from error
    if not isinstance(found, dict):
        raise DataError(f'{file} must hold a JSON object, got {type(found).__name__}')
    return found


def _leaves(node: Any, path: str) -> Iterator[tuple[str, FeatureInfo]]:
    """Yields the leaves of the tree of features."""
    if not isinstance(node, dict):
        return
    children = node.get('featuresDict', {}).get('features', {})
    if children:
        for name, child in children.items():
            yield from _leaves(child, f'{path}/{name}' if path else name)
    elif 'sequence' in node:
        yield from _leaves(node['sequence'].get('feature', {}), path)
    elif 'image' in node:
        yield path, FeatureInfo(picture=True)
    elif 'tensor' in node:
        tensor = node['tensor']
        yield path, FeatureInfo(tensor.get('dtype', ''), tensor.get('encoding', 'none'))
    elif path:
        yield path, FeatureInfo()
