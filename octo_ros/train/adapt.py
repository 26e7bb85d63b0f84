"""Fits the configuration of a checkpoint to other cameras, proprio, chunks and action heads."""

import copy
import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.data.augment import check_options
from octo_ros.data.augment import default_options
from octo_ros.data.store import EpisodeSet
from octo_ros.errors import DataError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.model.octo import OctoModule
from octo_ros.model.tokenizers import PIECES_KEY
from octo_ros.model.tokenizers import LanguageTokenizer
from octo_ros.model.tokenizers import match_keys
from octo_ros.params import param
from octo_ros.policy.normalization import TYPE_KEY
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.proprio import PROPRIO
from octo_ros.policy.proprio import VELOCITY
from octo_ros.policy.spec import image_inputs
from octo_ros.train.params import TrainParams

_TOKENIZERS = 'octo.model.components.tokenizers'
_ENCODERS = 'octo.model.components.vit_encoders'
_HEADS = 'octo.model.components.action_heads'
_HEAD_CLASSES = {
    'diffusion': 'DiffusionActionHead', 'l1': 'L1ActionHead', 'mse': 'MSEActionHead'}
_SWITCHES = ('keep', 'on', 'off')
_LOWDIM = 'LowdimObsTokenizer'
_WRIST = 'wrist'
_INSTRUCTED_TOKENS = 8
_DETAIL_FEATURES = (32, 64, 128)  # of three convolutions of stride 2, hence 8 x 8 pixels


@dataclasses.dataclass(frozen=True)
class ModelParams:
    """What of a checkpoint's model is changed for a new robot."""

    window: int = param(0, 'History steps; 0: as in the checkpoint.', ge=0, le=10)
    action_horizon: int = param(
        0, 'Actions in a chunk; 0: as in the checkpoint.', ge=0, le=200)
    head: str = param(
        'keep', "Action head: the checkpoint's, or a fresh one.",
        one_of=('keep', *_HEAD_CLASSES))
    detail: tuple[str, ...] = param(
        (), 'Cameras (wrist) that get a second tokenizer, of a token for every 8 x 8 pixels, to '
        'tell apart things that are small in the picture.')
    instructed: tuple[str, ...] = param(
        (), 'Cameras (primary) that get another tokenizer, which the instruction conditions '
        '(FiLM), of 8 tokens: a small model learns with it which thing is meant, such as the '
        'red one of three.')
    dropout: float = param(
        0.0, 'Dropout in the transformer while training, against learning few episodes by heart; '
        '0: as in the checkpoint.', ge=0.0, lt=1.0)
    proprio: str = param(
        'keep', 'Give the proprio vector to the policy, too: as the checkpoint, where the data '
        'have it, or in any case, or never.', one_of=_SWITCHES)
    velocity: str = param(
        'keep', 'Give how fast the proprio changes, too, which is found by itself.',
        one_of=_SWITCHES)
    proprio_bins: int = param(
        256, 'Bins of a proprio number, as in the reference; 0: the number itself, which needs '
        'less data.', ge=0, le=4096)
    proprio_start: float = param(
        0.0, 'Deviation of the fresh weights of proprio numbers, where that of their places is 1: '
        'small, for tokens that follow the number nearly in proportion. 0: as in Octo, 1 and '
        '0.02, where the number drowns the place, and which number it is must be learnt from '
        'many examples.', ge=0.0, le=1.0)


def adapt_config(config: Mapping[str, Any], params: ModelParams, *, image_keys: Sequence[str],
                 action_dim: int) -> dict[str, Any]:
    """Returns the configuration for a data set.

    Cameras that the data lack are left out; a new camera gets a tokenizer like that of the first
    known one. A head of the right size is kept as it is.

    Args:
        config: of the checkpoint.
        params: what is changed, as `settle_vectors` returns it.
        image_keys: observation keys of the data (`image_primary`).
        action_dim: dimensions of the data's actions.
    """
    result = copy.deepcopy(dict(config))
    model = result['model']
    model['observation_tokenizers'] = _observation_tokenizers(
        model['observation_tokenizers'], image_keys, params)
    head = model['heads']['action']
    if params.head != 'keep':
        head = {'module': _HEADS, 'name': _HEAD_CLASSES[params.head], 'args': [], 'kwargs': {
            'readout_key': 'readout_action', 'use_map': False,
            'action_horizon': horizon_of(config)}}
        model['heads']['action'] = head
    head['kwargs']['action_dim'] = action_dim
    if params.dropout:
        model['transformer_kwargs'] = dict(model['transformer_kwargs']) | {
            'dropout_rate': params.dropout, 'attention_dropout_rate': params.dropout}
    if params.action_horizon:
        head['kwargs']['action_horizon'] = params.action_horizon
    result['window_size'] = params.window or result.get('window_size') or 1
    if result['window_size'] > model['max_horizon']:
        raise ParameterError(
            f"'window' must be at most the model's max_horizon {model['max_horizon']}, got "
            f"{result['window_size']}")
    return result


def settle_vectors(config: Mapping[str, Any], params: ModelParams, *, has_proprio: bool
                   ) -> ModelParams:
    """Returns the parameters with `proprio` and `velocity` on or off, where they were to be kept.

    Args:
        config: of the checkpoint.
        params: what of its model is changed.
        has_proprio: whether the data have it.
    """
    tokenizers = config['model']['observation_tokenizers'].values()

    def settled(value: str, key: str, *, there: bool) -> str:
        if value != 'keep':
            return value
        return 'on' if there and any(_reads(spec, [key]) for spec in tokenizers) else 'off'

    proprio = settled(params.proprio, PROPRIO, there=has_proprio)
    velocity = settled(params.velocity, VELOCITY, there=proprio == 'on')
    if velocity == 'on' and proprio != 'on':
        raise ParameterError("'model.velocity' must go with model.proprio=on, got off; give "
                             'model.velocity=off, too')
    return dataclasses.replace(params, proprio=proprio, velocity=velocity)


def lost_inputs(config: Mapping[str, Any], fitted: Mapping[str, Any], params: ModelParams
                ) -> list[str]:
    """Returns observations that a checkpoint was trained with, and that the data lack.

    Args:
        config: of the checkpoint.
        fitted: the same for the data.
        params: what was asked for; what it turns off is not lost.
    """
    off = [key for key, value in ((PROPRIO, params.proprio), (VELOCITY, params.velocity))
           if 'off' in (value, params.proprio)]
    kept, tokenizers = (each['model']['observation_tokenizers'] for each in (fitted, config))
    keys = {key: None for name, spec in tokenizers.items()
            if name not in kept and not _reads(spec, off)
            for kind in ('obs_keys', 'obs_stack_keys') for key in spec['kwargs'].get(kind, ())}
    return list(keys)


def check_image_sizes(base: OctoModel, episodes: EpisodeSet) -> None:
    """Raises DataError where the checkpoint knows a camera at another size than a set holds.

    Its tokens have learnt places, one each, so another number of them begins anew: much is lost.
    """
    known = image_inputs(base)
    wrong = {key: size for key, size in episodes.image_sizes.items()
             if known.get(key, size) != size}
    if wrong:
        told = ', '.join(f'{key} must be {_size(known[key])} as in the checkpoint, got '
                         f'{_size(size)}' for key, size in wrong.items())
        options = ' '.join(f"--size {key.removeprefix('image_')}={_size(known[key])}"
                           for key in wrong)
        raise DataError(f'{episodes.path}: {told}; build the set with {options}')


def _size(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'


def horizon_of(config: Mapping[str, Any]) -> int:
    """Returns the number of actions in a chunk."""
    return int(config['model']['heads']['action']['kwargs'].get('action_horizon', 1))


def record_run(config: Mapping[str, Any], params: TrainParams, frozen: Sequence[str], *,
               image_sizes: Mapping[str, tuple[int, int]], augmentation: Mapping[str, Any],
               action_dim: int) -> dict[str, Any]:
    """Returns the configuration with the entries that tell how this run trains."""
    result = copy.deepcopy(dict(config))
    optimizer, task = params.optimizer, params.task
    rate = {'name': optimizer.schedule, 'init_value': 0.0, 'peak_value': optimizer.learning_rate,
            'warmup_steps': optimizer.warmup_steps}
    if optimizer.schedule == 'cosine':
        rate |= {'decay_steps': params.steps, 'end_value': 0.0}
    elif optimizer.schedule == 'rsqrt':
        rate |= {'timescale': optimizer.timescale}
    data = dict(result.get('dataset_kwargs') or {})
    data |= {
        'batch_size': params.batch_size, TYPE_KEY: params.normalization_type,
        'frame_transform_kwargs': {
            'resize_size': {key.removeprefix('image_'): list(size)
                            for key, size in image_sizes.items()},
            'image_augment_kwargs': augmentation},
        'traj_transform_kwargs': {
            'window_size': result['window_size'], 'action_horizon': horizon_of(result),
            'max_action_dim': action_dim,
            'goal_relabeling_strategy': 'uniform' if task.uses_goals else None,
            'task_augment_strategy': 'delete_and_rephrase',
            'task_augment_kwargs': {
                'keep_image_prob': task.goal_share, 'rephrase_prob': task.rephrase_prob}}}
    return result | {
        'dataset_kwargs': data, 'num_steps': params.steps, 'seed': params.seed,
        'modality': task.modality, 'finetuning_mode': params.mode,
        'optimizer': {
            'learning_rate': rate, 'weight_decay': optimizer.weight_decay,
            'clip_gradient': optimizer.clip_gradient or None, 'frozen_keys': list(frozen),
            'grad_accumulation_steps': optimizer.accumulate}}


def augmentation_of(config: Mapping[str, Any], image_keys: Sequence[str]) -> dict[str, Any]:
    """Returns the augmentation of each camera: the checkpoint's, or Octo's own for a new one."""
    given = (config.get('dataset_kwargs') or {}).get('frame_transform_kwargs') or {}
    known = given.get('image_augment_kwargs') or {}
    options = {}
    for key in image_keys:
        camera = key.removeprefix('image_')
        found = known if 'augment_order' in known else known.get(camera)
        options[camera] = dict(found) if found else default_options(crop=_WRIST not in camera)
        check_options(options[camera], camera)
    return options


def no_augmentation(image_keys: Sequence[str]) -> dict[str, Any]:
    """Returns the options of cameras whose images are trained with as they are.

    They are noted in the checkpoint, so that a policy does not crop what training did not crop.
    """
    return {key.removeprefix('image_'): {'augment_order': []} for key in image_keys}


def finetunes_language(config: Mapping[str, Any]) -> bool:
    """Returns True when the language model is trained along."""
    return any(spec['kwargs'].get('finetune_encoder', False)
               for spec in config['model']['task_tokenizers'].values())


def _observation_tokenizers(tokenizers: Mapping[str, Any], image_keys: Sequence[str],
                            params: ModelParams) -> dict[str, Any]:
    kept = {name: spec for name, spec in tokenizers.items()
            if _wanted(spec, image_keys, params)}
    cameras = [spec for spec in tokenizers.values() if spec['name'] == 'ImageTokenizer']
    seen = {key for spec in kept.values() for key in spec['kwargs'].get('obs_stack_keys', ())}
    for key in image_keys:
        if key in seen:
            continue
        if not cameras:
            raise ParameterError(f"'{key}' needs a camera tokenizer in the checkpoint to be like")
        spec = copy.deepcopy(cameras[0])
        spec['kwargs']['obs_stack_keys'] = [key]
        if spec['kwargs'].get('task_stack_keys'):
            spec['kwargs']['task_stack_keys'] = [key]
        kept[key.removeprefix('image_')] = spec
    for option, make in (('detail', _detail_tokenizer), ('instructed', instructed_tokenizer)):
        for camera in getattr(params, option):
            key = f'image_{camera}'
            if key not in image_keys:
                raise ParameterError(
                    f"'model.{option}' must name cameras of the data, got '{camera}'"
                    + closest(camera, [name.removeprefix('image_') for name in image_keys]))
            kept.setdefault(f'{camera}_{option}', make(key))
    for key in _vectors(params):
        if not any(_reads(spec, [key]) for spec in kept.values()):
            kept[key] = _vector_tokenizer(key, params)
    return kept


def _vectors(params: ModelParams) -> list[str]:
    """Returns which observations that are no images the policy is given."""
    switches = ((PROPRIO, params.proprio), (VELOCITY, params.velocity))
    return [key for key, value in switches if value == 'on']


def _reads(spec: Mapping[str, Any], vectors: Sequence[str]) -> bool:
    """Returns whether a tokenizer takes one of these observations, which are no images."""
    return spec['name'] == _LOWDIM and bool(
        match_keys(spec['kwargs'].get('obs_keys', ()), vectors))


def _vector_tokenizer(key: str, params: ModelParams) -> dict[str, Any]:
    return {'module': _TOKENIZERS, 'name': _LOWDIM, 'args': [], 'kwargs': {
        'obs_keys': [key], 'n_bins': params.proprio_bins or 256, 'bin_type': 'normal',
        'low': -2.0, 'high': 2.0, 'discretize': params.proprio_bins > 0}}


def _detail_tokenizer(key: str) -> dict[str, Any]:
    layers = len(_DETAIL_FEATURES)
    encoder = {'module': _ENCODERS, 'name': 'SmallStem', 'args': [], 'kwargs': {
        'patch_size': 16, 'kernel_sizes': [3] * layers, 'strides': [2] * layers,
        'padding': [1] * layers, 'features': list(_DETAIL_FEATURES),
        'num_features': _DETAIL_FEATURES[-1]}}
    return {'module': _TOKENIZERS, 'name': 'ImageTokenizer', 'args': [], 'kwargs': {
        'obs_stack_keys': [key], 'task_stack_keys': [key], 'encoder': encoder}}


def instructed_tokenizer(key: str) -> dict[str, Any]:
    """Returns a tokenizer in detail that looks for what is told; goal images tell it nothing."""
    spec = _detail_tokenizer(key)
    del spec['kwargs']['task_stack_keys']
    spec['kwargs'] |= {'task_film_keys': [PIECES_KEY], 'use_token_learner': True,
                       'num_tokens': _INSTRUCTED_TOKENS}
    spec['kwargs']['encoder']['kwargs']['use_film'] = True
    return spec


def with_pieces(example: Mapping[str, Any], module: OctoModule) -> dict[str, Any]:
    """Returns the example batch with the vector of words, where an image encoder reads it.

    Octo finds in the example what shape its inputs have.
    """
    transformer = module.octo_transformer
    sizes = [tokenizer.sizes for tokenizer in transformer.task_tokenizers.values()
             if isinstance(tokenizer, LanguageTokenizer) and tokenizer.sizes is not None]
    if not sizes or not transformer.reads_pieces():
        return dict(example)
    task = example['task']
    masks = {**task['pad_mask_dict'], PIECES_KEY: np.ones(1, bool)}
    pieces = np.zeros((1, sizes[0].vocab_size), np.float32)
    return {**example, 'task': {**task, PIECES_KEY: pieces, 'pad_mask_dict': masks}}


def _wanted(spec: Mapping[str, Any], image_keys: Sequence[str], params: ModelParams) -> bool:
    return _reads(spec, _vectors(params)) or any(
        key in image_keys for key in spec['kwargs'].get('obs_stack_keys', ()))
