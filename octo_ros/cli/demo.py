"""`octo-ros demo`: the policy at work in the simulator, over DDS, with a film and a picture."""

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from octo_ros.cli import named_checkpoint
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.workers import ending_signals

if TYPE_CHECKING:
    from octo_ros.nodes.demo_live import Act

FIRST_SEED = 2_000_000  # far from those of `octo-ros record` and `octo-ros eval`
BY_WORDS, BY_GOAL, FIRST, THEN = 'lift_red', 'lift_blue', 'lift_blue', 'put_green_plate'
CHANGE_AFTER_S = 1.0
UNTRAINED = 'The weights are UNTRAINED: expect failure. The parts work together, that is all.'
VIDEO_KINDS = ('mp4', 'gif')


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'demo', help='watch the policy drive the simulated robot, over real DDS',
        description='Simulator and controller in processes of their own, in real time: a task in '
        'words, one by goal images, and a change of the instruction in mid-run. Leaves a film and '
        'a picture. Where this machine cannot draw, a recording is played instead.')
    parser.add_argument('--checkpoint', help=f'{named_checkpoint.HELP} (shipped)')
    parser.add_argument('--instruction', metavar='TEXT',
                        help="one task only, in the simulator's words ('lift the red block')")
    parser.add_argument('--seed', type=int, default=FIRST_SEED, metavar='N',
                        help=f'of the first scene ({FIRST_SEED}); training used small ones')
    parser.add_argument('--max-steps', type=int, default=40, metavar='N',
                        help='policy steps after which a task has failed (40: 8 s)')
    parser.add_argument('--out', type=Path, default=Path('demo_out'), metavar='DIR',
                        help='where film, picture and logs go (demo_out)')
    parser.add_argument('--video', choices=VIDEO_KINDS,
                        help='kind of the film (mp4 where PyAV is installed, else gif)')
    parser.add_argument('--view', action='store_true', help='open a window onto the scene')
    parser.add_argument('--recording', action='store_true',
                        help='play the shipped recording into the controller instead')


def run(args: argparse.Namespace) -> int:
    """Runs the demo, prints what happened and leaves film and picture."""
    if args.instruction is not None and not args.instruction.strip():
        raise ParameterError("--instruction must say something, got ''")
    for name, least in (('max_steps', 1), ('seed', 0)):
        if getattr(args, name) < least:
            raise ParameterError(f"--{name.replace('_', '-')} must be at least {least}, got "
                                 f'{getattr(args, name)}')
    args.out.mkdir(parents=True, exist_ok=True)
    _prepare_ros(args.out)
    if not args.recording:
        from octo_ros.sim import gl

        problem = gl.problem()
        if not problem:
            return _run_live(args)
        print(f'No simulation on this machine: {problem}.\nThe shipped recording is shown '
              'instead.', file=sys.stderr, flush=True)
    from octo_ros.cli import demo_recording

    return demo_recording.run(args)


def _prepare_ros(folder: Path) -> None:
    from octo_ros.nodes.isolation import isolated

    os.environ.update(isolated({
        'ROS_LOG_DIR': str(folder.resolve() / 'log'), **os.environ}))
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise OctoError(f"the demo must have ROS 2's Python packages, got: {error}; source a ROS "
                        "installation or pip install 'octo_ros[ros]'") from error


def _run_live(args: argparse.Namespace) -> int:
    from octo_ros.assets import is_untrained
    from octo_ros.cli import demo_report
    from octo_ros.nodes import demo_live
    from octo_ros.sim.video import can_write_mp4
    from octo_ros.sim.viewer import check_display

    begin_s = time.monotonic()
    if args.view:
        check_display()
    checkpoint = named_checkpoint.checkpoint_path(args.checkpoint or named_checkpoint.SHIPPED)
    note = UNTRAINED if is_untrained(checkpoint) else ''
    acts = _one_act(args.instruction, args.seed) if args.instruction else _acts(args.seed)
    print(f'Policy: {checkpoint}')
    if note:
        print(note)
    with _interruptible() as stopping:
        result = demo_live.run(checkpoint, acts, args.out, view=args.view, stopping=stopping,
                               max_steps=args.max_steps,
                               say=lambda text: print(f'  {text}', flush=True))
    print(demo_report.summary(result))
    if note:
        print(note)
    film = args.out / f"demo.{args.video or ('mp4' if can_write_mp4() else 'gif')}"
    demo_report.film(result, film)
    picture = args.out / 'demo.png'
    demo_report.picture(result, picture, note)
    print(f'Film: {film}\nPicture: {picture}\nDone in {time.monotonic() - begin_s:.0f} s.')
    return 0


def _acts(seed: int) -> Sequence['Act']:
    from octo_ros.nodes.demo_live import Act
    from octo_ros.sim.tasks import task_named
    from octo_ros.sim.trials import Trial

    return (Act(Trial('language', task_named(BY_WORDS), seed)),
            Act(Trial('goal', task_named(BY_GOAL), seed + 1)),
            Act(Trial('language', task_named(THEN), seed + 2), first=task_named(FIRST),
                change_after_s=CHANGE_AFTER_S))


def _one_act(text: str, seed: int) -> Sequence['Act']:
    """Returns the act of an instruction, whose task is found by its words."""
    from octo_ros.nodes.demo_live import Act
    from octo_ros.sim.tasks import all_tasks
    from octo_ros.sim.trials import Trial

    known = {words: task for task in all_tasks() for held_out in (False, True)
             for words in task.instructions(held_out=held_out)}
    task = known.get(' '.join(text.lower().split()))
    if task is None:
        raise ParameterError(
            "--instruction must be in words whose success the simulator can tell, such as 'lift "
            f"the red block' or 'put the green block in the bowl', got '{text}'"
            f'{closest(text, known)}; say anything with `ros2 launch octo_ros demo.launch.py`')
    return (Act(Trial('language', task, seed), text=text),)


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Gives an event that signals set, so that what was started is ended in good order."""
    stopping = threading.Event()

    def on_signal(_number: int, _frame: Any) -> None:
        stopping.set()

    previous = {number: signal.signal(number, on_signal)
                for number in ending_signals()}
    try:
        yield stopping
    except OctoError:
        if not stopping.is_set():
            raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if stopping.is_set():
        raise KeyboardInterrupt
