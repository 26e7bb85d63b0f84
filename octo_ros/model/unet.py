"""A one-dimensional U-Net over the steps of an action chunk (arXiv:2303.04137).

The parameter names are those of Octo's network of the same kind.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int

_init = nn.initializers.xavier_uniform()


def sinusoidal_embedding(time: Int[Array, '*batch 1'], features: int) -> Float[Array, '*batch f']:
    """Returns sines and cosines of the step number at fixed frequencies from 1 to 1/10000."""
    half = features // 2
    frequencies = np.exp(-np.log(10000.0) / (half - 1) * np.arange(half)).astype(np.float32)
    phase = time * frequencies
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)


class Conv1dBlock(nn.Module):
    """Convolution over steps, group norm and mish."""

    features: int
    kernel_size: int
    n_groups: int

    @nn.compact
    def __call__(self, x: Float[Array, '*batch ah c']) -> Float[Array, '*batch ah f']:
        """Applies the block; the number of steps stays."""
        x = nn.Conv(self.features, (self.kernel_size,), padding=self.kernel_size // 2,
                    name='Conv_0')(x)
        return jax.nn.mish(nn.GroupNorm(self.n_groups, name='GroupNorm_0')(x))


class ConditionalResidualBlock1D(nn.Module):
    """Two convolutions around a shortcut; the condition scales and shifts between them."""

    features: int
    kernel_size: int
    n_groups: int
    residual_proj: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, '*batch ah c'],
                 condition: Float[Array, '*batch k']) -> Float[Array, '*batch ah f']:
        """Applies the block."""
        sizes = (self.features, self.kernel_size, self.n_groups)
        y = Conv1dBlock(*sizes, name='Conv1dBlock_0')(x)
        film = nn.Dense(2 * self.features, kernel_init=_init, name='Dense_0')
        scale, shift = jnp.split(film(jax.nn.mish(condition))[..., None, :], 2, axis=-1)
        y = Conv1dBlock(*sizes, name='Conv1dBlock_1')(y * scale + shift)
        if self.residual_proj:
            x = nn.Conv(self.features, (1,), padding=0, name='Conv_0')(x)
        return x + y


class Downsample1d(nn.Module):
    """Halves the number of steps."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, '*batch ah c']) -> Float[Array, '*batch ah/2 f']:
        """Applies a strided convolution."""
        return nn.Conv(self.features, (3,), strides=(2,), name='Conv_0')(x)


class Upsample1d(nn.Module):
    """Doubles the number of steps."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, '*batch ah c']) -> Float[Array, '*batch 2*ah f']:
        """Applies a transposed convolution."""
        return nn.ConvTranspose(self.features, (4,), strides=(2,), name='ConvTranspose_0')(x)


class ConditionalUnet1D(nn.Module):
    """Down, middle and up path of residual blocks, with shortcuts between the paths.

    The number of steps must be a multiple of 2 ** (len(down_features) - 1).
    """

    down_features: Sequence[int] = (256, 512, 1024)
    mid_layers: int = 2
    kernel_size: int = 3
    n_groups: int = 8
    time_features: int = 256

    @nn.compact
    def __call__(self, embedding: Float[Array, '*batch d'], actions: Float[Array, '*batch ah ad'],
                 time: Int[Array, '*batch 1']) -> Float[Array, '*batch ah f']:
        """Returns features of the first level's width for each step of the chunk."""
        condition = jnp.concatenate([embedding, self._embed_time(time)], axis=-1)
        blocks = iter(range(2 * len(self.down_features) * 2 + self.mid_layers))

        def residual(x: Array, features: int, *, project: bool = False) -> Array:
            block = ConditionalResidualBlock1D(
                features, self.kernel_size, self.n_groups, project,
                name=f'ConditionalResidualBlock1D_{next(blocks)}')
            return block(x, condition)

        x = actions
        shortcuts = []
        for level, features in enumerate(self.down_features):
            x = residual(residual(x, features, project=True), features)
            shortcuts.append(x)
            if level + 1 < len(self.down_features):
                x = Downsample1d(features, name=f'Downsample1d_{level}')(x)
        for _ in range(self.mid_layers):
            x = residual(x, self.down_features[-1])
        # The shortcut of a level joins before the step up from it; the top level has none.
        upward = zip(reversed(self.down_features[:-1]), reversed(shortcuts[1:]), strict=True)
        for level, (features, shortcut) in enumerate(upward):
            x = residual(jnp.concatenate([x, shortcut], axis=-1), features, project=True)
            x = Upsample1d(features, name=f'Upsample1d_{level}')(residual(x, features))
        return Conv1dBlock(self.down_features[0], self.kernel_size, self.n_groups,
                           name='Conv1dBlock_0')(x)

    def _embed_time(self, time: Int[Array, '*batch 1']) -> Float[Array, '*batch f']:
        x = sinusoidal_embedding(time, self.time_features)
        x = nn.Dense(4 * self.time_features, kernel_init=_init, name='Dense_0')(x)
        return nn.Dense(self.time_features, kernel_init=_init, name='Dense_1')(jax.nn.mish(x))
