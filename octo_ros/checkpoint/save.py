"""Writes checkpoints in the released layout, so that Octo's own code can load them.

`<path>/config.json`, `example_batch.msgpack` and `dataset_statistics.json` are written once;
every step adds `<path>/<step>/default/` with `checkpoint` (all parameters in one msgpack file)
and `_METADATA` (what Orbax 0.4 writes beside it). For a language model that the hub does not have,
`<path>/<its name>/` is written, too, see language_folder.py.
"""

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.checkpoint import language_folder
from octo_ros.checkpoint import legacy
from octo_ros.checkpoint import msgpack_tree
from octo_ros.checkpoint.hub import VOCABULARY_FILE
from octo_ros.checkpoint.merge import flatten
from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError
from octo_ros.model.t5 import T5Sizes

CONFIG = 'config.json'
EXAMPLE_BATCH = 'example_batch.msgpack'
STATISTICS = 'dataset_statistics.json'
ITEM = 'default'
PARAMETERS = 'checkpoint'

_DICT_KEY = 2  # Orbax' number for a key of a dict


def save_checkpoint(
    path: Path | str,
    step: int,
    *,
    params: Mapping[str, Any],
    config: Mapping[str, Any],
    example_batch: Mapping[str, Any],
    dataset_statistics: Mapping[str, Any] | None = None,
    vocabulary: Path | None = None,
) -> Path:
    """Adds one step to a checkpoint folder, making the folder when there is none.

    A step appears whole or not at all: it is written beside its place and then renamed.

    Args:
        path: the checkpoint folder.
        step: training step, the name of the step's folder.
        params: parameter tree; device arrays come to the host one at a time.
        config: the training config, as in a loaded checkpoint.
        example_batch: one batch of size 1.
        dataset_statistics: statistics, nested by dataset or flat.
        vocabulary: sentencepiece file to put beside them, or into the language model's folder.

    Returns:
        The step's folder.

    Raises:
        CheckpointError: the step is there already, the folder is that of another model, or
            nothing can be written there.
        ParameterError: the path is none.
    """
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise ParameterError(
            f"path must be a folder, got {path!r:.80}; '.' is the one you are in")
    root = Path(path).expanduser()
    folder = root / str(step)
    if step < 0 or folder.exists():
        raise CheckpointError(
            f'{folder}: must be a new step, not negative and not there yet; '
            'choose another step or remove this one')
    try:
        root.mkdir(parents=True, exist_ok=True)
        _once(root / CONFIG, lambda file: file.write_text(json.dumps(config)), _config)
        _once(root / EXAMPLE_BATCH,
              lambda file: msgpack_tree.write_tree(file, example_batch), _batch)
        if dataset_statistics is not None:
            text = json.dumps(_to_lists(dataset_statistics))
            _once(root / STATISTICS, lambda file: file.write_text(text), _json)
        _save_language(root, language_folder.own_language(config, params), vocabulary)
        _write_step(folder, params)
    except OSError as error:
        raise CheckpointError(
            f'{error.filename or root}: cannot be written ({error.strerror}); '
            'give a folder with room that may be written to') from error
    return folder


def _save_language(root: Path, own: tuple[str, T5Sizes] | None, vocabulary: Path | None) -> None:
    folder = root
    if own is not None:
        folder = root / own[0]
        folder.mkdir(exist_ok=True)
        for name, text in language_folder.files(own[1]).items():
            _once(folder / name, functools.partial(Path.write_text, data=text), _json)
    if vocabulary is not None:
        source = vocabulary
        _once(folder / VOCABULARY_FILE, lambda file: shutil.copyfile(source, file),
              Path.read_bytes)


def _write_step(folder: Path, params: Mapping[str, Any]) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f'{folder.name}.partial-', dir=folder.parent))
    try:
        partial.chmod(0o755)
        item = partial / ITEM
        item.mkdir()
        msgpack_tree.write_tree(item / PARAMETERS, params)
        (item / '_METADATA').write_text(json.dumps({'tree_metadata': _tree_metadata(params)}))
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _once(file: Path, write: Callable[[Path], Any], read: Callable[[Path], Any]) -> None:
    """Writes a file that is not there yet, so that a crash leaves none rather than half.

    A file that is there is kept, and must say the same.
    """
    partial = file.with_name(f'{file.name}.partial-{os.getpid()}')
    try:
        write(partial)
        if not file.exists():
            partial.rename(file)
        elif file.read_bytes() != partial.read_bytes() and read(file) != read(partial):
            raise CheckpointError(
                f'{file}: must be that of the model to be saved, but is that of another one, and '
                'all steps of a folder share it; save into another folder')
    finally:
        partial.unlink(missing_ok=True)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except ValueError:
        return None


def _config(file: Path) -> Any:
    config = _json(file)
    is_config = isinstance(config, dict) and isinstance(config.get('model'), dict)
    # As text, because the order of tokenizers is the order of their tokens.
    return json.dumps(legacy.update_config(config) if is_config else config)


def _batch(file: Path) -> Any:
    batch = legacy.update_example_batch(msgpack_tree.read_tree(file))
    return {path: (leaf.dtype.name, leaf.shape, leaf.tobytes())
            for path, leaf in flatten(batch).items()}


def _tree_metadata(params: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in sorted(params.items()):
        path = (*prefix, key)
        if isinstance(value, Mapping):
            leaves.update(_tree_metadata(value, path))
        else:
            leaves[str(path)] = {
                'key_metadata': [{'key': part, 'key_type': _DICT_KEY} for part in path],
                'value_metadata': {'value_type': 'jax.Array', 'skip_deserialize': True}}
    return leaves


def _to_lists(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _to_lists(value) for key, value in tree.items()}
    return np.asarray(tree).tolist() if hasattr(tree, 'tolist') else tree
