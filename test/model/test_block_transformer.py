"""Laying groups in one row and splitting them again."""

import jax.numpy as jnp
import numpy as np

from octo_ros.model.block_transformer import attention_mask
from octo_ros.model.block_transformer import join
from octo_ros.model.block_transformer import layout
from octo_ros.model.block_transformer import split
from octo_ros.model.octo_transformer import rules_for
from octo_ros.model.tokens import TokenGroup


def group(values, *, mask=None):
    tokens = jnp.asarray(values, jnp.float32)[..., None]
    return TokenGroup(tokens, jnp.ones(tokens.shape[:-1], bool) if mask is None
                      else jnp.asarray(mask))


PREFIX = {'task_l': group([[1, 2]])}
STEPS = {'obs_a': group([[[10, 11], [20, 21]]], mask=[[[True, False], [True, True]]]),
         'readout_r': group([[[12], [22]]])}


def test_join_puts_the_prefix_first_and_then_step_by_step():
    row = join(PREFIX, STEPS)
    assert row.tokens[0, :, 0].tolist() == [1, 2, 10, 11, 12, 20, 21, 22]
    assert row.mask[0].tolist() == [True, True, True, False, True, True, True, True]


def test_split_undoes_join():
    groups = split(join(PREFIX, STEPS).tokens, PREFIX, STEPS)
    assert list(groups) == ['task_l', 'obs_a', 'readout_r']
    for name, wanted in {**PREFIX, **STEPS}.items():
        np.testing.assert_array_equal(groups[name].tokens, wanted.tokens)
        np.testing.assert_array_equal(groups[name].mask, wanted.mask)


def test_split_and_join_work_without_a_prefix():
    row = join({}, STEPS)
    assert row.tokens[0, :, 0].tolist() == [10, 11, 12, 20, 21, 22]
    assert list(split(row.tokens, {}, STEPS)) == ['obs_a', 'readout_r']


def test_padding_hides_keys_and_leaves_queries_alone():
    row = join(PREFIX, STEPS)
    rules = {name: rules_for(name) for name in (*PREFIX, *STEPS)}
    mask = attention_mask(layout(PREFIX, STEPS, rules), row.mask, first_token_shifted=False)
    assert mask.shape == (1, 1, 8, 8)
    wanted = np.array([
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],  # the padding token itself still looks around
        [1, 1, 1, 0, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 1, 0],
        [1, 1, 1, 0, 0, 1, 1, 0],
        [1, 1, 1, 0, 1, 1, 1, 1],
    ], bool)
    np.testing.assert_array_equal(mask[0, 0], wanted)
