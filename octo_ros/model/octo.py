"""Octo: tokenizers, a block-causal transformer and action heads (arXiv:2405.12213)."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.model.attention import SequenceLayout
from octo_ros.model.block_transformer import Groups
from octo_ros.model.block_transformer import layout
from octo_ros.model.octo_transformer import OctoTransformer
from octo_ros.model.octo_transformer import rules_for
from octo_ros.model.tokenizers import Data
from octo_ros.model.tokens import TokenGroup


class OctoModule(nn.Module):
    """The whole model. Use its methods through `module.apply(variables, ..., method=...)`.

    Attributes:
        octo_transformer: tokenizers and transformer.
        heads: action heads by name.
    """

    octo_transformer: OctoTransformer
    heads: Mapping[str, nn.Module]

    def __call__(self, observations: Data, tasks: Data, timestep_pad_mask: Bool[Array, 'b t'],
                 *, train: bool = False) -> tuple[dict[str, TokenGroup], dict[str, Array]]:
        """Runs everything once; for `init`. Returns the embeddings and each head's output."""
        outputs = self.run_transformer(observations, tasks, timestep_pad_mask, train=train)
        return outputs, {name: head(outputs, train=train) for name, head in self.heads.items()}

    def run_transformer(self, observations: Data, tasks: Data,
                        timestep_pad_mask: Bool[Array, 'b t'], *,
                        train: bool = False) -> dict[str, TokenGroup]:
        """Returns the embeddings by group, see `OctoTransformer.__call__`."""
        return self.octo_transformer(observations, tasks, timestep_pad_mask, train=train)

    def encode_language(self, tasks: Data) -> Float[Array, 'b n d'] | dict[str, Array]:
        """Runs the language model alone, see `OctoTransformer.encode_language`.

        The result can stand for the token ids in `tasks['language_instruction']`, so that the
        language model runs once for an instruction.
        """
        return self.octo_transformer.encode_language(tasks)

    def tokenize(self, observations: Data, tasks: Data, timestep_pad_mask: Bool[Array, 'b t'],
                 *, train: bool = False) -> dict[str, TokenGroup]:
        """Runs the tokenizers alone; the result goes into `attend`."""
        return self.octo_transformer.tokenize(observations, tasks, timestep_pad_mask, train=train)

    def attend(self, groups: Groups, *, train: bool = False) -> dict[str, TokenGroup]:
        """Runs the transformer alone on what `tokenize` returns."""
        return self.octo_transformer.attend(groups, train=train)

    def predict_action(self, transformer_outputs: Groups, *, head: str = 'action',
                       **options: Any) -> Float[Array, '*s b ah ad']:
        """Runs one head alone, see the heads' `predict_action` for the options."""
        return self._head(head).predict_action(transformer_outputs, **options)

    def sample_actions(self, observations: Data, tasks: Data,
                       timestep_pad_mask: Bool[Array, 'b t'], *, head: str = 'action',
                       train: bool = False, **options: Any) -> Float[Array, '*s b ah ad']:
        """Returns normalised actions for the last step of the window."""
        outputs = self.run_transformer(observations, tasks, timestep_pad_mask, train=train)
        return self.predict_action(outputs, head=head, train=train, **options)

    def loss(self, observations: Data, tasks: Data, actions: Float[Array, 'b t ah ad'],
             timestep_pad_mask: Bool[Array, 'b t'], action_pad_mask: Bool[Array, 'b t ah ad'], *,
             head: str = 'action', train: bool = False,
             **options: Any) -> tuple[Float[Array, ''], dict[str, Float[Array, '']]]:
        """Returns the loss of one head and its metrics, see the heads' `loss`."""
        outputs = self.run_transformer(observations, tasks, timestep_pad_mask, train=train)
        return self._head(head).loss(outputs, actions, timestep_pad_mask, action_pad_mask,
                                     train=train, **options)

    def _head(self, name: str) -> Any:
        if name not in self.heads:
            raise ParameterError(f'the head must be one of {", ".join(self.heads)}, got '
                                 f'{name!r}{closest(name, self.heads)}')
        return self.heads[name]

    def layout(self, observations: Data, tasks: Data,
               timestep_pad_mask: Bool[Array, 'b t']) -> SequenceLayout:
        """Returns the sequence that inputs of these shapes make; nothing is computed.

        Call it on the unbound module. Arrays or `jax.ShapeDtypeStruct` will do.
        """
        found: list[SequenceLayout] = []

        def trace(*inputs: Any) -> None:
            def note(module: OctoModule, *arguments: Any) -> None:
                groups = module.tokenize(*arguments)
                prefix, timestep = module.octo_transformer.in_order(groups)
                found.append(layout(prefix, timestep, {name: rules_for(name) for name in groups}))

            self.init(jax.random.key(0), *inputs, method=note)

        jax.eval_shape(trace, observations, tasks, timestep_pad_mask)
        return found[0]
