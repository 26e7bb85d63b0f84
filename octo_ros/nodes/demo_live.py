"""The demo in the simulator: a few tasks, one after another, in real time over real DDS.

Controller and simulator run in processes of their own. This one says what to do, as a user would,
and notes what happens.
"""

import dataclasses
import functools
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage

from octo_ros.bags.recording import STATE_TOPIC
from octo_ros.errors import OctoError
from octo_ros.errors import TaskError
from octo_ros.nodes import qos
from octo_ros.nodes.closed_loop import ClosedLoop
from octo_ros.nodes.closed_loop import LoopOptions
from octo_ros.nodes.demo_watch import Seen
from octo_ros.nodes.demo_watch import Watch
from octo_ros.nodes.demo_watch import latencies_s
from octo_ros.nodes.sim_node import NAME as SIM
from octo_ros.nodes.sim_setup import camera_remaps
from octo_ros.sim.arm import STEP_S
from octo_ros.sim.randomization import sample_layout
from octo_ros.sim.rollout import MAX_STEPS
from octo_ros.sim.tasks import Task
from octo_ros.sim.trials import Trial

_GOAL_TRIES = 10
_TIMEOUT_S = 60.0


@dataclasses.dataclass(frozen=True)
class Act:
    """One thing to show.

    Attributes:
        trial: what is to be done in the end.
        first: what is told to begin with, where the instruction changes in mid-run.
        change_after_s: when it changes, from the start in the robot's time [s].
        text: the words for it; those of the trial when empty.
    """

    trial: Trial
    first: Task | None = None
    change_after_s: float = 0.0
    text: str = ''

    @property
    def told(self) -> str:
        """How the robot is told, in words for a table."""
        if self.trial.condition == 'goal':
            return 'goal images'
        return f'words, changed after {self.change_after_s:.1f} s' if self.first else 'words'

    @property
    def words(self) -> str:
        """What is to be done, in words; goal images have none, there it is for the reader."""
        return self.text or self.trial.instruction or self.trial.task.instructions()[0]

    @property
    def first_words(self) -> str:
        """What is told at the start; empty for goal images."""
        if self.trial.condition == 'goal':
            return ''
        return self.first.instructions()[0] if self.first else self.words


@dataclasses.dataclass(frozen=True)
class ActResult:
    """How an act went. Times are the robot's, in seconds, where nothing else is said.

    Attributes:
        act: as it was run; its scene may be a later one than was asked for.
        success: the simulator's verdict.
        chosen: colour of the block that the arm went for, or ''.
        duration_s: until success or the end.
        begin_s: stamp at the start.
        end_s: stamp at the end.
        changed_s: stamp at which the instruction changed, or None.
        approached_m: how much nearer the gripper came to the first block before that [m].
        reaction_s: wall time from the new instruction to the first command that follows it, or
            None.
        wall_s: wall time that it took.
        chunks: how many came.
        commands: how many came.
        latencies_s: wall time from views to command, for each chunk.
        goal: the goal image of the first camera as JPEG, or empty.
    """

    act: Act
    success: bool
    chosen: str
    duration_s: float
    begin_s: float
    end_s: float
    changed_s: float | None
    approached_m: float
    reaction_s: float | None
    wall_s: float
    chunks: int
    commands: int
    latencies_s: Sequence[float]
    goal: bytes

    @property
    def outcome(self) -> str:
        """The verdict in words."""
        if self.success:
            return f'done in {self.duration_s:.1f} s'
        colour = self.act.trial.task.colour
        went = ('' if self.chosen == colour else ', touched no block' if not self.chosen
                else f', went for the {self.chosen} block')
        return f'FAILED after {self.duration_s:.1f} s{went}'


@dataclasses.dataclass(frozen=True)
class LiveResult:
    """What the demo saw.

    Attributes:
        seen: all that came over the topics.
        acts: how each went.
        start_s: until both nodes were ready [s].
        domain_id: the ROS domain.
    """

    seen: Seen
    acts: Sequence[ActResult]
    start_s: float
    domain_id: int


def run(checkpoint: str, acts: Sequence[Act], folder: Path, *, view: bool = False,
        max_steps: int = MAX_STEPS, say: Callable[[str], Any],
        stopping: threading.Event) -> LiveResult:
    """Runs the acts.

    Args:
        checkpoint: folder or hf:// name.
        acts: what to show, in order.
        folder: where the logs go.
        view: open a window onto the scene.
        max_steps: policy steps after which an act has failed.
        say: told of the progress, one line each.
        stopping: ends the demo with an OctoError once it is set.

    Raises:
        OctoError: a process ended or did not answer, no chunk came, or `stopping` was set.
    """
    begin_s = time.monotonic()
    say('start: controller (load the policy, compile) and simulator, each in its own process')
    options = LoopOptions(checkpoint, folder, real_time=True, max_steps=max_steps,
                          scene={'viewer': True} if view else {})
    with ClosedLoop(options, stopping=stopping) as loop:
        start_s = time.monotonic() - begin_s
        stage = _Stage(loop)
        results = []
        for number, act in enumerate(acts, 1):
            result = stage.play(act, functools.partial(_say_of, say, number))
            _say_of(say, number, result.outcome)
            results.append(result)
        if not stage.seen.chunks:
            raise OctoError('the controller must answer with action chunks, got none; see '
                            f"{folder / 'controller.log'}")
        return LiveResult(stage.seen, results, start_s, loop.domain_id)


def _say_of(say: Callable[[str], Any], number: int, text: str) -> None:
    say(f'{number}: {text}')


class _Stage:
    """Plays acts in a session and notes what is seen meanwhile."""

    def __init__(self, loop: ClosedLoop) -> None:
        self._loop = loop
        cameras = {key: f'{topic}/compressed' for key, topic in camera_remaps().items()}
        watch = Watch(loop.node, cameras, quality='reliable', state_topic=STATE_TOPIC)
        self.seen = watch.seen
        self._goal = b''
        loop.node.create_subscription(
            CompressedImage, f'goal/{next(iter(cameras))}/compressed', self._on_goal,
            qos.named('latched'))

    def play(self, act: Act, say: Callable[[str], Any]) -> ActResult:
        """Runs one act to its end; raises OctoError."""
        self._goal = b''
        act = self._begin(act)
        before = len(self.seen.hand)
        self._loop.spin_until(lambda: len(self.seen.hand) > before, _TIMEOUT_S, 'the first view')
        wall_s, begin_s = time.time(), self.seen.hand[before][0]
        say(self._announcement(act))
        changed_s = told_s = None
        if act.first:
            self._loop.spin_until(lambda: self.seen.now_s >= begin_s + act.change_after_s,
                                  _TIMEOUT_S, 'the moment to change the instruction')
            changed_s, told_s = self.seen.now_s, time.time()
            self._loop.instruct(act.words)
            say(f"change of instruction: '{act.words}'")
        result = self._loop.finish(act.trial)
        end_s, wall_end_s = self.seen.now_s, time.time()
        chunks, commands = ([wall_s <= time_s <= wall_end_s for time_s in times] for times in (
            [chunk.arrival_s for chunk in self.seen.chunks], self.seen.commands))
        return ActResult(
            act=act, success=result['success'], chosen=result['chosen'],
            duration_s=result['steps'] * STEP_S, begin_s=begin_s, end_s=end_s,
            changed_s=changed_s,
            approached_m=self._approached(act, begin_s, changed_s or begin_s),
            reaction_s=self._reaction(told_s), wall_s=wall_end_s - wall_s, chunks=sum(chunks),
            commands=sum(commands), latencies_s=latencies_s(self.seen, wall_s, wall_end_s),
            goal=self._goal)

    def _begin(self, act: Act) -> Act:
        """Sets the scene. Where no goal image can be made of it, the next scene is taken."""
        for _ in range(_GOAL_TRIES):
            try:
                self._loop.begin(act.trial, first_told=act.first_words)
            except TaskError:
                act = dataclasses.replace(
                    act, trial=dataclasses.replace(act.trial, seed=act.trial.seed + 1))
            else:
                return act
        raise TaskError(f"a goal image of '{act.trial.task.name}' must be possible in one of "
                        f'{_GOAL_TRIES} scenes, got none; take another --seed')

    @staticmethod
    def _announcement(act: Act) -> str:
        if act.trial.condition == 'goal':
            return f"goal images captured by the service {SIM}/publish_goal ('{act.words}')"
        return f"instruction: '{act.first_words}'"

    def _approached(self, act: Act, begin_s: float, end_s: float) -> float:
        """Returns how much nearer the hand came to the first block [m]."""
        if act.first is None:
            return 0.0
        block = np.array(sample_layout(act.trial.seed).blocks[act.first.colour][:2])
        away = [float(np.linalg.norm(position[:2] - block))
                for stamp_s, position in self.seen.hand if begin_s <= stamp_s <= end_s]
        return away[0] - away[-1] if away else 0.0

    def _reaction(self, told_s: float | None) -> float | None:
        """Returns the wall time from an instruction to the first command after a new chunk."""
        if told_s is None:
            return None
        chunk_s = next((chunk.arrival_s for chunk in self.seen.chunks
                        if chunk.arrival_s > told_s), np.inf)
        answer_s = next((time_s for time_s in self.seen.commands if time_s >= chunk_s), None)
        return None if answer_s is None else answer_s - told_s

    def _on_goal(self, message: CompressedImage) -> None:
        self._goal = bytes(message.data)
