"""The parameters of a training run on the command line: presets, options and `--set`."""

import argparse
import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from octo_ros.cli import data
from octo_ros.cli import source_options
from octo_ros.cli.named_checkpoint import checkpoint_path
from octo_ros.errors import ParameterError
from octo_ros.params import from_flat
from octo_ros.params import leaves

if TYPE_CHECKING:
    from octo_ros.train.adapt import ModelParams
    from octo_ros.train.params import TrainParams
    from octo_ros.train.scratch import ScratchParams

_HELP = 'help'
SCRATCH = 'scratch'
_USUAL_SIZES = {'image_primary': (96, 96), 'image_secondary': (96, 96), 'image_wrist': (64, 64)}
_PREFIXES = ('model.', 'scratch.')


@dataclasses.dataclass(frozen=True)
class Options:
    """What a run is to do.

    Attributes:
        train: the run.
        model: what of the checkpoint's model is changed.
        scratch: sizes of a new model.
        checkpoint: a folder or hf:// name; empty for a new model.
        sizes: observation key to the size of a new model's images.
        hold_out: number of episodes to test with.
    """

    train: 'TrainParams'
    model: 'ModelParams'
    scratch: 'ScratchParams'
    checkpoint: str
    sizes: Mapping[str, tuple[int, int]]
    hold_out: int


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a parser."""
    parser.add_argument('--preset', action=_Preset, metavar='NAME',
                        help='start from a run of this name; --preset help tells of them')
    parser.add_argument('--checkpoint',
                        help='folder, hf://owner/name, shipped (the policy for the simulator), or '
                        'scratch: a small new model (scratch)')
    parser.add_argument('--size', action='append', default=[], metavar='KEY=HEIGHTxWIDTH',
                        help='size of a camera of a new model, primary=96x96; multiples of 16')
    parser.add_argument('--vocabulary', metavar='PATH', help="the checkpoint's sentencepiece file")
    parser.add_argument('--mode', help='full, head_only or head_mlp_only (full)')
    parser.add_argument('--modality', metavar='TASK', help='image_conditioned, '
                        'language_conditioned or multimodal (multimodal)')
    parser.add_argument('--steps', type=int, help='optimizer steps (50000)')
    parser.add_argument('--batch-size', type=int, help='examples a step (256)')
    parser.add_argument('--learning-rate', type=float, help='peak (3e-4)')
    parser.add_argument('--seed', type=int, help='of everything random (42)')
    parser.add_argument('--proprio', action=argparse.BooleanOptionalAction,
                        help='give the --state to the policy; as the checkpoint, if left')
    parser.add_argument('--hold-out', type=int, metavar='N',
                        help='last N episodes to test with (0)')
    parser.add_argument('--set', nargs='+', action=_Set, default=[], metavar='NAME=VALUE',
                        help='any other parameter, optimizer.ema_decay=0.999; --set help lists')


def read(args: argparse.Namespace) -> Options:
    """Returns what the options say, over what the preset says, over the defaults.

    Raises:
        ParameterError: a name is unknown, a value breaks its rule, or proprio is wanted and
            nothing says which topic of the recordings it is.
    """
    from octo_ros.train.adapt import ModelParams
    from octo_ros.train.params import TrainParams
    from octo_ros.train.presets import Preset
    from octo_ros.train.presets import find_preset
    from octo_ros.train.scratch import ScratchParams

    preset = find_preset(args.preset) if args.preset else Preset()
    values = preset.values() | _given(args)
    checkpoint = preset.checkpoint if args.checkpoint is None else args.checkpoint
    sizes = {source_options.full_key(camera): size for camera, size in preset.sizes.items()}
    options = Options(
        train=_group(TrainParams, values, ''),
        model=_group(ModelParams, values, 'model.'),
        scratch=_group(ScratchParams, values, 'scratch.'),
        checkpoint='' if checkpoint in ('', SCRATCH) else checkpoint_path(checkpoint),
        sizes={**_USUAL_SIZES, **sizes, **data.sizes(args.size)},
        hold_out=preset.hold_out if args.hold_out is None else args.hold_out)
    if options.hold_out < 0:
        raise ParameterError(f'--hold-out must be at least 0, got {options.hold_out}')
    if options.model.proprio == 'on' and not args.state:
        _check_no_recordings(args.source)
    return options


def _list_parameters() -> None:
    """Prints every parameter that `--set` takes."""
    from rich.console import Console
    from rich.table import Table

    from octo_ros.train.adapt import ModelParams
    from octo_ros.train.params import TrainParams
    from octo_ros.train.scratch import ScratchParams

    table = Table('name', 'default', 'meaning')
    for prefix, schema in zip(('', *_PREFIXES), (TrainParams, ModelParams, ScratchParams),
                              strict=True):
        for leaf in leaves(schema):
            limits = f' ({leaf.rules.text()})' if leaf.rules.text() else ''
            table.add_row(prefix + leaf.name, repr(leaf.default), leaf.rules.description + limits)
    Console(width=140).print(table)


class _Preset(argparse.Action):
    """Takes the name of a preset; `help` tells of all and ends, whatever else is missing."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: str | Sequence[Any] | None, option_string: str | None = None) -> None:
        """Keeps the name, or prints the presets."""
        if values == _HELP:
            from octo_ros.train.presets import describe_presets
            print(describe_presets(), end='')
            parser.exit()
        setattr(namespace, self.dest, values)


class _Set(argparse.Action):
    """Adds parameters; `help` lists all there are and ends, whatever else is missing."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: str | Sequence[Any] | None, option_string: str | None = None) -> None:
        """Keeps the parameters, or prints all."""
        if _HELP in (values or ()):
            _list_parameters()
            parser.exit()
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *(values or ())])


def _check_no_recordings(sources: Sequence[Path]) -> None:
    """Raises ParameterError for a recording: unlike a data set, it names no usual state."""
    from octo_ros.cli.data_sources import find_recordings
    from octo_ros.data.datasets import is_dataset
    from octo_ros.data.store import INDEX

    there = [source for source in sources if source.exists() and not (source / INDEX).is_file()]
    recordings = [path for path in find_recordings(there) if not is_dataset(path)]
    if recordings:
        raise ParameterError("'model.proprio' must go with --state, the topic of the proprio, for "
                             f'recordings, got none for {recordings[0]}')


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the parameters that were given, by dotted name."""
    import yaml

    given = source_options.pairs('--set', args.set)
    values = {name: yaml.safe_load(text) for name, text in given.items()}
    values = {name: tuple(value) if isinstance(value, list) else value
              for name, value in values.items()}
    options = {
        'mode': args.mode, 'task.modality': args.modality, 'steps': args.steps,
        'batch_size': args.batch_size, 'optimizer.learning_rate': args.learning_rate,
        'seed': args.seed, 'model.proprio': args.proprio}
    return {**{name: value for name, value in options.items() if value is not None}, **values}


def _group(schema: type, values: Mapping[str, Any], prefix: str) -> Any:
    mine = {name.removeprefix(prefix): value for name, value in values.items()
            if (name.startswith(prefix) if prefix else not name.startswith(_PREFIXES))}
    return from_flat(schema, mine, source='octo-ros finetune')
