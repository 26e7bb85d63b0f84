"""`octo-ros eval`: how often a policy does its tasks in the simulator, over ROS or without."""

import argparse
import dataclasses
import json
import logging
import queue
import threading
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

from octo_ros.cli import named_checkpoint
from octo_ros.cli import output_folder
from octo_ros.cli.record import named_tasks
from octo_ros.cli.weights import weights_of
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError

if TYPE_CHECKING:
    import numpy as np

    from octo_ros.sim.trials import Outcome
    from octo_ros.sim.trials import Trial

SETTINGS = 'eval.json'
FIRST_SEED = 1_000_000  # far from those of `octo-ros record`
DEFAULT_CONDITIONS = ('language', 'unseen', 'goal')
_VIDEO_SIZE = 192
_LOG = logging.getLogger('octo_ros.cli')


class Session(Protocol):
    """What runs trials one after another."""

    def run(self, trial: 'Trial') -> 'Outcome':
        """Runs one trial."""

    def close(self) -> None:
        """Frees what it holds."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'eval', help='measure how often a policy does its tasks in the simulator',
        description='Runs the policy in closed loop in scenes that training never saw: the '
        'controller node and the simulator node, each in its own process, over real DDS. Gives '
        'success with 95 % Wilson intervals, and videos. Run again, it goes on where it was '
        'stopped.')
    parser.add_argument('--checkpoint', default=named_checkpoint.SHIPPED,
                        help=f'{named_checkpoint.HELP} (shipped)')
    parser.add_argument('--out', type=Path, default=Path('eval_out'), metavar='DIR',
                        help='where tables, videos and logs go (eval_out)')
    parser.add_argument('--conditions', nargs='+', default=list(DEFAULT_CONDITIONS),
                        metavar='NAME', help='how the policy is told: language, unseen (wording), '
                        'goal, changed (from another block, on the way), held (another block, '
                        'when it is told); controls: colourless, blank, black '
                        '(language unseen goal)')
    parser.add_argument('--tasks', nargs='+', default=[], metavar='TASK',
                        help='kinds (reach, lift, put, push) or names (lift_red); all if left')
    parser.add_argument('--episodes', type=int, default=100, metavar='N',
                        help='for each condition and kind of task (100)')
    parser.add_argument('--seed', type=int, default=FIRST_SEED, metavar='N',
                        help=f'seed of the first scene ({FIRST_SEED})')
    parser.add_argument('--policy-seed', type=int, default=0, metavar='N',
                        help="of the policy's random numbers (0)")
    parser.add_argument('--workers', type=int, default=1, metavar='N',
                        help='trials at the same time, each with its own processes (1)')
    parser.add_argument('--max-steps', type=int, default=40, metavar='N',
                        help='policy steps after which a trial has failed (40: 8 s)')
    parser.add_argument('--execute-steps', type=int, default=0, metavar='N',
                        help='steps from one inference to the next; half of a chunk if left')
    parser.add_argument('--robot', default='viperx_sim', help='robot profile (viperx_sim)')
    parser.add_argument('--fast', action='store_true', help='in one process, without ROS')
    parser.add_argument('--real-time', action='store_true',
                        help='the simulator does not wait for the policy')
    parser.add_argument('--videos', type=int, default=2, metavar='N',
                        help='of so many successes and failures each, by condition and kind (2)')


def run(args: argparse.Namespace) -> int:
    """Measures; returns 0."""
    from octo_ros.sim.trials import OutcomeFile
    from octo_ros.sim.trials import make_trials

    for name, least in (('episodes', 1), ('workers', 1), ('max_steps', 1), ('videos', 0),
                        ('seed', 0)):
        if getattr(args, name) < least:
            raise ParameterError(f"--{name.replace('_', '-')} must be at least {least}, got "
                                 f'{getattr(args, name)}')
    if args.fast and args.real_time:
        raise ParameterError('--real-time must be used without --fast, got both')
    trials = make_trials(args.conditions, named_tasks(args.tasks),
                         range(args.seed, args.seed + args.episodes))
    weights = weights_of(_checkpoint(args))
    args.checkpoint_step = weights.get('step', -1)  # also when training adds one meanwhile
    with output_folder.prepared(args.out, SETTINGS, {
            'checkpoint': _checkpoint(args), 'weights': weights, 'robot': args.robot,
            'max_steps': args.max_steps, 'policy_seed': args.policy_seed,
            'execute_steps': args.execute_steps,
            'mode': 'fast' if args.fast else 'real time' if args.real_time else 'lockstep'}):
        table = OutcomeFile(args.out / 'outcomes.csv')
        known = {outcome.trial.key for outcome in table.read()}
        todo = [trial for trial in trials if trial.key not in known]
        if len(todo) < len(trials):
            print(f'{len(trials) - len(todo)} of {len(trials)} trials are done already')
        if todo:
            gallery = Gallery(args.out / 'videos', args.videos)
            try:
                _run_all(args, todo, table.add, gallery)
            finally:
                gallery.write()
        print(_summarise(args.out, trials, list(table.read())))
    return 0


def _checkpoint(args: argparse.Namespace) -> str:
    given = named_checkpoint.checkpoint_path(args.checkpoint)
    return given if given.startswith('hf://') else str(Path(given).expanduser().resolve())


def _run_all(args: argparse.Namespace, todo: Sequence['Trial'],
             keep: Callable[['Outcome'], None], gallery: 'Gallery') -> None:
    """Runs trials in threads, each with a session of its own; raises what one of them raised."""
    from rich.progress import MofNCompleteColumn
    from rich.progress import Progress
    from rich.progress import TimeRemainingColumn

    waiting: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    for trial in todo:
        waiting.put(trial)
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stopping = threading.Event()
    threads = [threading.Thread(target=_work, args=(
        args, index, waiting, results, gallery, stopping), daemon=True)
        for index in range(min(args.workers, len(todo)))]
    for thread in threads:
        thread.start()
    good = done = 0
    try:
        with Progress(*Progress.get_default_columns()[:-1], MofNCompleteColumn(),
                      TimeRemainingColumn()) as progress:
            bar = progress.add_task('starting', total=len(todo))
            while done < len(todo):
                result = results.get()
                if isinstance(result, Exception):
                    raise result
                done += 1
                if result is not None:
                    keep(result)
                    good += result.success
                progress.update(bar, advance=1, description=f'{good} successes')
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def _work(args: argparse.Namespace, index: int, waiting: 'queue.SimpleQueue[Trial]',
          results: 'queue.SimpleQueue[Any]', gallery: 'Gallery',
          stopping: threading.Event) -> None:
    """Runs trials until there are none; puts outcomes, None for a trial left out, or an error."""
    frames: list[Any] = []
    session: Session | None = None
    try:
        make = _fast_session if args.fast else _ros_session
        session = make(args, index, frames.append, stopping)
        while not stopping.is_set():
            trial = waiting.get_nowait()
            frames.clear()
            try:
                outcome = session.run(trial)
            except TaskError as error:
                _LOG.warning('%s is left out: %s', '/'.join(map(str, trial.key)), error)
                results.put(None)
                continue
            gallery.add(outcome, frames)
            results.put(outcome)
    except queue.Empty:
        return
    except Exception as error:  # goes to the thread that waits for results
        results.put(error)
    finally:
        if session is not None:
            session.close()


def _fast_session(args: argparse.Namespace, _index: int, watch: Callable[[Any], Any],
                  _stopping: threading.Event) -> Session:
    from octo_ros.policy.control_loop import LoopParams
    from octo_ros.policy.policy import OctoPolicy
    from octo_ros.policy.policy import PolicyParams
    from octo_ros.policy.profile import load_profile
    from octo_ros.sim.policy_session import PolicySession

    profile = load_profile(args.robot)
    policy = OctoPolicy.load(PolicyParams(
        checkpoint=_checkpoint(args), checkpoint_step=args.checkpoint_step,
        seed=args.policy_seed,
        statistics_key=profile.statistics_key, normalization_type=profile.normalization_type))
    return PolicySession(
        policy, profile, max_steps=args.max_steps, seed=args.policy_seed,
        watch=lambda views: watch(views['primary']),
        loop=LoopParams(step_s=profile.step_s, execute_steps=args.execute_steps))


def _ros_session(args: argparse.Namespace, index: int, watch: Callable[[Any], Any],
                 stopping: threading.Event) -> Session:
    try:
        from octo_ros.nodes.closed_loop import ClosedLoop
        from octo_ros.nodes.closed_loop import LoopOptions
    except ImportError as error:
        raise OctoError("the evaluation over ROS must have ROS 2's Python packages, got: "
                        f"{error}; source a ROS installation, pip install 'octo_ros[ros]', or "
                        'use --fast') from error
    return ClosedLoop(
        LoopOptions(
            checkpoint=_checkpoint(args), folder=args.out / 'log', robot=args.robot,
            real_time=args.real_time, max_steps=args.max_steps, seed=args.policy_seed,
            parameters={'loop.execute_steps': args.execute_steps,
                        'policy.checkpoint_step': args.checkpoint_step}),
        name=f'_{index}', watch=watch, stopping=stopping)


def _summarise(folder: Path, trials: Sequence['Trial'], outcomes: Sequence['Outcome']) -> str:
    """Writes the figures of these trials; returns them as a Markdown table."""
    from octo_ros.sim.trials import figures
    from octo_ros.sim.trials import markdown

    wanted = {trial.key for trial in trials}
    rows = figures([outcome for outcome in outcomes if outcome.trial.key in wanted])
    text = markdown(rows)
    (folder / 'figures.md').write_text(text, encoding='utf-8')
    (folder / 'figures.json').write_text(
        json.dumps([dataclasses.asdict(row) for row in rows], indent=1), encoding='utf-8')
    return text


class Gallery:
    """Keeps the frames of a few successes and failures, and writes them as videos."""

    def __init__(self, folder: Path, most: int) -> None:
        """Takes the folder, and how many to keep of a kind."""
        self._folder = folder
        self._most = most
        self._kept: dict[tuple[str, str, bool], list[tuple[Outcome, list[np.ndarray]]]] = {}
        self._lock = threading.Lock()

    def add(self, outcome: 'Outcome', frames: Sequence[Any]) -> None:
        """Keeps the frames (arrays, or JPEG bytes) of an outcome unless there are enough."""
        key = (outcome.trial.condition, outcome.trial.task.kind, outcome.success)
        with self._lock:
            kept = self._kept.setdefault(key, [])
            if len(kept) < self._most and frames:
                kept.append((outcome, [_decoded(frame) for frame in frames]))

    def write(self) -> None:
        """Writes successes.gif and failures.gif, each trial beside the others.

        Those of an earlier part stay: the next ones are successes_2.gif and so on.
        """
        from octo_ros.sim.arm import STEP_S
        from octo_ros.sim.video import captioned
        from octo_ros.sim.video import side_by_side
        from octo_ros.sim.video import write_video

        for success, name in ((True, 'successes'), (False, 'failures')):
            shown = [captioned(frames, caption(outcome), good=success, size=_VIDEO_SIZE)
                     for key, kept in self._kept.items() if key[2] is success
                     for outcome, frames in kept]
            if shown:
                write_video(self._unused(name), side_by_side(shown, 4), step_s=STEP_S)

    def _unused(self, name: str) -> Path:
        file, number = self._folder / f'{name}.gif', 1
        while file.exists():
            number += 1
            file = self._folder / f'{name}_{number}.gif'
        return file


def caption(outcome: 'Outcome') -> str:
    """Returns the line below the video of a trial."""
    words = outcome.trial.instruction or f'[{outcome.trial.condition}] {outcome.trial.task.name}'
    went = f' (went for {outcome.chosen})' if outcome.wrong_colour else ''
    return f'{words}{went}'


def _decoded(frame: Any) -> 'np.ndarray':
    if not isinstance(frame, bytes):
        return frame
    import cv2
    import numpy as np

    return np.asarray(cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR_RGB))
