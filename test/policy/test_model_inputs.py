"""What OctoModel says of its inputs, and what it refuses before anything is compiled."""

import copy
import logging

import jax
import numpy as np
import pytest

from octo_ros import OctoModel
from octo_ros.assets import shipped_checkpoint
from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError


@pytest.fixture(scope='module')
def shipped():
    return OctoModel.load_pretrained(shipped_checkpoint())


@pytest.fixture(scope='module')
def three_cameras(golden):
    return OctoModel.load_pretrained(golden / 'tiny_three_cam_mse' / 'ckpt')


def inputs(batch=1, window=2):
    """Black images for the shipped checkpoint, and their mask."""
    images = {
        f'image_{camera}': np.zeros((batch, window, side, side, 3), np.uint8)
        for camera, side in (('primary', 128), ('wrist', 64))}
    return images, np.ones((batch, window), bool)


@pytest.mark.parametrize(('arguments', 'message'), [
    ({}, 'must have goals, texts or both'),
    ({'texts': []}, 'must have goals, texts or both'),
    ({'texts': 'open'}, 'texts must be a list'),
    ({'texts': (text for text in ['open'])}, 'texts must be a list .*, got <generator'),
    ({'texts': 5}, 'texts must be a list with one text per item, got 5'),
    ({'goals': {'image_primary': np.zeros((0, 128, 128, 3), np.uint8)}},
     'must be for at least one item, got a batch of 0'),
    ({'texts': [' ']}, 'must hold words'),
    ({'texts': [None]}, 'must be a text, got NoneType None'),
    ({'goals': [np.zeros((1, 128, 128, 3), np.uint8)]}, 'goals must be a dict of arrays by key'),
    ({'texts': ['a', 'b'], 'goals': {'image_primary': np.zeros((1, 128, 128, 3), np.uint8)}},
     'must have one batch size, got 1, 2'),
    ({'goals': {'image_primry': np.zeros((1, 128, 128, 3), np.uint8)}},
     r"'image_primry' must be one of image_primary, image_wrist \(did you mean 'image_primary'"),
])
def test_tasks_that_cannot_be_used_are_refused(shipped, arguments, message):
    with pytest.raises(TaskError, match=message):
        shipped.create_tasks(**arguments)


def test_a_text_for_a_model_without_language_is_refused(three_cameras):
    with pytest.raises(TaskError, match='has no text processor; give goal images for image_inst'):
        three_cameras.create_tasks(texts=['open the drawer'])


def test_images_of_another_size_are_refused(shipped):
    images, mask = inputs()
    task = shipped.create_tasks(texts=['open the drawer'])
    wrong = {**images, 'image_wrist': images['image_wrist'][:, :, :32]}
    with pytest.raises(ObservationError, match=r"'image_wrist' must have .* \(b, t, 64, 64"):
        shipped.sample_actions(wrong, task, timestep_pad_mask=mask, rng=jax.random.key(0))
    goal = {'image_primary': np.zeros((1, 64, 64, 3), np.uint8)}
    with pytest.raises(TaskError, match=r"'image_primary' must have the shape \(b, 128, 128, 3"):
        shipped.sample_actions(images, goal, timestep_pad_mask=mask, rng=jax.random.key(0))


def test_a_goal_that_is_stacked_apart_with_a_missing_one_gets_zeros_and_a_message(
        three_cameras, caplog):
    tokenizers = three_cameras.config['model']['observation_tokenizers']
    apart = copy.deepcopy(tokenizers['primary'])
    apart['kwargs'] |= {'obs_stack_keys': [], 'task_stack_keys': ['image_primary',
                                                                 'image_secondary']}
    config = copy.deepcopy(dict(three_cameras.config))
    config['model']['task_tokenizers'] = {'goal': apart}
    model = OctoModel.from_config(config, three_cameras.example_batch)
    example = model.example_batch
    observations = {key: value for key, value in example['observation'].items()
                    if key != 'pad_mask_dict'}
    goal = example['task']['image_primary']
    tasks = model.create_tasks({'image_primary': goal})
    assert not tasks['image_secondary'].any()
    assert not tasks['pad_mask_dict']['image_secondary'].any()
    with caplog.at_level(logging.WARNING, logger='octo_ros.policy'):
        actions = model.sample_actions(observations, tasks, rng=jax.random.key(0))
    assert np.isfinite(actions).all()
    assert [record.getMessage() for record in caplog.records
            if 'no goal image' in record.getMessage()] == [
        'no goal image for image_instruction, image_secondary: zero pixels take its place']
    with pytest.raises(TaskError, match=r'all of image_primary, image_secondary.*lacks image_sec'):
        model.sample_actions(observations, {'image_primary': goal}, rng=jax.random.key(0))


def test_observations_that_are_stacked_must_come_together(three_cameras):
    config = copy.deepcopy(dict(three_cameras.config))
    tokenizer = config['model']['observation_tokenizers']['primary']
    tokenizer['kwargs'] |= {'obs_stack_keys': ['image_primary', 'image_secondary'],
                            'task_stack_keys': []}
    model = OctoModel.from_config(config, three_cameras.example_batch)
    example = model.example_batch
    observations = {key: value for key, value in example['observation'].items()
                    if key not in ('pad_mask_dict', 'image_secondary')}
    with pytest.raises(ObservationError, match='all of image_primary, image_secondary'):
        model.sample_actions(observations, example['task'], rng=jax.random.key(0))


def test_unknown_and_missing_keys_are_told_once(shipped, caplog):
    images, mask = inputs()
    task = shipped.create_tasks(texts=['open the drawer'])
    given = {'image_primary': images['image_primary'], 'image_extra': images['image_wrist']}
    with caplog.at_level(logging.WARNING, 'octo_ros.policy'):
        for _ in range(2):
            shipped.run_transformer(given, task, mask)
    messages = [record.getMessage() for record in caplog.records
                if record.name == 'octo_ros.policy']
    assert messages == [
        'the observation has no image_wrist: the policy works without',
        'the observation has image_extra, which the checkpoint was not trained with']


def test_masks_that_are_no_mapping_are_refused(shipped):
    images, mask = inputs()
    task = shipped.create_tasks(texts=['open the drawer'])
    with pytest.raises(ObservationError, match=r"observations\['pad_mask_dict'\] must be a dict"):
        shipped.run_transformer(images | {'pad_mask_dict': np.ones((1, 2), bool)}, task, mask)
    with pytest.raises(TaskError, match=r"tasks\['pad_mask_dict'\] must be a dict"):
        shipped.run_transformer(images, task | {'pad_mask_dict': True}, mask)


@pytest.mark.parametrize('head', [None, ['action'], 'acton'])
def test_a_head_that_is_not_there_is_refused(shipped, head):
    images, mask = inputs()
    task = shipped.create_tasks(texts=['open the drawer'])
    with pytest.raises(ParameterError, match="'head' must be one of action, got"):
        shipped.sample_actions(images, task, timestep_pad_mask=mask, head=head,
                               rng=jax.random.key(0))


def test_a_missing_mask_is_refused(shipped):
    images, _ = inputs()
    with pytest.raises(ObservationError, match='timestep_pad_mask must be given'):
        shipped.run_transformer(images, shipped.create_tasks(texts=['open the drawer']))


@pytest.mark.parametrize(('options', 'message'), [
    ({'unnormalization_statistics': {'bridge_dataset': {'action': {'mean': [0.0]}}}},
     'statistics of all datasets'),
    ({'unnormalization_statistics': {'action': {'mean': [0.0]}}}, "pass its .'action'."),
    ({'unnormalization_statistics': {'mean': [0.0], 'std': [1.0]}, 'normalization_type': 'norml'},
     "did you mean 'normal'"),
    ({'normalization_type': 'bound'}, r"got 'bound' \(did you mean 'bounds'\?\)"),
    ({'sample_shape': 3}, r'sample_shape must be a tuple of sizes > 0, got 3; write \(3,\)'),
    ({'sample_shape': (0,)}, r'must be a tuple of sizes > 0, got \(0,\)'),
    ({'rng': 0}, r'rng must be one random key, got 0; make one by jax.random.key\(seed\)'),
    ({'rng': np.zeros(3)}, r'rng must be one random key, got an array float64 of shape \(3,\)'),
    ({'argmax': True}, 'must go with a discrete action head, got DiffusionActionHead'),
    ({'temperature': 0.5}, 'must go with a discrete action head'),
    ({'argmax': True, 'head': 'actoin'}, "'head' must be one of action"),
    ({'head': 'actoin'}, "did you mean 'action'"),
    ({'rng': None}, 'rng must be a random key'),
    ({'noise': (np.zeros((1, 2, 28)), np.zeros((20, 1, 2, 28))), 'sample_shape': (3,)},
     r'initial noise must have .* = \(3, 1, 2, 28\), got \(1, 2, 28\)'),
    ({'noise': (np.zeros((3, 1, 2, 28)), np.zeros((20, 3, 1, 2, 28)))},
     r'initial noise must have .* = \(1, 2, 28\), got \(3, 1, 2, 28\)'),
    ({'noise': (np.zeros((5, 2, 28)), np.zeros((20, 5, 2, 28)))},
     r'\(\*sample_shape, b, t, ah\*ad\) = \(1, 2, 28\), got \(5, 2, 28\)'),
    ({'noise': (np.zeros((1, 7, 28)), np.zeros((20, 1, 7, 28)))}, r'got \(1, 7, 28\)'),
    ({'noise': (np.zeros((1, 1, 28)), np.zeros((20, 1, 1, 28)))}, r'got \(1, 1, 28\)'),
    ({'noise': (np.zeros((1, 2, 27)), np.zeros((20, 1, 2, 27)))}, r'got \(1, 2, 27\)'),
    ({'noise': (np.zeros((1, 2, 28)), np.zeros((10, 1, 2, 28)))},
     r'the steps noise must have .* = \(20, 1, 2, 28\), got \(10, 1, 2, 28\)'),
    ({'noise': np.zeros((1, 2, 28))}, r'pair of arrays .* got one array of shape \(1, 2, 28\)'),
    ({'noise': (np.full((1, 2, 28), np.nan), np.zeros((20, 1, 2, 28)))},
     'the initial noise must be finite, got NaN'),
    ({'noise': (np.zeros((1, 2, 28)),)}, 'pair of arrays .* got 1 of them'),
])
def test_options_that_do_not_fit_are_refused(shipped, options, message):
    images, mask = inputs()
    task = shipped.create_tasks(texts=['open the drawer'])
    with pytest.raises(ParameterError, match=message):
        shipped.sample_actions(
            images, task, timestep_pad_mask=mask, **{'rng': jax.random.key(0), **options})


def test_noise_for_a_head_that_does_not_denoise_is_refused(three_cameras):
    noise = (np.zeros((1, 2, 8)), np.zeros((20, 1, 2, 8)))
    batch = three_cameras.example_batch
    with pytest.raises(ParameterError, match='noise must go with a diffusion head, got MSE'):
        three_cameras.sample_actions(batch['observation'], batch['task'], noise=noise)


def test_images_that_are_scaled_already_are_refused(shipped):
    images, mask = inputs()
    task = shipped.create_tasks(texts=['open the drawer'])
    scaled = {**images, 'image_wrist': images['image_wrist'] / np.float32(255)}
    with pytest.raises(ObservationError, match=r"'image_wrist' must be uint8, .*got float32"):
        shipped.run_transformer(scaled, task, mask)
    goal = {'image_primary': np.zeros((1, 128, 128, 3))}
    with pytest.raises(TaskError, match=r"task 'image_primary' must be uint8, .*got float64"):
        shipped.run_transformer(images, goal, mask)


@pytest.mark.parametrize(('goal', 'message'), [
    (np.zeros((128, 128, 3), np.uint8), r'\(b, 128, 128, 3\), got \(128, 128, 3\); add the batch'),
    (np.zeros((1, 64, 64, 3), np.uint8), r'\(b, 128, 128, 3\), got \(1, 64, 64, 3\); resize'),
    (np.zeros((1, 128, 128, 3)), 'be uint8, 0 to 255, got float64'),
])
def test_goals_of_another_form_are_refused(shipped, goal, message):
    with pytest.raises(TaskError, match=f"the goal 'image_primary' must .*{message}"):
        shipped.create_tasks(goals={'image_primary': goal}, texts=['open the drawer'])


def test_a_mask_of_one_axis_is_refused(shipped):
    images, mask = inputs()
    task = shipped.create_tasks(texts=['open the drawer'])
    with pytest.raises(ObservationError, match=r'must have the shape \(b, t\), got \(2,\)'):
        shipped.run_transformer(images, task, mask[0])


def test_a_window_without_a_real_step_is_refused_and_traced_ones_are_not_looked_at(shipped):
    images, _ = inputs(batch=2)
    task = shipped.create_tasks(texts=['open the drawer', 'close the drawer'])
    mask = np.array([[False, True], [False, False]])
    with pytest.raises(ObservationError, match='True for a step of every item, got none for 1'):
        shipped.sample_actions(images, task, timestep_pad_mask=mask, rng=jax.random.key(0))
    shape = jax.eval_shape(
        lambda mask: shipped.sample_actions(
            images, task, timestep_pad_mask=mask, rng=jax.random.key(0)), mask)
    assert shape.shape == (2, 4, 7)


def test_tasks_of_another_batch_size_are_refused(shipped):
    images, mask = inputs()
    task = shipped.create_tasks(texts=['open the drawer', 'close the drawer'])
    with pytest.raises(TaskError, match=r"task '\S+' must have the batch size 1 of the obs.*\(2,"):
        shipped.sample_actions(images, task, timestep_pad_mask=mask, rng=jax.random.key(0))


@pytest.mark.parametrize(('change', 'message'), [
    ({'action': None}, "the batch must have 'action' .* got action_pad_mask, obs"),
    ({'action_pad_mask': None}, "the batch must have 'action_pad_mask'"),
    ({'observation': None}, "the batch must have 'observation', got action"),
    ({'task': None}, "the batch must have 'task'"),
    ({'action': np.zeros((1, 2, 4, 6))}, r"'action' .* = \(1, 2, 4, 7\), got \(1, 2, 4, 6\)"),
    ({'action': np.zeros((1, 2, 7))}, r"'action' .* = \(1, 2, 4, 7\), got \(1, 2, 7\)"),
    ({'action_pad_mask': np.ones((1, 2, 4))}, r"'action_pad_mask' .*got \(1, 2, 4\)"),
])
def test_a_training_batch_that_does_not_fit_is_refused(shipped, change, message):
    batch = {name: value for name, value in {**shipped.example_batch, **change}.items()
             if value is not None}
    with pytest.raises(ParameterError, match=message):
        shipped.loss(batch, rng=jax.random.key(0))


@pytest.mark.parametrize('step', ['1', 1.0, -1, True])
def test_a_step_that_is_no_number_is_refused(shipped, tmp_path, step):
    with pytest.raises(ParameterError, match='step must be a whole number >= 0, got'):
        shipped.save_pretrained(step, tmp_path / 'saved')
    assert not (tmp_path / 'saved').exists()


def test_path_and_step_in_the_wrong_order_are_refused(shipped, tmp_path):
    with pytest.raises(ParameterError, match=r'got .*; write save_pretrained\(step, path\)'):
        shipped.save_pretrained(tmp_path, 1)


def test_the_spec_names_inputs_actions_and_statistics(shipped):
    text = shipped.get_pretty_spec()
    for line in ('  image_primary: (b, t, 128, 128, 3) uint8',
                 '  image_wrist: (b, 64, 64, 3) uint8',
                 '  language_instruction: text, 16 tokens of t5-demo',
                 '  action: DiffusionActionHead, (b, ah=4, ad=7)', '  bridge_dataset: action 7'):
        assert line in text.splitlines()
    assert 'Tasks (all of them may be left out):' in text.splitlines()
    assert '  timestep_pad_mask: (b, t) bool' in text.splitlines()
    assert '  timestep:' not in text
    assert 'task_completed' not in text


def test_what_conditions_an_encoder_is_required_by_spec_and_check_alike(golden, caplog):
    model = OctoModel.load_pretrained(golden / 'tiny_film' / 'ckpt')
    lines = model.get_pretty_spec().splitlines()
    assert 'Tasks (what is not required may be left out):' in lines
    assert '  language_instruction: (b, 24) float32, required' in lines
    assert '  image_side: (b, 64, 64, 3) uint8' in lines
    batch = model.example_batch
    task = {'image_primary': batch['task']['image_primary']}
    with pytest.raises(TaskError, match='must have language_instruction, which conditions the im'):
        model.sample_actions(batch['observation'], task)
    assert not caplog.records


@pytest.mark.parametrize(('which', 'error', 'message'), [
    ('observations', ObservationError, 'observations must be a dict of arrays by key, got None'),
    ('tasks', TaskError, 'tasks must be a dict of arrays by key, got None'),
])
def test_inputs_that_are_no_dict_are_refused(shipped, which, error, message):
    images, mask = inputs()
    given = {'observations': images, 'tasks': {}, which: None}
    with pytest.raises(error, match=message):
        shipped.sample_actions(**given, timestep_pad_mask=mask)


@pytest.mark.parametrize(('statistics', 'message'), [
    ('bridge_dataset', r"must be a mapping.*got str 'bridge_dataset'; pass model\.dataset_stat"),
    ({'mean': [0.0] * 6 + [np.nan], 'std': [1.0] * 7}, "must be finite where masked, got 'mean'"),
    ({'mean': ['x'] * 7, 'std': [1.0] * 7}, "must have numbers as 'mean'"),
])
def test_statistics_of_another_kind_are_refused(shipped, statistics, message):
    images, mask = inputs()
    with pytest.raises(ParameterError, match=message):
        shipped.sample_actions(images, {}, timestep_pad_mask=mask, rng=jax.random.key(0),
                               unnormalization_statistics=statistics)


def test_a_loss_that_draws_says_that_it_needs_a_key(shipped):
    images, mask = inputs()
    actions = np.zeros((1, 2, 4, 7), np.float32)
    batch = {'observation': {**images, 'timestep_pad_mask': mask}, 'task': {},
             'action': actions, 'action_pad_mask': actions == 0}
    with pytest.raises(ParameterError, match=r'rng must be a random key.*rng=jax.random.key'):
        shipped.loss(batch)
    with pytest.raises(ParameterError, match=r"got 'tme' \(did you mean 'time'"):
        shipped.loss(batch, rng=jax.random.key(0), tme=3)


def test_a_step_that_is_no_number_is_refused_by_its_type():
    with pytest.raises(ParameterError, match="step must be a whole number, got str '0'"):
        OctoModel.load_pretrained(shipped_checkpoint(), '0')
