"""The language encoder, apart from the reference cases that run through it."""

import jax
import numpy as np
import pytest

from octo_ros.errors import CheckpointError
from octo_ros.model import t5

SIZES = t5.T5Sizes(vocab_size=20, d_model=6, d_kv=5, d_ff=7, num_layers=3, num_heads=2)


@pytest.fixture(scope='module')
def tiny():
    encoder = t5.T5Encoder(SIZES)
    ids = np.array([[3, 4, 5, 1, 0, 0]])
    return encoder, jax.jit(encoder.init)(jax.random.key(0), ids, ids)


def test_buckets_are_the_reference(golden):
    data = np.load(golden / 'misc/t5_relative_buckets.npz')
    np.testing.assert_array_equal(t5.relative_buckets(data['relative_position']),
                                  data['bucket_32_128'])


def test_buckets_near_and_far():
    distances = np.array([0, -1, -7, -8, -11, -12, -128, -999, 1, 7, 8, 999])
    assert t5.relative_buckets(distances).tolist() == [
        0, 1, 7, 8, 8, 9, 15, 15, 17, 23, 24, 31]


def test_sizes_are_read_off_the_parameters(tiny):
    _, variables = tiny
    assert t5.sizes_from_params(variables['params']) == SIZES
    assert t5.sizes_from_params(jax.eval_shape(lambda: variables['params'])) == SIZES


def test_other_kinds_of_encoder_are_refused(tiny):
    _, variables = tiny
    gated = {**variables['params'], 'encoder': {'block': {'0': {'layer': {
        '0': variables['params']['encoder']['block']['0']['layer']['0'],
        '1': {'DenseReluDense': {'wi_0': {}, 'wi_1': {}, 'wo': {}}}}}}}}
    with pytest.raises(CheckpointError, match=r"T5 1\.0 encoder.*lack 'wi'"):
        t5.sizes_from_params(gated)


def test_padding_does_not_change_the_other_tokens(tiny):
    encoder, variables = tiny
    mask = np.array([[1, 1, 1, 1, 0, 0]])
    first = encoder.apply(variables, np.array([[3, 4, 5, 1, 0, 0]]), mask)
    second = encoder.apply(variables, np.array([[3, 4, 5, 1, 9, 12]]), mask)
    np.testing.assert_array_equal(first[:, :4], second[:, :4])
    assert not np.array_equal(first[:, 4:], second[:, 4:])


@pytest.mark.parametrize(('name', 'expected'), [
    ('t5-base', True), ('google/flan-T5-small', True), ('bert-base-uncased', False)])
def test_the_name_tells_a_t5(name, expected):
    assert t5.is_t5(name) is expected


@pytest.mark.parametrize('seed', range(3))
def test_a_fresh_encoder_tells_words_apart_where_they_stand(seed):
    encoder = t5.T5Encoder(t5.T5Sizes(
        vocab_size=192, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4))
    ids = np.array([[80, 5, 22, 11, 1, 0], [80, 5, 25, 11, 1, 0]])
    mask = (ids > 0).astype(int)
    variables = jax.jit(encoder.init)(jax.random.key(seed), ids, mask)
    first, second = np.asarray(encoder.apply(variables, ids, mask))
    change = np.linalg.norm(second - first, axis=-1)
    assert change[2] > 1.1 * np.linalg.norm(first[2])
    assert change[2] > 2.0 * np.median(np.delete(change, 2))
