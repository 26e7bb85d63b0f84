"""Axis names of the arrays in this package, and the jaxtyping names used to write shapes.

Axis legend: b batch, t history step, n tokens of a group, l sequence, d embedding,
ih image height, iw image width, c image channels, ah action horizon, ad action dimension,
p proprio dimension.
"""

from jaxtyping import Array
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import PRNGKeyArray
from jaxtyping import UInt8

__all__ = ['Array', 'Bool', 'Float', 'Int', 'PRNGKeyArray', 'UInt8']
