"""From config.json to a model: what is taken, what is refused, and how it says so."""

import copy
import json

import jax
import pytest

from octo_ros.checkpoint import legacy
from octo_ros.checkpoint.spec_registry import build_module
from octo_ros.errors import CheckpointError
from octo_ros.model import config
from octo_ros.model import t5
from octo_ros.model.heads.diffusion import DiffusionActionHead
from octo_ros.model.heads.unet_ddpm import UNetDDPMActionHead
from octo_ros.model.resnet import ResNet26FILM
from octo_ros.model.vision import SmallStem16

SIZES = t5.T5Sizes(vocab_size=20, d_model=6, d_kv=5, d_ff=7, num_layers=1, num_heads=2)


def changed(path, value):
    """Returns the small preset with one entry replaced."""
    model = copy.deepcopy(config.preset('octo-small-1.5'))
    *parents, last = path.split('.')
    entry = model
    for key in parents:
        entry = entry[key]
    entry[last] = value
    return model


def spec(module, name, **kwargs):
    return {'module': f'octo.model.components.{module}', 'name': name, 'args': [],
            'kwargs': kwargs}


def tiny_params():
    ids = jax.ShapeDtypeStruct((1, 4), 'int32')
    shapes = jax.eval_shape(t5.T5Encoder(SIZES).init, jax.random.key(0), ids, ids)
    return {'octo_transformer': {'task_tokenizers_language': {'hf_model': shapes['params']}}}


def test_preset_becomes_a_model():
    module = build_module(config.preset('octo-small-1.5'))
    head = module.heads['action']
    assert isinstance(head, DiffusionActionHead)
    assert (head.readout_key, head.action_horizon, head.diffusion_steps) == (
        'readout_action', 4, 20)
    camera = module.octo_transformer.observation_tokenizers['primary']
    assert camera.encoder.encoder is SmallStem16
    assert camera.task_stack_keys == ('image_primary',)
    assert module.octo_transformer.task_tokenizers['language'].sizes.d_model == 768


@pytest.mark.parametrize('name', ['small', 'base'])
def test_official_configs_are_taken(shared, name):
    official = json.loads((shared / 'reference' / f'official_{name}_config.json').read_text())
    module = build_module(official['model'])
    # The presets list the same entries in the same order, so the models are equal.
    assert module == build_module(config.preset(f'octo-{name}-1.5'))


def test_order_of_tokenizers_is_that_of_the_file():
    model = config.preset('octo-small-1.5')
    cameras = model['observation_tokenizers']
    model['observation_tokenizers'] = {name: cameras[name] for name in ('wrist', 'primary')}
    module = build_module(model)
    assert list(module.octo_transformer.observation_tokenizers) == ['wrist', 'primary']


def test_models_compare_by_value():
    one, two = (build_module(config.preset('octo-small-1.5')) for _ in range(2))
    assert one == two
    assert one != build_module(config.preset('octo-base-1.5'))


def test_attention_and_repetition_default_to_version_one():
    model = config.preset('octo-small-1.5')
    del model['use_correct_attention'], model['repeat_task_tokens']
    transformer = build_module(model).octo_transformer
    assert not transformer.use_correct_attention
    assert not transformer.repeat_task_tokens


@pytest.mark.parametrize(('path', 'value', 'message'), [
    ('heads.action.name', 'DifusionActionHead',
     r"heads\.action names '.*:DifusionActionHead'.*did you mean '.*:DiffusionActionHead'"),
    ('heads.action.module', 'os', r"heads\.action names 'os:DiffusionActionHead'"),
    ('observation_tokenizers.primary.kwargs.encoder.name', 'SmallStem61',
     r"primary\.kwargs\.encoder names .*did you mean '.*vit_encoders:SmallStem16'"),
    ('observation_tokenizers.primary.kwargs.encoder.kwargs', {'patchsize': 8},
     r"encoder\.kwargs has 'patchsize'.*did you mean 'patch_size'"),
    ('heads.action.kwargs.action_horizn', 4, r"'action_horizn'.*did you mean 'action_horizon'"),
    ('heads.action.kwargs.action_dim', '7', r"kwargs\.action_dim must be int, got '7'"),
    ('heads.action.kwargs.use_map', 0, r'kwargs\.use_map must be bool, got 0'),
    ('heads.action.kwargs.action_dim', True, r'kwargs\.action_dim must be int, got True'),
    ('heads.action.args', ['readout_action'], r'heads\.action\.args must be empty'),
    ('heads.action', {'name': 'x'}, r'exactly the keys module, name, args and kwargs'),
    ('heads.action', None, r'exactly the keys module, name, args and kwargs, got None'),
    ('heads.action.kwargs', {}, r'kwargs must have readout_key, got nothing'),
    ('observation_tokenizers.primary.kwargs', {}, r'kwargs must have encoder'),
    ('observation_tokenizers.primary.kwargs.obs_stack_keys', [], r'must name observations'),
    ('task_tokenizers.goal', spec('tokenizers', 'LowdimObsTokenizer', obs_keys=['proprio']),
     r'task_tokenizers\.goal must be a LanguageTokenizer'),
    ('transformer_kwargs.num_layrs', 3, r"'num_layrs'.*did you mean 'num_layers'"),
    ('transformer_kwargs', {'num_layers': 1}, r'must have mlp_dim, num_attention_heads'),
    ('transformer_kwargs.add_position_embedding', True, r'add_position_embedding must be false'),
    ('token_embedding_size', 100, r'multiple of .*num_attention_heads \(6\), got 100'),
    ('token_embedding_size', 1.5, r'model\.token_embedding_size must be int, got 1\.5'),
    ('readouts.action', 0, r'readouts\.action must be a number of tokens .* got 0'),
    ('max_horizn', 3, r"model has 'max_horizn'.*did you mean 'max_horizon'"),
    ('task_tokenizers.language.kwargs.encoder', 'bert-base', r'only T5 encoders are supported'),
    ('task_tokenizers.language.kwargs.encoder', 't5-bse',
     r"'t5-bse' \(did you mean 't5-base'\?\): its sizes must be read off the parameters"),
])
def test_what_is_wrong_is_named_with_its_place(path, value, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        build_module(changed(path, value))
    assert str(caught.value).startswith('config.json: model')


def test_missing_entries_are_listed():
    with pytest.raises(CheckpointError, match='model must have task_tokenizers, heads, readouts'):
        build_module({'observation_tokenizers': {}})


def test_sizes_of_a_language_model_without_known_name_are_read_off_the_parameters():
    model = changed('task_tokenizers.language.kwargs.encoder', 't5-tiny')
    module = build_module(model, params_shapes=tiny_params())
    assert module.octo_transformer.task_tokenizers['language'].sizes == SIZES


def test_known_names_keep_their_sizes_whatever_the_parameters():
    module = build_module(config.preset('octo-small-1.5'), params_shapes=tiny_params())
    sizes = module.octo_transformer.task_tokenizers['language'].sizes
    assert sizes == t5.KNOWN_SIZES['t5-base']


def test_a_language_tokenizer_may_do_without_a_model():
    model = changed('task_tokenizers.language.kwargs', {})
    assert build_module(model).octo_transformer.task_tokenizers['language'].sizes is None


def test_a_goal_tokenizer_may_stand_among_the_task_tokenizers():
    goal = spec('tokenizers', 'ImageTokenizer', obs_stack_keys=[],
                task_stack_keys=['image_primary'], encoder=spec('vit_encoders', 'SmallStem16'))
    module = build_module(changed('task_tokenizers.goal', goal))
    assert list(module.octo_transformer.task_tokenizers) == ['language', 'goal']


def test_lists_in_specs_become_tuples_and_subclasses_keep_their_defaults():
    encoder = spec('vit_encoders', 'ResNet26FILM', num_layers=[1, 2])
    model = changed('observation_tokenizers.primary.kwargs.encoder', encoder)
    built = build_module(model).octo_transformer.observation_tokenizers['primary'].encoder
    assert built.encoder is ResNet26FILM
    assert dict(built.kwargs) == {'num_layers': (1, 2)}


def test_unet_head_is_known():
    head = spec('action_heads', 'UNetDDPMActionHead', readout_key='readout_action', action_dim=7,
                action_horizon=4, use_map=False, flatten_tokens=False)
    assert isinstance(build_module(changed('heads.action', head)).heads['action'],
                      UNetDDPMActionHead)


def test_parameters_of_something_else_are_listed():
    model = changed('task_tokenizers.language.kwargs.encoder', 't5-tiny')
    with pytest.raises(CheckpointError, match="must have 'octo_transformer', found stem/kernel"):
        build_module(model, params_shapes={'stem': {'kernel': jax.ShapeDtypeStruct((1,), 'f4')}})


_CAMERA = 'observation_tokenizers.primary.kwargs'


@pytest.mark.parametrize(('path', 'value', 'rule'), [
    ('heads', [], 'must be a mapping, got []'),
    ('observation_tokenizers', None, 'must be a mapping, got None'),
    ('readouts', ['action'], "must be a mapping, got ['action']"),
    ('transformer_kwargs', None, 'must be a mapping, got None'),
    ('heads.action.kwargs', None, 'must be a mapping, got None'),
    ('heads.action', 5, 'must have exactly the keys module, name, args and kwargs, got 5'),
    ('transformer_kwargs.num_attention_heads', 0, 'must be at least 1, got 0'),
    ('heads.action.kwargs.diffusion_steps', 0, 'must be at least 1, got 0'),
    ('heads.action.kwargs.loss_type', 'l3', "must be one of mse, l1, got 'l3'"),
    (f'{_CAMERA}.obs_stack_keys', 'image_primary', "must be a list of str, got 'image_primary'"),
    (f'{_CAMERA}.obs_stack_keys', [1], 'must be a list of str, got (1,)'),
    (f'{_CAMERA}.obs_stack_keys', ['image_('], "a list of regular expressions, got ('image_(',)"),
])
def test_values_of_the_wrong_kind_name_their_path(path, value, rule):
    with pytest.raises(CheckpointError) as caught:
        build_module(legacy.update_config({'model': changed(path, value)})['model'])
    assert str(caught.value).startswith(f'config.json: model.{path} ')
    assert rule in str(caught.value)


@pytest.mark.parametrize(('name', 'key', 'value', 'rule'), [
    ('SmallStem', 'patch_size', 8, 'must be at least 16, got 8'),
    ('SmallStem', 'strides', [2, 2, 2], 'as many numbers as features has (4), got (2, 2, 2)'),
    ('SmallStem16', 'strides', [2, 2, 2, 0], 'a list of numbers of at least 1, got (2, 2, 2, 0)'),
    ('SmallStem', 'padding', [1, 1, 1, -1], 'a list of numbers of at least 0, got (1, 1, 1, -1)'),
    ('SmallStem32', 'features', [32, 48, 64, 64], 'multiples of 32, got (32, 48, 64, 64)'),
    ('ViTResnet', 'width', 0.25, '64 times it is a multiple of 32, got 0.25'),
    ('ViTResnet', 'width', float('nan'), '64 times it is a multiple of 32, got nan'),
    ('ResNet26FILM', 'num_layers', [2, 0], 'a list of numbers of at least 1, got (2, 0)'),
])
def test_arguments_that_make_no_encoder_name_their_path(name, key, value, rule):
    model = changed(f'{_CAMERA}.encoder', spec('vit_encoders', name, **{key: value}))
    with pytest.raises(CheckpointError) as caught:
        build_module(model)
    assert str(caught.value).startswith(f'config.json: model.{_CAMERA}.encoder.kwargs.{key} must')
    assert rule in str(caught.value)
