"""Preprocessing equals training's; odd images are refused with a reason."""

import json
import math
import pathlib
import timeit

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from octo_ros.errors import CheckpointError
from octo_ros.errors import ObservationError
from octo_ros.policy.images import crop_for
from octo_ros.policy.images import preprocess

SIDE = (math.sqrt(0.9), math.sqrt(0.9))
NAMES = (
    '256x320_to_256x256', '480x640_to_128x128', '100x120_to_128x128_up', '256x256_to_256x256')


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(
    ('result', 'crop'), [('lanczos3_only_uint8', None), ('wrapper_augmented_uint8', SIDE)])
def test_resize_equals_training_to_one_unit(
    golden: pathlib.Path, name: str, result: str, crop: tuple[float, float] | None
) -> None:
    data = np.load(golden / 'misc/resize.npz')
    expected = data[f'{name}/{result}'].astype(int)
    actual = preprocess(data[f'{name}/input'], expected.shape[:2], crop)
    assert actual.dtype == np.uint8
    assert actual.flags.c_contiguous
    difference = np.abs(actual - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 2e-3


@pytest.mark.parametrize(
    ('source', 'target'), [((48, 64), (32, 32)), ((30, 17), (64, 40)), ((5, 90), (5, 31))])
def test_resize_equals_that_of_jax(source: tuple[int, int], target: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*source, 3), dtype=np.uint8)
    resized = jax.image.resize(
        image.astype(np.float32), (*target, 3), 'lanczos3', antialias=True, precision='highest')
    expected = np.clip(np.rint(resized), 0, 255)
    assert np.abs(preprocess(image, target) - expected).max() <= 1
    assert (preprocess(image, target) != expected).mean() < 2e-3


def test_a_uniform_image_stays_uniform_under_crop_and_scale() -> None:
    image = np.full((37, 53, 3), (10, 128, 250), np.uint8)
    np.testing.assert_array_equal(
        preprocess(image, (16, 24), SIDE), np.broadcast_to((10, 128, 250), (16, 24, 3)))


def test_the_crop_cuts_the_border_off() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:2] = image[-2:] = 255
    assert preprocess(image, (100, 100)).max() == 255
    assert preprocess(image, (100, 100), SIDE).max() == 0


def test_an_image_of_the_wanted_size_is_returned_as_it_is() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    assert preprocess(image, (8, 8)) is image


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1, 2, 7, 33, 64]), st.sampled_from([1, 5, 40]), st.booleans())
def test_any_size_gives_the_wanted_size(height: int, width: int, crop: bool) -> None:
    image = np.full((height, width, 3), 77, np.uint8)
    resized = preprocess(image, (12, 20), SIDE if crop else None)
    np.testing.assert_array_equal(resized, np.full((12, 20, 3), 77))


@pytest.mark.parametrize('shape', [(1, 5000, 3), (5000, 1, 3)])
def test_a_very_flat_or_narrow_image_costs_no_more_than_a_square_one(
    shape: tuple[int, int, int]
) -> None:
    square = np.zeros((256, 257, 3), np.uint8)
    flat = np.zeros(shape, np.uint8)
    seconds = {}
    for name, image in (('square', square), ('flat', flat)):
        preprocess(image, (256, 256))
        seconds[name] = min(timeit.repeat(
            lambda image=image: preprocess(image, (256, 256)), number=3, repeat=3))
    assert seconds['flat'] < 3 * seconds['square']


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_what_is_no_rgb_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ObservationError, match='uint8 with shape'):
        preprocess(image, (2, 2))


def test_the_crop_is_the_mean_of_the_augmentation_in_the_config(shared: pathlib.Path) -> None:
    config = json.loads((shared / 'reference/official_small_config.json').read_text())
    assert crop_for(config, 'image_primary') == pytest.approx(SIDE)
    assert crop_for(config, 'image_wrist') is None
    assert crop_for(config, 'image_secondary') is None


def test_one_augmentation_for_all_cameras_is_understood() -> None:
    augment = {
        'augment_order': ['random_resized_crop'],
        'random_resized_crop': {'scale': [0.6, 1.0], 'ratio': [0.4, 0.6]},
    }
    config = {'frame_transform_kwargs': {'image_augment_kwargs': augment}}
    assert crop_for(config, 'image_wrist') == pytest.approx((1.0, math.sqrt(0.4)))
    assert crop_for({}, 'image_wrist') is None


@pytest.mark.parametrize(('transform', 'message'), [
    ([{'image_augment_kwargs': {}}],
     r"'dataset_kwargs\.frame_transform_kwargs' must be a mapping"),
    ({'image_augment_kwargs': [{'augment_order': []}]},
     r"'dataset_kwargs\.frame_transform_kwargs\.image_augment_kwargs' must be .*got \[\{'aug"),
    ({'image_augment_kwargs': {'wrist': ['random_resized_crop']}},
     r"\.image_augment_kwargs\.wrist' must be a mapping, got \['random"),
    ({'image_augment_kwargs': {'wrist': {
        'augment_order': ['random_resized_crop'], 'random_resized_crop': [0.8, 1.0]}}},
     r"'image_augment_kwargs\.random_resized_crop' must be a mapping"),
    ({'image_augment_kwargs': {'wrist': {
        'augment_order': ['random_resized_crop'], 'random_resized_crop': {'scale': 'all'}}}},
     "'scale' of .* must be numbers > 0, got 'all'"),
])
def test_augmentation_of_another_form_is_refused_by_its_place(transform, message) -> None:
    config = {'dataset_kwargs': {'frame_transform_kwargs': transform}}
    with pytest.raises(CheckpointError, match=rf'config\.json: .*{message}'):
        crop_for(config, 'image_wrist')
