"""The tokenizers and the transformer of Octo: from observations and tasks to embeddings."""

import logging
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.model.attention import AttentionRule
from octo_ros.model.attention import Rules
from octo_ros.model.block_transformer import BlockTransformer
from octo_ros.model.block_transformer import Groups
from octo_ros.model.tokenizers import EMBEDDINGS
from octo_ros.model.tokenizers import LANGUAGE_KEY
from octo_ros.model.tokenizers import PIECES
from octo_ros.model.tokenizers import PIECES_KEY
from octo_ros.model.tokenizers import Data
from octo_ros.model.tokenizers import LanguageTokenizer
from octo_ros.model.tokens import TokenGroup
from octo_ros.model.tokens import concatenate

_log = logging.getLogger('octo_ros.model')
_TASK_RULES: Rules = (('task_*', AttentionRule.CAUSAL),)
_OBS_RULES: Rules = (*_TASK_RULES, ('obs_*', AttentionRule.CAUSAL))


def rules_for(name: str) -> Rules:
    """Returns what a group attends to, by its name.

    Tasks see tasks; observations see tasks and observations up to their own step; a readout sees
    those too and itself. Nobody else sees a readout.
    """
    if name.startswith('task_'):
        return _TASK_RULES
    if name.startswith('obs_'):
        return _OBS_RULES
    return (*_OBS_RULES, (name, AttentionRule.CAUSAL))


class OctoTransformer(nn.Module):
    """The tokenizers and the transformer.

    Attributes:
        observation_tokenizers: by name; their order is the order in the sequence.
        task_tokenizers: by name; their tokens stand first in the sequence.
        readouts: number of readout tokens by name.
        transformer_kwargs: sizes, see `Transformer`.
        token_embedding_size: size of a token in the transformer.
        max_horizon: largest number of time steps.
        repeat_task_tokens: True to repeat the task tokens in every time step.
        use_correct_attention: False for checkpoints of December 2023.
    """

    observation_tokenizers: Mapping[str, nn.Module]
    task_tokenizers: Mapping[str, nn.Module]
    readouts: Mapping[str, int]
    transformer_kwargs: Mapping[str, Any]
    token_embedding_size: int
    max_horizon: int
    repeat_task_tokens: bool = False
    use_correct_attention: bool = False

    def setup(self) -> None:
        """Makes the transformer."""
        self.BlockTransformer_0 = BlockTransformer(
            self.transformer_kwargs, self.use_correct_attention)

    def __call__(self, observations: Data, tasks: Data, timestep_pad_mask: Bool[Array, 'b t'],
                 *, train: bool = False) -> dict[str, TokenGroup]:
        """Returns the embeddings by group: tokenizes, then attends.

        Args:
            observations: arrays (b, t, ...) by key, and optionally `pad_mask_dict`.
            tasks: arrays (b, ...) by key, and optionally `pad_mask_dict`.
            timestep_pad_mask: True = real time step.
            train: True to use dropout.

        Returns:
            `task_*` groups (b, n, d), `obs_*` and `readout_*` groups (b, t, n, d), `obs` with all
            observation groups and, if there is a task group, `task` with all of those.
        """
        groups = self.tokenize(observations, tasks, timestep_pad_mask, train=train)
        return self.attend(groups, train=train)

    @nn.compact
    def tokenize(self, observations: Data, tasks: Data, timestep_pad_mask: Bool[Array, 'b t'],
                 *, train: bool = False) -> dict[str, TokenGroup]:
        """Returns the transformer's input by group, projected and with positions added."""
        valid = jnp.asarray(timestep_pad_mask).astype(bool)
        self._check(observations, valid)
        groups: dict[str, TokenGroup] = {}
        for name, tokenizer in self.task_tokenizers.items():
            self._add(groups, f'task_{name}', tokenizer(observations, tasks, train=train))
            if isinstance(tokenizer, LanguageTokenizer) and self.reads_pieces():
                tasks = tokenizer.with_pieces(tasks)
        repeated = {f'obs_{name}': _repeat(group, valid.shape[1])
                    for name, group in groups.items() if self.repeat_task_tokens}
        for name, tokenizer in self.observation_tokenizers.items():
            group = tokenizer(observations, tasks, train=train)
            if group is not None:
                group = TokenGroup(group.tokens, group.mask & valid[:, :, None])
            self._add(groups, f'obs_{name}', group)
        if not any(name.startswith('obs_') for name in groups):
            raise ObservationError('the model was given none of its observations, got '
                                   f'{", ".join(sorted(observations)) or "nothing"}; its '
                                   f'tokenizers are {", ".join(self.observation_tokenizers)}')
        groups |= repeated
        for name, count in self.readouts.items():
            shape = (*valid.shape, count, self.token_embedding_size)
            empty = TokenGroup(jnp.zeros(shape), jnp.ones(shape[:-1], bool))
            groups[f'readout_{name}'] = self._place(f'readout_{name}', empty)
        return groups

    def attend(self, groups: Groups, *, train: bool = False) -> dict[str, TokenGroup]:
        """Returns what the transformer makes of the groups, see `__call__`."""
        prefix, timestep = self.in_order(groups)
        rules = {name: rules_for(name) for name in groups}
        outputs = self.BlockTransformer_0(prefix, timestep, rules, train=train)
        if prefix:
            outputs['task'] = concatenate([outputs[name] for name in prefix])
        outputs['obs'] = concatenate(
            [outputs[name] for name in timestep if name.startswith('obs_')])
        return outputs

    def in_order(self, groups: Groups) -> tuple[Groups, Groups]:
        """Returns the prefix and the timestep groups in sequence order.

        The order is that of the configuration. It is made anew here because a dictionary that
        went through a JAX transformation comes out sorted.
        """
        tasks = [f'task_{name}' for name in self.task_tokenizers]
        steps = [f'obs_{name}' for name in self.observation_tokenizers]
        steps += [f'obs_{name}' for name in tasks]
        steps += [f'readout_{name}' for name in self.readouts]
        return ({name: groups[name] for name in tasks if name in groups},
                {name: groups[name] for name in steps if name in groups})

    def encode_language(self, tasks: Data) -> Float[Array, 'b n d'] | dict[str, Array]:
        """Returns the language model's embeddings of `tasks['language_instruction']`.

        Where the words condition an image encoder, too, the vector for that comes with them, in
        a dictionary.
        """
        for tokenizer in self.task_tokenizers.values():
            if isinstance(tokenizer, LanguageTokenizer):
                instruction = tasks[LANGUAGE_KEY]
                embeddings = tokenizer.encode(instruction)
                if not self.reads_pieces() or not isinstance(instruction, Mapping):
                    return embeddings
                return {EMBEDDINGS: embeddings, PIECES: tokenizer.count_pieces(instruction)}
        raise ParameterError('the model must have a language tokenizer to encode an instruction, '
                             f'got the task tokenizers {sorted(self.task_tokenizers)}')

    def reads_pieces(self) -> bool:
        """Returns whether the words condition an image encoder, as `language_pieces`."""
        return any(PIECES_KEY in getattr(tokenizer, 'task_film_keys', ())
                   for tokenizer in self.observation_tokenizers.values())

    def _add(self, groups: dict[str, TokenGroup], name: str, group: TokenGroup | None) -> None:
        if group is None:
            _log.info('nothing to make the tokens of %s from: the sequence goes without', name)
            return
        dense = nn.Dense(self.token_embedding_size, name=f'{name}_projection')
        groups[name] = self._place(name, TokenGroup(dense(group.tokens), group.mask))

    def _place(self, name: str, group: TokenGroup) -> TokenGroup:
        """Adds the learned position; a group per step uses the first `t` of `max_horizon`."""
        tokens = group.tokens
        shape = (1, *tokens.shape[-2:])
        if tokens.ndim == 4:
            shape = (1, self.max_horizon, *tokens.shape[-2:])
        position = self.param(f'{name}_pos_embedding', nn.initializers.normal(0.02), shape)
        if tokens.ndim == 4:
            position = position[:, :tokens.shape[1]]
        return TokenGroup(tokens + position, group.mask)

    def _check(self, observations: Data, valid: Bool[Array, 'b t']) -> None:
        batch, horizon = valid.shape
        if not 1 <= horizon <= self.max_horizon:
            raise ObservationError(f'the window must have 1 to {self.max_horizon} steps '
                                   f'(max_horizon), got {horizon}; use a shorter history')
        for path, leaf in jax.tree_util.tree_leaves_with_path(observations):
            if jnp.shape(leaf)[:2] != (batch, horizon):
                raise ObservationError(
                    f'observation {jax.tree_util.keystr(path)} must begin with the shape of '
                    f'timestep_pad_mask {(batch, horizon)}, got {jnp.shape(leaf)}')


def _repeat(group: TokenGroup, horizon: int) -> TokenGroup:
    """Copies a prefix group into every time step; its mask does not follow the time steps'."""
    tokens, mask = group.tokens[:, None], group.mask[:, None]
    batch, _, count, width = tokens.shape
    return TokenGroup(jnp.broadcast_to(tokens, (batch, horizon, count, width)),
                      jnp.broadcast_to(mask, (batch, horizon, count)))
