"""One training step, compiled: augmentation, loss, gradient, update, moving average."""

import contextlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.array_typing import UInt8
from octo_ros.data.augment import augment_batch
from octo_ros.model.octo import OctoModule
from octo_ros.train import mixed
from octo_ros.train.freezing import join
from octo_ros.train.optimizer import learning_rate
from octo_ros.train.optimizer import make_optimizer
from octo_ros.train.params import TrainParams

Batch = Mapping[str, Any]
Frames = Mapping[str, UInt8[Array, 'n ih iw 3']]
Metrics = dict[str, Float[Array, '']]

_AUGMENT = 0
_NOISE = 1


@flax.struct.dataclass
class TrainState:
    """What changes from step to step.

    Attributes:
        step: number of updates done.
        trained: the trained part of the parameter tree.
        optimizer: state of the optimizer.
        average: moving average of `trained`, or None.
    """

    step: Int[Array, '']
    trained: dict[str, Any]
    optimizer: Any
    average: dict[str, Any] | None


def init_state(params: TrainParams, trained: Mapping[str, Any]) -> TrainState:
    """Returns the state before the first step; the arrays of `trained` are not shared with it."""
    own = jax.tree.map(jnp.copy, dict(trained))
    optimizer = make_optimizer(params.optimizer, params.steps)
    average = jax.tree.map(jnp.copy, own) if params.optimizer.ema_decay else None
    return TrainState(jnp.zeros((), jnp.int32), own, optimizer.init(own), average)


def make_train_step(
    module: OctoModule, params: TrainParams, augmentation: Mapping[str, Any],
) -> Callable[[TrainState, Mapping[str, Any], Batch, Frames | None], tuple[TrainState, Metrics]]:
    """Returns the step as a function of state, frozen parameters, batch and frames.

    Where frames are given, the batch holds rows of these in place of images. Every random number
    in a step follows from the seed and the number of the step.

    Args:
        module: the model.
        params: the run.
        augmentation: camera to its options, see `data.augment`; empty for none.
    """
    optimizer = make_optimizer(params.optimizer, params.steps)
    rate = learning_rate(params.optimizer, params.steps)
    decay = params.optimizer.ema_decay

    def loss(trained: Any, frozen: Any, batch: Batch, key: Array) -> tuple[Array, Metrics]:
        whole = join(trained, frozen)
        with mixed.bfloat16_products() if params.bfloat16 else contextlib.nullcontext():
            return batch_loss(module, mixed.rounded(whole) if params.bfloat16 else whole, batch,
                              key, train=True)

    def train_step(state: TrainState, frozen: Mapping[str, Any], batch: Batch,
                   frames: Frames | None) -> tuple[TrainState, Metrics]:
        if frames is not None:
            batch = with_frames(batch, frames)
        key = jax.random.fold_in(jax.random.key(params.seed), state.step)
        if augmentation:
            batch = augment_batch(jax.random.fold_in(key, _AUGMENT), batch, augmentation)
        gradient, metrics = _accumulate(
            jax.grad(loss, has_aux=True), params.optimizer.accumulate, state.trained, frozen,
            batch, jax.random.fold_in(key, _NOISE))
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.trained)
        trained = optax.apply_updates(state.trained, updates)
        average = state.average
        if average is not None:
            average = optax.incremental_update(trained, average, 1.0 - decay)
        metrics |= {
            'gradient_norm': _norm(gradient),
            'update_norm': _norm(updates),
            'parameter_norm': _norm(trained), 'learning_rate': rate(state.step)}
        return TrainState(state.step + 1, trained, optimizer_state, average), metrics

    return train_step


def with_frames(batch: Batch, frames: Frames) -> Batch:
    """Returns the batch with images in place of rows of `frames`; zero where a row is -1."""
    def taken(part: Mapping[str, Any]) -> dict[str, Any]:
        images = {}
        for key, rows in part.items():
            if key in frames:
                there = (rows >= 0)[..., None, None, None]
                images[key] = jnp.where(there, frames[key][rows], 0)
        return {**part, **images}

    return {**batch, 'observation': taken(batch['observation']), 'task': taken(batch['task'])}


def batch_loss(module: OctoModule, params: Any, batch: Batch, key: Array, *, train: bool
               ) -> tuple[Float[Array, ''], Metrics]:
    """Returns the loss of the action head on a batch, and metrics."""
    value, metrics = module.apply(
        {'params': params}, batch['observation'], batch['task'], batch['action'],
        batch['observation']['timestep_pad_mask'], batch['action_pad_mask'], train=train,
        method='loss', rngs={'dropout': key})
    return value, {**metrics, 'loss': value}


def _norm(tree: Any) -> Float[Array, '']:
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def _accumulate(gradient: Callable[..., Any], parts: int, trained: Any, frozen: Any, batch: Batch,
                key: Array) -> tuple[Any, Metrics]:
    """Returns gradient and metrics, averaged over the parts of a batch."""
    if parts == 1:
        return gradient(trained, frozen, batch, key)
    # Every part takes rows from all devices, so that none of them idles.
    pieces = jax.tree.map(
        lambda leaf: leaf.reshape(-1, parts, *leaf.shape[1:]).swapaxes(0, 1), batch)

    def add(total: Any, piece: tuple[Batch, Array]) -> tuple[Any, None]:
        part, number = piece
        found = gradient(trained, frozen, part, jax.random.fold_in(key, number))
        return jax.tree.map(jnp.add, total, found), None

    shapes = jax.eval_shape(
        gradient, trained, frozen, jax.tree.map(lambda leaf: leaf[0], pieces), key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, (pieces, jnp.arange(parts)))
    return jax.tree.map(lambda leaf: leaf / parts, total)
