"""Numbers to bins and back."""

import jax.numpy as jnp
import numpy as np
import pytest

from octo_ros.errors import CheckpointError
from octo_ros.model.bins import BinTokenizer

KINDS = {'uniform_01_256': BinTokenizer(256), 'normal_256': BinTokenizer(256, 'normal'),
         'uniform_m2_2_16': BinTokenizer(16, low=-2.0, high=2.0),
         'normal_16': BinTokenizer(16, 'normal')}


@pytest.mark.parametrize('name', KINDS)
def test_bins_are_the_reference(golden, name):
    data = np.load(golden / 'misc/bin_tokenizer.npz')
    bins = KINDS[name]
    np.testing.assert_allclose(bins.thresholds(), data[f'{name}/thresholds'], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(bins.encode(data['x']), data[f'{name}/tokens'])
    np.testing.assert_allclose(bins.decode(data[f'{name}/tokens']), data[f'{name}/decoded'],
                               rtol=1e-5, atol=1e-6)


def test_a_bin_holds_its_lower_edge_and_not_its_upper_one():
    bins = BinTokenizer(4)
    assert bins.encode(jnp.array([0.0, 0.24, 0.25, 0.74, 0.75])).tolist() == [0, 0, 1, 2, 3]


def test_uniform_bins_clip_what_lies_outside():
    assert BinTokenizer(4).encode(jnp.array([-9.0, 1.0, 9.0])).tolist() == [0, 3, 3]


def test_normal_bins_put_what_lies_outside_and_nan_into_the_first():
    values = jnp.array([-9.0, 9.0, jnp.nan, -0.1, 0.1])
    assert BinTokenizer(2, 'normal').encode(values).tolist() == [0, 0, 0, 0, 1]


def test_decode_gives_the_middle():
    np.testing.assert_allclose(BinTokenizer(4).decode(jnp.arange(4)),
                               [0.125, 0.375, 0.625, 0.875])


def test_unknown_kind_is_refused():
    with pytest.raises(CheckpointError, match=r"'unifrom' \(did you mean 'uniform'"):
        BinTokenizer(4, 'unifrom')
