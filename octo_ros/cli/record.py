"""`octo-ros record`: demonstrations as rosbag2 recordings, an episode a bag."""

import argparse
import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from octo_ros.cli import output_folder
from octo_ros.cli import record_live
from octo_ros.cli import record_set
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.params import from_flat

if TYPE_CHECKING:
    from octo_ros.bags.recording import ImageFormat
    from octo_ros.sim.rollout import Episode
    from octo_ros.sim.rollout import Job
    from octo_ros.sim.tasks import Task

START_NS = 1_700_000_000_000_000_000  # fixed, so that the same seed gives the same bytes
MAX_STEPS = 60  # disturbances cost time; without them the slowest task takes 30


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'record', help='record demonstrations, in the simulator or of a live robot',
        description='Lets a scripted expert do tasks in the simulator and writes an episode a bag '
        '(rosbag2, mcap), with the topics of a robot. Run again, it goes on where it was stopped. '
        'With --size it writes an episode set, ready for training, instead; its episodes lie in '
        '.OUT.recording until all are there. With --live it records the topics of a running '
        'robot instead.')
    parser.add_argument('out', type=Path, help='folder for the bags')
    sim = parser.add_argument_group('simulator')
    sim.add_argument('--episodes', type=int, default=100, metavar='N',
                     help='how many (100); with --every-colour, how many scenes')
    sim.add_argument('--seed', type=int, default=0, metavar='N',
                     help='seed of the first; each further episode has the next one (0)')
    sim.add_argument('--tasks', nargs='+', default=[], metavar='TASK',
                     help='kinds (reach, lift, put, push) or names (lift_red); all if left')
    sim.add_argument('--every-colour', action='store_true',
                     help='do the task of each seed with every block for which it is possible: '
                     'from a scene that is told in several ways, a policy learns to listen')
    sim.add_argument('--interrupted', type=float, default=0.0, metavar='SHARE',
                     help='share of the scenes that begin in the middle of another task, from '
                     'which a policy learns to change its course (0)')
    sim.add_argument('--no-noise', action='store_true',
                     help='do not disturb what is executed; there is less to learn from then')
    sim.add_argument('--processes', type=int, default=1, metavar='N', help='at the same time (1)')
    sim.add_argument('--image-format', metavar='FORMAT', help='jpeg or png, in bags (jpeg)')
    sim.add_argument('--jpeg-quality', type=int, metavar='1..100', help='in bags (95)')
    record_set.add_arguments(sim)
    record_live.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Records; returns 0."""
    if args.live:
        return record_live.run(args)
    record_live.refuse_options(args)
    for name in ('episodes', 'processes'):
        if getattr(args, name) < 1:
            raise ParameterError(f'--{name} must be at least 1, got {getattr(args, name)}')
    if args.seed < 0:
        raise ParameterError(f'--seed must not be negative, got {args.seed}')
    if not 0.0 <= args.interrupted <= 1.0:
        raise ParameterError(f'--interrupted must be from 0 to 1, got {args.interrupted}')
    tasks = named_tasks(args.tasks)
    jobs = _jobs(tasks, range(args.seed, args.seed + args.episodes),
                 every_colour=args.every_colour)
    settings = {'tasks': [task.name for task in tasks], 'noise': not args.no_noise,
                'interrupted': args.interrupted}
    image_options = {
        name: value for name, value in (('format', args.image_format),
                                        ('jpeg_quality', args.jpeg_quality)) if value is not None}
    if args.size:
        if image_options:
            raise ParameterError('--image-format and --jpeg-quality are for bags, got --size, '
                                 'whose set holds frames as they are; leave them out')
        return record_set.run(args, jobs, settings, functools.partial(_record, args))
    from octo_ros.bags.recording import ImageFormat

    image_format = from_flat(ImageFormat, image_options, source='octo-ros record')
    with output_folder.prepared(args.out, record_set.SETTINGS,
                                settings | dataclasses.asdict(image_format)):
        todo = output_folder.left(args.out, [job.name for job in jobs])
        done = list(_record(args, [job for job in jobs if job.name in todo], functools.partial(
            write, folder=args.out, image_format=image_format, noise=not args.no_noise)))
    if done:
        print(f'{len(done)} episodes with {sum(steps for steps, _ in done)} steps in {args.out}, '
              f'{sum(success for _, success in done)} successful')
    return 0


def named_tasks(names: Sequence[str]) -> list['Task']:
    """Returns tasks by kind or name; all when none is named. Raises ParameterError."""
    from octo_ros.sim.tasks import KINDS
    from octo_ros.sim.tasks import all_tasks

    chosen: dict[str, Task] = {}
    for name in names or KINDS:
        found = {task.name: task for task in all_tasks() if name in (task.kind, task.name)}
        if not found:
            known = [*KINDS, *(task.name for task in all_tasks())]
            raise ParameterError(f"task must be one of {', '.join(known)}, got '{name}'"
                                 f'{closest(name, known)}')
        chosen.update(found)
    return list(chosen.values())


def write(episode: 'Episode', folder: Path, image_format: 'ImageFormat',
          noise: bool) -> tuple[int, bool]:
    """Writes an episode of the simulator; returns its steps and success."""
    from octo_ros.bags.recording import RecordedEpisode
    from octo_ros.bags.recording import write_episode
    from octo_ros.sim.rollout import Job
    from octo_ros.sim.viperx import JOINTS

    write_episode(
        folder / Job(episode.task, episode.seed).name,
        RecordedEpisode(
            instruction=episode.instruction, success=episode.success,
            stamps_ns=episode.stamps_ns, images=episode.images, state=episode.proprio,
            actions=episode.actions, joints=episode.joints, joint_names=JOINTS,
            facts={'task': episode.task.name, 'seed': episode.seed,
                   'paraphrases': list(episode.paraphrases), 'noise': noise,
                   'robot': 'viperx_sim'}),
        start_ns=START_NS, image_format=image_format)
    return len(episode), episode.success


def _jobs(tasks: Sequence['Task'], seeds: range, *, every_colour: bool) -> list['Job']:
    from octo_ros.sim.randomization import sample_layout
    from octo_ros.sim.rollout import Job
    from octo_ros.sim.rollout import task_for_seed
    from octo_ros.sim.tasks import recoloured

    jobs = []
    for seed in seeds:
        layout = sample_layout(seed)
        task = task_for_seed(seed, layout, tasks)
        alike = recoloured(task, layout) if every_colour else [task]
        jobs += [Job(task, seed) for task in alike if task in tasks]
    return jobs


def _record(args: argparse.Namespace, jobs: Sequence['Job'], finish: Callable[['Episode'], Any],
            **options: Any) -> Iterable[Any]:
    """Runs the jobs with a progress bar; gives what `finish` makes of each, see `run_many`."""
    from rich.progress import track

    from octo_ros.sim.rollout import NoiseParams
    from octo_ros.sim.rollout import run_many

    episodes = run_many(
        jobs, processes=min(args.processes, len(jobs)), finish=finish, max_steps=MAX_STEPS,
        interrupted=args.interrupted, noise=None if args.no_noise else NoiseParams(), **options)
    return track(episodes, f'Recording to {args.out}', total=len(jobs))
