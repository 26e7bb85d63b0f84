import copy
import dataclasses

import jax
import numpy as np
import pytest

from octo_ros import OctoModel
from octo_ros.checkpoint.spec_registry import build_module
from octo_ros.cli.inspect import as_text
from octo_ros.cli.inspect import describe
from octo_ros.data.episode import Episode
from octo_ros.data.store import EpisodeSet
from octo_ros.data.store import EpisodeWriter
from octo_ros.errors import DataError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError
from octo_ros.policy.images import crop_for
from octo_ros.policy.normalization import chosen_type
from octo_ros.policy.normalization import stated_type
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.policy import PolicyParams
from octo_ros.policy.profile import load_profile
from octo_ros.policy.types import Frame
from octo_ros.policy.types import Task
from octo_ros.policy.types import Window
from octo_ros.train.adapt import ModelParams
from octo_ros.train.finetune import plan_finetune
from test.train.conftest import run_params


@pytest.mark.parametrize('augment', [True, False])
def test_a_policy_crops_only_what_training_cropped(base, episodes, augment):
    plan = plan_finetune(base, episodes, ModelParams(), run_params(augment=augment))
    crop = crop_for(plan.model.config, 'image_primary')
    assert (crop is not None) == augment
    assert bool(plan.setup.augmentation) == augment


def test_a_camera_seen_in_detail_keeps_its_tokens_and_gets_one_per_8_pixels(base, episodes):
    plan = plan_finetune(base, episodes, ModelParams(detail=('primary',)), run_params())
    example = plan.model.example_batch
    outputs = jax.eval_shape(lambda: plan.model.module.apply(
        {'params': plan.model.params}, example['observation'], example['task'],
        example['observation']['timestep_pad_mask'], method='run_transformer'))
    assert outputs['obs_primary'].tokens.shape[2] == 4
    assert outputs['obs_primary_detail'].tokens.shape[2] == 16
    assert not plan.report.unexpected
    assert not plan.report.reshaped
    assert all('primary_detail' in path for path in plan.report.missing)


def test_a_policy_acts_by_the_normalisation_that_it_was_trained_with(base, episodes, tmp_path):
    plan = plan_finetune(base, episodes, ModelParams(), run_params(normalization_type='bounds'))
    plan.model.save_pretrained(1, tmp_path)
    model = OctoModel.load_pretrained(tmp_path)
    assert 'Normalised   bounds\n' in as_text({'checkpoint': '', **describe(model)})

    def actions(config, kind):
        policy = OctoPolicy(
            OctoModel(model.module, model.params, config, model.example_batch,
                      dataset_statistics=model.dataset_statistics),
            PolicyParams(compilation_cache='none', normalization_type=kind))
        policy.prepare(['image_primary'], window=1)
        size = policy.spec.image_sizes['image_primary']
        frame = Frame(0, {'image_primary': np.zeros((*size, 3), np.uint8)})
        return policy.infer(Window([frame], np.ones(1, bool)), policy.encode_task(Task())).actions

    silent = {name: value for name, value in model.config.items() if name != 'dataset_kwargs'}
    found = actions(model.config, load_profile('viperx_sim').normalization_type)
    np.testing.assert_array_equal(found, actions(silent, 'bounds'))
    assert not np.allclose(found, actions(silent, ''))
    with pytest.raises(ParameterError, match=(
            r"'normalization_type' must be 'bounds', as .* trained, got 'normal'")):
        actions(model.config, 'normal')


def test_a_checkpoint_that_says_no_normalisation_takes_any(base, episodes):
    plan = plan_finetune(base, episodes, ModelParams(), run_params())
    assert stated_type(plan.model.config) == 'normal'
    assert stated_type(base.config) == ''
    assert [chosen_type(base.config, kind) for kind in ('', 'normal', 'bounds')] == [
        'normal', 'normal', 'bounds']


@pytest.mark.parametrize('option', ['detail', 'instructed'])
def test_a_camera_that_the_data_lack_gets_no_other_tokenizer(base, episodes, option):
    with pytest.raises(ParameterError, match=rf"'model.{option}'.*'primry'.*'primary'"):
        plan_finetune(base, episodes, ModelParams(**{option: ('primry',)}), run_params())


@pytest.mark.parametrize('dropout', [0.0, 0.3])
def test_dropout_is_of_the_transformer_and_for_training_alone(base, episodes, dropout):
    plan = plan_finetune(base, episodes, ModelParams(dropout=dropout), run_params())
    example, model = plan.model.example_batch, plan.model

    def tokens(seed, *, train):
        return model.module.apply(
            {'params': model.params}, example['observation'], example['task'],
            example['observation']['timestep_pad_mask'], method='run_transformer', train=train,
            rngs={'dropout': jax.random.key(seed)})['readout_action'].tokens

    assert np.array_equal(tokens(0, train=False), tokens(1, train=False))
    assert np.array_equal(tokens(0, train=True), tokens(1, train=True)) == (not dropout)


@pytest.mark.parametrize('bins', [0, 16])
def test_fresh_proprio_numbers_begin_as_small_beside_their_places_as_told(base, episodes, bins):
    plan = plan_finetune(base, episodes, ModelParams(
        proprio='on', proprio_bins=bins, proprio_start=0.3), run_params())
    fresh = plan_finetune(base, episodes, ModelParams(proprio='on', proprio_bins=bins),
                          run_params())
    for name, deviation in (('obs_proprio_projection', 0.3), ('obs_proprio_pos_embedding', 1.0)):
        leaf, octos = (jax.tree.leaves(p.setup.params['octo_transformer'][name])[-1]
                       for p in (plan, fresh))
        if bins:
            np.testing.assert_array_equal(leaf, octos)
        else:
            assert np.std(leaf) == pytest.approx(deviation, rel=1e-4)
            assert np.corrcoef(np.ravel(leaf), np.ravel(octos))[0, 1] > 0.999


def test_a_fresh_linear_head_begins_with_the_mean_action(base, episodes):
    plan = plan_finetune(base, episodes, ModelParams(head='mse'), run_params())
    example = plan.model.example_batch
    actions = plan.model.module.apply(
        {'params': plan.model.params}, example['observation'], example['task'],
        example['observation']['timestep_pad_mask'], method='sample_actions',
        rng=jax.random.key(0))
    np.testing.assert_allclose(actions[0], 2 * [plan.setup.source.mean_action], atol=1e-6)


@pytest.mark.parametrize('head', ['l1', 'diffusion'])
def test_a_head_that_is_asked_for_is_fresh_where_the_checkpoint_has_the_same(
        base, episodes, head):
    trained = plan_finetune(base, episodes, ModelParams(head=head), run_params()).model
    params = {**trained.params, 'heads_action': jax.tree.map(
        lambda leaf: leaf + 1, trained.params['heads_action'])}
    trained = OctoModel(trained.module, params, trained.config, trained.example_batch,
                        dataset_statistics=trained.dataset_statistics,
                        text_processor=trained.text_processor)
    for chosen in ('keep', head):
        plan = plan_finetune(trained, episodes, ModelParams(head=chosen), run_params())
        assert plan.report.exact == (chosen == 'keep')
        assert {path.split('/')[0] for path in plan.report.missing} <= {'heads_action'}
        assert plan.report.missing == plan.report.unexpected
        for leaf, old in zip(jax.tree.leaves(plan.model.params['heads_action']),
                             jax.tree.leaves(params['heads_action']), strict=True):
            assert np.allclose(leaf, old, atol=0.1) == (chosen == 'keep')


@pytest.fixture(scope='module')
def instructed(base, episodes):
    """Returns a model whose fresh conditioning is no longer the identity."""
    plan = plan_finetune(base, episodes, ModelParams(instructed=('primary',)), run_params())
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jax.random.normal(jax.random.key(0), leaf.shape)
        if 'FilmConditioning_0' in jax.tree_util.keystr(path) else leaf, plan.model.params)
    return dataclasses.replace(plan, model=OctoModel(
        plan.model.module, params, plan.model.config, plan.model.example_batch,
        dataset_statistics=plan.model.dataset_statistics,
        text_processor=plan.model.text_processor))


def instructed_tokens(model, tasks):
    observation = model.example_batch['observation']
    groups = model.module.apply(
        {'params': model.params}, observation, tasks, observation['timestep_pad_mask'],
        method='tokenize')
    return groups['obs_primary_instructed'].tokens


def test_an_instructed_camera_gets_8_tokens_that_depend_on_the_words(instructed):
    model = instructed.model
    red, blue, again = (
        instructed_tokens(model, model.create_tasks(texts=[f'follow {colour}']))
        for colour in ('red', 'blue', 'red'))
    assert red.shape[2] == 8
    assert not np.allclose(red, blue, atol=1e-4)
    np.testing.assert_array_equal(red, again)
    assert not instructed.report.unexpected
    assert all('primary_instructed' in path for path in instructed.report.missing)


def test_words_condition_as_the_vector_does_that_the_reference_is_to_be_given(instructed):
    model = instructed.model
    tasks = model.create_tasks(texts=['follow red'])
    ids = tasks['language_instruction']['input_ids'][0]
    pieces = np.zeros_like(model.example_batch['task']['language_pieces'])
    np.add.at(pieces[0], ids[ids > 1], 1)
    given = {**model.example_batch['task'], **tasks, 'language_pieces': pieces}
    np.testing.assert_array_equal(
        instructed_tokens(model, tasks), instructed_tokens(model, given))


def test_an_instructed_model_without_words_says_that_it_needs_them(instructed):
    observation = instructed.model.example_batch['observation']
    with pytest.raises(TaskError, match='must have language_instruction, which conditions'):
        instructed.model.run_transformer(observation, {}, observation['timestep_pad_mask'])


def test_an_instruction_encoded_before_conditions_as_its_words_do(instructed):
    model = instructed.model
    tasks = model.create_tasks(texts=['follow red'])
    encoded = model.module.apply({'params': model.params}, tasks, method='encode_language')
    np.testing.assert_array_equal(
        instructed_tokens(model, tasks),
        instructed_tokens(model, {**tasks, 'language_instruction': encoded}))


def test_a_frozen_language_model_is_run_before_and_its_words_condition_all_the_same(
        base, episodes):
    config = copy.deepcopy(base.config)
    config['model']['task_tokenizers']['language']['kwargs']['finetune_encoder'] = False
    frozen = OctoModel(build_module(config['model'], params_shapes=base.params), base.params,
                       config, base.example_batch, dataset_statistics=base.dataset_statistics,
                       text_processor=base.text_processor)
    plan = plan_finetune(frozen, episodes, ModelParams(instructed=('primary',)), run_params())
    instruction = plan.setup.source[0]['task']['language_instruction']
    assert set(instruction) == {'embeddings', 'pieces'}
    assert len(instruction['pieces']) == 8


def test_a_policy_finds_the_velocity_that_it_was_trained_with(base, episodes):
    plan = plan_finetune(
        base, episodes, ModelParams(proprio='on', velocity='on', proprio_bins=0, window=2),
        run_params())
    policy = OctoPolicy(plan.model, PolicyParams(compilation_cache='none'))
    policy.prepare(['image_primary'], window=2, proprio='on')
    assert policy.spec.frames_before == 1
    observations = plan.model.example_batch['observation']
    tokenizers = plan.model.module.octo_transformer.observation_tokenizers
    assert {name: tokenizers[name].observation_keys(observations)
            for name in ('proprio', 'velocity')} == {
                'proprio': ['proprio'], 'velocity': ['velocity']}
    episode = episodes.episode(3)
    stamps = 1_700_000_000_000_000_000 + np.arange(len(episode)) * round(episode.step_s * 1e9)
    images = episode.images['image_primary']
    frames = [Frame(int(stamp), {'image_primary': images[step]}, episode.proprio[step])
              for step, stamp in enumerate(stamps)]
    rows = int(episodes.starts[3]) + np.arange(len(episode))
    trained = plan.setup.source.in_order(rows, goal=True)['observation']
    for newest in range(2, len(episode)):
        window = Window(frames[newest - 2:newest + 1], np.ones(3, bool))
        seen = policy._proprio(window)
        for key in ('proprio', 'velocity'):
            np.testing.assert_allclose(seen[key], trained[key][newest], rtol=1e-5, atol=1e-5)
    assert np.isfinite(policy.infer(window, policy.encode_task(Task())).actions).all()


def test_a_known_camera_keeps_its_size_and_a_new_one_may_have_any(base, tmp_path):
    rng = np.random.default_rng(0)

    def written(name, sizes):
        with EpisodeWriter(tmp_path / name, sizes) as writer:
            writer.add(Episode(
                name='one', actions=rng.normal(size=(5, 2)), instructions=('go',), proprio=None,
                images={key: rng.integers(0, 256, (5, *size, 3), np.uint8)
                        for key, size in sizes.items()}))
        return EpisodeSet(tmp_path / name)

    larger = written('larger', {'image_primary': (64, 48)})
    with pytest.raises(DataError, match=r'image_primary must be 32x32 .* got 64x48.*'
                       r'--size primary=32x32'):
        plan_finetune(base, larger, ModelParams(), run_params())
    further = written('further', {'image_primary': (32, 32), 'image_side': (64, 48)})
    plan = plan_finetune(base, further, ModelParams(), run_params())
    assert not plan.report.reshaped
    assert not plan.report.unexpected


def test_velocity_and_examples_without_images_need_proprio(base, episodes):
    with pytest.raises(ParameterError, match=r"'model.velocity' must go with"):
        plan_finetune(base, episodes, ModelParams(velocity='on'), run_params())
    with pytest.raises(ParameterError, match="'image_dropout' must go with"):
        plan_finetune(base, episodes, ModelParams(), run_params(image_dropout=0.5))


@pytest.fixture(scope='module')
def with_velocity(base, episodes):
    """Returns a model that takes proprio and its velocity."""
    return plan_finetune(
        base, episodes, ModelParams(proprio='on', velocity='on'), run_params()).model


@pytest.mark.parametrize(('params', 'names'), [
    (ModelParams(), ['primary', 'proprio', 'velocity']),
    (ModelParams(velocity='off'), ['primary', 'proprio']),
    (ModelParams(proprio='on', velocity='off'), ['primary', 'proprio']),
    (ModelParams(proprio='off'), ['primary'])])
def test_a_model_keeps_its_proprio_unless_told_to_drop_it(
        with_velocity, episodes, caplog, params, names):
    plan = plan_finetune(with_velocity, episodes, params, run_params())
    assert [*plan.model.config['model']['observation_tokenizers']] == names
    assert {path.split('/')[1].removeprefix('obs_').split('_')[0]
            for path in plan.report.unexpected} == {'proprio', 'velocity'} - set(names)
    assert not plan.report.missing
    assert {'proprio', 'velocity'} & set(plan.setup.source[0]['observation']) == {*names[1:]}
    assert not caplog.records


def test_a_model_without_proprio_gets_none_by_itself(base, episodes, caplog):
    plan = plan_finetune(base, episodes, ModelParams(), run_params())
    assert plan.report.exact
    assert 'proprio' not in plan.setup.source[0]['observation']
    assert not caplog.records


def test_inputs_of_a_checkpoint_that_the_data_lack_are_told_of(
        with_velocity, tmp_path, caplog):
    with EpisodeWriter(tmp_path / 'set', {'image_side': (32, 32)}) as writer:
        writer.add(Episode(
            name='one', actions=np.zeros((5, 2)), instructions=('go',), proprio=None,
            images={'image_side': np.zeros((5, 32, 32, 3), np.uint8)}))
    plan = plan_finetune(
        with_velocity, EpisodeSet(tmp_path / 'set'), ModelParams(), run_params())
    assert [*plan.model.config['model']['observation_tokenizers']] == ['side']
    (record,) = caplog.records
    assert 'image_primary and proprio and velocity, which the data lack' in record.getMessage()
    assert '--camera primary=TOPIC --state TOPIC' in record.getMessage()


@pytest.mark.parametrize(('mode', 'params', 'part'), [
    ('head_only', ModelParams(proprio='on'), 'octo_transformer/obs_proprio_projection'),
    ('head_mlp_only', ModelParams(detail=('primary',)),
     'octo_transformer/observation_tokenizers_primary_detail'),
    ('head_mlp_only', ModelParams(head='l1'), ''),
    ('full', ModelParams(proprio='on'), '')])
def test_fresh_parameters_that_a_mode_does_not_train_are_told_of(
        base, episodes, caplog, mode, params, part):
    plan_finetune(base, episodes, params, run_params(mode=mode))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == bool(part)
    for text in told:
        assert text.startswith(f'--mode {mode} does not train octo_transformer/')
        assert part in text
        assert 'train them with --mode full' in text
