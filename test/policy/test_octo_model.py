"""Tests of OctoModel against the reference implementation's numbers, and of what it refuses."""

import json
import logging
import shutil

import flax.traverse_util
import jax
import numpy as np
import pytest

from octo_ros import OctoModel
from octo_ros.assets import shipped_checkpoint
from octo_ros.checkpoint import msgpack_tree
from octo_ros.errors import CheckpointError
from octo_ros.errors import ObservationError
from octo_ros.errors import TaskError

TOLERANCE = 1e-3  # sampled actions, run from the recorded noise to the end


def read_case(file):
    """Returns one golden case with its keys nested at every slash."""
    with np.load(file) as arrays:
        return flax.traverse_util.unflatten_dict(dict(arrays), sep='/')


class Golden:
    """Golden folders, each loaded once."""

    def __init__(self, root):
        self.root = root
        self._models = {}

    def model(self, folder):
        """Returns the model of one folder."""
        if folder not in self._models:
            self._models[folder] = OctoModel.load_pretrained(self.root / folder / 'ckpt')
        return self._models[folder]

    def case(self, folder, name):
        """Returns one case of a folder, nested."""
        return read_case(self.root / folder / f'{name}.npz')


@pytest.fixture(scope='module', autouse=True)
def quick_compilation():
    """Compiling takes nearly all of the time here; numbers stay within the tolerances."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(scope='module')
def cases(golden):
    return Golden(golden)


@pytest.fixture(scope='module')
def shipped():
    return OctoModel.load_pretrained(shipped_checkpoint())


def shipped_inputs(batch=1, window=2):
    """Random observations for the shipped checkpoint, and their mask."""
    draw = np.random.default_rng(0)
    images = {
        f'image_{camera}': draw.integers(0, 256, (batch, window, side, side, 3), np.uint8)
        for camera, side in (('primary', 128), ('wrist', 64))}
    return images, np.ones((batch, window), bool)


def sampling_options(sample):
    """Returns the options that make sampling draw nothing, whatever the head."""
    if 'noise_init' in sample:
        return {'noise': (sample['noise_init'], sample['noise_steps'])}
    if 'gumbel' in sample:
        return {'argmax': True}
    return {}


# One case of each kind of head; every case of every folder is tested on the module itself.
CASES = [
    ('tiny_lang_goal', 'case_lang_and_goal'), ('tiny_lang_goal', 'case_window4'),
    ('tiny_proprio_l1', 'case_lang_first_step_padded'),
    ('tiny_three_cam_mse', 'case_goal_first_step_padded'),
    ('tiny_discrete_map', 'case_lang_first_step_padded'), ('tiny_film', 'case_lang_and_goal')]


@pytest.mark.parametrize(('folder', 'name'), CASES)
def test_sampled_actions_equal_the_reference(cases, folder, name):
    model = cases.model(folder)
    case = cases.case(folder, name)
    sample = case['sample']
    options = sampling_options(sample)
    wanted = sample.get('actions', sample.get('actions_argmax'))
    inputs = (case['in']['observations'], case['in']['tasks'])
    np.testing.assert_allclose(
        model.sample_actions(*inputs, **options), wanted, atol=TOLERANCE)
    for kind in ('normal', 'bounds'):
        actions = model.sample_actions(
            *inputs, **options, normalization_type=kind,
            unnormalization_statistics=model.dataset_statistics['bridge_dataset']['action'])
        np.testing.assert_allclose(
            actions, sample[f'actions_unnorm_{kind}']['bridge_dataset'], atol=TOLERANCE)


def test_several_samples_equal_the_reference(cases):
    case = cases.case('tiny_lang_goal', 'case_sample_shape3')
    actions = cases.model('tiny_lang_goal').sample_actions(
        case['in']['observations'], case['in']['tasks'], sample_shape=(3,),
        noise=(case['sample']['noise_init'], case['sample']['noise_steps']))
    assert actions.shape == (3, 2, 4, 7)
    np.testing.assert_allclose(actions, case['sample']['actions'], atol=TOLERANCE)


def test_statistics_of_fewer_dimensions_mask_the_others_while_denoising(cases):
    model = cases.model('tiny_lang_goal')
    case = cases.case('tiny_lang_goal', 'case_lang_and_goal')
    narrow = case['sample_narrow_dataset']
    statistics = model.dataset_statistics['narrow_dataset']['action']
    actions = model.sample_actions(
        case['in']['observations'], case['in']['tasks'],
        unnormalization_statistics=statistics,
        noise=(narrow['noise_init'], narrow['noise_steps']))
    assert actions.shape == (2, 4, 6)
    wanted = narrow['actions_full_dim'][..., :6] * statistics['std'] + statistics['mean']
    mask = statistics.get('mask', np.ones(6, bool))
    np.testing.assert_allclose(
        np.asarray(actions)[..., mask], wanted[..., mask], atol=TOLERANCE)


def test_embeddings_equal_the_reference(cases):
    case = cases.case('tiny_lang_goal', 'case_lang_first_step_padded')
    outputs = cases.model('tiny_lang_goal').run_transformer(
        case['in']['observations'], case['in']['tasks'],
        case['in']['observations']['timestep_pad_mask'])
    for name, wanted in case['transformer_out'].items():
        np.testing.assert_allclose(
            outputs[name].tokens, wanted['tokens'], atol=2e-5, rtol=1e-4)
        np.testing.assert_array_equal(outputs[name].mask, wanted['mask'])


def test_loss_and_gradient_equal_the_reference(cases):
    model = cases.model('tiny_lang_goal')
    case = cases.case('tiny_lang_goal', 'loss_lang_first_step_padded')
    batch = {
        'observation': case['in']['observations'], 'task': case['in']['tasks'],
        'action': case['in']['action'], 'action_pad_mask': case['in']['action_pad_mask']}

    def loss(params):
        return model.loss(
            batch, params=params, time=case['loss']['time'], noise=case['loss']['noise'])

    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(model.params)
    np.testing.assert_allclose(value, case['loss']['value'], rtol=1e-4)
    for name, wanted in case['loss']['metrics'].items():
        np.testing.assert_allclose(metrics[name], wanted, rtol=1e-4)
    squares = [np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient)]
    np.testing.assert_allclose(
        np.sqrt(np.sum(squares)), case['grad']['global_norm'], rtol=1e-3)


def test_tasks_of_texts_and_goals_equal_the_reference(cases):
    model = cases.model('tiny_lang_goal')
    goal = cases.case('tiny_lang_goal', 'case_goal')['in']['tasks']
    images = {key: goal[key] for key in ('image_primary', 'image_wrist')}
    made = model.create_tasks(goals=images)
    jax.tree.map(np.testing.assert_array_equal, made, goal)
    partial = cases.case('tiny_lang_goal', 'case_goal_primary_only')['in']['tasks']
    made = model.create_tasks(goals={'image_primary': partial['image_primary']})
    jax.tree.map(np.testing.assert_array_equal, made, partial)


def test_a_text_alone_pads_the_goals_as_in_the_reference(cases, shipped):
    made = shipped.create_tasks(texts=['pick up the red block', 'open the drawer'])
    reference = cases.case('tiny_lang_goal', 'case_lang')['in']['tasks']
    assert {*reference} <= {*made}
    assert made['pad_mask_dict']['language_instruction'].tolist() == [True, True]
    for key in ('image_primary', 'image_wrist'):
        assert made[key].dtype == reference[key].dtype
        assert not made[key].any()
        assert reference['pad_mask_dict'][key].tolist() == [False, False]
        assert made['pad_mask_dict'][key].tolist() == [False, False]


def test_text_and_goal_together(shipped):
    images, _ = shipped_inputs()
    made = shipped.create_tasks(
        goals={'image_primary': images['image_primary'][:, 0]}, texts=['open the drawer'])
    assert 'image_wrist' not in made
    assert made['pad_mask_dict']['image_primary'].tolist() == [True]
    assert made['pad_mask_dict']['language_instruction'].tolist() == [True]
    assert made['language_instruction']['attention_mask'].sum() > 2


def test_a_model_that_stacks_no_goals_takes_none_though_its_data_have_them(cases):
    model = cases.model('tiny_three_cam_mse')
    config = json.loads(json.dumps(model.config))
    for spec in config['model']['observation_tokenizers'].values():
        spec['kwargs'].pop('task_stack_keys', None)
    by_words = OctoModel.from_config(config, model.example_batch, rng=jax.random.key(0))
    assert 'image_primary' in by_words.example_batch['task']
    assert by_words.goal_keys == ()
    with pytest.raises(TaskError, match='no goals are used'):
        by_words.create_tasks(goals={'image_primary': np.zeros((1, 64, 64, 3), np.uint8)})


def test_the_issue_of_three_cameras_says_once_which_goals_are_missing(cases, caplog):
    model = cases.model('tiny_three_cam_mse')
    observations = cases.case('tiny_three_cam_mse', 'case_goal')['in']['observations']
    goals = {'image_primary': np.zeros((2, 64, 64, 3), np.uint8)}
    assert model.goal_keys == ('image_instruction', 'image_primary', 'image_secondary')
    with caplog.at_level(logging.WARNING, 'octo_ros'):
        for window in (2, 2, 1):
            cut = jax.tree.map(lambda leaf, window=window: leaf[:, -window:], observations)
            model.sample_actions(cut, model.create_tasks(goals=goals))
        # Another set of keys is told too, though this shape may be compiled already.
        model.run_transformer(cut, {})
    messages = [record.getMessage() for record in caplog.records
                if 'zero pixels' in record.getMessage()]
    assert messages == [
        'no goal image for image_instruction, image_secondary: zero pixels take its place',
        'no goal image for image_instruction, image_primary, image_secondary: '
        'zero pixels take its place']


def test_every_window_up_to_the_largest_runs(shipped):
    task = shipped.create_tasks(texts=['open the drawer'])
    for window in (1, 3):
        images, mask = shipped_inputs(window=window)
        actions = shipped.sample_actions(
            images, task, timestep_pad_mask=mask, rng=jax.random.key(0))
        assert actions.shape == (1, 4, 7)
        assert np.isfinite(actions).all()
    images, mask = shipped_inputs(window=11)
    with pytest.raises(ObservationError, match='1 to 10 steps'):
        shipped.sample_actions(images, task, timestep_pad_mask=mask, rng=jax.random.key(0))


def test_one_key_gives_one_answer_and_another_key_another(shipped):
    images, mask = shipped_inputs()
    task = shipped.create_tasks(texts=['open the drawer'])
    one, same, other = (
        np.asarray(shipped.sample_actions(
            images, task, timestep_pad_mask=mask, rng=jax.random.key(seed)))
        for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_what_is_saved_loads_again_with_its_vocabulary(shipped, tmp_path):
    folder = shipped.save_pretrained(12, tmp_path)
    assert folder == tmp_path / '12'
    again = OctoModel.load_pretrained(tmp_path)
    assert again.step == 12
    jax.tree.map(np.testing.assert_array_equal, again.params, shipped.params)
    text = ['put the red block on the plate']
    np.testing.assert_array_equal(
        again.text_processor.encode(text)['input_ids'],
        shipped.text_processor.encode(text)['input_ids'])
    assert {file.name for file in tmp_path.iterdir()} == {
        '12', 'config.json', 'example_batch.msgpack', 'dataset_statistics.json', 't5-demo'}
    assert {file.name for file in (tmp_path / 't5-demo').iterdir()} == {
        'config.json', 'tokenizer_config.json', 'spiece.model'}


def test_random_weights_differ_between_keys(shipped):
    config = json.loads(json.dumps(shipped.config))
    # Fewer kinds of parameters, because the time goes into compiling how each is drawn.
    config['model']['observation_tokenizers'].pop('wrist')
    config['model']['task_tokenizers'].clear()
    config['model']['transformer_kwargs']['num_layers'] = 1
    first, other = (
        OctoModel.from_config(
            config, shipped.example_batch, rng=jax.random.key(seed),
            dataset_statistics=shipped.dataset_statistics).params
        for seed in (0, 1))
    kernel = first['heads_action']['diffusion_model']['reverse_network']['Dense_0']['kernel']
    moved = other['heads_action']['diffusion_model']['reverse_network']['Dense_0']['kernel']
    assert np.abs(kernel - moved).max() > 0
    assert {*shipped.params['octo_transformer']} - {*first['octo_transformer']} == {
        'observation_tokenizers_wrist', 'obs_wrist_projection', 'obs_wrist_pos_embedding',
        'task_tokenizers_language', 'task_language_projection', 'task_language_pos_embedding'}


def test_two_models_that_differ_in_order_alone_do_not_share_a_trace(cases):
    """Their modules compare equal, so one jitted function would mix up their token groups."""
    for folder in ('tiny_three_cam_mse', 'tiny_three_cam_unsorted'):
        case = cases.case(folder, 'case_goal')
        np.testing.assert_allclose(
            cases.model(folder).sample_actions(case['in']['observations'], case['in']['tasks']),
            case['sample']['actions'], atol=TOLERANCE)


@pytest.fixture
def copy(tmp_path):
    """A copy of the shipped checkpoint, to be damaged."""
    return shutil.copytree(shipped_checkpoint(), tmp_path / 'copy')


def test_parameters_of_another_model_are_listed_with_minus_and_plus(copy):
    file = copy / '0/default/checkpoint'
    params = msgpack_tree.read_tree(file)
    stem = params['octo_transformer'].pop('obs_wrist_projection')
    params['octo_transformer']['obs_gripper_projection'] = stem
    params['heads_action']['diffusion_model']['time_preprocess']['kernel'] = np.zeros(
        (8, 1), np.float32)
    msgpack_tree.write_tree(file, params)
    with pytest.raises(CheckpointError) as caught:
        OctoModel.load_pretrained(copy)
    lines = str(caught.value).splitlines()
    assert str(file) in lines[0]
    assert lines[1:7] == [
        '  - heads_action/diffusion_model/time_preprocess/kernel (16, 1)',
        '  + heads_action/diffusion_model/time_preprocess/kernel (8, 1)',
        '  + octo_transformer/obs_gripper_projection/bias (96,)',
        '  + octo_transformer/obs_gripper_projection/kernel (128, 96)',
        '  - octo_transformer/obs_wrist_projection/bias (96,)',
        '  - octo_transformer/obs_wrist_projection/kernel (128, 96)']
    assert 'same training run' in lines[-1]


def test_an_unknown_module_in_the_config_is_refused(copy):
    config = json.loads((copy / 'config.json').read_text())
    config['model']['heads']['action']['name'] = 'DifusionActionHead'
    (copy / 'config.json').write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match='DiffusionActionHead'):
        OctoModel.load_pretrained(copy)


def test_sizes_that_a_layer_cannot_have_are_told_without_a_traceback_of_jax(copy):
    config = json.loads((copy / 'config.json').read_text())
    head = config['model']['heads']['action']
    head['name'] = 'UNetDDPMActionHead'
    head['kwargs'] = {'readout_key': 'readout_action', 'action_dim': 7, 'action_horizon': 4,
                      'use_map': False, 'down_features': [30]}
    (copy / 'config.json').write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r'copy: its config .* make no model: .*\(30\)'):
        OctoModel.load_pretrained(copy)
    batch = msgpack_tree.read_tree(copy / 'example_batch.msgpack')
    with pytest.raises(CheckpointError, match='the config and example batch make no model'):
        OctoModel.from_config(config, batch)


def test_an_example_batch_of_another_model_is_refused(copy):
    batch = msgpack_tree.read_tree(copy / 'example_batch.msgpack')
    batch['observation']['timestep_pad_mask'] = np.ones((1, 5), bool)
    msgpack_tree.write_tree(copy / 'example_batch.msgpack', batch)
    with pytest.raises(CheckpointError, match=r'example.batch'):
        OctoModel.load_pretrained(copy)


def test_a_vocabulary_with_more_ids_than_the_model_is_refused(golden):
    model = OctoModel.load_pretrained(
        shipped_checkpoint(), vocabulary=golden / 't5' / 'spiece.model')
    with pytest.raises(TaskError, match=r'must be the vocabulary .* trained with \(384 ids\)'):
        model.create_tasks(texts=['pick up the red block'])


def test_a_folder_with_another_vocabulary_is_not_saved_into(shipped, copy):
    vocabulary = copy / 't5-demo' / 'spiece.model'
    vocabulary.write_bytes(b'another one')
    with pytest.raises(CheckpointError, match=r'/t5-demo/spiece\.model: must be that of'):
        shipped.save_pretrained(1, copy)
    assert vocabulary.read_bytes() == b'another one'
    assert not (copy / '1').exists()


def test_the_shipped_checkpoint_is_small_and_stays_within_its_statistics(shipped):
    size = sum(file.stat().st_size for file in shipped_checkpoint().rglob('*'))
    assert size < 5_000_000
    images, mask = shipped_inputs()
    actions = shipped.sample_actions(
        images, shipped.create_tasks(texts=['pick up the red block']), timestep_pad_mask=mask,
        sample_shape=(32,), rng=jax.random.key(0))
    assert np.abs(actions).max() < 4.9
    assert 0.2 < np.std(actions[..., :6]) < 1.5
