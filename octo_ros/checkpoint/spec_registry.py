"""From the `model` entry of config.json to a model: an allow-list of what it may name.

A configuration names classes as module and name (`octo.model.components.tokenizers`,
`ImageTokenizer`). Those are words to look up here. Nothing is imported by them.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from octo_ros.checkpoint.merge import flatten
from octo_ros.errors import CheckpointError
from octo_ros.errors import closest
from octo_ros.model import resnet
from octo_ros.model import t5
from octo_ros.model import tokenizers
from octo_ros.model import vision
from octo_ros.model.heads import continuous
from octo_ros.model.heads import diffusion
from octo_ros.model.heads import discrete
from octo_ros.model.heads import unet_ddpm
from octo_ros.model.octo import OctoModule
from octo_ros.model.octo_transformer import OctoTransformer
from octo_ros.model.transformer import Transformer

_COMPONENTS = 'octo.model.components'
_TOKENIZERS: Mapping[str, type] = {
    f'{_COMPONENTS}.tokenizers:{cls.__name__}': cls
    for cls in (tokenizers.ImageTokenizer, tokenizers.LanguageTokenizer,
                tokenizers.LowdimObsTokenizer)}
_ENCODERS: Mapping[str, type] = {
    f'{_COMPONENTS}.vit_encoders:{cls.__name__}': cls
    for cls in (vision.PatchEncoder, vision.SmallStem, vision.SmallStem16, vision.SmallStem32,
                resnet.ViTResnet, resnet.ResNet26FILM)}
_HEADS: Mapping[str, type] = {
    f'{_COMPONENTS}.action_heads:{cls.__name__}': cls
    for cls in (continuous.ContinuousActionHead, continuous.MSEActionHead,
                continuous.L1ActionHead, discrete.DiscreteActionHead,
                discrete.TokenPerDimActionHead, diffusion.DiffusionActionHead,
                unet_ddpm.UNetDDPMActionHead)}
_CHOICES: Mapping[str, Sequence[str]] = {'loss_type': ('mse', 'l1')}
_MOST_PATHS = 8
_SPEC_KEYS = {'module', 'name', 'args', 'kwargs'}
_MODEL_KEYS = ('observation_tokenizers', 'task_tokenizers', 'heads', 'readouts',
               'transformer_kwargs', 'token_embedding_size', 'max_horizon',
               'repeat_task_tokens', 'use_correct_attention')
_BUILT_KEYS = ('observation_tokenizers', 'task_tokenizers', 'heads', 'transformer_kwargs')
_OPTIONAL_MODEL_KEYS = ('repeat_task_tokens', 'use_correct_attention')


def build_module(model_config: Mapping[str, Any], *,
                 params_shapes: Mapping[str, Any] | None = None) -> OctoModule:
    """Builds the model that a configuration describes.

    Args:
        model_config: the `model` entry of config.json.
        params_shapes: the checkpoint's parameter tree; its leaves need only a `shape`. Sizes of a
            language model without a known name are read off it.

    Raises:
        CheckpointError: a name is unknown or a value is of the wrong kind; the text says where.
    """
    _check_keys(model_config, _MODEL_KEYS, 'model')
    missing = [key for key in _MODEL_KEYS
               if key not in model_config and key not in _OPTIONAL_MODEL_KEYS]
    if missing:
        raise CheckpointError(f'config.json: model must have {", ".join(missing)}; it is not the '
                              'configuration of an Octo model')
    fields = {key: value for key, value in model_config.items() if key not in _BUILT_KEYS}
    _check_types(OctoTransformer, fields, 'model')
    _check_readouts(fields['readouts'])
    transformer = _transformer_kwargs(model_config)
    language_params = _subtree(params_shapes, 'octo_transformer')
    if params_shapes is not None and language_params is None:
        raise CheckpointError("the parameters must have 'octo_transformer', found "
                              f'{_some_paths(params_shapes)}; take the step and config.json '
                              'from the same training run')

    def build(group: str, known: Mapping[str, type]) -> dict[str, Any]:
        return {name: _build(spec, known, f'model.{group}.{name}',
                             _subtree(language_params, f'{group}_{name}'))
                for name, spec in _mapping(model_config[group], f'model.{group}').items()}

    module = OctoModule(
        octo_transformer=OctoTransformer(
            observation_tokenizers=build('observation_tokenizers', _TOKENIZERS),
            task_tokenizers=build('task_tokenizers', _TOKENIZERS),
            transformer_kwargs=transformer, **fields),
        heads=build('heads', _HEADS))
    _check_roles(module.octo_transformer)
    return module


def _check_roles(transformer: OctoTransformer) -> None:
    """Checks that tokenizers of images and vectors stand where their tokens belong."""
    for name, tokenizer in transformer.observation_tokenizers.items():
        keys = getattr(tokenizer, 'obs_stack_keys', getattr(tokenizer, 'obs_keys', ()))
        if not keys:
            raise CheckpointError(
                f'config.json: model.observation_tokenizers.{name} must name observations in '
                'obs_stack_keys or obs_keys; put one for language or goals in task_tokenizers')
    for name, tokenizer in transformer.task_tokenizers.items():
        goals_alone = (isinstance(tokenizer, tokenizers.ImageTokenizer)
                       and not tokenizer.obs_stack_keys and tokenizer.task_stack_keys)
        if not goals_alone and not isinstance(tokenizer, tokenizers.LanguageTokenizer):
            raise CheckpointError(
                f'config.json: model.task_tokenizers.{name} must be a LanguageTokenizer, or an '
                'ImageTokenizer with task_stack_keys and an empty list of obs_stack_keys')


def _build(spec: Any, known: Mapping[str, type], path: str,
           params: Mapping[str, Any] | None = None) -> Any:
    cls, kwargs = _resolve(spec, known, path)
    if cls is tokenizers.ImageTokenizer:
        _check_complete(cls, kwargs, f'{path}.kwargs')
        encoder, options = _resolve(kwargs['encoder'], _ENCODERS, f'{path}.kwargs.encoder')
        _check_encoder(encoder(**options), f'{path}.kwargs.encoder.kwargs')
        kwargs['encoder'] = vision.EncoderSpec(encoder, tuple(options.items()))
    if cls is tokenizers.LanguageTokenizer:
        kwargs['sizes'] = _language_sizes(kwargs.get('encoder'), params, path)
    _check_complete(cls, kwargs, f'{path}.kwargs')
    return cls(**kwargs)


def _check_encoder(encoder: vision.ImageEncoder, path: str) -> None:
    fault = encoder.broken_rule()
    if fault is not None:
        key, rule = fault
        raise CheckpointError(
            f'config.json: {path}.{key} must be {rule}, got {getattr(encoder, key)!r}')


def _resolve(spec: Any, known: Mapping[str, type], path: str) -> tuple[type, dict[str, Any]]:
    """Returns the class and the checked keyword arguments of a specification."""
    if not isinstance(spec, Mapping) or set(spec) != _SPEC_KEYS:
        given = sorted(spec) if isinstance(spec, Mapping) else spec
        raise CheckpointError(f'config.json: {path} must have exactly the keys module, name, args '
                              f'and kwargs, got {given!r}')
    name = f'{spec["module"]}:{spec["name"]}'
    if name not in known:
        raise CheckpointError(f'config.json: {path} names {name!r}, which is not known'
                              f'{closest(name, known)}; known are {", ".join(sorted(known))}')
    if spec['args']:
        raise CheckpointError(f'config.json: {path}.args must be empty, got {spec["args"]!r}; '
                              'give them by name in kwargs')
    given = _mapping(spec['kwargs'], f'{path}.kwargs')
    kwargs = {key: _frozen(value) for key, value in given.items()}
    _check_types(known[name], kwargs, f'{path}.kwargs')
    return known[name], kwargs


def _frozen(value: Any) -> Any:
    """Returns lists as tuples, so that modules can be compared and hashed."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_frozen(item) for item in value)
    return value


def _language_sizes(encoder: str | None, params: Mapping[str, Any] | None,
                    path: str) -> t5.T5Sizes | None:
    if encoder is None:
        return None
    if encoder in t5.KNOWN_SIZES:
        return t5.KNOWN_SIZES[encoder]
    subtree = _subtree(params, 'hf_model')
    if subtree is not None and t5.is_t5(encoder):
        return t5.sizes_from_params(subtree)
    found = _some_paths(params) if params else 'none'
    why = (f"its sizes must be read off the parameters under 'hf_model', and found are {found}"
           if t5.is_t5(encoder) else 'only T5 encoders are supported')
    raise CheckpointError(f'config.json: {path}.kwargs.encoder must be one of '
                          f'{", ".join(t5.KNOWN_SIZES)} or a T5 in the checkpoint, got {encoder!r}'
                          f'{closest(encoder, t5.KNOWN_SIZES)}: {why}')


def _transformer_kwargs(model_config: Mapping[str, Any]) -> dict[str, Any]:
    path = 'model.transformer_kwargs'
    kwargs = dict(_mapping(model_config['transformer_kwargs'], path))
    if kwargs.pop('add_position_embedding', False):
        raise CheckpointError(f'config.json: {path}.add_position_embedding must be false: the '
                              'tokens carry their positions already')
    _check_types(Transformer, kwargs, path)
    _check_complete(Transformer, kwargs, path)
    width, heads = model_config['token_embedding_size'], kwargs['num_attention_heads']
    if width % heads:
        raise CheckpointError('config.json: model.token_embedding_size must be a multiple of '
                              f'{path}.num_attention_heads ({heads}), got {width}')
    return kwargs


def _check_readouts(readouts: Mapping[str, Any]) -> None:
    for name, count in _mapping(readouts, 'model.readouts').items():
        if not isinstance(count, int) or count < 1:
            raise CheckpointError(f'config.json: model.readouts.{name} must be a number of tokens '
                                  f'of at least 1, got {count!r}')


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CheckpointError(f'config.json: {path} must be a mapping, got {value!r}')
    return value


def _some_paths(tree: Mapping[str, Any]) -> str:
    paths = sorted(flatten(tree))
    return ', '.join(paths[:_MOST_PATHS]) + (', …' if len(paths) > _MOST_PATHS else '')


def _subtree(tree: Mapping[str, Any] | None, key: str) -> Mapping[str, Any] | None:
    return None if tree is None else tree.get(key)


def _check_keys(given: Mapping[str, Any], known: Sequence[str], path: str) -> None:
    for key in given:
        if key not in known:
            raise CheckpointError(f'config.json: {path} has {key!r}, which is not known'
                                  f'{closest(key, known)}; known are {", ".join(known)}')


def _check_complete(cls: type, kwargs: Mapping[str, Any], path: str) -> None:
    missing = [field.name for field in dataclasses.fields(cls) if field.name not in kwargs
               and field.default is field.default_factory is dataclasses.MISSING]
    if missing:
        raise CheckpointError(f'config.json: {path} must have {", ".join(missing)}, got '
                              f'{", ".join(kwargs) or "nothing"}')


def _check_types(cls: type, kwargs: Mapping[str, Any], path: str) -> None:
    """Checks names and plain types of arguments against the fields of a module."""
    fields = {field.name: field for field in dataclasses.fields(cls)
              if field.name not in ('parent', 'name', 'sizes')}
    _check_keys(kwargs, list(fields), path)
    hints = typing.get_type_hints(cls)
    for key, value in kwargs.items():
        rule = _broken_rule(key, hints[key], value)
        if rule:
            raise CheckpointError(f'config.json: {path}.{key} must be {rule}, got {value!r}')


def _broken_rule(key: str, hint: Any, value: Any) -> str | None:
    """Returns in words what a value must be, or None when it is that."""
    if typing.get_origin(hint) is Sequence:
        (kind,) = typing.get_args(hint)
        listed = isinstance(value, tuple) and all(type(item) is kind for item in value)
        if not listed:
            return f'a list of {kind.__name__}'
        return 'a list of regular expressions' if kind is str and not _compile(value) else None
    plain = _plain_types(hint)
    kinds = [kind for kind in plain if kind is not types.NoneType]
    if not kinds or (value is None and types.NoneType in plain):
        return None
    if isinstance(value, bool) is not (bool in kinds) or not isinstance(value, tuple(kinds)):
        return ' or '.join(kind.__name__ for kind in kinds)
    if isinstance(value, int) and kinds == [int] and value < 1:
        return 'at least 1'
    choices = _CHOICES.get(key)
    return None if choices is None or value in choices else f'one of {", ".join(choices)}'


def _compile(patterns: Sequence[str]) -> bool:
    try:
        return all(re.compile(pattern) for pattern in patterns)
    except re.error:
        return False


def _plain_types(hint: Any) -> tuple[type, ...]:
    """Returns the plain types of an annotation, or nothing when it has others."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = (bool, int, float, str, types.NoneType)
    if not all(kind in plain for kind in kinds):
        return ()
    return (*kinds, int) if float in kinds else kinds
