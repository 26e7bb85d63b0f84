"""Heads that classify each action dimension into bins."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import PRNGKeyArray
from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.model.bins import BinTokenizer
from octo_ros.model.heads.base import Metrics
from octo_ros.model.heads.base import Outputs
from octo_ros.model.heads.base import last_step
from octo_ros.model.heads.base import loss_mask
from octo_ros.model.heads.base import masked_mean
from octo_ros.model.heads.base import read_group
from octo_ros.model.transformer import MAPHead

TOKEN_PER = ('', 'action_horizon', 'action_dim_and_action_horizon')


class DiscreteActionHead(nn.Module):
    """Predicts a distribution over bins.

    Attributes:
        readout_key: the group that the head reads.
        use_map: True to pool its tokens to the number that is needed; False when it has them.
        token_per: what one token answers for: '' all actions of a chunk, `action_horizon` one
            action, `action_dim_and_action_horizon` one number.
        action_horizon: actions in a chunk.
        action_dim: numbers in an action.
        vocab_size: number of bins.
        normalization_type: kind of bins, see `BinTokenizer` (uniform ones cover 0..1).
    """

    readout_key: str
    use_map: bool = False
    token_per: str = 'action_dim_and_action_horizon'
    action_horizon: int = 1
    action_dim: int = 7
    vocab_size: int = 256
    normalization_type: str = 'uniform'

    @property
    def num_tokens(self) -> int:
        """Number of tokens that the head needs."""
        if self.token_per not in TOKEN_PER:
            known = ', '.join(repr(name) for name in TOKEN_PER)
            raise CheckpointError(f'token_per of the action head must be one of {known}, got '
                                  f'{self.token_per!r}{closest(self.token_per, TOKEN_PER)}')
        numbers = (1, self.action_horizon, self.action_horizon * self.action_dim)
        return numbers[TOKEN_PER.index(self.token_per)]

    @property
    def bins(self) -> BinTokenizer:
        """The bins of an action dimension."""
        return BinTokenizer(self.vocab_size, self.normalization_type)

    def setup(self) -> None:
        """Makes the layers."""
        numbers = self.action_horizon * self.action_dim * self.vocab_size
        self.map_head = MAPHead(self.num_tokens) if self.use_map else None
        self.vocab_proj = nn.Dense(numbers // self.num_tokens)

    def __call__(self, transformer_outputs: Outputs, *,
                 train: bool = False) -> Float[Array, 'b t ah ad v']:
        """Returns logits for every step of the window."""
        group = read_group(transformer_outputs, self.readout_key)
        tokens = group.tokens
        if self.map_head is not None:
            tokens = self.map_head(group, train=train)
        elif tokens.shape[-2] != self.num_tokens:
            raise CheckpointError(
                f'{self.readout_key} must have {self.num_tokens} tokens for this head, got '
                f'{tokens.shape[-2]}; change readouts in config.json or set use_map')
        return self.vocab_proj(tokens).reshape(
            *tokens.shape[:2], self.action_horizon, self.action_dim, self.vocab_size)

    def loss(self, transformer_outputs: Outputs, actions: Float[Array, 'b t ah ad'],
             timestep_pad_mask: Bool[Array, 'b t'], action_pad_mask: Bool[Array, 'b t ah ad'],
             *, train: bool = False) -> tuple[Float[Array, ''], Metrics]:
        """Returns the mean cross entropy, and metrics: the mse is summed over dimensions."""
        logits = self(transformer_outputs, train=train)
        mask = loss_mask(timestep_pad_mask, action_pad_mask)
        labels = self.bins.encode(actions)
        log_probs = jax.nn.log_softmax(logits)
        entropy = -jnp.take_along_axis(log_probs, labels[..., None], axis=-1)[..., 0]
        best = logits.argmax(-1)
        error = self.bins.decode(best) - actions
        loss = masked_mean(entropy, mask)
        return loss, {'loss': loss, 'accuracy': masked_mean(best == labels, mask),
                      'mse': masked_mean(jnp.square(error), mask) * self.action_dim}

    def predict_action(self, transformer_outputs: Outputs, *, rng: PRNGKeyArray | None = None,
                       noise: Float[Array, '*s b ah ad v'] | None = None, argmax: bool = False,
                       temperature: float = 1.0, sample_shape: tuple[int, ...] = (),
                       train: bool = False, **options: Any) -> Float[Array, '*s b ah ad']:
        """Returns bin centres for the last step of the window.

        Args:
            transformer_outputs: embeddings by group.
            rng: key to draw bins with.
            noise: Gumbel noise to draw with instead of a key; its leading axes are
                `sample_shape`.
            argmax: True for the most likely bins; then nothing is random.
            temperature: divides the logits before drawing.
            sample_shape: leading axes of the result.
            train: True to use dropout.
            **options: of other heads; ignored.

        Raises:
            ParameterError: bins must be drawn and there is neither key nor noise.
        """
        del options
        logits = self(last_step(transformer_outputs, self.readout_key), train=train)[:, 0]
        if argmax:
            best = logits.argmax(-1)
            return self.bins.decode(jnp.broadcast_to(best, (*sample_shape, *best.shape)))
        if noise is None:
            if rng is None:
                raise ParameterError('rng must be a random key to draw actions, got None; give '
                                     'one or set argmax')
            noise = jax.random.gumbel(rng, (*sample_shape, *logits.shape))
        return self.bins.decode((jax.nn.log_softmax(logits / temperature) + noise).argmax(-1))


class TokenPerDimActionHead(DiscreteActionHead):
    """One token for each number of the chunk."""

    token_per: str = 'action_dim_and_action_horizon'
