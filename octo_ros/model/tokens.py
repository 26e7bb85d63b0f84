"""Groups of tokens: embeddings with a mask that says which of them are real."""

from collections.abc import Sequence

import flax
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float


@flax.struct.dataclass
class TokenGroup:
    """Tokens that belong together, such as those of one camera.

    Attributes:
        tokens: embeddings, (b, n, d) for a prefix group or (b, t, n, d) for a group per step.
        mask: the same shape without d; True = real token, False = padding.
    """

    tokens: Float[Array, '*batch n d']
    mask: Bool[Array, '*batch n']


def concatenate(groups: Sequence[TokenGroup]) -> TokenGroup:
    """Joins groups along their token axis, in the order given."""
    return TokenGroup(
        tokens=jnp.concatenate([group.tokens for group in groups], axis=-2),
        mask=jnp.concatenate([group.mask for group in groups], axis=-1),
    )
