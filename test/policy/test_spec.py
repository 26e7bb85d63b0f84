"""What a checkpoint wants and gives is read off its tokenizers."""

import pathlib

import numpy as np
import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.errors import ParameterError
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.policy import PolicyParams
from octo_ros.policy.spec import checkpoint_image_keys
from octo_ros.policy.spec import describe
from octo_ros.policy.spec import envelope
from octo_ros.policy.spec import goal_sizes
from octo_ros.policy.spec import image_inputs
from octo_ros.policy.spec import stacked_with

LARGE, SMALL = (64, 64), (32, 32)
INSTRUCTION = ('image_instruction', 'image_primary', 'image_secondary')


def spec_of(golden: pathlib.Path, folder: str, **options):
    model = OctoModel.load_pretrained(golden / folder / 'ckpt')
    statistics = model.dataset_statistics['bridge_dataset']['action']
    return model, describe(model, statistics, **options)


def test_cameras_goals_language_and_chunk_are_described(golden: pathlib.Path) -> None:
    model, spec = spec_of(golden, 'tiny_lang_goal')
    assert spec.image_sizes == {'image_primary': LARGE, 'image_wrist': SMALL}
    assert spec.goal_keys == ('image_primary', 'image_wrist')
    assert goal_sizes(model, spec) == spec.image_sizes
    assert (spec.uses_language, spec.proprio_dim) == (True, 0)
    assert (spec.window, spec.max_window, spec.action_horizon, spec.action_dim) == (2, 10, 4, 7)
    assert spec.action_low[6] == -np.inf
    assert spec.action_high[0] == pytest.approx(0.80169794)


def test_proprio_is_found_and_goals_that_are_no_images_are_not(golden: pathlib.Path) -> None:
    _, spec = spec_of(golden, 'tiny_proprio_l1')
    assert (spec.proprio_dim, spec.goal_keys) == (8, ())


@pytest.mark.parametrize(
    ('folder', 'order'),
    [
        ('tiny_three_cam_mse', INSTRUCTION),
        ('tiny_three_cam_unsorted', ('image_primary', 'image_secondary', 'image_instruction')),
    ],
)
def test_cameras_come_in_the_order_of_the_tokenizers(
    golden: pathlib.Path, folder: str, order: tuple[str, ...]
) -> None:
    _, spec = spec_of(golden, folder)
    assert tuple(spec.image_sizes) == order
    assert checkpoint_image_keys(golden / folder / 'ckpt') == order
    assert set(spec.goal_keys) == set(INSTRUCTION)
    assert not spec.uses_language


def test_cameras_are_known_without_the_size_of_the_language_model() -> None:
    assert checkpoint_image_keys(shipped_checkpoint()) == ('image_primary', 'image_wrist')


def test_images_that_one_tokenizer_stacks_belong_together(golden: pathlib.Path) -> None:
    model, spec = spec_of(golden, 'tiny_film')
    first, second = spec.image_sizes
    assert stacked_with(model, first) == {first, second}
    assert stacked_with(model, 'image_other') == set()


def test_sizes_can_be_overridden_and_wrong_entries_are_refused(golden: pathlib.Path) -> None:
    _, spec = spec_of(golden, 'tiny_lang_goal', image_sizes=['image_wrist=48x40'])
    assert spec.image_sizes['image_wrist'] == (48, 40)
    for entry in ('image_wrist', 'image_wrist=0x5', 'image_wrst=48x40'):
        with pytest.raises(ParameterError, match='KEY=HEIGHTxWIDTH'):
            spec_of(golden, 'tiny_lang_goal', image_sizes=[entry])


def test_an_unknown_head_is_refused(golden: pathlib.Path) -> None:
    with pytest.raises(ParameterError, match="'head' must be one of action"):
        spec_of(golden, 'tiny_lang_goal', head='value')


def test_statistics_without_percentiles_give_no_envelope() -> None:
    assert envelope({'mean': [0.0], 'std': [1.0]}) == ((), ())


@pytest.mark.parametrize(('change', 'message'), [
    ({'p01': [0.0]}, r"have one length, got 1 in 'p01', 2 in 'p99' and a mask of 2"),
    ({'mask': [True]}, 'and a mask of 1'),
    ({'p99': [1.0, -1.0]}, r"'p01' not greater than 'p99', got \[0.0, 0.0\] and \[1.0, -1.0\]"),
    ({'p99': [1.0, np.nan]}, "'p01' not greater than 'p99'"),
])
def test_an_envelope_that_is_none_is_refused(change, message) -> None:
    good = {'p01': [0.0, 0.0], 'p99': [1.0, 2.0], 'mask': [True, True]}
    assert envelope(good) == ((0.0, 0.0), (1.0, 2.0))
    with pytest.raises(ParameterError, match=message):
        envelope({**good, **change})


def renamed(tree, old: str, new: str):
    """Returns a configuration or batch with another name for an observation."""
    if isinstance(tree, dict):
        return {key.replace(old, new): renamed(value, old, new) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [renamed(value, old, new) for value in tree]
    return tree.replace(old, new) if isinstance(tree, str) else tree


@pytest.fixture
def three_cameras(golden: pathlib.Path) -> OctoModel:
    return OctoModel.load_pretrained(golden / 'tiny_three_cam_mse' / 'ckpt')


def with_depth(model: OctoModel):
    """Returns configuration and batch with depth in place of the camera image_secondary."""
    config, batch = (renamed(tree, 'image_secondary', 'depth_primary')
                     for tree in (model.config, model.example_batch))
    for part in ('observation', 'task'):
        batch[part]['depth_primary'] = batch[part]['depth_primary'][..., :1]
    return config, batch


def test_depth_is_left_out_with_a_word_and_the_policy_works(
        three_cameras: OctoModel, caplog: pytest.LogCaptureFixture) -> None:
    config, batch = with_depth(three_cameras)
    model = OctoModel.from_config(config, batch,
                                  dataset_statistics=three_cameras.dataset_statistics)
    policy = OctoPolicy(model, PolicyParams())
    assert set(policy.spec.image_sizes) == {'image_instruction', 'image_primary'}
    assert set(policy.spec.goal_keys) == {'image_instruction', 'image_primary'}
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if 'depth' in text] == [
        'depth_primary is no image of 3 channels: depth is not supported, the policy works '
        'without.']
    policy.prepare(tuple(policy.spec.image_sizes), window=1)


def test_depth_that_is_stacked_with_colours_is_refused(three_cameras: OctoModel) -> None:
    config, batch = with_depth(three_cameras)
    tokenizers = config['model']['observation_tokenizers']
    tokenizers['primary']['kwargs']['obs_stack_keys'] = ['image_primary', 'depth_primary']
    model = OctoModel.from_config(config, batch)
    with pytest.raises(ParameterError, match='got depth_primary, image_primary in one'):
        image_inputs(model)


def test_a_camera_of_another_kind_of_name_is_refused(three_cameras: OctoModel) -> None:
    config, batch = (renamed(tree, 'image_secondary', 'sketch')
                     for tree in (three_cameras.config, three_cameras.example_batch))
    model = OctoModel.from_config(config, batch)
    with pytest.raises(ParameterError, match="must have names that begin with 'image_', as in "
                                             "Octo's data, got sketch"):
        image_inputs(model)
