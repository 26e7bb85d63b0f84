"""`octo-ros replay`: runs a recording through the policy and compares with what was recorded."""

import argparse
import contextlib
import math
import sys
import tempfile
import types
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from octo_ros.cli import named_checkpoint
from octo_ros.cli import replay_report
from octo_ros.cli.source_options import by_camera
from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.params import from_flat

if TYPE_CHECKING:
    from octo_ros.bags.episodes import TopicMap
    from octo_ros.bags.reader import BagReader
    from octo_ros.bags.results import ReplayResult
    from octo_ros.data.grippers import Grippers
    from octo_ros.policy.control_loop import LoopParams
    from octo_ros.policy.profile import RobotProfile

CHUNKS = 'chunks'


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'replay', help='run a recording through the policy and compare the actions',
        description='Feeds a rosbag2 recording (sqlite3 or mcap, raw or compressed images) to the '
        'policy on the path that live topics take. Offline it gives the same numbers to the bit '
        'for one seed; with --live it plays into the real node over DDS.')
    parser.add_argument('bag', type=Path, help='folder of the recording, or its storage file')
    parser.add_argument('--checkpoint', required=True, help=named_checkpoint.HELP)
    parser.add_argument('--step', type=int, default=-1, help='training step; the latest if left')
    parser.add_argument('--robot', default='widowx',
                        help='robot profile: a name, or a YAML file (%(default)s)')
    parser.add_argument('--camera', action='append', default=[], metavar='KEY=TOPIC',
                        help='topic of a camera of the checkpoint; once for each camera; '
                        'topics that name a key if left')
    parser.add_argument('--proprio', metavar='TOPIC', help='JointState topic for proprio')
    parser.add_argument('--proprio-names', nargs='+', default=[], metavar='JOINT',
                        help='joints to take from it, in this order; all as they come if left')
    parser.add_argument('--pose', metavar='TOPIC', help='PoseStamped topic of the measured pose')
    parser.add_argument('--joints', metavar='TOPIC', help='JointState topic of measured joints')
    parser.add_argument('--action-topic', metavar='TOPIC',
                        help='recorded action; /expert_action or /action if there')
    parser.add_argument('--gripper', metavar='TOPIC',
                        help='Float64MultiArray of the gripper, for recorded twists or poses')
    parser.add_argument('--gripper-range', nargs=2, type=float, metavar=('CLOSED', 'OPEN'),
                        help='recorded numbers of a closed and an open gripper, as for training')
    parser.add_argument('--instruction', metavar='TEXT',
                        help='the task; the one on the topic /instruction if left')
    parser.add_argument('--goal', action='append', default=[], metavar='KEY=IMAGE',
                        help='file of a goal image; once for each key')
    parser.add_argument('--seed', type=int, default=0, help='of the random numbers (%(default)s)')
    parser.add_argument('--vocabulary', default='', metavar='PATH',
                        help='sentencepiece file of the language model')
    parser.add_argument('--execution', default='receding_horizon',
                        choices=('receding_horizon', 'temporal_ensemble'),
                        help='how chunks become actions (%(default)s)')
    parser.add_argument('--execute-steps', type=int, default=0, metavar='N',
                        help='steps from one inference to the next; half of a chunk if left')
    parser.add_argument('--window', type=int, default=0, help="history; the checkpoint's if left")
    parser.add_argument('--clock-offset', type=float, default=0.0, metavar='S',
                        help='seconds by which the times of recording are ahead of the header '
                        'stamps, to be taken off (%(default)s)')
    parser.add_argument('--live', action='store_true', help='over DDS, to the real node')
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='where to write; octo_replay/<name of the recording> if left')
    parser.add_argument('--max-error', type=float, metavar='X',
                        help='exit with 1 when the mean absolute error of a dimension is greater')
    parser.add_argument('--min-compared', type=float, default=0.5, metavar='PART',
                        help='with --max-error, exit with 1 when fewer of the recorded policy '
                        'steps have a prediction to compare (%(default)s)')


def run(args: argparse.Namespace) -> int:
    """Replays; returns 1 when the error is greater than asked for."""
    from octo_ros.bags.reader import BagReader
    from octo_ros.policy.profile import load_profile
    from octo_ros.policy.text import check_instruction

    if args.instruction is not None:  # the node takes an empty one for none
        check_instruction(args.instruction)
    if not math.isfinite(args.clock_offset):
        raise ParameterError(f"'--clock-offset' must be finite, got {args.clock_offset}")
    if args.proprio_names and not args.proprio:
        raise ParameterError("'--proprio-names' must go with --proprio, the topic that has them, "
                             'got no --proprio')
    if args.max_error is not None and not args.max_error >= 0.0:  # nor is NaN
        raise ParameterError(f"'--max-error' must be at least 0, got {args.max_error}")
    if not 0.0 <= args.min_compared <= 1.0:
        raise ParameterError(f"'--min-compared' must be from 0 to 1, got {args.min_compared}")
    args.checkpoint = named_checkpoint.checkpoint_path(args.checkpoint)
    profile = load_profile(args.robot)
    _check_measured(args, profile)
    _grippers(args, profile)  # before the checkpoint is loaded, which takes long
    loop = _loop(args, profile)
    cameras = by_camera('--camera', args.camera)
    with BagReader(args.bag, clock_offset_s=args.clock_offset) as bag:
        for topic in (*cameras.values(), args.proprio, args.pose, args.joints, args.action_topic,
                      args.gripper):
            if topic:  # before the checkpoint is loaded, which takes long
                bag.require(topic)
        folder = args.out or Path('octo_replay') / bag.name
        _make(folder)
        replay = _live if args.live else _offline
        result = replay(args, bag, profile, loop)
        with _writing(folder):
            _write(folder, result, bag, profile, loop, args)
    return replay_report.report(
        result, profile, [folder / 'actions.csv', folder / 'actions.png', folder / CHUNKS],
        max_error=args.max_error, min_compared=args.min_compared)


def _check_measured(args: argparse.Namespace, profile: 'RobotProfile') -> None:
    """Refuses a measured state that the profile's targets do not start from."""
    from octo_ros.messages.ingest import MEASURED_JOINTS
    from octo_ros.messages.ingest import MEASURED_POSE
    from octo_ros.messages.measured import measured_streams

    used = measured_streams(profile)
    for option, topic, stream, fit in (
            ('--joints', args.joints, MEASURED_JOINTS, 'actions of joints'),
            ('--pose', args.pose, MEASURED_POSE, 'commands of type pose')):
        if topic and stream not in used:
            raise ParameterError(
                f"'{option}' is for profiles with {fit}, '{args.robot}' has actions of space "
                f'{profile.action.space} and commands of type {profile.command.type}; leave it '
                "out ('--proprio' gives joints to the policy)")


def _make(folder: Path) -> None:
    """Makes the folder of the output and tries whether it can be written."""
    from octo_ros.bags.outputs import require_room

    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    require_room(folder / CHUNKS)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Says what an error of the system means: `--out` does not fit."""
    try:
        yield
    except OSError as error:
        raise ParameterError(f"'--out' must be a folder that can be written, got '{folder}': "
                             f'{error}') from error


def _loop(args: argparse.Namespace, profile: 'RobotProfile') -> 'LoopParams':
    from octo_ros.policy.control_loop import LoopParams

    return from_flat(LoopParams, {
        'step_s': profile.step_s, 'window': args.window, 'execution': args.execution,
        'execute_steps': args.execute_steps}, source='octo-ros replay')


def _grippers(args: argparse.Namespace, profile: 'RobotProfile') -> 'Grippers':
    from octo_ros.data.grippers import Grippers

    return Grippers.of(profile, args.gripper_range, reached=False, commanded=bool(args.gripper))


def _goals(args: argparse.Namespace) -> dict[str, types.SimpleNamespace]:
    return {key: _read_image(Path(file))
            for key, file in by_camera('--goal', args.goal).items()}


def _offline(args: argparse.Namespace, bag: 'BagReader', profile: 'RobotProfile',
             loop: 'LoopParams') -> 'ReplayResult':
    from octo_ros.bags.replay import OfflineReplay
    from octo_ros.bags.results import require_actions
    from octo_ros.messages.runtime import Runtime
    from octo_ros.policy.policy import OctoPolicy
    from octo_ros.policy.policy import PolicyParams

    goals = _goals(args)
    policy = OctoPolicy.load(from_flat(PolicyParams, {
        'checkpoint': args.checkpoint, 'checkpoint_step': args.step, 'seed': args.seed,
        'vocabulary': args.vocabulary, 'statistics_key': profile.statistics_key,
        'normalization_type': profile.normalization_type}, source='octo-ros replay'))
    topics = _topics(args, bag, tuple(policy.spec.image_sizes), policy.spec.goal_cameras, profile)
    runtime = Runtime(policy, loop, profile, image_keys=topics.image_keys,
                      proprio=bool(args.proprio), proprio_names=args.proprio_names)
    runtime.prepare(_tell)
    for key, image in goals.items():
        runtime.set_goal(key, image)
    if args.instruction is not None:
        runtime.set_instruction(args.instruction)
    if not runtime.task.empty:  # its parts may lack what the whole of it has
        for note in policy.check_task(runtime.task):
            _tell(note)
    with _progress(bag, topics) as advance:
        replay = OfflineReplay(
            runtime, topics, names=profile.action.names, step_ns=loop.step_ns,
            robot=profile, grippers=_grippers(args, profile), fixed_task=not runtime.task.empty,
            on_message=advance, on_note=_tell)
        result = replay.run(bag.messages(topics.topics))
    require_actions(result, max_age_s=loop.max_observation_age_s, taken_off_s=args.clock_offset)
    return result


def _live(args: argparse.Namespace, bag: 'BagReader', profile: 'RobotProfile',
          loop: 'LoopParams') -> 'ReplayResult':
    from octo_ros.bags.live import collect_live
    from octo_ros.bags.results import require_actions
    from octo_ros.nodes.live_replay import run_live
    from octo_ros.policy.spec import checkpoint_goal_cameras
    from octo_ros.policy.spec import checkpoint_image_keys

    goals = _goals(args)
    # The node loads the model; here it would be a second one.
    checkpoint = args.checkpoint, None if args.step < 0 else args.step
    topics = _topics(args, bag, checkpoint_image_keys(*checkpoint),
                     checkpoint_goal_cameras(*checkpoint) if goals else {}, profile)
    with _progress(bag, topics) as advance:
        chunks = run_live(
            args.bag, cameras={key: topics.streams[key] for key in topics.image_keys},
            others={name: topic for name, topic in topics.streams.items()
                    if name not in topics.image_keys},
            instruction=args.instruction,
            # As offline: with goals, what the recording says is not the task.
            instruction_topic=None if goals else topics.instruction, goals=goals,
            parameters={
                'robot': args.robot, 'policy.checkpoint': args.checkpoint,
                'policy.checkpoint_step': args.step, 'policy.seed': args.seed,
                'policy.vocabulary': args.vocabulary, 'loop.window': args.window,
                'loop.execution': args.execution, 'loop.execute_steps': args.execute_steps,
                'proprio': bool(args.proprio),
                **({'proprio_names': args.proprio_names} if args.proprio_names else {})},
            clock_offset_s=args.clock_offset, on_message=advance)
    result = collect_live(
        bag.messages(topics.topics), chunks, topics, names=profile.action.names,
        loop=loop, task='' if goals and args.instruction is None else args.instruction,
        pose_angles=profile.pose_angles, robot=profile, grippers=_grippers(args, profile))
    require_actions(result, max_age_s=loop.max_observation_age_s, taken_off_s=args.clock_offset)
    return result


def _read_image(path: Path) -> types.SimpleNamespace:
    """Returns an image file as a compressed image message."""
    from octo_ros.messages.conversions import decode_image

    if not path.is_file():
        raise ParameterError(f"'--goal' must name an image file, there is none at {path}")
    message = types.SimpleNamespace(format=path.suffix.lstrip('.'), data=path.read_bytes())
    try:
        decode_image(message)
    except ObservationError as error:
        raise ParameterError(f"'--goal' must name an image file, {path} is none: {error}"
                             ) from error
    return message


def _topics(args: argparse.Namespace, bag: 'BagReader', image_keys: Sequence[str],
            goal_cameras: Mapping[str, Sequence[str]], profile: 'RobotProfile') -> 'TopicMap':
    from octo_ros.bags.command_actions import require_commands_to_fit
    from octo_ros.bags.episodes import map_topics

    others = {'proprio': args.proprio, 'measured_pose': args.pose,
              'measured_joints': args.joints}
    topics = map_topics(
        bag, image_keys, cameras=by_camera('--camera', args.camera), action=args.action_topic,
        gripper=args.gripper,
        others={name: topic for name, topic in others.items() if topic})
    require_commands_to_fit(bag, topics, profile)
    if args.instruction is None and topics.instruction is None and not args.goal:
        raise ParameterError(
            "'--instruction' or '--goal' must be given: the recording has no topic /instruction")
    if args.goal and args.instruction is None:
        _check_goals_alone(by_camera('--goal', args.goal), topics, goal_cameras)
    return topics


def _check_goals_alone(goals: Collection[str], topics: 'TopicMap',
                       goal_cameras: Mapping[str, Sequence[str]]) -> None:
    """Refuses goals that are the whole task and that the policy does not see."""
    from octo_ros.policy.types import goal_has_effect

    # What no tokenizer reads is refused with the keys that there are, when it is set.
    if not any(goal_has_effect(goal_cameras.get(key, ()), topics.image_keys) for key in goals):
        needed = dict.fromkeys(camera for key in goals for camera in goal_cameras[key])
        raise ParameterError(
            f"'--goal' must be one that the mapped cameras ({', '.join(topics.image_keys)}) use "
            f"where it is the whole task, got {', '.join(goals)}: it would have no effect; give "
            f"--camera for {' or '.join(needed)}, or --instruction")
    if topics.instruction is not None:
        _tell(f'The instruction on {topics.instruction} is not used, --goal is the task; give '
              '--instruction to have both.')


def _tell(note: str) -> None:
    print(note, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _progress(bag: 'BagReader', topics: 'TopicMap') -> Iterator[Callable[[], None]]:
    """Shows a bar over the messages of a recording on a terminal's standard error."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        total = sum(bag.counts.get(topic, 0) for topic in topics.topics)
        bar = progress.add_task(f'replaying {bag.name}', total=total or None)
        yield lambda: progress.advance(bar)


def _write(folder: Path, result: 'ReplayResult', bag: 'BagReader', profile: 'RobotProfile',
           loop: 'LoopParams', args: argparse.Namespace) -> None:
    from octo_ros.bags.outputs import write_bag
    from octo_ros.bags.outputs import write_csv
    from octo_ros.bags.outputs import write_picture

    names = profile.action.names
    write_csv(folder / 'actions.csv', result.steps, names)
    title = f'{bag.name}: {result.task}' if result.task else bag.name
    how = 'live' if args.live else 'offline'
    write_picture(folder / 'actions.png', result, title=title, names=names, step_s=loop.step_s,
                  note=f'{args.checkpoint}, {how}, seed {args.seed}')
    write_bag(folder / CHUNKS, result, profile, step_ns=loop.step_ns, types=bag.types)
