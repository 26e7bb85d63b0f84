"""A transformer over named groups of tokens: lays them in one row, masks, and splits again."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.model.attention import GroupLayout
from octo_ros.model.attention import Rules
from octo_ros.model.attention import SequenceLayout
from octo_ros.model.tokens import TokenGroup
from octo_ros.model.tokens import concatenate
from octo_ros.model.transformer import Transformer

Groups = Mapping[str, TokenGroup]


def layout(prefix: Groups, timestep: Groups, rules: Mapping[str, Rules]) -> SequenceLayout:
    """Returns names, sizes and rules of the groups. There must be a timestep group."""
    def describe(groups: Groups) -> tuple[GroupLayout, ...]:
        return tuple(GroupLayout(name, group.mask.shape[-1], rules[name])
                     for name, group in groups.items())

    horizon = next(iter(timestep.values())).mask.shape[1]
    return SequenceLayout(describe(prefix), describe(timestep), horizon)


def join(prefix: Groups, timestep: Groups) -> TokenGroup:
    """Lays all groups in one row: the prefix, then every group of step 0, of step 1, ..."""
    steps = concatenate(list(timestep.values()))
    batch, horizon, per_step, width = steps.tokens.shape
    row = TokenGroup(steps.tokens.reshape(batch, horizon * per_step, width),
                     steps.mask.reshape(batch, horizon * per_step))
    return concatenate([*prefix.values(), row])


def split(tokens: Float[Array, 'b l d'], prefix: Groups,
          timestep: Groups) -> dict[str, TokenGroup]:
    """Undoes `join`: the embeddings by group, with the masks that the groups came with."""
    batch, _, width = tokens.shape
    horizon = next(iter(timestep.values())).mask.shape[1]
    at = sum(group.mask.shape[-1] for group in prefix.values())
    steps = tokens[:, at:].reshape(batch, horizon, -1, width)
    return _cut(tokens[:, :at], prefix) | _cut(steps, timestep)


def _cut(tokens: Float[Array, '*batch l d'], groups: Groups) -> dict[str, TokenGroup]:
    sizes: Sequence[int] = [group.mask.shape[-1] for group in groups.values()]
    parts = jnp.split(tokens, np.cumsum(sizes)[:-1], axis=-2) if groups else []
    return {name: TokenGroup(part, group.mask)
            for (name, group), part in zip(groups.items(), parts, strict=True)}


def attention_mask(layout: SequenceLayout, key_mask: Bool[Array, 'b l'], *,
                   first_token_shifted: bool) -> Bool[Array, 'b 1 l l']:
    """Returns the rules' mask with padding removed on the side of the keys only."""
    rules = layout.mask(first_token_shifted=first_token_shifted)
    return jnp.logical_and(rules[None, None], key_mask[:, None, None, :])


class BlockTransformer(nn.Module):
    """Runs the transformer over groups that attend to each other by rules.

    Attributes:
        transformer_kwargs: sizes, see `Transformer`.
        use_correct_attention: False for checkpoints of December 2023, see `SequenceLayout.mask`.
    """

    transformer_kwargs: Mapping[str, Any]
    use_correct_attention: bool

    @nn.compact
    def __call__(self, prefix: Groups, timestep: Groups, rules: Mapping[str, Rules], *,
                 train: bool) -> dict[str, TokenGroup]:
        """Returns the same groups with what the transformer made of their tokens.

        Args:
            prefix: groups (b, n, d) that stand first, in this order; may be empty.
            timestep: groups (b, t, n, d) that stand in every time step, in this order.
            rules: what each group attends to, by group name.
            train: True to use dropout.
        """
        row = join(prefix, timestep)
        mask = attention_mask(layout(prefix, timestep, rules), row.mask,
                              first_token_shifted=not self.use_correct_attention)
        self.sow('intermediates', 'input', row.tokens)
        self.sow('intermediates', 'attention_mask', mask)
        tokens = Transformer(**self.transformer_kwargs, name='Transformer_0')(
            row.tokens, mask, train=train)
        return split(tokens, prefix, timestep)
