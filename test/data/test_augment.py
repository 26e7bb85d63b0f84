"""Augmentation: every operation against an independent formula, and the rules of a batch."""

import colorsys

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from octo_ros.data import augment
from octo_ros.errors import ParameterError

KEY = jax.random.key(3)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 3, 8, 12, 3), np.uint8)


def _one(name, numbers, images):
    options = {name: numbers, 'augment_order': [name]}
    return np.asarray(augment.augment(KEY, images, options))


def test_no_operation_leaves_images_as_they_are(images):
    np.testing.assert_array_equal(augment.augment(KEY, images, {'augment_order': []}), images)


def test_hue_turns_as_colorsys_says(images):
    result = _one('random_hue', [0.05], images)
    turn = jax.random.uniform(jax.random.fold_in(KEY, 0), (2, 1, 1, 1, 1), minval=-0.05,
                              maxval=0.05).ravel()
    for example in range(2):
        for pixel, got in zip(images[example].reshape(-1, 3), result[example].reshape(-1, 3),
                              strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255.0))
            wanted = colorsys.hsv_to_rgb((hue + turn[example]) % 1.0, saturation, value)
            assert np.abs(np.array(wanted) * 255.0 - got).max() < 0.52


@pytest.mark.parametrize('factors', [[0.3, 0.3], [1.8, 1.8]])
def test_saturation_scales_as_colorsys_says(images, factors):
    result = _one('random_saturation', factors, images)
    for pixel, got in zip(images.reshape(-1, 3), result.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255.0))
        wanted = colorsys.hsv_to_rgb(hue, min(1.0, saturation * factors[0]), value)
        assert np.abs(np.array(wanted) * 255.0 - got).max() < 0.52


def test_contrast_moves_pixels_away_from_the_mean_of_their_channel(images):
    result = _one('random_contrast', [1.1, 1.1], images)
    mean = images.astype(np.float64).mean(axis=(2, 3), keepdims=True)
    wanted = np.clip((images - mean) * 1.1 + mean, 0, 255)
    assert np.abs(result - wanted).max() < 0.51


def test_brightness_adds_one_number_to_an_example(images):
    middle = np.full_like(images, 128)
    change = _one('random_brightness', [0.1], middle).astype(int) - 128
    assert all(len(np.unique(example)) == 1 for example in change)
    assert change[0].max() != change[1].max()
    assert np.abs(change).max() <= 26


def test_crop_samples_where_a_remap_between_pixel_centres_does(images):
    box = np.array([[0.1, 0.2, 0.8, 0.9], [0.0, 0.0, 1.0, 1.0]], np.float32)
    pixels = np.moveaxis(images, -1, 2).astype(np.float32)
    result = np.asarray(augment.crop_and_resize(jnp.asarray(pixels), jnp.asarray(box)))
    np.testing.assert_allclose(result[1], pixels[1], atol=1e-3)
    rows = np.linspace(0.1, 0.8, 8) * 7
    columns = np.linspace(0.2, 0.9, 12) * 11
    across, down = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    wanted = cv2.remap(images[0, 0].astype(np.float32), across, down, cv2.INTER_LINEAR)
    np.testing.assert_allclose(np.moveaxis(result[0, 0], 0, -1), wanted, atol=1.0)


def test_history_and_goal_change_alike_and_padding_stays_zero(images):
    frames = np.repeat(images[:, :1], 2, axis=1)
    there = np.array([[True, True], [False, True]])
    batch = {
        'observation': {'image_primary': frames, 'pad_mask_dict': {'image_primary': there}},
        'task': {'image_primary': np.stack([images[0, 0], np.zeros_like(images[0, 0])]),
                 'pad_mask_dict': {'image_primary': np.array([True, False])}},
        'action': np.zeros(1)}
    result = augment.augment_batch(KEY, batch, {'primary': augment.default_options(crop=True)})
    seen, goal = result['observation']['image_primary'], result['task']['image_primary']
    np.testing.assert_array_equal(seen[0, 0], seen[0, 1])
    np.testing.assert_array_equal(seen[0, 0], goal[0])
    assert not np.array_equal(seen[0, 0], frames[0, 0])
    np.testing.assert_array_equal(seen[1, 0], frames[1, 0])
    assert not np.asarray(goal[1]).any()


def test_wrist_options_do_not_crop():
    assert 'random_resized_crop' not in augment.default_options(crop=False)['augment_order']


def test_an_unknown_operation_is_refused_with_the_closest():
    with pytest.raises(ParameterError, match="random_brightness'"):
        augment.check_options({'augment_order': ['random_brightnes']}, 'primary')
    with pytest.raises(ParameterError, match='numbers must be given'):
        augment.check_options({'augment_order': ['random_hue']}, 'primary')
