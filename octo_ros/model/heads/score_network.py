"""The small residual network that predicts the noise in an action chunk."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int


class FourierFeatures(nn.Module):
    """Cosines and sines of the step number at learned frequencies."""

    output_size: int

    @nn.compact
    def __call__(self, x: Float[Array, '*batch 1']) -> Float[Array, '*batch f']:
        """Returns `output_size` features."""
        shape = (self.output_size // 2, x.shape[-1])
        kernel = self.param('kernel', nn.initializers.normal(0.2), shape)
        phase = 2 * jnp.pi * x @ kernel.T
        return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)


class MLP(nn.Module):
    """Dense layers with swish between them."""

    hidden_dims: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, '*batch d']) -> Float[Array, '*batch e']:
        """Applies the layers."""
        for index, size in enumerate(self.hidden_dims):
            x = nn.swish(x) if index else x
            x = nn.Dense(size, kernel_init=nn.initializers.xavier_uniform(),
                         name=f'Dense_{index}')(x)
        return x


class MLPResNetBlock(nn.Module):
    """Dropout, norm and two dense layers around a shortcut."""

    features: int
    dropout_rate: float | None
    use_layer_norm: bool

    @nn.compact
    def __call__(self, x: Float[Array, '*batch d'], *, train: bool) -> Float[Array, '*batch d']:
        """Applies the block."""
        shortcut = x
        if self.dropout_rate:
            x = nn.Dropout(self.dropout_rate)(x, deterministic=not train)
        if self.use_layer_norm:
            x = nn.LayerNorm(name='LayerNorm_0')(x)
        x = nn.swish(nn.Dense(self.features * 4, name='Dense_0')(x))
        return shortcut + nn.Dense(self.features, name='Dense_1')(x)


class MLPResNet(nn.Module):
    """Residual blocks between an input and an output layer."""

    num_blocks: int
    out_dim: int
    dropout_rate: float | None
    use_layer_norm: bool
    hidden_dim: int

    @nn.compact
    def __call__(self, x: Float[Array, '*batch d'], *, train: bool) -> Float[Array, '*batch o']:
        """Applies the network."""
        init = nn.initializers.xavier_uniform()
        x = nn.Dense(self.hidden_dim, kernel_init=init, name='Dense_0')(x)
        for index in range(self.num_blocks):
            x = MLPResNetBlock(self.hidden_dim, self.dropout_rate, self.use_layer_norm,
                               name=f'MLPResNetBlock_{index}')(x, train=train)
        return nn.Dense(self.out_dim, kernel_init=init, name='Dense_1')(nn.swish(x))


class ScoreNetwork(nn.Module):
    """Predicts the noise in an action chunk from the embedding and the step number."""

    out_dim: int
    time_dim: int
    num_blocks: int
    dropout_rate: float | None
    hidden_dim: int
    use_layer_norm: bool

    @nn.compact
    def __call__(self, embedding: Float[Array, 'b t d'], actions: Float[Array, '*s b t ha'],
                 time: Int[Array, '*s b t 1'], *, train: bool) -> Float[Array, '*s b t ha']:
        """Returns the noise; `embedding` is repeated over leading axes that it lacks."""
        features = FourierFeatures(self.time_dim, name='time_preprocess')(time)
        step = MLP((2 * self.time_dim, self.time_dim), name='cond_encoder')(features)
        embedding = jnp.broadcast_to(embedding, (*step.shape[:-1], embedding.shape[-1]))
        network = MLPResNet(self.num_blocks, self.out_dim, self.dropout_rate, self.use_layer_norm,
                            self.hidden_dim, name='reverse_network')
        return network(jnp.concatenate([step, embedding, actions], axis=-1), train=train)
