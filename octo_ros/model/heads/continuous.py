"""Heads that regress the action: one linear layer, squashed by tanh."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.model.heads.base import Metrics
from octo_ros.model.heads.base import Outputs
from octo_ros.model.heads.base import last_step
from octo_ros.model.heads.base import loss_mask
from octo_ros.model.heads.base import pool
from octo_ros.model.heads.base import read_group
from octo_ros.model.heads.base import regression_loss
from octo_ros.model.transformer import MAPHead


class ContinuousActionHead(nn.Module):
    """Predicts the mean action.

    Attributes:
        readout_key: the group that the head reads.
        use_map: True to pool its tokens by attention, False for their mean.
        action_horizon: actions in a chunk.
        action_dim: numbers in an action.
        max_action: bound of the prediction on both sides [normalised action].
        loss_type: `mse` or `l1`.
    """

    readout_key: str
    use_map: bool = False
    action_horizon: int = 1
    action_dim: int = 7
    max_action: float = 5.0
    loss_type: str = 'mse'

    def setup(self) -> None:
        """Makes the layers."""
        self.map_head = MAPHead() if self.use_map else None
        self.mean_proj = nn.Dense(self.action_horizon * self.action_dim)

    def __call__(self, transformer_outputs: Outputs, *,
                 train: bool = False) -> Float[Array, 'b t ah ad']:
        """Returns the mean actions for every step of the window."""
        group = read_group(transformer_outputs, self.readout_key)
        mean = self.mean_proj(pool(group, self.map_head, train=train))
        mean = mean.reshape(*mean.shape[:-1], self.action_horizon, self.action_dim)
        return jnp.tanh(mean / self.max_action) * self.max_action

    def loss(self, transformer_outputs: Outputs, actions: Float[Array, 'b t ah ad'],
             timestep_pad_mask: Bool[Array, 'b t'], action_pad_mask: Bool[Array, 'b t ah ad'],
             *, train: bool = False) -> tuple[Float[Array, ''], Metrics]:
        """Returns the error of the mean and metrics, summed over action dimensions."""
        return regression_loss(
            self(transformer_outputs, train=train), actions,
            loss_mask(timestep_pad_mask, action_pad_mask), self.loss_type, self.action_dim)

    def predict_action(self, transformer_outputs: Outputs, *, sample_shape: tuple[int, ...] = (),
                       train: bool = False, **options: Any) -> Float[Array, '*s b ah ad']:
        """Returns the mean for the last step, repeated over `sample_shape`; nothing is random."""
        del options
        mean = self(last_step(transformer_outputs, self.readout_key), train=train)[:, 0]
        return jnp.broadcast_to(mean, (*sample_shape, *mean.shape))


class MSEActionHead(ContinuousActionHead):
    """Squared error, with attention pooling unless told otherwise."""

    use_map: bool = True
    loss_type: str = 'mse'


class L1ActionHead(ContinuousActionHead):
    """Absolute error, with attention pooling unless told otherwise."""

    use_map: bool = True
    loss_type: str = 'l1'
