"""Continuous numbers as bins, and back."""

import dataclasses

import jax.numpy as jnp
from jax.scipy.stats import norm

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.errors import CheckpointError
from octo_ros.errors import closest

_EDGE = 1e-6
BIN_TYPES = ('uniform', 'normal')


@dataclasses.dataclass(frozen=True)
class BinTokenizer:
    """Bins of equal width, or of equal probability under a standard normal distribution.

    Attributes:
        n_bins: number of bins.
        bin_type: `uniform` (values are clipped to the range) or `normal` (values beyond the
            outermost thresholds, at 1e-6 of the probability, fall into bin 0 as in training).
        low: lower end of the range of uniform bins.
        high: upper end of the range of uniform bins.
    """

    n_bins: int = 256
    bin_type: str = 'uniform'
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Checks the kind of bins."""
        if self.bin_type not in BIN_TYPES:
            raise CheckpointError(f'the kind of bins must be one of {", ".join(BIN_TYPES)}, got '
                                  f'{self.bin_type!r}{closest(self.bin_type, BIN_TYPES)}')

    def thresholds(self) -> Float[Array, 'n_bins+1']:
        """Returns the edges of the bins in rising order."""
        if self.bin_type == 'uniform':
            return jnp.linspace(self.low, self.high, self.n_bins + 1)
        return norm.ppf(jnp.linspace(_EDGE, 1 - _EDGE, self.n_bins + 1))

    def encode(self, values: Float[Array, '*shape']) -> Int[Array, '*shape']:
        """Returns the bin of each value; a bin holds its lower edge but not its upper one."""
        if self.bin_type == 'uniform':
            values = jnp.clip(values, self.low + _EDGE, self.high - _EDGE)
        bins = jnp.searchsorted(self.thresholds(), values, side='right', method='compare_all') - 1
        return jnp.where((bins >= 0) & (bins < self.n_bins), bins, 0)

    def decode(self, bins: Int[Array, '*shape']) -> Float[Array, '*shape']:
        """Returns the middle of each bin."""
        edges = self.thresholds()
        return ((edges[1:] + edges[:-1]) / 2)[bins]
