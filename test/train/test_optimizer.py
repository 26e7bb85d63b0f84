"""The optimizer: schedule by hand-computed numbers, decay, clipping, freezing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from octo_ros.checkpoint.merge import flatten
from octo_ros.errors import ParameterError
from octo_ros.train.freezing import frozen_keys
from octo_ros.train.freezing import join
from octo_ros.train.freezing import split
from octo_ros.train.optimizer import learning_rate
from octo_ros.train.optimizer import make_optimizer
from octo_ros.train.params import OptimizerParams

TREE = {
    'octo_transformer': {
        'task_tokenizers_language': {'hf_model': {'shared': {'embedding': 1}}},
        'block': {'Dense_0': {'kernel': 2, 'bias': 3}}},
    'heads_action': {
        'mean_proj': {'kernel': 4},
        'map_head': {'probe': 5, 'MultiHeadDotProductAttention_0': {'query': {'kernel': 6}},
                     'MlpBlock_0': {'Dense_0': {'kernel': 7}}}}}


@pytest.mark.parametrize(('schedule', 'step', 'wanted'), [
    ('cosine', 0, 0.0), ('cosine', 50, 1e-3), ('cosine', 100, 2e-3), ('cosine', 550, 1e-3),
    ('cosine', 1000, 0.0),
    ('rsqrt', 100, 2e-3), ('rsqrt', 400, 1e-3), ('constant', 100, 2e-3), ('constant', 999, 2e-3)])
def test_learning_rate_rises_and_falls_as_declared(schedule, step, wanted):
    params = OptimizerParams(
        learning_rate=2e-3, schedule=schedule, warmup_steps=100, timescale=100)
    assert float(learning_rate(params, 1000)(step)) == pytest.approx(wanted, abs=1e-9)


def test_a_short_run_warms_up_no_longer_than_it_is():
    rate = learning_rate(OptimizerParams(warmup_steps=2000), 10)
    assert float(rate(10)) == pytest.approx(3e-4)


def test_only_kernels_decay():
    ones = jnp.ones(2)
    params = {'Dense_0': {'kernel': ones, 'bias': ones}, 'pos_embedding': ones}
    optimizer = make_optimizer(OptimizerParams(
        learning_rate=0.1, schedule='constant', warmup_steps=0, weight_decay=0.5), 10)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params),
                                  params)
    np.testing.assert_allclose(updates['Dense_0']['kernel'], -0.05)
    assert not updates['Dense_0']['bias'].any()
    assert not updates['pos_embedding'].any()


def test_the_first_moment_is_bfloat16_and_gradients_are_clipped():
    params = {'kernel': jnp.zeros(1)}
    optimizer = make_optimizer(OptimizerParams(weight_decay=0.0), 10)
    _, state = optimizer.update({'kernel': jnp.full(1, 50.0)}, optimizer.init(params), params)
    moments = {leaf.dtype.name: float(leaf[0]) for leaf in jax.tree.leaves(state) if leaf.ndim}
    assert moments['bfloat16'] == pytest.approx(0.1, rel=1e-2)
    assert moments['float32'] == pytest.approx(1e-3, rel=1e-5)


def test_updates_are_those_of_adamw():
    rng = np.random.default_rng(0)
    shapes = {'a': {'kernel': (3, 2), 'bias': (2,)}, 'b': {'kernel': (4,)}}
    trees = [jax.tree.map(lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32), shapes,
                          is_leaf=lambda leaf: isinstance(leaf, tuple)) for _ in range(4)]
    params = OptimizerParams(warmup_steps=1, weight_decay=0.1)
    wanted = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(
        learning_rate(params, 9), mu_dtype=jnp.bfloat16, weight_decay=0.1,
        mask={'a': {'kernel': True, 'bias': False}, 'b': {'kernel': True}}))
    results = []
    for optimizer in (make_optimizer(params, 9), wanted):
        tree, state = trees[0], optimizer.init(trees[0])
        for gradient in trees[1:]:
            updates, state = optimizer.update(gradient, state, tree)
            tree = optax.apply_updates(tree, updates)
        results.append(tree)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *results)


@pytest.mark.parametrize(('mode', 'wanted'), [
    ('full', {2, 3, 4, 5, 6, 7}), ('head_only', {4, 5, 6, 7}), ('head_mlp_only', {4, 7})])
def test_modes_train_what_the_reference_trains(mode, wanted):
    trained, frozen = split(TREE, frozen_keys(mode, finetune_language=False))
    assert set(flatten(trained).values()) == wanted
    assert join(trained, frozen) == TREE


def test_a_language_model_of_ones_own_is_trained_along():
    trained, _ = split(TREE, frozen_keys('full', finetune_language=True))
    assert trained == TREE


def test_nothing_to_train_is_refused():
    with pytest.raises(ParameterError, match='some parameters must be trained'):
        split(TREE, ['*'])
