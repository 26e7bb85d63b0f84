"""What a checkpoint wants and gives is read off its tokenizers."""

import pathlib

import numpy as np
import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.errors import ParameterError
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.spec import checkpoint_image_keys
from octo_ros.policy.spec import describe
from octo_ros.policy.spec import envelope
from octo_ros.policy.spec import goal_sizes
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
