"""`octo-ros finetune`: trains a policy on recordings, from a checkpoint or from scratch."""

import argparse
import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from octo_ros.cli import closed_loop_test
from octo_ros.cli import data
from octo_ros.cli import finetune_settings
from octo_ros.cli import source_options
from octo_ros.cli import training_options
from octo_ros.cli.interrupts import kept_until_imported
from octo_ros.cli.training_options import Options
from octo_ros.errors import ParameterError

if TYPE_CHECKING:
    from octo_ros.data.store import EpisodeSet
    from octo_ros.policy.octo_model import OctoModel
    from octo_ros.train.finetune import Plan
    from octo_ros.train.loop import Outcome

_LOG = logging.getLogger('octo_ros.cli')


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'finetune', help='train a policy on recordings',
        description='Trains on rosbag2 recordings (one episode each) or on an episode set, and '
        'saves a checkpoint that the controller loads, and Octo itself where it began from a '
        'released one. Run again with the same options, it goes on where it stopped; with others '
        'it is refused.')
    data.add_source_options(parser)
    parser.add_argument('--out', type=Path, required=True, help='folder of the run')
    parser.add_argument('--dataset', help='name in the saved statistics; none if left')
    training_options.add(parser)
    closed_loop_test.add_options(parser)
    hosts = parser.add_argument_group(
        'several hosts', 'Start the same command on each; --out must be one folder for all.')
    hosts.add_argument('--coordinator', metavar='HOST:PORT', help='address of process 0')
    hosts.add_argument('--processes', type=int, metavar='N', help='how many, one on each host')
    hosts.add_argument('--process', type=int, metavar='I', help='number of this one, from 0')


def run(args: argparse.Namespace) -> int:
    """Trains; returns 0."""
    with kept_until_imported():
        from octo_ros.policy.device import set_up
        from octo_ros.train.devices import Devices
        from octo_ros.train.finetune import plan_finetune
        from octo_ros.train.finetune import write_parameters

    options = finetune_settings.as_begun(args, training_options.read(args))
    _check_source(args)
    closed_loop_test.check_options(args, options.train)
    if _has_hosts(args):
        from octo_ros.train.devices import connect
        connect(args.coordinator, args.processes, args.process)
    set_up()
    Devices().check_batch(options.train.batch_size, options.train.optimizer.accumulate)
    with finetune_settings.settled(args, options), _first_process_speaks():
        base, episodes = _prepare(args, options)
        held_out = range(len(episodes) - options.hold_out, len(episodes))
        plan = plan_finetune(
            base, episodes, options.model, options.train, held_out=held_out,
            dataset=args.dataset, action_mask=_action_mask(args, episodes))
        write_parameters(args.out, {
            '': options.train, 'model.': options.model, 'scratch.': options.scratch})
        _train(args, options, plan)
    return 0


def _check_source(args: argparse.Namespace) -> None:
    """Raises ParameterError for an episode set with company, or with options it cannot follow."""
    from octo_ros.data.store import INDEX

    sets = [source for source in args.source if (source / INDEX).is_file()]
    if not sets:
        return
    if len(args.source) > 1:
        raise ParameterError('one episode set or several recordings must be given, got '
                             + ', '.join(map(str, args.source)))
    options = source_options.options_of_recordings(args) + ['--size'] * bool(args.size)
    if options:
        raise ParameterError(
            f"{', '.join(options)} must not go with an episode set, got {sets[0]}; build the set "
            'with them: octo-ros data build RECORDINGS --out SET')


def _has_hosts(args: argparse.Namespace) -> bool:
    """Whether there are several hosts; raises ParameterError for half an answer."""
    given = {'--coordinator': args.coordinator, '--processes': args.processes,
             '--process': args.process}
    lacking = [name for name, value in given.items() if value is None]
    if len(lacking) == len(given):
        return False
    if lacking:
        raise ParameterError(f"{', '.join(given)} must be given together, got none for "
                             f"{', '.join(lacking)}")
    if not 0 <= args.process < args.processes:
        raise ParameterError(f'--process must be from 0 to --processes - 1, got {args.process} '
                             f'of {args.processes}')
    return True


@contextlib.contextmanager
def _first_process_speaks() -> Iterator[None]:
    """Keeps all processes but the first from printing what it prints."""
    from octo_ros.train.devices import is_first

    with contextlib.ExitStack() as stack:
        if not is_first():
            nowhere = stack.enter_context(Path(os.devnull).open('w'))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        yield


def _train(args: argparse.Namespace, options: Options, plan: 'Plan') -> None:
    from octo_ros.train.devices import is_first
    from octo_ros.train.finetune import MERGE_FILE
    from octo_ros.train.finetune import merge_text
    from octo_ros.train.finetune import save_outcome
    from octo_ros.train.loop import train
    from octo_ros.train.progress import ProgressBar

    params = options.train
    if options.checkpoint:
        print(merge_text(plan.report, plan.model))
        if is_first():
            (args.out / MERGE_FILE).write_text(
                merge_text(plan.report, plan.model, whole=True) + '\n', encoding='utf-8')
    source = plan.setup.source
    if args.state and args.actions == 'recorded' and not source.spec.proprio:
        print(f'the policy is not given the state on {args.state}; --proprio does so')
    print(f'{source.examples} steps to train with, batches of {params.batch_size}')
    with contextlib.ExitStack() as stack:
        setup = plan.setup
        if args.closed_loop_every:
            test = stack.enter_context(closed_loop_test.ClosedLoopTest(
                plan.model, params, every=args.closed_loop_every,
                episodes=args.closed_loop_episodes, statistics_key=args.dataset or ''))
            setup = dataclasses.replace(setup, tests={**setup.tests, 'closed_loop': test})
        progress = stack.enter_context(ProgressBar(params.steps))
        outcome = train(setup, params, args.out, progress=progress)
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
              f'{report.error:.3f}, of the next action alone {report.next_error:.3f} ({listed})')
        if is_first():
            draw_predictions(report, names, args.out / f'predictions_{name}.png')
    print(f'checkpoint: {folder}\nmetrics, curves and TensorBoard files: {args.out}')


def _prepare(args: argparse.Namespace, options: Options) -> tuple['OctoModel', 'EpisodeSet']:
    """Loads or makes the model, and the episodes at its image sizes."""
    from octo_ros.policy.octo_model import OctoModel
    from octo_ros.policy.spec import image_inputs
    from octo_ros.train.devices import first_before_others
    from octo_ros.train.devices import is_first
    from octo_ros.train.scratch import scratch_model

    if options.checkpoint:
        model = OctoModel.load_pretrained(options.checkpoint, vocabulary=args.vocabulary)
        sizes = _sizes_for(image_inputs(model), data.sizes(args.size))
        with first_before_others('episodes'):
            return model, _episodes(args, sizes, options.hold_out)
    if options.train.mode != 'full' and is_first():
        _LOG.warning('--mode %s trains the action head of a new model alone: the rest stays '
                     'random; train it with --mode full', options.train.mode)
    with first_before_others('episodes'):
        episodes = _episodes(args, options.sizes, options.hold_out)
    texts = [text for entry in episodes.entries for text in entry['instructions']]
    with first_before_others('vocabulary'):
        model = scratch_model(
            options.scratch, episodes.image_sizes, episodes.actions.shape[1], texts,
            args.out / 'vocabulary', options.train.seed)
    return model, episodes


def _sizes_for(checkpoint: Mapping[str, tuple[int, int]], given: Mapping[str, tuple[int, int]]
               ) -> dict[str, tuple[int, int]]:
    """Returns the image sizes of a checkpoint, and those given for cameras that it lacks."""
    for key, size in given.items():
        wanted = checkpoint.get(key, size)
        if tuple(size) != tuple(wanted):
            raise ParameterError(
                f"--size of '{key.removeprefix('image_')}' must be that of the checkpoint, "
                f'{wanted[0]}x{wanted[1]}, got {size[0]}x{size[1]}; leave it out')
    return {**given, **checkpoint}


def _episodes(args: argparse.Namespace, sizes: Mapping[str, tuple[int, int]], hold_out: int
              ) -> 'EpisodeSet':
    """Returns the episodes. Raises ParameterError unless one is left to train with."""
    episodes = _open_episodes(args, sizes)
    if hold_out >= len(episodes):
        raise ParameterError(f'--hold-out must be less than the {len(episodes)} episodes of '
                             f'{episodes.path}, got {hold_out}')
    return episodes


def _open_episodes(args: argparse.Namespace, sizes: Mapping[str, tuple[int, int]]
                   ) -> 'EpisodeSet':
    """Opens an episode set, or makes one of recordings; it is kept for when the run goes on."""
    from octo_ros.data.store import INDEX
    from octo_ros.data.store import EpisodeSet

    first = args.source[0]
    if (first / INDEX).is_file():
        return EpisodeSet(first)
    folder = args.out / finetune_settings.EPISODES
    if (folder / INDEX).is_file():
        return EpisodeSet(folder)
    wanted = set(source_options.by_camera('--camera', args.camera))
    chosen = {key: size for key, size in sizes.items() if not wanted or key in wanted}
    return data.build(args, folder, chosen)


def _action_mask(args: argparse.Namespace, episodes: 'EpisodeSet') -> list[bool]:
    from octo_ros.data.statistics import gripper_mask
    from octo_ros.policy.profile import load_profile

    grippers = load_profile(args.robot).gripper.indices
    dimensions = episodes.actions.shape[1]
    return gripper_mask(
        dimensions, [index for index in grippers if index < dimensions]).tolist()
