"""The encoder of T5 (arXiv:1910.10683), version 1.0, with the parameter names of its Flax port.

It differs from the usual transformer: RMS norms without shift, no biases, logits that are not
scaled, a relative position bias that the first layer learns for all, relu between dense layers.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.errors import CheckpointError

NUM_BUCKETS = 32
MAX_DISTANCE = 128
RMS_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class T5Sizes:
    """Sizes of a T5 encoder.

    Attributes:
        vocab_size: rows of the embedding table.
        d_model: embedding size.
        d_kv: size of one attention head.
        d_ff: width of the feed-forward layers.
        num_layers: number of layers.
        num_heads: number of attention heads.
    """

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int


KNOWN_SIZES: Mapping[str, T5Sizes] = {
    't5-small': T5Sizes(32128, 512, 64, 2048, 6, 8),
    't5-base': T5Sizes(32128, 768, 64, 3072, 12, 12),
    't5-large': T5Sizes(32128, 1024, 64, 4096, 24, 16),
    't5-3b': T5Sizes(32128, 1024, 128, 16384, 24, 32),
    't5-11b': T5Sizes(32128, 1024, 128, 65536, 24, 128),
}


def sizes_from_params(params: Mapping[str, Any]) -> T5Sizes:
    """Reads the sizes off the encoder's own parameters.

    Args:
        params: the subtree `hf_model`; its leaves need only a `shape`.

    Raises:
        CheckpointError: the tree is not that of a T5 1.0 encoder.
    """
    try:
        blocks = params['encoder']['block']
        attention = blocks['0']['layer']['0']['SelfAttention']
        vocab_size, d_model = params['shared']['embedding'].shape
        num_heads = attention['relative_attention_bias']['embedding'].shape[1]
        d_kv = attention['q']['kernel'].shape[1] // num_heads
        d_ff = blocks['0']['layer']['1']['DenseReluDense']['wi']['kernel'].shape[1]
    except KeyError as error:
        raise CheckpointError(
            f'the language encoder must be a T5 1.0 encoder, but its parameters lack {error}; '
            'other kinds (gated T5 1.1 or Flan, BERT) are not supported') from error
    return T5Sizes(vocab_size, d_model, d_kv, d_ff, len(blocks), num_heads)


def is_t5(name: str) -> bool:
    """Returns whether an encoder's name says that it is a T5."""
    return 't5' in name.lower()


def relative_buckets(relative_position: Int[np.ndarray, '*shape']) -> Int[np.ndarray, '*shape']:
    """Returns the bucket of each distance key - query.

    One half of the 32 buckets is for keys after the query. Within a half, the first 8 buckets
    hold one distance each and the rest grow logarithmically up to distance 128.
    """
    half = NUM_BUCKETS // 2
    exact = half // 2
    distance = np.abs(relative_position)
    growth = np.log(np.maximum(distance, 1) / exact) / np.log(MAX_DISTANCE / exact)
    far = np.minimum(exact + (growth * (half - exact)).astype(np.int32), half - 1)
    return np.where(relative_position > 0, half, 0) + np.where(distance < exact, distance, far)


class RMSNorm(nn.Module):
    """Scales each token to a root mean square of one, then by learned weights."""

    @nn.compact
    def __call__(self, x: Float[Array, '*batch d']) -> Float[Array, '*batch d']:
        """Normalises over the last axis."""
        weight = self.param('weight', nn.initializers.ones, (x.shape[-1],))
        return weight * (x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + RMS_EPSILON))


class SelfAttention(nn.Module):
    """Attention with a position bias that is added to unscaled logits."""

    sizes: T5Sizes
    owns_bias: bool

    @nn.compact
    def __call__(self, x: Float[Array, 'b n d'],
                 bias: Float[Array, 'b h n n']) -> tuple[Float[Array, 'b n d'], Array]:
        """Returns the output and the bias with the position bias added in the first layer."""
        heads = self.sizes.num_heads
        if self.owns_bias:
            place = np.arange(x.shape[1])
            buckets = relative_buckets(place[None, :] - place[:, None])
            table = nn.Embed(NUM_BUCKETS, heads, name='relative_attention_bias',
                             embedding_init=nn.initializers.normal(x.shape[-1] ** -0.5))
            bias = bias + table(buckets).transpose(2, 0, 1)
        query, key, value = (self._project(name)(x).reshape(*x.shape[:2], heads, -1)
                             for name in 'qkv')
        weights = jax.nn.softmax(jnp.einsum('bqhd,bkhd->bhqk', query, key) + bias)
        out = jnp.einsum('bhqk,bkhd->bqhd', weights, value).reshape(*x.shape[:2], -1)
        return nn.Dense(self.sizes.d_model, use_bias=False, name='o')(out), bias

    def _project(self, name: str) -> nn.Dense:
        # Logits are not scaled by 1 / sqrt(d_kv), so queries begin that much smaller.
        gain = self.sizes.d_kv ** -0.5 if name == 'q' else 1.0
        return nn.Dense(
            self.sizes.num_heads * self.sizes.d_kv, use_bias=False, name=name,
            kernel_init=nn.initializers.normal(gain * self.sizes.d_model ** -0.5))


class AttentionLayer(nn.Module):
    """Norm, attention and shortcut."""

    sizes: T5Sizes
    owns_bias: bool

    @nn.compact
    def __call__(self, x: Float[Array, 'b n d'],
                 bias: Float[Array, 'b h n n']) -> tuple[Float[Array, 'b n d'], Array]:
        """Returns the output and the bias for the layers above."""
        y = RMSNorm(name='layer_norm')(x)
        y, bias = SelfAttention(self.sizes, self.owns_bias, name='SelfAttention')(y, bias)
        return x + y, bias


class DenseReluDense(nn.Module):
    """Two dense layers with relu between them."""

    sizes: T5Sizes

    @nn.compact
    def __call__(self, x: Float[Array, 'b n d']) -> Float[Array, 'b n d']:
        """Applies the layers to each token."""
        x = nn.relu(nn.Dense(self.sizes.d_ff, use_bias=False, name='wi')(x))
        return nn.Dense(self.sizes.d_model, use_bias=False, name='wo')(x)


class FeedForwardLayer(nn.Module):
    """Norm, dense layers and shortcut."""

    sizes: T5Sizes

    @nn.compact
    def __call__(self, x: Float[Array, 'b n d']) -> Float[Array, 'b n d']:
        """Applies the layer."""
        return x + DenseReluDense(self.sizes, name='DenseReluDense')(RMSNorm(name='layer_norm')(x))


class LayerPair(nn.Module):
    """The two layers of a block, under the names `0` and `1`."""

    sizes: T5Sizes
    owns_bias: bool

    @nn.compact
    def __call__(self, x: Float[Array, 'b n d'],
                 bias: Float[Array, 'b h n n']) -> tuple[Float[Array, 'b n d'], Array]:
        """Returns the output and the bias for the blocks above."""
        x, bias = AttentionLayer(self.sizes, self.owns_bias, name='0')(x, bias)
        return FeedForwardLayer(self.sizes, name='1')(x), bias


class Block(nn.Module):
    """One block; it exists for the name `layer` in the parameter paths."""

    sizes: T5Sizes
    owns_bias: bool

    @nn.compact
    def __call__(self, x: Float[Array, 'b n d'],
                 bias: Float[Array, 'b h n n']) -> tuple[Float[Array, 'b n d'], Array]:
        """Returns the output and the bias for the blocks above."""
        return LayerPair(self.sizes, self.owns_bias, name='layer')(x, bias)


class BlockStack(nn.Module):
    """All blocks, named by their index."""

    sizes: T5Sizes

    @nn.compact
    def __call__(self, x: Float[Array, 'b n d'],
                 bias: Float[Array, 'b h n n']) -> Float[Array, 'b n d']:
        """Applies the blocks in order."""
        for index in range(self.sizes.num_layers):
            x, bias = Block(self.sizes, owns_bias=index == 0, name=str(index))(x, bias)
        return x


class EncoderStack(nn.Module):
    """All blocks and the final norm."""

    sizes: T5Sizes

    @nn.compact
    def __call__(self, x: Float[Array, 'b n d'],
                 bias: Float[Array, 'b h n n']) -> Float[Array, 'b n d']:
        """Returns the last hidden state."""
        x = BlockStack(self.sizes, name='block')(x, bias)
        return RMSNorm(name='final_layer_norm')(x)


class T5Encoder(nn.Module):
    """Token ids to embeddings, without dropout.

    Weights begin as in T5 (Raffel et al. 2020, arXiv:1910.10683). Smaller embeddings
    would drown in the first layer's attention: words that the task does not depend on at first,
    such as colours, would soon all look alike.
    """

    sizes: T5Sizes

    @nn.compact
    def __call__(self, input_ids: Int[Array, 'b n'],
                 attention_mask: Int[Array, 'b n']) -> Float[Array, 'b n d']:
        """Returns one embedding per token.

        Args:
            input_ids: token ids; they must be less than `sizes.vocab_size`.
            attention_mask: 1 = token, 0 = padding, which is not attended to.
        """
        x = nn.Embed(self.sizes.vocab_size, self.sizes.d_model, name='shared',
                     embedding_init=nn.initializers.normal(1.0))(input_ids)
        hidden = jnp.where(attention_mask > 0, 0.0, jnp.finfo(jnp.float32).min)
        return EncoderStack(self.sizes, name='encoder')(x, hidden[:, None, None, :])
