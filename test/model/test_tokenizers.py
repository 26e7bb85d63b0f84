"""Tokenizers: which inputs they take, what is padded, what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from octo_ros.errors import CheckpointError
from octo_ros.errors import ObservationError
from octo_ros.errors import TaskError
from octo_ros.model.t5 import T5Sizes
from octo_ros.model.tokenizers import ImageTokenizer
from octo_ros.model.tokenizers import LanguageTokenizer
from octo_ros.model.tokenizers import LowdimObsTokenizer
from octo_ros.model.tokenizers import match_keys
from octo_ros.model.tokenizers import pad_mask
from octo_ros.model.vision import EncoderSpec
from octo_ros.model.vision import PatchEncoder

ENCODER = EncoderSpec(PatchEncoder, (('patch_size', 4), ('num_features', 3)))
FRAME = np.arange(2 * 8 * 8 * 3).astype(np.uint8).reshape(1, 2, 8, 8, 3)
GOAL = FRAME[:, 0]


def run(tokenizer, observations, tasks):
    return tokenizer.init_with_output(jax.random.key(0), observations, tasks, train=False)


def kernel(variables):
    return variables['params']['PatchEncoder_0']['embedding']['kernel']


def test_patterns_match_beginnings_and_keys_come_sorted():
    keys = ['image_wrist', 'image_primary', 'proprio', 'side_image_primary']
    assert match_keys(['image_.*'], keys) == ['image_primary', 'image_wrist']
    assert match_keys(['image_p'], keys) == ['image_primary']
    assert match_keys([], keys) == []


def test_an_item_is_real_when_one_of_its_keys_is():
    data = {'pad_mask_dict': {'a': np.array([True, False, False]),
                              'b': np.array([False, True, False])}}
    mask = pad_mask((3, 2), data, ('a', 'b'), proper=True)
    assert mask.tolist() == [[True, True], [True, True], [False, False]]


@pytest.mark.parametrize(('data', 'proper'), [
    ({}, True), ({'pad_mask_dict': {'b': np.array([False])}}, True),
    ({'pad_mask_dict': {'a': np.array([False])}}, False)])
def test_without_a_pad_mask_everything_is_real(data, proper):
    assert pad_mask((1, 2), data, ('a',), proper=proper).tolist() == [[True, True]]


def test_images_are_stacked_on_their_channels_with_goals_behind():
    tokenizer = ImageTokenizer(ENCODER, task_stack_keys=('image_primary',))
    observations = {'image_wrist': FRAME, 'image_primary': FRAME}
    group, variables = run(tokenizer, observations, {'image_primary': GOAL})
    assert group.tokens.shape == (1, 2, 4, 3)
    assert kernel(variables).shape == (4, 4, 9, 3)


@pytest.mark.parametrize('pooled', [False, True])
def test_patches_larger_than_the_image_are_refused(pooled):
    tokenizer = ImageTokenizer(EncoderSpec(PatchEncoder, (('patch_size', 16),)),
                               use_token_learner=pooled, name='observation_tokenizers_primary')
    with pytest.raises(CheckpointError, match=(
            r'model\.observation_tokenizers\.primary\.kwargs\.encoder must make at least one '
            r'token of an image of 8x8, got a grid of 0x0')):
        run(tokenizer, {'image_primary': FRAME}, {})


def test_zero_pixels_stand_for_a_missing_goal():
    tokenizer = ImageTokenizer(ENCODER, obs_stack_keys=('image_primary',),
                               task_stack_keys=('image_primary',))
    observations = {'image_primary': FRAME}
    missing, variables = run(tokenizer, observations, {})
    assert tokenizer.missing_goals(observations, {}) == ['image_primary']
    zeros = tokenizer.apply(variables, observations, {'image_primary': GOAL * 0}, train=False)
    np.testing.assert_array_equal(missing.tokens, zeros.tokens)


def test_a_goal_may_be_encoded_apart_from_the_observations():
    tokenizer = ImageTokenizer(ENCODER, obs_stack_keys=(), task_stack_keys=('image_primary',))
    tasks = {'image_primary': GOAL, 'pad_mask_dict': {'image_primary': np.array([False])}}
    group, variables = run(tokenizer, {'image_primary': FRAME}, tasks)
    assert group.tokens.shape == (1, 4, 3)
    assert group.mask.tolist() == [[False] * 4]
    assert kernel(variables).shape == (4, 4, 3, 3)
    assert tokenizer.apply(variables, {'image_primary': FRAME}, {}, train=False) is None


def test_without_its_observation_an_image_tokenizer_gives_nothing():
    tokenizer = ImageTokenizer(ENCODER, obs_stack_keys=('image_wrist',),
                               task_stack_keys=('image_wrist',))
    group, variables = run(tokenizer, {'image_primary': FRAME}, {'image_wrist': GOAL})
    assert group is None
    assert not variables


def test_a_goal_of_another_size_is_refused():
    tokenizer = ImageTokenizer(ENCODER, task_stack_keys=('image_primary',))
    with pytest.raises(ObservationError, match=r'of one size.*goal image_primary \(1, 2, 4, 8, 3'):
        run(tokenizer, {'image_primary': FRAME}, {'image_primary': GOAL[:, :4]})


def test_a_goal_pattern_that_matches_nothing_is_refused():
    tokenizer = ImageTokenizer(ENCODER, task_stack_keys=('goal_.*',))
    with pytest.raises(TaskError, match=r'goal image for goal_\.\*, got an empty task'):
        run(tokenizer, {'image_primary': FRAME}, {})


def test_a_missing_condition_is_refused():
    encoder = EncoderSpec(PatchEncoder, (('use_film', True),))
    tokenizer = ImageTokenizer(encoder, task_film_keys=('language_instruction',))
    with pytest.raises(TaskError, match='must have language_instruction'):
        run(tokenizer, {'image_primary': FRAME}, {})


def test_token_ids_as_a_condition_are_refused_with_what_takes_their_place():
    encoder = EncoderSpec(PatchEncoder, (('use_film', True),))
    tokenizer = ImageTokenizer(encoder, task_film_keys=('language_instruction',))
    with pytest.raises(TaskError, match="got token ids; name 'language_pieces' in task_film_keys"):
        run(tokenizer, {'image_primary': FRAME}, {'language_instruction': IDS})


def test_vectors_give_one_token_per_number():
    values = np.array([[[0.5, -3.0]]], np.float32)
    group, _ = run(LowdimObsTokenizer(obs_keys=('proprio',)), {'proprio': values}, {})
    assert group.tokens.tolist() == [[[[0.5], [-3.0]]]]
    assert group.mask.all()


def test_vectors_may_become_bins():
    tokenizer = LowdimObsTokenizer(n_bins=2, obs_keys=('proprio',), discretize=True)
    group, _ = run(tokenizer, {'proprio': np.array([[[0.2, 0.9]]])}, {})
    assert group.tokens.tolist() == [[[[1, 0], [0, 1]]]]


def test_each_pattern_of_vectors_adds_its_matches_in_turn():
    tokenizer = LowdimObsTokenizer(obs_keys=('wrench', 'p.*'))
    assert tokenizer.observation_keys(['proprio', 'pose', 'wrench']) == ['wrench', 'pose',
                                                                        'proprio']


def test_a_vector_without_time_axis_is_refused():
    with pytest.raises(ObservationError, match=r'proprio must have the shape \(b, t, p\)'):
        run(LowdimObsTokenizer(obs_keys=('proprio',)), {'proprio': np.zeros((1, 2))}, {})


@pytest.mark.parametrize('shape', [(1, 5), (1, 1, 5)])
def test_embeddings_of_the_instruction_pass_through(shape):
    instruction = jnp.arange(5.0).reshape(shape)
    group, _ = run(LanguageTokenizer(), {}, {'language_instruction': instruction})
    assert group.tokens.shape == (1, 1, 5)
    np.testing.assert_array_equal(group.tokens.ravel(), instruction.ravel())


def test_token_ids_want_a_language_model():
    ids = {'input_ids': np.zeros((1, 2), int), 'attention_mask': np.ones((1, 2), int)}
    with pytest.raises(CheckpointError, match='no encoder'):
        run(LanguageTokenizer(), {}, {'language_instruction': ids})


SIZES = T5Sizes(vocab_size=6, d_model=4, d_kv=2, d_ff=4, num_layers=1, num_heads=2)
IDS = {'input_ids': np.array([[5, 3, 5, 1, 0], [2, 1, 0, 0, 0]]),
       'attention_mask': np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])}


def pieces(instruction, **others):
    tasks = {'language_instruction': instruction, **others}
    tokenizer = LanguageTokenizer(encoder='t5', sizes=SIZES).bind({})
    return tokenizer.with_pieces(tasks).get('language_pieces')


def test_an_instruction_conditions_an_encoder_by_the_number_of_each_piece():
    np.testing.assert_array_equal(pieces(IDS), [[0, 0, 0, 1, 0, 2], [0, 0, 1, 0, 0, 0]])


def test_an_absent_instruction_conditions_by_zeros():
    masked = {'pad_mask_dict': {'language_instruction': np.array([False, True])}}
    np.testing.assert_array_equal(
        pieces(IDS, **masked), [[0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]])


def test_words_count_and_not_the_zeros_of_an_example_batch():
    zeros = np.zeros((2, 6), np.float32)
    np.testing.assert_array_equal(pieces(IDS, language_pieces=zeros), pieces(IDS))


@pytest.mark.parametrize('instruction', [np.zeros((1, 4)), {'embeddings': np.zeros((1, 2, 4))}])
def test_pieces_that_are_given_condition_where_there_are_no_words_to_count(instruction):
    given = np.array([[0.5, -2.0]])
    assert pieces(instruction, language_pieces=given) is given
    assert pieces(instruction) is None


def test_a_task_without_instruction_gives_no_tokens():
    assert run(LanguageTokenizer(), {}, {})[0] is None
