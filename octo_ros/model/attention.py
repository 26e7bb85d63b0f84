"""Who attends to whom: rules between token groups, and the mask that they make.

The sequence is a prefix (time step -1) followed by the same groups for every time step. A rule
holds between two groups and looks only at whether the other token lies in the past, in the same
step or in the future. The mask depends on names and sizes alone, so it is computed once, with
numpy, while the model is traced.
"""

import dataclasses
import enum
import fnmatch
from collections.abc import Sequence

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Int
from octo_ros.errors import CheckpointError

PREFIX_TIMESTEP = -1


class AttentionRule(enum.Enum):
    """Which tokens of another group are seen: those in the (past, same step, future)."""

    NEVER = (False, False, False)
    CAUSAL = (True, True, False)
    CURRENT = (False, True, False)
    STRICT_PAST = (True, False, False)
    ALL = (True, True, True)


Rules = tuple[tuple[str, AttentionRule], ...]
"""Patterns of group names (as in fnmatch) with their rule; the first that matches counts."""


@dataclasses.dataclass(frozen=True)
class GroupLayout:
    """One group of the sequence.

    Attributes:
        name: name of the group, such as `obs_primary`.
        size: number of tokens, per time step unless the group is in the prefix.
        rules: what this group attends to. A group that no pattern matches is not seen.
    """

    name: str
    size: int
    rules: Rules

    def rule_for(self, other: str) -> AttentionRule:
        """Returns the rule of the first pattern that matches the other group's name."""
        for pattern, rule in self.rules:
            if fnmatch.fnmatchcase(other, pattern):
                return rule
        return AttentionRule.NEVER


@dataclasses.dataclass(frozen=True)
class SequenceLayout:
    """The order and sizes of all groups of a sequence.

    Attributes:
        prefix: groups that come once, before everything else.
        timestep: groups that come again for each time step.
        horizon: number of time steps.
    """

    prefix: tuple[GroupLayout, ...]
    timestep: tuple[GroupLayout, ...]
    horizon: int

    @property
    def groups(self) -> tuple[GroupLayout, ...]:
        """All groups in sequence order, those of a time step once."""
        return self.prefix + self.timestep

    @property
    def length(self) -> int:
        """Number of tokens in the sequence."""
        step = sum(group.size for group in self.timestep)
        return sum(group.size for group in self.prefix) + self.horizon * step

    def mask(self, *, first_token_shifted: bool = False) -> Bool[np.ndarray, 'l l']:
        """Returns who attends to whom, [query, key], before padding is taken into account.

        Args:
            first_token_shifted: True for checkpoints of December 2023: the first token of a
                group follows the rules of the group before it (within the prefix and within a
                time step). Models were trained with that slip, so their weights need it.
        """
        return self._expand([group.size for group in self.prefix],
                            [group.size for group in self.timestep], first_token_shifted)

    def group_mask(self) -> Bool[np.ndarray, 'g g']:
        """Returns the mask with one row and column per group and time step, see `labels`."""
        return self._expand([1] * len(self.prefix), [1] * len(self.timestep), False)

    def labels(self) -> list[str]:
        """Returns the names of the rows of `group_mask`, such as `t=0 obs_primary`."""
        steps = range(self.horizon)
        return [group.name for group in self.prefix] + [
            f't={step} {group.name}' for step in steps for group in self.timestep]

    def _expand(self, prefix_sizes: Sequence[int], step_sizes: Sequence[int],
                first_token_shifted: bool) -> Bool[np.ndarray, 'l l']:
        prefix = _owners(prefix_sizes, first_token_shifted)
        step = len(self.prefix) + _owners(step_sizes, first_token_shifted)
        owner = np.concatenate([prefix, np.tile(step, self.horizon)])
        time = np.concatenate([np.full(len(prefix), PREFIX_TIMESTEP),
                               np.repeat(np.arange(self.horizon), len(step))])
        order = 1 + np.sign(time[None, :] - time[:, None])  # 0 past, 1 same step, 2 future
        return self._rule_table()[owner[:, None], owner[None, :], order]

    def _rule_table(self) -> Bool[np.ndarray, 'g g 3']:
        rules = [[group.rule_for(other.name) for other in self.groups] for group in self.groups]
        for group, row in zip(self.groups, rules, strict=True):
            if AttentionRule.ALL in row:
                raise CheckpointError(f'attention must be causal, got the rule ALL for '
                                      f'{group.name}; use CAUSAL')
        return np.array([[rule.value for rule in row] for row in rules], dtype=bool)


def _owners(sizes: Sequence[int], first_token_shifted: bool) -> Int[np.ndarray, 'l']:
    """Returns the index of the group that each token of a block belongs to."""
    ends, tokens = np.cumsum(sizes), np.arange(sum(sizes))
    if first_token_shifted:
        return np.searchsorted(ends, tokens, side='left')
    return np.searchsorted(ends, tokens, side='right')
