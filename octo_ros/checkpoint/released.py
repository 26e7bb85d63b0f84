"""Reads checkpoints in the layout in which Octo was released.

A checkpoint is a folder: `config.json` (the training config; `model` and `text_processor` count),
`example_batch.msgpack` (one batch of size 1, whose shapes are the model's inputs),
`dataset_statistics.json` (by dataset, or flat after fine-tuning) and one folder per saved step.
A checkpoint is data: nothing in it names code that gets imported.
"""

import dataclasses
import json
import os
import re
from collections.abc import Collection
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from octo_ros import assets
from octo_ros.checkpoint import hub
from octo_ros.checkpoint import legacy
from octo_ros.checkpoint import msgpack_tree
from octo_ros.checkpoint import statistics_file
from octo_ros.checkpoint.lfs import refuse_pointer
from octo_ros.checkpoint.merge import flatten
from octo_ros.checkpoint.orbax_folder import is_orbax_folder
from octo_ros.checkpoint.orbax_folder import read_orbax
from octo_ros.checkpoint.save import CONFIG
from octo_ros.checkpoint.save import EXAMPLE_BATCH
from octo_ros.checkpoint.save import ITEM
from octo_ros.checkpoint.save import PARAMETERS
from octo_ros.checkpoint.save import STATISTICS
from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError

_BATCH_ENTRIES = ('observation', 'task')  # the reference needs no more of it
_MOST_PATHS = 8
_ACTION_AXES = 3  # those of December 2023 lack the axis of the horizon


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, under today's names.

    Attributes:
        path: the local folder.
        step: the step whose parameters were read.
        config: the training config.
        example_batch: one batch of size 1, numpy arrays.
        dataset_statistics: numbers as float64 arrays, masks as bool arrays; empty when there is
            no such file.
        params: parameter tree in device memory.
        parameter_file: where the parameters came from, for error messages.
    """

    path: Path
    step: int
    config: dict[str, Any]
    example_batch: dict[str, Any]
    dataset_statistics: dict[str, Any]
    params: dict[str, Any]
    parameter_file: Path


def load(
    path_or_hf: str | Path, step: int | None = None, *, revision: str | None = None,
) -> Checkpoint:
    """Loads a checkpoint; parameters go to the default device one array at a time.

    Args:
        path_or_hf: a folder, or `hf://owner/name[@revision]`.
        step: the step to read; None takes the latest.
        revision: branch, tag or commit on the hub.

    Raises:
        CheckpointError: a file is missing, damaged or not what it must be.
        ParameterError: the path is none, or the step is not a whole number.
    """
    if step is not None and (not isinstance(step, int | np.integer) or isinstance(step, bool)):
        raise ParameterError(f'step must be a whole number, got {type(step).__name__} {step!r}')
    root = locate(path_or_hf, step, revision=revision)
    config = read_config(root)
    batch = read_example_batch(root)
    statistics = read_statistics(root)
    folders = _step_folders(root)
    chosen = _choose_step(root, folders, step)
    item = _find_item(folders[chosen])
    params, file = _read_params(item)
    return Checkpoint(root, chosen, config, batch, statistics, params, file)


def locate(
    path_or_hf: str | Path, step: int | None = None, *, revision: str | None = None,
) -> Path:
    """Returns the local folder of a checkpoint, fetching it from the hub when it is an `hf://`.

    A checkpoint that ships with the package goes by its name, `shipped` or `untrained`.
    """
    if not isinstance(path_or_hf, str | os.PathLike) or not str(path_or_hf):
        raise ParameterError(
            f'path_or_hf must be a checkpoint folder or {hub.PREFIX}owner/name, got '
            f'{path_or_hf!r:.80}')
    text = str(path_or_hf)
    if text.startswith(hub.PREFIX):
        return hub.download(hub.parse(text, revision), step)
    root = assets.named_checkpoint(text) or Path(path_or_hf).expanduser()
    if revision is not None:
        raise CheckpointError(
            f"revision='{revision}' must go with a checkpoint on the hub, got the folder {root}")
    if not root.is_dir():
        hint = f'; a checkpoint on the hub is written {hub.PREFIX}{text}' if (
            re.fullmatch(r'[\w.-]+/[\w.-]+', text)) else ''
        raise CheckpointError(f'{root}: must be a checkpoint folder, there is none{hint}')
    return root


def read_config(root: Path) -> dict[str, Any]:
    """Reads config.json of a checkpoint folder, under today's names."""
    config = _read_json(root / CONFIG, _folder_hint(root))
    if not isinstance(config.get('model'), dict):
        raise CheckpointError(
            f"{root / CONFIG}: must hold a mapping 'model', got "
            f'{_found_model(config)}; '
            'this is not the config of an Octo checkpoint')
    return legacy.update_config(config)


def _found_model(config: Mapping[str, Any]) -> str:
    if 'model' in config:
        return f"a {type(config['model']).__name__} of that name"
    return ', '.join(config) or 'nothing'


def read_statistics(root: Path) -> dict[str, Any]:
    """Reads dataset_statistics.json as arrays; an absent file gives an empty dict."""
    file = root / STATISTICS
    return statistics_file.to_arrays(_read_json(file), file) if file.is_file() else {}


def read_example_batch(root: Path) -> dict[str, Any]:
    """Reads example_batch.msgpack of a checkpoint folder, under today's names."""
    file = root / EXAMPLE_BATCH
    batch = legacy.update_example_batch(msgpack_tree.read_tree(file))
    lacking = [name for name in _BATCH_ENTRIES if name not in batch]
    if lacking:
        raise CheckpointError(
            f"{file}: must hold {', '.join(_BATCH_ENTRIES)}; "
            f"{', '.join(lacking)} is missing, found {', '.join(batch) or 'nothing'}")
    _check_example_batch(batch, file)
    return batch


def _check_example_batch(batch: Mapping[str, Any], file: Path) -> None:
    for name in ('observation', 'task'):
        if not isinstance(batch[name], Mapping):
            raise CheckpointError(f'{file}: {name} must be a map, got {batch[name]!r:.80}')
    shapes = {path: getattr(leaf, 'shape', None) for path, leaf in flatten(batch).items()}
    steps = shapes.get('observation/timestep_pad_mask')
    if steps is None or len(steps) != 2:
        raise CheckpointError(
            f'{file}: observation/timestep_pad_mask must be an array (1, window), got '
            f"{steps or 'none'}; it says how many steps the policy sees")
    for path, shape in shapes.items():
        if shape is None:
            raise CheckpointError(f'{file}: {path} must be an array')
        if path.startswith('observation/') and shape[:2] != steps:
            raise CheckpointError(
                f'{file}: {path} must begin with the axes {steps} of timestep_pad_mask, got '
                f'{shape}')
    if 'action' in batch and len(shapes.get('action') or ()) < _ACTION_AXES:
        raise CheckpointError(
            f"{file}: action must be an array (1, window, horizon, size), got "
            f"{shapes.get('action', 'a map')}")


def _step_folders(root: Path) -> dict[int, Path]:
    """Returns the folder of every step; Orbax pads their numbers with zeros if told to."""
    return {int(folder.name): folder for folder in sorted(root.iterdir())
            if re.fullmatch(r'[0-9]+', folder.name) and folder.is_dir()}


def _choose_step(root: Path, folders: Mapping[int, Path], step: int | None) -> int:
    steps = sorted(folders)
    if not steps:
        found = ', '.join(sorted(entry.name for entry in root.iterdir())) or 'nothing'
        raise CheckpointError(
            f'{root}: must hold a folder per saved step, named by its number, found {found}; '
            'the parameters are missing, copy or download the checkpoint again')
    if step is not None and step not in steps:
        raise CheckpointError(
            f"{root}: has no step {step}; the steps there are {', '.join(map(str, steps))}")
    return steps[-1] if step is None else step


def _find_item(folder: Path) -> Path:
    """Returns the folder with the parameters: `default`, or under another name of Orbax' items."""
    for item in (folder / ITEM, folder, *sorted(folder.iterdir())):
        if item.is_dir() and ((item / PARAMETERS).is_file() or is_orbax_folder(item)):
            return item
    inner = folder / ITEM if (folder / ITEM).is_dir() else folder
    found = ', '.join(sorted(entry.name for entry in inner.iterdir())) or 'nothing'
    raise CheckpointError(
        f'{folder}: {ITEM}/{PARAMETERS} is missing, and there are no Orbax arrays either, found '
        f'{found} in {inner.name}; the copy or download is not complete, get this step again')


def _read_params(item: Path) -> tuple[dict[str, Any], Path]:
    if is_orbax_folder(item):
        file = item
        params = read_orbax(item)
        damaged = [leaf for leaf in flatten(params).values() if not _is_finite(leaf)]
    else:
        file = item / PARAMETERS
        damaged = []

        def place(array: np.ndarray) -> jax.Array:
            # Looked at on the host, where no shape needs a compilation.
            leaf = msgpack_tree.to_device(array)
            if not _is_finite(array):
                damaged.append(leaf)
            return leaf

        params = msgpack_tree.read_tree(file, place)
    if set(params) == {'params'}:
        params = params['params']
    if 'step' in params or 'opt_state' in params:
        raise CheckpointError(
            f"{file}: must hold parameters alone, got the whole state of a training "
            f"({', '.join(params)}); load it where it was trained, and save its parameters alone, "
            'as save_pretrained does')
    _check_params(params, file, {id(leaf) for leaf in damaged})
    return params, file


def _is_finite(leaf: Any) -> bool:
    if not getattr(leaf, 'size', 0) or not jnp.issubdtype(leaf.dtype, jnp.floating):
        return True
    # Both ends are finite only if all is; unlike a mask of all, they take no memory.
    with np.errstate(invalid='ignore'):
        ends = np.array([leaf.min(), leaf.max()], np.float64)
    return bool(np.isfinite(ends).all())


def _check_params(params: Mapping[str, Any], file: Path, damaged: Collection[int]) -> None:
    leaves = flatten(params)
    for path, leaf in leaves.items():
        if not hasattr(leaf, 'dtype'):
            raise CheckpointError(
                f'{file}: {path} must be an array, got {type(leaf).__name__} {str(leaf)[:80]!r}; '
                'arrays that lie elsewhere are missing, copy the whole step folder')
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise CheckpointError(
                f'{file}: {path} must be floating-point numbers, got {leaf.dtype.name}; '
                'quantised or damaged parameters are not supported, take those of the training')
    paths = [path for path, leaf in leaves.items() if id(leaf) in damaged]
    if paths:
        more = f' and {len(paths) - _MOST_PATHS} more' if len(paths) > _MOST_PATHS else ''
        raise CheckpointError(
            f'{file}: parameters must be finite, got NaN or infinity in {len(paths)} of '
            f"{len(leaves)}: {', '.join(paths[:_MOST_PATHS])}{more}; take an earlier step, this "
            'training had failed')


def _folder_hint(root: Path) -> str:
    if root.name.isdigit() and (root.parent / CONFIG).is_file():
        return f'this is the folder of one step: give {root.parent} and step={root.name}'
    return 'give the folder that holds config.json, or copy or download the checkpoint again'


def _read_json(file: Path, hint: str = 'copy or download it again') -> dict[str, Any]:
    try:
        refuse_pointer(file)
        tree = json.loads(file.read_text(encoding='utf-8'))
    except OSError as error:
        raise CheckpointError(f'{file}: cannot be read ({error.strerror}); {hint}') from error
    except (ValueError, RecursionError) as error:  # the latter: brackets without end
        raise CheckpointError(
            f'{file}: must be JSON, but it is damaged ({error}); copy or download it again'
        ) from error
    if not isinstance(tree, dict):
        raise CheckpointError(f'{file}: must hold a JSON object, got {type(tree).__name__}')
    return tree
