"""A model's inputs and outputs as text for people."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax

from octo_ros.model.octo import OctoModule
from octo_ros.model.tokenizers import LANGUAGE_KEY
from octo_ros.policy.model_inputs import UNUSED
from octo_ros.policy.model_inputs import required_tasks
from octo_ros.policy.normalization import dataset_entries
from octo_ros.policy.normalization import entry_sizes
from octo_ros.policy.text import TextProcessor


def pretty_spec(
    module: OctoModule, params: Mapping[str, Any], example_batch: Mapping[str, Any],
    dataset_statistics: Mapping[str, Any], text_processor: TextProcessor | None,
) -> str:
    """Returns one section each for parameters, observations, tasks, actions and statistics.

    Shapes are written with b for the batch and t for the step of the window.
    """
    transformer = module.octo_transformer
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    window = example_batch['observation']['timestep_pad_mask'].shape[1]
    lines = [
        f'Octo policy with {count:,} parameters',
        f'Observations (t = window, trained with {window}, 1 to {transformer.max_horizon}):']
    lines += _rows(example_batch['observation'], 2, 'b, t')
    required = required_tasks(module, example_batch['observation'])
    left_out = 'what is not required' if required else 'all of them'
    lines += [f'Tasks ({left_out} may be left out):']
    lines += _rows(
        {key: value for key, value in example_batch['task'].items() if key != LANGUAGE_KEY},
        1, 'b', required)
    if text_processor is not None:
        lines += [f'  {LANGUAGE_KEY}: text, {text_processor.max_length} tokens of '
                  f'{text_processor.tokenizer_name}']
    elif LANGUAGE_KEY in example_batch['task']:
        language = {LANGUAGE_KEY: example_batch['task'][LANGUAGE_KEY]}
        lines += _rows(language, 1, 'b', required)
    lines += ['Actions (ah = steps of a chunk, ad = dimensions):']
    lines += [
        f'  {name}: {type(head).__name__}, (b, ah={head.action_horizon}, ad={head.action_dim})'
        for name, head in module.heads.items()]
    return '\n'.join([*lines, *_statistics(dataset_statistics)])


def _rows(
    entries: Mapping[str, Any], leading: int, axes: str, required: Sequence[str] = (),
) -> list[str]:
    rows = []
    for key, value in sorted(entries.items()):
        if not isinstance(value, Mapping) and key not in UNUSED:
            sizes = ''.join(f', {size}' for size in value.shape[leading:])
            rows.append(f'  {key}: ({axes}{sizes}) {value.dtype}'
                        f'{", required" if key in required else ""}')
    return rows


def _statistics(statistics: Mapping[str, Any]) -> list[str]:
    entries = dataset_entries(statistics)
    if '' in entries:
        return [f"Statistics of one dataset: {_dimensions(entries[''])}"]
    if not entries:
        return ['Statistics: none']
    rows = [f'  {name}: {_dimensions(entry)}' for name, entry in entries.items()]
    return ['Statistics by dataset:', *rows]


def _dimensions(entry: Mapping[str, Any]) -> str:
    return ', '.join(f'{name} {size}' for name, size in entry_sizes(entry).items())
