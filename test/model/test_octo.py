"""The whole model on the tiny reference checkpoints: stages, windows, messages."""

import logging

import jax
import numpy as np
import pytest

from octo_ros.errors import CheckpointError
from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.model.heads.continuous import MSEActionHead
from octo_ros.model.octo import OctoModule
from octo_ros.model.octo_transformer import OctoTransformer
from octo_ros.model.tokenizers import ImageTokenizer
from octo_ros.model.vision import EncoderSpec
from octo_ros.model.vision import PatchEncoder

CAMERAS = ('image_instruction', 'image_primary', 'image_secondary')
PATCHES = EncoderSpec(PatchEncoder, (('patch_size', 8), ('num_features', 4)))


def images(time=2):
    shape = (1, time, 32, 32, 3)
    rng = np.random.default_rng(0)
    return {key: rng.integers(0, 256, shape, np.uint8) for key in CAMERAS}


def three_cameras(*, goals=True, task_tokenizers=None):
    """Returns three tokenizers of 16 tokens, one readout token and 2 action dimensions."""
    tokenizers = {key.removeprefix('image_'): ImageTokenizer(
        PATCHES, obs_stack_keys=(key,), task_stack_keys=(key,) if goals else ())
        for key in CAMERAS}
    transformer = OctoTransformer(
        tokenizers, task_tokenizers or {}, {'action': 1},
        {'num_layers': 1, 'mlp_dim': 8, 'num_attention_heads': 2}, token_embedding_size=8,
        max_horizon=3, use_correct_attention=True)
    return OctoModule(transformer, {'action': MSEActionHead(
        'readout_action', action_horizon=4, action_dim=2)})


@pytest.fixture(scope='module')
def model():
    module = three_cameras()
    valid = np.ones((1, 2), bool)
    return module, jax.jit(module.init)(jax.random.key(0), images(), {}, valid)


def sizes(module, observations, tasks):
    valid = np.ones(observations['image_primary'].shape[:2], bool)
    layout = module.layout(observations, tasks, valid)
    return {group.name: group.size for group in layout.groups}


def test_three_cameras_give_sixteen_tokens_each_and_a_readout_of_one(model):
    module, variables = model
    assert sizes(module, images(), {}) == {
        'obs_instruction': 16, 'obs_primary': 16, 'obs_secondary': 16, 'readout_action': 1}
    actions = jax.eval_shape(lambda: module.apply(
        variables, images(), {}, np.ones((1, 2), bool), method='sample_actions'))
    assert actions.shape == (1, 4, 2)


def test_missing_goals_take_zero_pixels_without_a_message_for_every_compilation(model, caplog):
    module, variables = model
    valid = np.ones((1, 2), bool)
    goal = {'image_primary': images()['image_primary'][:, 0]}
    with caplog.at_level(logging.WARNING, logger='octo_ros.model'):
        groups = jax.eval_shape(
            lambda: module.apply(variables, images(), goal, valid, method='tokenize'))
    assert {'obs_instruction', 'obs_secondary'} <= {*groups}
    assert not caplog.records


def test_without_task_stack_keys_goals_are_neither_used_nor_missed():
    module = three_cameras(goals=False)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images(), {}, np.ones((1, 2)))
    embedding = shapes['params']['octo_transformer']['observation_tokenizers_primary']
    assert embedding['PatchEncoder_0']['embedding']['kernel'].shape == (8, 8, 3, 4)
    tokenizers = module.octo_transformer.observation_tokenizers.values()
    assert [tokenizer.missing_goals(images(), {}) for tokenizer in tokenizers] == 3 * [[]]


def test_a_goal_encoded_apart_stands_in_the_prefix():
    goal = ImageTokenizer(PATCHES, obs_stack_keys=(), task_stack_keys=('image_primary',))
    module = three_cameras(goals=False, task_tokenizers={'goal': goal})
    tasks = {'image_primary': images()['image_primary'][:, 0]}
    assert list(sizes(module, images(), tasks))[:2] == ['task_goal', 'obs_instruction']
    assert 'task_goal' not in sizes(module, images(), {})


@pytest.mark.parametrize('time', [1, 3])
def test_windows_up_to_the_horizon_are_taken(model, time):
    module, variables = model
    outputs = jax.eval_shape(lambda: module.apply(
        variables, images(time), {}, np.ones((1, time), bool), method='run_transformer'))
    assert outputs['readout_action'].tokens.shape == (1, time, 1, 8)


def test_a_longer_window_is_refused(model):
    module, variables = model
    with pytest.raises(ObservationError, match=r'1 to 3 steps \(max_horizon\), got 4'):
        module.apply(variables, images(4), {}, np.ones((1, 4), bool), method='tokenize')


def test_an_observation_of_another_length_is_refused(model):
    module, variables = model
    observations = {**images(), 'proprio': np.zeros((1, 3, 7))}
    with pytest.raises(ObservationError, match=r'proprio.*\(1, 2\), got \(1, 3, 7\)'):
        module.apply(variables, observations, {}, np.ones((1, 2), bool), method='tokenize')


def test_without_any_observation_the_model_refuses_to_run(model):
    module, variables = model
    with pytest.raises(ObservationError, match='none of its observations'):
        module.apply(variables, {}, {}, np.ones((1, 2), bool), method='run_transformer')


def test_the_mask_of_time_steps_may_be_floats(model):
    module, variables = model
    run = jax.jit(lambda valid: module.apply(variables, images(), {}, valid, method='tokenize'))
    floats, bools = run(np.array([[0.0, 1.0]])), run(np.array([[False, True]]))
    np.testing.assert_array_equal(floats['obs_primary'].mask, bools['obs_primary'].mask)
    assert floats['obs_primary'].mask[0, :, 0].tolist() == [False, True]


def test_unknown_heads_and_readouts_are_refused(model):
    module, variables = model
    valid = np.ones((1, 2), bool)
    with pytest.raises(ParameterError, match=r"'acton' \(did you mean 'action'"):
        module.apply(variables, images(), {}, valid, method='sample_actions', head='acton')
    head = MSEActionHead('readout_acton')
    with pytest.raises(CheckpointError, match=r"'readout_acton' \(did you mean 'readout_action'"):
        jax.eval_shape(OctoModule(module.octo_transformer, {'action': head}).init,
                       jax.random.key(0), images(), {}, valid)


@pytest.fixture(scope='module')
def language(folder):
    tiny = folder('tiny_lang_goal')
    inputs = tiny.inputs('case_lang_and_goal')
    observations = inputs['observations']
    return tiny.module, {'params': tiny.params}, (
        observations, inputs['tasks'], observations['timestep_pad_mask'])


def test_the_language_model_may_run_once_for_an_instruction(language):
    module, variables, (observations, tasks, valid) = language
    embeddings = jax.jit(lambda: module.apply(variables, tasks, method='encode_language'))()
    assert embeddings.shape == (2, 16, 32)
    run = jax.jit(lambda tasks: module.apply(variables, observations, tasks, valid,
                                             method='tokenize'))
    whole, cached = run(tasks), run({**tasks, 'language_instruction': embeddings})
    np.testing.assert_allclose(whole['task_language'].tokens, cached['task_language'].tokens,
                               atol=1e-5)


def test_a_model_without_language_encodes_no_instruction(model):
    module, variables = model
    with pytest.raises(ParameterError, match='must have a language tokenizer'):
        module.apply(variables, {}, method='encode_language')


def test_the_stages_one_by_one_give_the_same_as_all_at_once(folder):
    tiny = folder('tiny_three_cam_unsorted')  # whose order a sorted dictionary would break
    variables = {'params': tiny.params}
    inputs = tiny.inputs('case_goal')
    arguments = (inputs['observations'], inputs['tasks'],
                 inputs['observations']['timestep_pad_mask'])

    def stage(method):
        return jax.jit(lambda *given: tiny.module.apply(variables, *given, method=method))

    groups = stage('tokenize')(*arguments)
    assert list(groups) == sorted(groups)
    actions = stage('predict_action')(stage('attend')(groups))
    whole = stage('sample_actions')(*arguments)
    np.testing.assert_allclose(actions, whole, atol=1e-5)
    np.testing.assert_allclose(whole, tiny.data('case_goal')['sample/actions'], atol=2e-5,
                               rtol=1e-4)
