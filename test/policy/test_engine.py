"""The compiled engine gives the reference's numbers, and those of the model run step by step."""

import itertools
import pathlib

import jax
import numpy as np
import pytest

from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError
from octo_ros.policy.engine import Engine
from octo_ros.policy.engine import Variant
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.spec import describe
from octo_ros.policy.spec import goal_sizes
from test.tiny_models import image_tokenizer
from test.tiny_models import make_model

SEED = 5


def make_engine(folder: pathlib.Path, dataset: str = 'bridge_dataset'):
    model = OctoModel.load_pretrained(folder / 'ckpt')
    statistics = model.dataset_statistics[dataset]['action']
    spec = describe(model, statistics)
    return Engine(
        model, statistics, image_sizes=spec.image_sizes, goal_sizes=goal_sizes(model, spec),
        seed=SEED)


def language(engine: Engine, data, item: int):
    return engine.encode_language({
        name: data[f'in/tasks/language_instruction/{name}'][item:item + 1]
        for name in ('input_ids', 'attention_mask')})


def frames(data, item: int) -> list[dict[str, np.ndarray]]:
    prefix = 'in/observations/image_'
    keys = [key.removeprefix('in/observations/') for key in data.files if key.startswith(prefix)]
    window = data[f'in/observations/{keys[0]}'].shape[1]
    return [{key: data[f'in/observations/{key}'][item, step] for key in keys}
            for step in range(window)]


def test_actions_from_images_proprio_and_text_equal_the_reference(golden: pathlib.Path) -> None:
    folder = golden / 'tiny_proprio_l1'
    # This dataset has one dimension less than the head.
    engine = make_engine(folder, dataset='narrow_dataset')
    variant = Variant(('image_primary',), 2, proprio=True)
    engine.compile(variant)
    for case, item in itertools.product(('lang', 'lang_first_step_padded'), range(2)):
        data = np.load(folder / f'case_{case}.npz')
        observations = engine.observations(
            frames(data, item), variant,
            {'proprio': data['in/observations/proprio'][item]})
        actions = engine.infer(
            variant, observations, engine.task({}, language(engine, data, item)),
            data['in/observations/timestep_pad_mask'][item])
        np.testing.assert_allclose(
            actions, data['sample/actions_unnorm_normal/narrow_dataset'][item],
            atol=2e-5, rtol=1e-4)
    assert engine.compilations == 2


def test_three_cameras_with_own_goals_equal_the_reference_whatever_is_missing(
    golden: pathlib.Path,
) -> None:
    folder = golden / 'tiny_three_cam_mse'
    engine = make_engine(folder)
    variant = Variant(('image_instruction', 'image_primary', 'image_secondary'), 2, proprio=False)
    engine.compile(variant)
    # A camera without pictures is masked, which is what the reference does by leaving it out.
    for case in ('goal', 'goal_instruction_only', 'goal_first_step_padded', 'no_secondary_obs'):
        data = np.load(folder / f'case_{case}.npz')
        goals = {key.removeprefix('in/tasks/'): data[key][0]
                 for key in data.files if key.startswith('in/tasks/image_')}
        actions = engine.infer(
            variant, engine.observations(frames(data, 0), variant, None), engine.task(goals, None),
            data['in/observations/timestep_pad_mask'][0])
        np.testing.assert_allclose(
            actions, data['sample/actions_unnorm_normal/bridge_dataset'][0], atol=2e-5, rtol=1e-4)
    assert engine.compilations == 1


@pytest.fixture(scope='module')
def diffusion(golden: pathlib.Path):
    """Engine of a model with language, goals and a diffusion head, and one of its cases."""
    folder = golden / 'tiny_lang_goal'
    engine = make_engine(folder)
    data = np.load(folder / 'case_lang_and_goal.npz')
    variant = Variant(('image_primary', 'image_wrist'), 2, proprio=False)
    engine.compile(variant)
    return engine, variant, data


GOALS = ('image_primary', 'image_wrist')


@pytest.mark.parametrize(
    ('goals', 'text'), [(GOALS, True), (('image_primary',), False)])
def test_one_program_equals_the_model_for_every_kind_of_task(
    diffusion, goals: tuple[str, ...], text: bool
) -> None:
    engine, variant, data = diffusion
    engine.reset(SEED)
    tokens = {name: data[f'in/tasks/language_instruction/{name}'][:1]
              for name in ('input_ids', 'attention_mask')}
    given = {key: data[f'in/tasks/{key}'][0] for key in goals}
    mask = data['in/observations/timestep_pad_mask'][0]
    task = engine.task(given, engine.encode_language(tokens) if text else None)
    observations = engine.observations(frames(data, 0), variant, None)
    actions = [engine.infer(variant, observations, task, mask) for _ in range(2)]

    # The same by the plain interface: token ids, absent goals, keys drawn by hand.
    plain = {key: goal[None] for key, goal in given.items()}
    plain['language_instruction'] = tokens if text else engine.model.text_processor.encode([''])
    plain['pad_mask_dict'] = {
        **{key: np.ones(1, bool) for key in given}, 'language_instruction': np.full(1, text)}
    for count, actual in enumerate(actions):
        expected = engine.model.sample_actions(
            observations, plain, timestep_pad_mask=mask[None],
            unnormalization_statistics=engine.model.dataset_statistics['bridge_dataset']['action'],
            rng=jax.random.fold_in(jax.random.key(SEED), count))
        np.testing.assert_allclose(actual, expected[0], atol=1e-4)
    assert not np.allclose(actions[0], actions[1])


def test_cached_language_equals_the_language_model_run_within(diffusion) -> None:
    engine, _, data = diffusion
    embeddings = engine.encode_language({
        name: data[f'in/tasks/language_instruction/{name}'][:1]
        for name in ('input_ids', 'attention_mask')})
    np.testing.assert_allclose(
        embeddings, data['tokenizer/task_tokenizers_language/tokens'][:1], atol=2e-5, rtol=1e-4)


def test_an_absent_image_is_masked_and_its_pixels_do_not_matter(diffusion) -> None:
    engine, variant, data = diffusion
    task = engine.task({}, language(engine, data, 0))
    with_wrist, without = frames(data, 0), frames(data, 0)
    for frame in without:
        del frame['image_wrist']
    results = []
    for images in (with_wrist, without):
        engine.reset(SEED)
        observations = engine.observations(images, variant, None)
        results.append(engine.infer(variant, observations, task, np.ones(2, bool)))
    assert observations['pad_mask_dict']['image_wrist'].tolist() == [[False, False]]
    assert not np.allclose(*results)

    engine.reset(SEED)
    observations['image_wrist'] = np.full_like(observations['image_wrist'], 200)
    again = engine.infer(variant, observations, task, np.ones(2, bool))
    np.testing.assert_allclose(again, results[1], atol=1e-4)


def test_a_window_of_another_length_is_another_variant(diffusion) -> None:
    engine, _, data = diffusion
    variant = Variant(('image_primary',), 1, proprio=False)
    observations = engine.observations(frames(data, 0)[1:], variant, None)
    task = engine.task({}, None)
    with pytest.raises(ParameterError, match='must be prepared'):
        engine.infer(variant, observations, task, np.ones(1, bool))
    engine.compile(variant)
    assert engine.infer(variant, observations, task, np.ones(1, bool)).shape == (4, 7)


@pytest.mark.parametrize('goal', [True, False])
def test_an_image_of_another_size_is_refused(diffusion, goal: bool) -> None:
    engine, variant, _ = diffusion
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ObservationError, match=r'shape \(64, 64, 3\), got \(8, 8, 3\)'):
        if goal:
            engine.task({'image_primary': image}, None)
        else:
            engine.observations([{'image_primary': image}] * 2, variant, None)


def test_film_models_run_with_a_zero_vector_for_the_missing_language(golden: pathlib.Path) -> None:
    engine = make_engine(golden / 'tiny_film')
    keys = tuple(engine.model.example_batch['observation']['pad_mask_dict'])
    variant = Variant(tuple(k for k in keys if k.startswith('image_')), 2, proprio=False)
    engine.compile(variant)
    actions = engine.infer(
        variant, engine.observations([{}, {}], variant, None), engine.task({}, None),
        np.ones(2, bool))
    assert np.isfinite(actions).all()


def test_a_head_narrower_than_the_statistics_is_refused_when_the_policy_is_made() -> None:
    model = make_model({'p': image_tokenizer(['image_primary'])}, {}, head_dim=2)
    with pytest.raises(ParameterError, match=r'^The action statistics must have at most the 2 d'):
        OctoPolicy(model)


def test_only_what_is_wrong_with_images_is_blamed_on_their_sizes() -> None:
    keys = ('image_primary', 'image_wrist')
    model = make_model({'both': image_tokenizer(keys, keys)}, {})
    statistics = model.dataset_statistics['action']
    small = Engine(model, statistics, goal_sizes={},
                   image_sizes={'image_primary': (64, 64), 'image_wrist': (32, 32)})
    with pytest.raises(ParameterError, match=r'stacked images must .* leave image_sizes as the'):
        small.compile(Variant(keys, 2, proprio=False))
    model = make_model({'w': image_tokenizer(['image_wrist'], ['image_primary'])}, {})
    del model.example_batch['task']['image_primary']
    lacking = Engine(model, statistics, image_sizes={'image_wrist': (64, 64)}, goal_sizes={})
    with pytest.raises(TaskError, match=r'^the task must have a goal image for image_primary, '):
        lacking.compile(Variant(('image_wrist',), 2, proprio=False))
