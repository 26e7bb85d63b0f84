"""The ResNet in front of hybrid vision transformers, with the released parameter names."""

import math
from collections.abc import Sequence

import flax.linen as nn

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8
from octo_ros.model.vision import NORM_GROUPS
from octo_ros.model.vision import ImageEncoder
from octo_ros.model.vision import StdConv
from octo_ros.model.vision import film


class ResidualUnit(nn.Module):
    """Bottleneck of three convolutions around a shortcut; four times `features` come out."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, 'b ih iw c']) -> Float[Array, 'b oh ow f']:
        """Applies the unit; the shortcut is projected where size or width change."""
        width = 4 * self.features
        shortcut = x
        if x.shape[-1] != width or self.stride != 1:
            shortcut = StdConv(width, 1, self.stride, use_bias=False, name='conv_proj')(x)
            shortcut = nn.GroupNorm(name='gn_proj')(shortcut)
        x = StdConv(self.features, 1, use_bias=False, name='conv1')(x)
        x = nn.relu(nn.GroupNorm(name='gn1')(x))
        x = StdConv(self.features, 3, self.stride, use_bias=False, name='conv2')(x)
        x = nn.relu(nn.GroupNorm(name='gn2')(x))
        x = StdConv(width, 1, use_bias=False, name='conv3')(x)
        x = nn.GroupNorm(scale_init=nn.initializers.zeros, name='gn3')(x)
        return nn.relu(shortcut + x)


class ResNetStage(nn.Module):
    """Residual units of one width; the first one may shrink the image."""

    num_units: int
    features: int
    first_stride: int

    @nn.compact
    def __call__(self, x: Float[Array, 'b ih iw c']) -> Float[Array, 'b oh ow f']:
        """Applies all units."""
        for index in range(self.num_units):
            stride = self.first_stride if index == 0 else 1
            x = ResidualUnit(self.features, stride, name=f'unit{index + 1}')(x)
        return x


class ViTResnet(ImageEncoder):
    """The ResNet in front of hybrid vision transformers (arXiv:2010.11929)."""

    width: float = 1
    num_layers: Sequence[int] = ()

    @nn.nowrap
    def broken_rule(self) -> tuple[str, str] | None:
        """See `ImageEncoder`."""
        channels = int(64 * self.width) if math.isfinite(self.width) else 0
        if channels < 1 or channels % NORM_GROUPS:
            return 'width', f'such that 64 times it is a multiple of {NORM_GROUPS}'
        if any(count < 1 for count in self.num_layers):
            return 'num_layers', 'a list of numbers of at least 1'
        return None

    @nn.compact
    def __call__(self, images: UInt8[Array, 'b ih iw c'],
                 condition: Float[Array, 'b k'] | None = None) -> Float[Array, 'b gh gw f']:
        """Returns features; each stage after the first halves the grid and is conditioned."""
        width = int(64 * self.width)
        x = self.prepare(images, condition)
        x = StdConv(width, 7, 2, use_bias=False, name='conv_root')(x)
        x = nn.relu(nn.GroupNorm(name='gn_root')(x))
        x = nn.max_pool(x, (3, 3), (2, 2), 'SAME')
        for index, num_units in enumerate(self.num_layers):
            x = ResNetStage(num_units, width * 2**index, 2 if index else 1,
                            name=f'block{index + 1}')(x)
            if index:
                x = film(x, condition, index - 1)
        return x if self.num_layers else film(x, condition, 0)


class ResNet26FILM(ViTResnet):
    """ViTResnet with four stages of two units, conditioned."""

    use_film: bool = True
    num_layers: Sequence[int] = (2, 2, 2, 2)
