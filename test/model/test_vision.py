"""Image encoders, apart from the reference cases that run through them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from octo_ros.errors import CheckpointError
from octo_ros.errors import ObservationError
from octo_ros.model import resnet
from octo_ros.model import vision

IMAGE = np.zeros((1, 64, 64, 3), np.uint8)


@pytest.mark.parametrize('kind', vision.NORMALIZATIONS)
def test_pixels_are_normalised_as_in_the_reference(golden, kind):
    data = np.load(golden / 'misc/normalize_images.npz')
    np.testing.assert_allclose(vision.normalize_images(data['image'], kind), data[kind],
                               rtol=1e-6, atol=1e-6)


def test_default_normalisation_maps_black_and_white_to_minus_one_and_one():
    pixels = jnp.array([0, 255], jnp.uint8).reshape(1, 1, 2, 1)
    assert vision.normalize_images(pixels).ravel().tolist() == [-1.0, 1.0]


def test_imagenet_normalisation_wants_whole_rgb_images():
    with pytest.raises(ObservationError, match='multiple of 3 channels, got 4'):
        vision.normalize_images(jnp.zeros((1, 2, 2, 4), jnp.uint8), 'imagenet')


def test_unknown_normalisation_is_refused():
    with pytest.raises(CheckpointError, match="did you mean 'imagenet'"):
        vision.normalize_images(jnp.zeros((1, 2, 2, 3), jnp.uint8), 'imagnet')


def test_kernels_are_standardised_per_output_channel():
    conv = vision.StdConv(features=1, kernel_size=2, padding='VALID', use_bias=False)
    kernel = jnp.array([1.0, 2.0, 3.0, 6.0]).reshape(2, 2, 1, 1)
    image = jnp.array([[1.0, 0.0], [0.0, 10.0]]).reshape(1, 2, 2, 1)
    # Mean 3 and deviation sqrt(3.5): the corners weigh -2 and 3.
    np.testing.assert_allclose(conv.apply({'params': {'kernel': kernel}}, image).ravel(),
                               [(-2 + 30) / (3.5**0.5 + 1e-5)], rtol=1e-6)


def test_film_scales_by_its_first_layer_and_shifts_by_its_second():
    params = {'Dense_0': {'kernel': jnp.array([[2.0]]), 'bias': jnp.array([0.5])},
              'Dense_1': {'kernel': jnp.array([[10.0]]), 'bias': jnp.array([1.0])}}
    x = jnp.full((1, 1, 1, 1), 3.0)
    found = vision.FilmConditioning().apply({'params': params}, x, jnp.array([[2.0]]))
    assert found.item() == 3.0 * (1 + 4.5) + 21.0


@pytest.mark.parametrize(('encoder', 'grid'), [
    (vision.PatchEncoder(), (2, 2, 512)), (vision.SmallStem16(), (4, 4, 512)),
    (vision.SmallStem32(), (2, 2, 512)), (resnet.ViTResnet(), (16, 16, 64)),
    (resnet.ViTResnet(num_layers=(3, 4)), (8, 8, 512))])
def test_encoders_give_their_grid(encoder, grid):
    found, _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), IMAGE)
    assert found.shape == (1, *grid)


@pytest.mark.parametrize('encoder', [vision.SmallStem16(use_film=True), resnet.ResNet26FILM()])
def test_conditioned_encoders_want_a_condition(encoder):
    with pytest.raises(CheckpointError, match=r'use_film .* task_film_keys, got use_film=True'):
        jax.eval_shape(encoder.init, jax.random.key(0), IMAGE)


def test_a_condition_starts_without_effect():
    encoder = vision.PatchEncoder(use_film=True, patch_size=8, num_features=4)
    image = np.arange(16 * 16 * 3).astype(np.uint8).reshape(1, 16, 16, 3)
    variables = encoder.init(jax.random.key(0), image, jnp.ones((1, 3)))
    plain = vision.PatchEncoder(patch_size=8, num_features=4)
    own = {name: leaf for name, leaf in variables['params'].items() if 'Film' not in name}
    np.testing.assert_array_equal(encoder.apply(variables, image, jnp.ones((1, 3))),
                                  plain.apply({'params': own}, image))


def test_resnet_with_film_has_one_conditioning_per_stage_after_the_first():
    shapes = jax.eval_shape(resnet.ResNet26FILM().init, jax.random.key(0), IMAGE, jnp.ones((1, 3)))
    assert [name for name in sorted(shapes['params']) if 'Film' in name] == [
        f'FilmConditioning_{index}' for index in range(3)]


def test_encoder_specs_compare_by_value():
    one, two = (vision.EncoderSpec(vision.SmallStem16, (('features', (32, 64)),))
                for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
