"""Attention layers at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from octo_ros.model.tokens import TokenGroup
from octo_ros.model.transformer import EncoderBlock
from octo_ros.model.transformer import MAPHead

WIDTH = 8


@pytest.fixture(scope='module')
def tokens():
    return jax.random.normal(jax.random.key(1), (1, 4, WIDTH))


@pytest.fixture(scope='module')
def block(tokens):
    module = EncoderBlock(mlp_dim=16, num_heads=2)
    mask = jnp.ones((1, 1, 4, 4), bool)
    variables = jax.jit(lambda key: module.init(key, tokens, mask, train=False))(jax.random.key(0))
    return jax.jit(lambda x, mask: module.apply(variables, x, mask, train=False))


@pytest.fixture(scope='module')
def pooling(tokens):
    module = MAPHead(num_readouts=2)
    group = TokenGroup(tokens, jnp.ones((1, 4), bool))
    variables = jax.jit(lambda key: module.init(key, group, train=False))(jax.random.key(0))
    return jax.jit(lambda group: module.apply(variables, group, train=False))


def test_a_query_without_keys_attends_evenly_to_all(block, tokens):
    nothing = block(tokens, jnp.zeros((1, 1, 4, 4), bool))
    everything = block(tokens, jnp.ones((1, 1, 4, 4), bool))
    assert np.isfinite(nothing).all()
    assert not np.allclose(nothing, everything)
    shuffled = block(tokens[:, jnp.array([0, 3, 2, 1])], jnp.zeros((1, 1, 4, 4), bool))
    np.testing.assert_allclose(shuffled[:, 0], nothing[:, 0], atol=1e-6)


def test_a_masked_key_has_no_influence(block, tokens):
    mask = jnp.ones((1, 1, 4, 4), bool).at[..., 3].set(False)
    changed = tokens.at[:, 3].set(100.0)
    np.testing.assert_array_equal(block(tokens, mask)[:, :3], block(changed, mask)[:, :3])


def test_pooling_takes_any_leading_axes_and_does_not_see_padding(pooling, tokens):
    mask = jnp.array([[True, True, False, False]])
    found = pooling(TokenGroup(tokens, mask))
    changed = pooling(TokenGroup(tokens.at[:, 2:].set(7.0), mask))
    assert found.shape == (1, 2, WIDTH)
    np.testing.assert_array_equal(found, changed)
    folded = pooling(TokenGroup(tokens[None, :, None], mask[None, :, None]))
    np.testing.assert_allclose(folded[0, :, 0], found, atol=1e-6)
