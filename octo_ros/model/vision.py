"""Image encoders: from an image to a grid of features, with the released parameter names."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8
from octo_ros.errors import CheckpointError
from octo_ros.errors import ObservationError
from octo_ros.errors import closest

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
NORMALIZATIONS = ('default', 'imagenet')
NORM_GROUPS = 32  # of channels, in Flax's GroupNorm
_STEM_STRIDE = 16  # of the four convolutions in front of the patches


def normalize_images(images: UInt8[Array, 'b ih iw c'],
                     kind: str = 'default') -> Float[Array, 'b ih iw c']:
    """Returns pixels as floats.

    Args:
        images: 0..255; several images may be stacked on the channel axis.
        kind: `default` for -1..1, `imagenet` for that data set's mean and deviation, repeated
            over every three channels.
    """
    if kind == 'default':
        return images.astype(jnp.float32) / 127.5 - 1.0
    if kind != 'imagenet':
        raise CheckpointError(f'img_norm_type must be one of {", ".join(NORMALIZATIONS)}, got '
                              f'{kind!r}{closest(kind, NORMALIZATIONS)}')
    repeats, rest = divmod(images.shape[-1], 3)
    if rest:
        raise ObservationError('images normalised by imagenet must have a multiple of 3 '
                               f'channels, got {images.shape[-1]}; give RGB images')
    mean = np.tile(np.array(_IMAGENET_MEAN, np.float32), repeats)
    std = np.tile(np.array(_IMAGENET_STD, np.float32), repeats)
    return (images.astype(jnp.float32) / 255 - mean) / std


class StdConv(nn.Module):
    """Square convolution whose kernel is standardised per output channel.

    Weight standardisation (arXiv:1903.10520): mean zero and deviation one over height, width and
    input channels.
    """

    features: int
    kernel_size: int
    stride: int = 1
    padding: int | str = 'SAME'
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, 'b ih iw c']) -> Float[Array, 'b oh ow f']:
        """Convolves; a whole-number padding is used on all four sides."""
        size = self.kernel_size
        kernel = self.param('kernel', nn.initializers.lecun_normal(),
                            (size, size, x.shape[-1], self.features))
        kernel = kernel - kernel.mean(axis=(0, 1, 2))
        kernel = kernel / (kernel.std(axis=(0, 1, 2)) + 1e-5)
        padding = self.padding if isinstance(self.padding, str) else [(self.padding,) * 2] * 2
        x = jax.lax.conv_general_dilated(x, kernel, (self.stride, self.stride), padding,
                                         dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
        if self.use_bias:
            x = x + self.param('bias', nn.initializers.zeros, (self.features,))
        return x


class FilmConditioning(nn.Module):
    """Scales and shifts each channel by a vector (arXiv:1709.07871); starts as the identity."""

    @nn.compact
    def __call__(self, x: Float[Array, 'b ih iw c'],
                 condition: Float[Array, 'b k']) -> Float[Array, 'b ih iw c']:
        """Applies the conditioning; `Dense_0` makes the scale, `Dense_1` the shift."""
        def project(name: str) -> Float[Array, 'b 1 1 c']:
            dense = nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name=name)
            return dense(condition)[:, None, None]

        return x * (1 + project('Dense_0')) + project('Dense_1')


def film(x: Float[Array, 'b ih iw c'], condition: Float[Array, 'b k'] | None,
         index: int) -> Float[Array, 'b ih iw c']:
    """Applies conditioning number `index` of the calling module, if there is a condition."""
    if condition is None:
        return x
    return FilmConditioning(name=f'FilmConditioning_{index}')(x, condition)


class ImageEncoder(nn.Module):
    """What all encoders share. `use_film` goes together with a condition in the call."""

    use_film: bool = False
    img_norm_type: str = 'default'

    @nn.nowrap
    def broken_rule(self) -> tuple[str, str] | None:
        """Returns an argument that makes no encoder, and what it must be; None when all do."""
        return None

    def prepare(self, images: UInt8[Array, 'b ih iw c'],
                condition: Float[Array, 'b k'] | None) -> Float[Array, 'b ih iw c']:
        """Checks that a condition is there when it must be, and normalises the pixels."""
        if self.use_film != (condition is not None):
            raise CheckpointError(
                f'use_film of the encoder {type(self).__name__} must be true exactly when its '
                f'tokenizer has task_film_keys, got use_film={self.use_film}; fix the encoder in '
                'config.json')
        return normalize_images(images, self.img_norm_type)


class PatchEncoder(ImageEncoder):
    """Cuts the image into square patches and projects each."""

    patch_size: int = 32
    num_features: int = 512

    @nn.compact
    def __call__(self, images: UInt8[Array, 'b ih iw c'],
                 condition: Float[Array, 'b k'] | None = None) -> Float[Array, 'b gh gw f']:
        """Returns one feature vector per whole patch."""
        patch = (self.patch_size, self.patch_size)
        x = self.prepare(images, condition)
        x = nn.Conv(self.num_features, patch, patch, padding='VALID', name='embedding')(x)
        return film(x, condition, 0)


class SmallStem(ImageEncoder):
    """A few strided convolutions before the patches (arXiv:2106.14881)."""

    patch_size: int = 32
    kernel_sizes: Sequence[int] = (3, 3, 3, 3)
    strides: Sequence[int] = (2, 2, 2, 2)
    features: Sequence[int] = (32, 96, 192, 384)
    padding: Sequence[int] = (1, 1, 1, 1)
    num_features: int = 512

    @nn.nowrap
    def broken_rule(self) -> tuple[str, str] | None:
        """See `ImageEncoder`."""
        if self.patch_size < _STEM_STRIDE:
            return 'patch_size', f'at least {_STEM_STRIDE}'
        if any(count < 1 or count % NORM_GROUPS for count in self.features):
            return 'features', f'multiples of {NORM_GROUPS}'
        for key, least in (('kernel_sizes', 1), ('strides', 1), ('padding', 0)):
            values = getattr(self, key)
            if len(values) != len(self.features):
                return key, f'as many numbers as features has ({len(self.features)})'
            if any(value < least for value in values):
                return key, f'a list of numbers of at least {least}'
        return None

    @nn.compact
    def __call__(self, images: UInt8[Array, 'b ih iw c'],
                 condition: Float[Array, 'b k'] | None = None) -> Float[Array, 'b gh gw f']:
        """Returns a grid of features; the stem's four strides leave patch_size // 16 pixels."""
        x = self.prepare(images, condition)
        layers = zip(self.features, self.kernel_sizes, self.strides, self.padding, strict=True)
        for index, (features, size, stride, padding) in enumerate(layers):
            x = StdConv(features, size, stride, padding, name=f'StdConv_{index}')(x)
            x = nn.relu(nn.GroupNorm(name=f'GroupNorm_{index}')(x))
        patch = (self.patch_size // _STEM_STRIDE,) * 2
        x = nn.Conv(self.num_features, patch, patch, padding='VALID', name='embedding')(x)
        return film(x, condition, 0)


class SmallStem16(SmallStem):
    """SmallStem with one token per 16 x 16 pixels."""

    patch_size: int = 16


class SmallStem32(SmallStem):
    """SmallStem with one token per 32 x 32 pixels."""

    patch_size: int = 32


@dataclasses.dataclass(frozen=True)
class EncoderSpec:
    """An encoder yet to be built: its class and arguments, comparable and hashable."""

    encoder: type[ImageEncoder]
    kwargs: tuple[tuple[str, Any], ...] = ()

    def build(self) -> ImageEncoder:
        """Builds the encoder inside the calling module, under its released name."""
        return self.encoder(**dict(self.kwargs), name=f'{self.encoder.__name__}_0')
