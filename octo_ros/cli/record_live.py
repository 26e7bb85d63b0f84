"""`octo-ros record --live`: episodes of a running robot, begun and ended by the keyboard."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from octo_ros.cli import output_folder
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError

if TYPE_CHECKING:
    from octo_ros.nodes.live_recorder import LiveRecorder

_ROBOT = 'widowx'
_OPTIONS = ('robot', 'camera', 'state', 'action', 'gripper', 'topic', 'instruction', 'duration')
_ANSWERS = {'': True, 's': True, 'f': False, 'd': None}
_MENU = '  Enter or s: success, f: failure, d: drop'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of live recording."""
    live = parser.add_argument_group('live robot')
    live.add_argument('--live', action='store_true', help='record the topics of a running robot')
    live.add_argument('--robot', default='', metavar='NAME',
                      help=f'robot profile: a name, or a YAML file ({_ROBOT})')
    live.add_argument('--camera', action='append', default=[], metavar='TOPIC',
                      help='image topic, raw or compressed; once for each camera')
    live.add_argument('--state', default='', metavar='TOPIC',
                      help='JointState of what is measured')
    live.add_argument('--action', default='', metavar='TOPIC',
                      help='what the robot is told: JointState, Float64MultiArray, '
                      'JointTrajectory, PoseStamped, or TwistStamped, which is also kept as '
                      'actions')
    live.add_argument('--gripper', default='', metavar='TOPIC',
                      help="Float64MultiArray of the gripper, for twists and poses; from the "
                      "profile's gripper.closed_value to gripper.open_value")
    live.add_argument('--topic', action='append', default=[], help='any other topic to keep; it '
                      'may be silent')
    live.add_argument('--instruction', default='', metavar='TEXT', help='what is being done')
    live.add_argument('--duration', type=float, default=0.0, metavar='S',
                      help='one episode of so many seconds, without asking')


def refuse_options(args: argparse.Namespace) -> None:
    """Raises ParameterError for options of live recording: the simulator has no use for them."""
    given = [f'--{name}' for name in _OPTIONS if getattr(args, name)]
    if given:
        raise ParameterError(f"{', '.join(given)} must go with --live, got no --live; add it, or "
                             'leave them out to record in the simulator')


def run(args: argparse.Namespace) -> int:
    """Records until told to stop; returns 0."""
    from octo_ros.policy.profile import load_profile

    if not args.camera or not args.action:
        raise ParameterError('--live must be told what to record: give --camera (once for each) '
                             'and --action')
    if not args.instruction.strip():
        raise ParameterError("--instruction must say what is being done, got ''")
    if args.duration < 0.0:
        raise ParameterError(f'--duration must not be negative, got {args.duration}')
    profile = load_profile(args.robot or _ROBOT)
    try:
        from octo_ros.nodes.live_recorder import LiveRecorder
        from octo_ros.nodes.live_recorder import LiveTopics
    except ImportError as error:
        raise OctoError(f"live recording must have ROS 2's Python packages, got: {error}; source "
                        "a ROS installation or pip install 'octo_ros[ros]'") from error
    topics = LiveTopics(tuple(args.camera), args.action, args.state, args.gripper,
                        tuple(args.topic))
    with LiveRecorder(topics, profile) as recorder:
        args.out.mkdir(parents=True, exist_ok=True)
        with output_folder.alone(args.out):  # two recorders would choose the same names
            if args.duration:
                print(f'Recording {_start(recorder, args)} for {args.duration:g} s.', flush=True)
                _finish(recorder, args, lambda: _wait(args.duration))
                return 0
            return _by_keyboard(recorder, args)


def _by_keyboard(recorder: 'LiveRecorder', args: argparse.Namespace) -> int:
    print('Enter: begin an episode; q: quit', flush=True)
    for line in sys.stdin:
        if line.strip() == 'q':
            break
        try:
            print(f'Recording {_start(recorder, args)}.', flush=True)
            _finish(recorder, args, _ask)
        except OctoError as error:
            print(error, file=sys.stderr)
        print('Enter: begin an episode; q: quit', flush=True)
    return 0


def _finish(recorder: 'LiveRecorder', args: argparse.Namespace,
            judge: Callable[[], bool | None]) -> None:
    """Ends the episode when `judge` returns; Ctrl-C ends the command, but the episode as told."""
    try:
        success = judge()
    except KeyboardInterrupt as stop:
        # Other signals are subclasses: nobody is there to answer then.
        if type(stop) is KeyboardInterrupt:
            print('Interrupted. What becomes of the episode? Ctrl-C again drops it.', flush=True)
            _report(recorder.stop(_ask()), args.out)
        raise
    _report(recorder.stop(success), args.out)


def _wait(duration_s: float) -> bool:
    time.sleep(duration_s)
    return True


def _ask() -> bool | None:
    """Returns how the episode went, by the keyboard; None to drop it."""
    while True:
        print(_MENU, flush=True)
        answer = sys.stdin.readline()
        if not answer:  # the input ended: nobody has said how it went
            return None
        if answer.strip() in _ANSWERS:
            return _ANSWERS[answer.strip()]


def _start(recorder: 'LiveRecorder', args: argparse.Namespace) -> str:
    name = _next_name(args.out)
    recorder.start(args.out / name, args.instruction, {'robot': args.robot or _ROBOT})
    return name


def _next_name(folder: Path) -> str:
    taken = [int(item.name[8:]) for item in folder.glob('episode_*') if item.name[8:].isdigit()]
    return f'episode_{max(taken, default=-1) + 1:04d}'


def _report(counts: dict[str, int], folder: Path) -> None:
    if not counts:
        print('dropped', flush=True)
        return
    listed = ', '.join(f'{topic} {count}' for topic, count in counts.items())
    print(f'saved in {folder}: {listed}', flush=True)
    silent = [topic for topic, count in counts.items() if not count]
    if silent:
        print(f"warning: nothing came on {', '.join(silent)}", file=sys.stderr, flush=True)
