"""AdamW with Octo's schedules, clipping and choice of what decays."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from octo_ros.train.params import OptimizerParams


def learning_rate(params: OptimizerParams, steps: int) -> optax.Schedule:
    """Returns the learning rate by step.

    Args:
        params: peak, warm-up and kind.
        steps: length of the run; a cosine reaches zero there.
    """
    peak, warmup = params.learning_rate, min(params.warmup_steps, steps)
    if params.schedule == 'cosine':
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(steps, warmup + 1))
    after = optax.constant_schedule(peak)
    if params.schedule == 'rsqrt':
        def after(step: Any) -> Any:
            return peak / jnp.sqrt((step + params.timescale) / params.timescale)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def make_optimizer(params: OptimizerParams, steps: int) -> optax.GradientTransformation:
    """Returns the optimizer of the trained part of a parameter tree.

    As in Octo, the first moment is kept in bfloat16, and only matrices (`kernel`) decay, not
    biases, norms and embeddings.
    """
    parts = [optax.scale_by_adam(mu_dtype=jnp.bfloat16)]
    if params.clip_gradient:
        parts.insert(0, optax.clip_by_global_norm(params.clip_gradient))
    return optax.chain(
        _as_one_vector(optax.chain(*parts)),
        optax.add_decayed_weights(params.weight_decay, _decays),
        optax.scale_by_learning_rate(learning_rate(params, steps)))


def _decays(tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: 'kernel' in jax.tree_util.keystr(path), tree)


def _as_one_vector(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Runs a transformation on all parameters as one vector.

    Adam is the same for every element. As one vector it is a handful of kernels to compile and to
    start, in place of some for each of the hundreds of arrays.
    """
    def init(tree: Any) -> Any:
        return inner.init(ravel_pytree(tree)[0])

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        vector, unravel = ravel_pytree(updates)
        vector, state = inner.update(vector, state)
        return unravel(vector), state

    return optax.GradientTransformation(init, update)
