"""`octo-ros finetune`: trains a policy on recordings, from a checkpoint or from scratch."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from octo_ros.cli import data
from octo_ros.errors import ParameterError
from octo_ros.params import from_flat
from octo_ros.params import leaves

if TYPE_CHECKING:
    from octo_ros.data.store import EpisodeSet
    from octo_ros.policy.octo_model import OctoModel
    from octo_ros.train.finetune import Plan
    from octo_ros.train.loop import Outcome

SCRATCH = 'scratch'
_USUAL_SIZES = {'image_primary': (96, 96), 'image_secondary': (96, 96), 'image_wrist': (64, 64)}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'finetune', help='train a policy on recordings',
        description='Trains on rosbag2 recordings (one episode each) or on an episode set, and '
        'saves a checkpoint that the controller and Octo itself load. Run again with the same '
        'options, it goes on where it stopped.')
    data.add_source_options(parser)
    parser.add_argument('--checkpoint', default=SCRATCH,
                        help='folder, or hf://owner/name; a small new model if left')
    parser.add_argument('--out', type=Path, required=True, help='folder of the run')
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
    parser.add_argument('--proprio', action='store_true', help='give the --state to the policy')
    parser.add_argument('--hold-out', type=int, default=0, metavar='N',
                        help='last N episodes to test with (0)')
    parser.add_argument('--dataset', help='name in the saved statistics; none if left')
    parser.add_argument('--set', nargs='+', action='extend', default=[], metavar='NAME=VALUE',
                        help='any other parameter, optimizer.ema_decay=0.999; --set help lists')
    hosts = parser.add_argument_group(
        'several hosts', 'Start the same command on each; --out must be one folder for all.')
    hosts.add_argument('--coordinator', metavar='HOST:PORT', help='address of process 0')
    hosts.add_argument('--processes', type=int, default=1)
    hosts.add_argument('--process', type=int, default=0, help='number of this process')


def run(args: argparse.Namespace) -> int:
    """Trains; returns 0."""
    from octo_ros.policy.device import set_up
    from octo_ros.train.adapt import ModelParams
    from octo_ros.train.finetune import plan_finetune
    from octo_ros.train.finetune import write_parameters
    from octo_ros.train.params import TrainParams
    from octo_ros.train.scratch import ScratchParams

    if 'help' in args.set:
        _list_parameters({'': TrainParams, 'model.': ModelParams, 'scratch.': ScratchParams})
        return 0
    values = _values(args)
    params = _group(TrainParams, values, '')
    model_params = _group(ModelParams, values, 'model.')
    if args.coordinator:
        from octo_ros.train.devices import connect
        connect(args.coordinator, args.processes, args.process)
    set_up()
    scratch = _group(ScratchParams, values, 'scratch.')
    with _first_process_speaks():
        base, episodes = _prepare(args, scratch, params.seed)
        held_out = range(len(episodes) - args.hold_out, len(episodes))
        plan = plan_finetune(
            base, episodes, model_params, params, held_out=held_out, dataset=args.dataset,
            action_mask=_action_mask(args, episodes))
        write_parameters(args.out, params, model_params)
        _train(args, plan, params)
    return 0


@contextlib.contextmanager
def _first_process_speaks() -> Iterator[None]:
    """Keeps all processes but the first from printing what it prints."""
    from octo_ros.train.devices import is_first

    with contextlib.ExitStack() as stack:
        if not is_first():
            nowhere = stack.enter_context(Path(os.devnull).open('w'))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        yield


def _train(args: argparse.Namespace, plan: 'Plan', params: Any) -> None:
    from octo_ros.train.finetune import merge_text
    from octo_ros.train.finetune import save_outcome
    from octo_ros.train.loop import train
    from octo_ros.train.progress import ProgressBar

    if args.checkpoint != SCRATCH:
        print(merge_text(plan.report, plan.model))
    source = plan.setup.source
    print(f'{source.examples} steps to train with, batches of {params.batch_size}')
    with ProgressBar(params.steps) as progress:
        outcome = train(plan.setup, params, args.out, progress=progress)
    folder = save_outcome(plan, outcome, args.out)
    _tell(args, plan, outcome, folder)


def _tell(args: argparse.Namespace, plan: 'Plan', outcome: 'Outcome', folder: Path) -> None:
    from octo_ros.policy.profile import load_profile
    from octo_ros.train.devices import is_first
    from octo_ros.train.pictures import draw_predictions

    if outcome.stopped:
        print(f'stopped after step {outcome.step}; the same command goes on from there')
    names = load_profile(args.robot).action.names
    for name, evaluator in plan.evaluators.items():
        report = evaluator(outcome.params)
        listed = ', '.join(f'{label} {value:.2f}' for label, value in zip(
            names, report.per_dimension, strict=False))
        print(f'held-out action error by {name}, 1 = predicting the mean action: '
              f'{report.error:.3f} ({listed})')
        if is_first():
            draw_predictions(report, names, args.out / f'predictions_{name}.png')
    print(f'checkpoint: {folder}\nmetrics, curves and TensorBoard files: {args.out}')


def _prepare(args: argparse.Namespace, scratch: Any, seed: int
             ) -> tuple['OctoModel', 'EpisodeSet']:
    """Loads or makes the model, and the episodes at its image sizes."""
    from octo_ros.policy.octo_model import OctoModel
    from octo_ros.train.devices import first_before_others
    from octo_ros.train.scratch import scratch_model

    if args.checkpoint != SCRATCH:
        model = OctoModel.load_pretrained(args.checkpoint, vocabulary=args.vocabulary)
        sizes = {key: value.shape[2:4] for key, value in model.example_batch['observation'].items()
                 if key.startswith('image_')}
        with first_before_others('episodes'):
            return model, _episodes(args, sizes)
    with first_before_others('episodes'):
        episodes = _episodes(args, {**_USUAL_SIZES, **data.sizes(args.size)})
    texts = [text for entry in episodes.entries for text in entry['instructions']]
    with first_before_others('vocabulary'):
        model = scratch_model(scratch, episodes.image_sizes, episodes.actions.shape[1], texts,
                              args.out / 'vocabulary', seed)
    return model, episodes


def _episodes(args: argparse.Namespace, sizes: Mapping[str, tuple[int, int]]) -> 'EpisodeSet':
    """Opens an episode set, or makes one of recordings; it is kept for when the run goes on."""
    from octo_ros.data.store import INDEX
    from octo_ros.data.store import EpisodeSet

    first = args.source[0]
    if (first / INDEX).is_file():
        if len(args.source) > 1:
            raise ParameterError('one episode set or several recordings must be given, got '
                                 + ', '.join(map(str, args.source)))
        return EpisodeSet(first)
    folder = args.out / 'episodes'
    if (folder / INDEX).is_file():
        return EpisodeSet(folder)
    wanted = {data.full_key(key) for key in data.pairs('--camera', args.camera)}
    chosen = {key: size for key, size in sizes.items() if not wanted or key in wanted}
    return data.build(args, folder, chosen)


def _action_mask(args: argparse.Namespace, episodes: 'EpisodeSet') -> list[bool]:
    from octo_ros.data.statistics import gripper_mask
    from octo_ros.policy.profile import load_profile

    grippers = load_profile(args.robot).gripper.indices
    dimensions = episodes.actions.shape[1]
    return gripper_mask(
        dimensions, [index for index in grippers if index < dimensions]).tolist()


def _values(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the parameters that were given, by dotted name."""
    import yaml

    values = {name: yaml.safe_load(text) for name, text in data.pairs('--set', args.set).items()}
    values = {name: tuple(value) if isinstance(value, list) else value
              for name, value in values.items()}
    options = {
        'mode': args.mode, 'task.modality': args.modality, 'steps': args.steps,
        'batch_size': args.batch_size, 'optimizer.learning_rate': args.learning_rate,
        'seed': args.seed, 'model.proprio': args.proprio or None}
    return {**{name: value for name, value in options.items() if value is not None}, **values}


def _group(schema: type, values: Mapping[str, Any], prefix: str) -> Any:
    others = ('model.', 'scratch.')
    mine = {name.removeprefix(prefix): value for name, value in values.items()
            if (name.startswith(prefix) if prefix else not name.startswith(others))}
    return from_flat(schema, mine, source='octo-ros finetune')


def _list_parameters(schemas: Mapping[str, type]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table('name', 'default', 'meaning')
    for prefix, schema in schemas.items():
        for leaf in leaves(schema):
            limits = f' ({leaf.rules.text()})' if leaf.rules.text() else ''
            table.add_row(prefix + leaf.name, repr(leaf.default), leaf.rules.description + limits)
    Console(width=140).print(table)
