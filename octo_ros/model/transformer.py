"""Pre-norm transformer encoder and attention pooling.

The parameter names are those of the released checkpoints. Layer norms use epsilon 1e-6, the
feed-forward layers the tanh approximation of gelu.
"""

import flax.linen as nn
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.model.tokens import TokenGroup

_POOLING_HEADS = 8


def _dense(features: int, name: str) -> nn.Dense:
    return nn.Dense(features, kernel_init=nn.initializers.xavier_uniform(),
                    bias_init=nn.initializers.normal(stddev=1e-6), name=name)


class MlpBlock(nn.Module):
    """Two dense layers with gelu between them; the output is as wide as the input."""

    mlp_dim: int
    dropout_rate: float = 0.1

    @nn.compact
    def __call__(self, x: Float[Array, '*batch d'], *, train: bool) -> Float[Array, '*batch d']:
        """Applies the block to each token."""
        width = x.shape[-1]
        x = nn.gelu(_dense(self.mlp_dim, 'Dense_0')(x))
        x = nn.Dropout(self.dropout_rate)(x, deterministic=not train)
        x = _dense(width, 'Dense_1')(x)
        return nn.Dropout(self.dropout_rate)(x, deterministic=not train)


class EncoderBlock(nn.Module):
    """One layer: attention and feed-forward, each normalised before and added to its input."""

    mlp_dim: int
    num_heads: int
    dropout_rate: float = 0.1
    attention_dropout_rate: float = 0.1

    @nn.compact
    def __call__(self, x: Float[Array, 'b l d'], mask: Bool[Array, 'b 1 l l'], *,
                 train: bool) -> Float[Array, 'b l d']:
        """Applies the layer; `mask` is [query, key]. A row of all False attends evenly."""
        y = nn.LayerNorm(name='LayerNorm_0')(x)
        y = nn.MultiHeadDotProductAttention(
            num_heads=self.num_heads, kernel_init=nn.initializers.xavier_uniform(),
            dropout_rate=self.attention_dropout_rate, broadcast_dropout=False,
            deterministic=not train, name='MultiHeadDotProductAttention_0')(y, y, mask=mask)
        x = x + nn.Dropout(self.dropout_rate)(y, deterministic=not train)
        y = nn.LayerNorm(name='LayerNorm_1')(x)
        return x + MlpBlock(self.mlp_dim, self.dropout_rate, name='MlpBlock_0')(y, train=train)


class Transformer(nn.Module):
    """A stack of encoder layers with a final norm. It adds no position embedding of its own."""

    num_layers: int
    mlp_dim: int
    num_attention_heads: int
    dropout_rate: float = 0.1
    attention_dropout_rate: float = 0.1

    @nn.compact
    def __call__(self, x: Float[Array, 'b l d'], mask: Bool[Array, 'b 1 l l'], *,
                 train: bool) -> Float[Array, 'b l d']:
        """Runs all layers on a sequence."""
        for index in range(self.num_layers):
            x = EncoderBlock(
                mlp_dim=self.mlp_dim, num_heads=self.num_attention_heads,
                dropout_rate=self.dropout_rate,
                attention_dropout_rate=self.attention_dropout_rate,
                name=f'encoderblock_{index}')(x, mask, train=train)
        return nn.LayerNorm(name='encoder_norm')(x)


class MAPHead(nn.Module):
    """Multi-head attention pooling: learned probes gather what they need from the tokens."""

    num_readouts: int = 1

    @nn.compact
    def __call__(self, group: TokenGroup, *, train: bool) -> Float[Array, '*batch m d']:
        """Pools a group of any leading axes to `num_readouts` tokens; padding is not seen."""
        *batch, length, width = group.tokens.shape
        tokens = group.tokens.reshape(-1, length, width)
        mask = group.mask.reshape(-1, 1, 1, length)
        init = nn.initializers.xavier_uniform()
        probe = self.param('probe', init, (1, self.num_readouts, width))
        probes = jnp.broadcast_to(probe, (tokens.shape[0], self.num_readouts, width))
        pooled = nn.MultiHeadDotProductAttention(
            num_heads=_POOLING_HEADS, kernel_init=init,
            name='MultiHeadDotProductAttention_0')(probes, tokens, mask=mask)
        y = nn.LayerNorm(name='LayerNorm_0')(pooled)
        pooled = pooled + MlpBlock(4 * width, name='MlpBlock_0')(y, train=train)
        return pooled.reshape(*batch, self.num_readouts, width)
