"""What a model wants to see and what it gives, read off its tokenizers and example batch."""

import re
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.checkpoint import released
from octo_ros.checkpoint.spec_registry import build_module
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.model.octo import OctoModule
from octo_ros.model.tokenizers import ImageTokenizer
from octo_ros.model.tokenizers import LanguageTokenizer
from octo_ros.model.tokenizers import LowdimObsTokenizer
from octo_ros.policy.model_inputs import goal_cameras
from octo_ros.policy.model_inputs import observation_stacks
from octo_ros.policy.normalization import action_size
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.proprio import PROPRIO
from octo_ros.policy.proprio import VELOCITY
from octo_ros.policy.types import PolicySpec

_CAMERA = 'image_'
_SIZE = re.compile(r'(\w+)=(\d+)x(\d+)')


def describe(
    model: OctoModel,
    statistics: Mapping[str, Any],
    *,
    normalization_type: str = 'normal',
    head: str = 'action',
    image_sizes: Sequence[str] = (),
) -> PolicySpec:
    """Returns what the model wants and gives.

    Args:
        model: the model.
        statistics: the `action` entry of the dataset's statistics.
        normalization_type: 'normal' or 'bounds'.
        head: name of the action head.
        image_sizes: `KEY=HEIGHTxWIDTH` for keys whose size is not that of the example batch.

    Raises:
        ParameterError: there is no such head, an entry of `image_sizes` is wrong, or the
            statistics are not of one length or in order.
    """
    heads = model.module.heads
    if head not in heads:
        raise ParameterError(
            f"'head' must be one of {', '.join(heads)}, got '{head}'{closest(head, heads)}")
    low, high = envelope(statistics)
    return PolicySpec(
        image_sizes=image_inputs(model) | _parse_sizes(image_sizes, image_inputs(model)),
        goal_keys=tuple(key for key in model.goal_keys if _is_image(_example_goal(model, key))),
        uses_language=takes_text(model),
        proprio_dim=_proprio_dim(model),
        frames_before=1 if VELOCITY in vector_inputs(model) else 0,
        window=int(np.shape(model.example_batch['observation']['timestep_pad_mask'])[1]),
        max_window=int(model.module.octo_transformer.max_horizon),
        action_horizon=int(heads[head].action_horizon),
        action_dim=action_size(statistics, normalization_type),
        action_low=low,
        action_high=high,
        goal_cameras=goal_cameras(model.module, model.example_batch),
    )


def image_inputs(model: OctoModel) -> dict[str, tuple[int, int]]:
    """Returns the height and width of every camera that a tokenizer uses, in their order.

    Raises:
        ParameterError: a camera has a name that Octo's data do not have, or depth comes with it.
    """
    return _image_inputs(model.module.octo_transformer.observation_tokenizers,
                         model.example_batch['observation'])


def other_image_inputs(model: OctoModel) -> tuple[str, ...]:
    """Returns the images that a tokenizer uses and that no camera gives here, as depth."""
    example = model.example_batch['observation']
    keys = (key for tokenizer in _image_tokenizers(
        model.module.octo_transformer.observation_tokenizers)
        for key in tokenizer.observation_keys(example))
    return tuple(dict.fromkeys(key for key in keys if not _is_image(example[key])))


def vector_inputs(model: OctoModel) -> tuple[str, ...]:
    """Returns which of `proprio` and `velocity` a tokenizer uses."""
    example = model.example_batch['observation']
    read = {key for tokenizer in model.module.octo_transformer.observation_tokenizers.values()
            if isinstance(tokenizer, LowdimObsTokenizer)
            for key in tokenizer.observation_keys(example)}
    return tuple(key for key in (PROPRIO, VELOCITY) if key in read)


def checkpoint_image_keys(path_or_hf: str | Path, step: int | None = None) -> tuple[str, ...]:
    """Returns the keys of `image_inputs` for a checkpoint whose parameters are not read: quickly.

    Args:
        path_or_hf: a folder, or `hf://owner/name[@revision]`.
        step: the step to fetch from the hub; None takes the latest.

    Raises:
        CheckpointError: a file is missing, damaged or not what it must be.
        ParameterError: as `image_inputs`.
    """
    module, example = _without_language(path_or_hf, step)
    return tuple(_image_inputs(module.octo_transformer.observation_tokenizers,
                               example['observation']))


def checkpoint_goal_cameras(
    path_or_hf: str | Path, step: int | None = None
) -> dict[str, tuple[str, ...]]:
    """Returns `PolicySpec.goal_cameras` of a checkpoint whose parameters are not read: quickly.

    Args and errors are those of `checkpoint_image_keys`.
    """
    return goal_cameras(*_without_language(path_or_hf, step))


def stacked_with(model: OctoModel, key: str) -> set[str]:
    """Returns the images that must come with `key`, because one tokenizer stacks them."""
    stacks = observation_stacks(model.module, model.example_batch['observation'])
    return {other for stack in stacks if key in stack for other in stack}


def goal_sizes(model: OctoModel, spec: PolicySpec) -> dict[str, tuple[int, int]]:
    """Returns the height and width of every goal image; that of its camera where there is one."""
    return {
        key: spec.image_sizes.get(key) or tuple(np.shape(_example_goal(model, key))[-3:-1])
        for key in spec.goal_keys}


def takes_text(model: OctoModel) -> bool:
    """Tells whether an instruction has an effect."""
    return model.text_processor is not None and any(
        isinstance(tokenizer, LanguageTokenizer) and tokenizer.sizes is not None
        for tokenizer in model.module.octo_transformer.task_tokenizers.values())


def envelope(statistics: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the common range of actions in training (p01, p99); infinite where unmasked.

    Args:
        statistics: the `action` entry of a dataset's statistics.

    Returns:
        Lower and upper ends; both empty when the statistics lack p01 or p99.

    Raises:
        ParameterError: the lengths differ, or p01 is above p99.
    """
    if 'p01' not in statistics or 'p99' not in statistics:
        return (), ()
    low, high = (np.asarray(statistics[name], np.float64) for name in ('p01', 'p99'))
    mask = np.asarray(statistics.get('mask', np.ones(len(low), bool)), bool)
    if not len(low) == len(high) == len(mask):
        raise ParameterError(
            f"The statistics must have one length, got {len(low)} in 'p01', {len(high)} in 'p99' "
            f'and a mask of {len(mask)}; compute them again')
    if not (low <= high)[mask].all():
        raise ParameterError(
            f"The statistics must have 'p01' not greater than 'p99', got {low.tolist()} and "
            f'{high.tolist()}; compute them again')
    return (
        tuple(np.where(mask, low, -np.inf).tolist()), tuple(np.where(mask, high, np.inf).tolist()))


def _without_language(path_or_hf: str | Path, step: int | None
                      ) -> tuple[OctoModule, dict[str, Any]]:
    """Returns a checkpoint's model, without parameters and language model, and example batch."""
    root = released.locate(path_or_hf, step)
    config = dict(released.read_config(root)['model'])
    tokenizers = config.get('task_tokenizers')
    if isinstance(tokenizers, Mapping):  # else it is refused below
        # The size of a task's language model may stand in the parameters alone.
        config['task_tokenizers'] = {
            name: spec for name, spec in tokenizers.items()
            if not isinstance(spec, Mapping) or spec.get('name') != 'LanguageTokenizer'}
    return build_module(config), released.read_example_batch(root)


def _image_inputs(
    tokenizers: Mapping[str, Any], example: Mapping[str, Any]
) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for tokenizer in _image_tokenizers(tokenizers):
        keys = tokenizer.observation_keys(example)
        colour = [key for key in keys if _is_image(example[key])]
        if colour and len(colour) < len(keys):
            raise ParameterError(
                f"a tokenizer must stack images of 3 channels alone, got {', '.join(keys)} in "
                'one: depth is not supported; fine-tune the checkpoint without')
        found.update({key: tuple(np.shape(example[key])[2:4]) for key in colour})
    wrong = [key for key in found if not key.startswith(_CAMERA)]
    if wrong:
        raise ParameterError(
            f"the cameras of a checkpoint must have names that begin with '{_CAMERA}', as in "
            f"Octo's data, got {', '.join(wrong)}; rename them in config.json and "
            'example_batch.msgpack')
    return found


def _image_tokenizers(tokenizers: Mapping[str, Any]) -> list[ImageTokenizer]:
    return [each for each in tokenizers.values() if isinstance(each, ImageTokenizer)]


def _example_goal(model: OctoModel, key: str) -> Any:
    example = model.example_batch
    return example['task'].get(key, example['observation'].get(key))


def _is_image(value: Any) -> bool:
    return np.ndim(value) >= 4 and np.shape(value)[-1] == 3


def _proprio_dim(model: OctoModel) -> int:
    example = model.example_batch['observation']
    return max((int(np.shape(example[key])[-1]) for key in vector_inputs(model)), default=0)


def _parse_sizes(
    entries: Sequence[str], known: Mapping[str, Any]
) -> dict[str, tuple[int, int]]:
    sizes = {}
    for entry in entries:
        match = _SIZE.fullmatch(entry)
        if match is None or match[1] not in known or '0' in (match[2], match[3]):
            key = entry.split('=')[0]
            raise ParameterError(
                f"'image_sizes' must hold KEY=HEIGHTxWIDTH with KEY one of {', '.join(known)}, "
                f"got '{entry}'{closest(key, known) if key not in known else ''}")
        sizes[match[1]] = (int(match[2]), int(match[3]))
    return sizes
