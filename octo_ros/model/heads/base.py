"""What all action heads share: what they read, how they pool it, how they weigh errors."""

from collections.abc import Mapping
from typing import Any
from typing import Protocol

import flax.linen as nn
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.errors import CheckpointError
from octo_ros.errors import closest
from octo_ros.model.tokens import TokenGroup

Outputs = Mapping[str, TokenGroup]
Metrics = dict[str, Float[Array, '']]


class ActionHead(Protocol):
    """The interface of the heads. Each head honours some options and ignores the others."""

    action_horizon: int
    action_dim: int

    def loss(self, transformer_outputs: Outputs, actions: Float[Array, 'b t ah ad'],
             timestep_pad_mask: Bool[Array, 'b t'], action_pad_mask: Bool[Array, 'b t ah ad'],
             *, train: bool = False) -> tuple[Float[Array, ''], Metrics]:
        """Returns the loss over real steps and dimensions, and metrics by name."""

    def predict_action(self, transformer_outputs: Outputs, *, sample_shape: tuple[int, ...] = (),
                       train: bool = False, **options: Any) -> Float[Array, '*s b ah ad']:
        """Returns normalised actions for the last step of the window."""


def read_group(outputs: Outputs, key: str) -> TokenGroup:
    """Returns the group (b, t, n, d) that a head reads.

    Raises:
        CheckpointError: there is no such group per time step.
    """
    if key not in outputs or outputs[key].tokens.ndim != 4:
        known = [name for name, group in outputs.items() if group.tokens.ndim == 4]
        raise CheckpointError(
            f'readout_key of the action head must be one of {", ".join(sorted(known))}, got '
            f'{key!r}{closest(key, known)}; fix the head or the readouts in config.json')
    return outputs[key]


def pool(group: TokenGroup, map_head: nn.Module | None, *, train: bool) -> Float[Array, 'b t d']:
    """Returns one embedding per step: by attention pooling, else the plain mean over tokens.

    The mean takes padding tokens in, as in training.
    """
    if map_head is not None:
        return map_head(group, train=train)[..., 0, :]
    return group.tokens.mean(axis=-2)


def last_step(outputs: Outputs, key: str) -> Outputs:
    """Returns the one group that a head reads, cut to the last step of the window."""
    group = read_group(outputs, key)
    return {key: TokenGroup(group.tokens[:, -1:], group.mask[:, -1:])}


def loss_mask(timestep_pad_mask: Bool[Array, 'b t'],
              action_pad_mask: Bool[Array, 'b t ah ad']) -> Bool[Array, 'b t ah ad']:
    """Returns the actions that count: real steps and real dimensions."""
    real = jnp.asarray(timestep_pad_mask).astype(bool)
    return real[:, :, None, None] & jnp.asarray(action_pad_mask).astype(bool)


def masked_mean(values: Float[Array, '*shape'], mask: Bool[Array, '*shape']) -> Float[Array, '']:
    """Returns the mean over the values whose mask is True; nearly 0 when there are none."""
    mask = jnp.broadcast_to(mask, values.shape)
    return (values * mask).mean() / jnp.maximum(mask.mean(), 1e-5)


def regression_loss(predicted: Float[Array, '*shape'], target: Float[Array, '*shape'],
                    mask: Bool[Array, '*shape'], kind: str,
                    action_dim: int) -> tuple[Float[Array, ''], Metrics]:
    """Returns the loss, summed over action dimensions, with the squared error as a metric.

    Args:
        predicted: what the network gave.
        target: what it should have given.
        mask: True where it counts.
        kind: `mse` or `l1`.
        action_dim: number of action dimensions, which turns the mean over them into a sum.
    """
    if kind not in ('mse', 'l1'):
        raise CheckpointError(f'loss_type must be mse or l1, got {kind!r}; fix it in config.json')
    error = predicted - target
    mse = masked_mean(jnp.square(error), mask) * action_dim
    loss = mse if kind == 'mse' else masked_mean(jnp.abs(error), mask) * action_dim
    return loss, {'loss': loss, 'mse': mse}
