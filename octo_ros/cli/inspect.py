"""`octo-ros inspect`: what a checkpoint wants, what it gives, and who attends to whom in it."""

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from octo_ros.cli import named_checkpoint

if TYPE_CHECKING:
    from octo_ros.model.attention import SequenceLayout
    from octo_ros.policy.octo_model import OctoModel

SEES, BLIND = '■', '·'
OLD_ATTENTION = ('Trained with the attention of December 2023: the first token of a group reads '
                 'and is read\nas one of the group before it.')
_LANGUAGE = 'language_instruction'
_IMAGE_AXES = 5  # batch, window, height, width, channel


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'inspect', help='say what a checkpoint wants and gives, and who attends to whom')
    parser.add_argument('checkpoint', help=named_checkpoint.HELP)
    parser.add_argument('--step', type=int, help='the step to load (the latest)')
    parser.add_argument('--window', type=int, help='history steps of the table (as trained)')
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> int:
    """Prints the description of a checkpoint."""
    from octo_ros.policy.octo_model import OctoModel
    path = named_checkpoint.checkpoint_path(args.checkpoint)
    description = describe(OctoModel.load_pretrained(path, args.step), window=args.window)
    description = {'checkpoint': path, **description}
    print(json.dumps(description, indent=2) if args.json else as_text(description))
    return 0


def describe(model: 'OctoModel', *, window: int | None = None) -> dict[str, Any]:
    """Returns what a model wants and gives as plain data.

    Args:
        model: the model.
        window: number of history steps in the attention table; None: as trained.

    Raises:
        ObservationError: the window is longer than the model's longest.
    """
    from octo_ros.policy.normalization import stated_type
    trained = int(model.example_batch['observation']['timestep_pad_mask'].shape[1])
    layout = _layout(model, trained if window is None else window)
    transformer = model.module.octo_transformer
    return {
        'step': model.step,
        'parameters': _parameters(model.params),
        'observations': _observations(model, layout),
        'language': _language(model),
        'goal_images': list(model.goal_keys),
        'window': {'trained': trained, 'longest': transformer.max_horizon},
        'heads': {name: {'type': type(head).__name__, 'action_horizon': head.action_horizon,
                         'action_dim': head.action_dim, 'readout': head.readout_key}
                  for name, head in model.module.heads.items()},
        'statistics': _statistics(model.dataset_statistics),
        'normalization_type': stated_type(model.config),
        'sequence': {
            'tokens': layout.length, 'window': layout.horizon,
            'groups': {group.name: group.size for group in layout.groups}},
        'attention': {'of_december_2023': not transformer.use_correct_attention,
                      'names': layout.labels(),
                      'attends': layout.group_mask().astype(int).tolist()},
    }


def as_text(description: Mapping[str, Any]) -> str:
    """Returns a description as text for people."""
    window, parameters = description['window'], description['parameters']
    lines = [f"Checkpoint   {description['checkpoint']} (step {description['step']})",
             f"Parameters   {parameters['total']:,}: " + ', '.join(
                 f'{name} {count:,}' for name, count in parameters['parts'].items()),
             f"Window       {window['trained']} steps (1 to {window['longest']} work)",
             'Observations']
    lines += [f'  {_observation_line(key, item)}'
              for key, item in description['observations'].items()]
    goals = ', '.join(description['goal_images']) or 'none'
    lines += ['Task', f"  instruction  {description['language'] or 'not used'}",
              f'  goal images  {goals}', 'Actions']
    lines += [f"  {name}: {head['action_horizon']} steps of {head['action_dim']} numbers, "
              f"{head['type']} on {head['readout']}"
              for name, head in description['heads'].items()]
    lines += ['Statistics (key: numbers)']
    lines += [f"  {key or '(of one dataset, without a key)'}: "
              + ', '.join(f'{kind} {size}' for kind, size in sizes.items())
              for key, sizes in description['statistics'].items()] or ['  none']
    sequence = description['sequence']
    lines += [f"Normalised   {description['normalization_type'] or 'not said; taken as normal'}",
              f"Sequence     {sequence['tokens']} tokens at window {sequence['window']}: "
              + ', '.join(f'{name} {size}' for name, size in sequence['groups'].items()),
              'Who attends to whom (a row reads the columns marked)']
    lines += _attention_lines(description['attention'])
    if description['attention']['of_december_2023']:
        lines.append(OLD_ATTENTION)
    return '\n'.join(lines)


def _observation_line(key: str, item: Mapping[str, Any]) -> str:
    if 'size' not in item:
        return f"{key}: {item['dim']} numbers"
    height, width = item['size']
    encoders = '; '.join(
        f"{name} ({used['encoder']}, {used['tokens']} tokens)"
        for name, used in item['tokenizers'].items())
    return f'{key}: {height} x {width} pixels, read by {encoders or "no tokenizer"}'


def _attention_lines(attention: Mapping[str, Any]) -> list[str]:
    names, rows = attention['names'], attention['attends']
    width = max(len(name) for name in names)
    digits = len(str(len(names)))
    head = ' '.join(f'{number:>{digits}}' for number in range(1, len(names) + 1))
    lines = [f"  {'':{digits}} {'':{width}}  {head}"]
    for number, (name, row) in enumerate(zip(names, rows, strict=True), start=1):
        marks = ' '.join(f'{SEES if seen else BLIND:>{digits}}' for seen in row)
        lines.append(f'  {number:>{digits}} {name:{width}}  {marks}')
    return lines


def _layout(model: 'OctoModel', window: int) -> 'SequenceLayout':
    import jax
    observations = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((1, window, *leaf.shape[2:]), leaf.dtype),
        dict(model.example_batch['observation']))
    mask: Any = jax.ShapeDtypeStruct((1, window), bool)
    return model.module.layout(observations, model.example_batch['task'], mask)


def _parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Counts the parameters in all and by part: language model, tokenizers, transformer, heads."""
    import flax.traverse_util
    parts = {'language model': 0, 'tokenizers': 0, 'transformer': 0, 'heads': 0}
    for path, leaf in flax.traverse_util.flatten_dict(params, sep='/').items():
        if '/hf_model/' in path:
            part = 'language model'
        elif path.startswith('heads_'):
            part = 'heads'
        else:
            part = 'transformer' if '/BlockTransformer_0/' in path else 'tokenizers'
        parts[part] += leaf.size
    return {'total': sum(parts.values()), 'parts': {k: n for k, n in parts.items() if n}}


def _observations(model: 'OctoModel', layout: 'SequenceLayout') -> dict[str, Any]:
    from octo_ros.model.tokenizers import match_keys
    from octo_ros.policy.proprio import PROPRIO
    from octo_ros.policy.proprio import VELOCITY
    observations = model.example_batch['observation']
    sizes = {group.name: group.size for group in layout.groups}
    found: dict[str, Any] = {}
    for key, value in observations.items():
        if getattr(value, 'ndim', 0) == _IMAGE_AXES:  # masks are a mapping
            found[key] = {'size': [int(side) for side in value.shape[2:4]], 'tokenizers': {}}
        elif key in (PROPRIO, VELOCITY):
            found[key] = {'dim': int(value.shape[-1])}
    for name, tokenizer in model.module.octo_transformer.observation_tokenizers.items():
        for key in match_keys(getattr(tokenizer, 'obs_stack_keys', ()), observations):
            if 'tokenizers' in found.get(key, {}):
                found[key]['tokenizers'][name] = {
                    'encoder': tokenizer.encoder.encoder.__name__, 'tokens': sizes[f'obs_{name}']}
    return found


def _language(model: 'OctoModel') -> str:
    if model.text_processor is not None:
        return (f'text, {model.text_processor.max_length} tokens of '
                f'{model.text_processor.tokenizer_name}')
    return 'an embedding' if _LANGUAGE in model.example_batch['task'] else ''


def _statistics(statistics: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    from octo_ros.policy.normalization import dataset_entries
    from octo_ros.policy.normalization import entry_sizes
    return {key: entry_sizes(entry) for key, entry in dataset_entries(statistics).items()}
