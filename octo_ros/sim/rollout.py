"""Runs episodes: the expert or any policy in the simulator, one after another or in processes."""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8
from octo_ros.errors import TaskError
from octo_ros.params import param
from octo_ros.sim import scene
from octo_ros.sim.expert import MAX_STEP
from octo_ros.sim.expert import expert_action
from octo_ros.sim.randomization import Layout
from octo_ros.sim.randomization import SceneParams
from octo_ros.sim.randomization import sample_layout
from octo_ros.sim.simulator import Simulator
from octo_ros.sim.state import Observation
from octo_ros.sim.state import SceneState
from octo_ros.sim.tasks import HOLD_STEPS
from octo_ros.sim.tasks import KINDS
from octo_ros.sim.tasks import Task
from octo_ros.sim.tasks import all_tasks
from octo_ros.sim.tasks import chosen_block
from octo_ros.sim.tasks import possible
from octo_ros.workers import worker_pool

MAX_STEPS = 40  # 8 s
# Ranges of x, y and z that hold the places of detours: about the blocks, and clear of them [m].
_DETOUR_ZONE = ((0.22, 0.40), (-0.16, 0.16), (0.09, 0.22))
# Steps of the task that another one takes the place of. Some steps on, the arm holds a block: of
# that there is most to learn.
_MOST_BEGUN, _ON_THE_WAY = 16, 5
_HOLDING = ('lift', 'put')
SETTLE_STEPS = 3  # recorded after success, so that the last frames show the task done

Actor = Callable[[Observation, SceneState], Float[np.ndarray, '7']]


@dataclasses.dataclass(frozen=True)
class NoiseParams:
    """Disturbances of what is executed; the recorded action stays the actor's answer to them.

    Laskey et al. 2017, "DART: noise injection for robust imitation learning".
    """

    burst_rate: float = param(
        0.08, 'Chance that a push in a random direction starts at a step.', ge=0.0, le=1.0)
    burst_steps: int = param(2, 'Steps that a push lasts.', ge=1, le=10)
    burst_distance: float = param(
        0.025, 'Spread of a push, each axis and step.', unit='m', ge=0.0, le=0.1)
    burst_turn: float = param(
        0.08, 'Spread of a push in rotation, each axis and step.', unit='rad', ge=0.0, le=0.5)
    jitter: float = param(0.003, 'Spread of noise at every step, each axis.', unit='m', ge=0.0,
                          le=0.05)
    detours: int = param(
        2, 'Before anything else the arm is led to up to this many random places over the table. '
        'Without them the first step gives away where the arm is going, and nothing in the later '
        'ones teaches to listen to the task.', ge=0, le=10)


@dataclasses.dataclass(frozen=True)
class Episode:
    """What happened in one episode of t steps; row k was seen before action k.

    Attributes:
        task: what was asked for.
        seed: of the scene.
        instruction: the wording.
        success: True when the task's test held for HOLD_STEPS steps in a row.
        chosen: colour of the block that the arm went for in the end, or None.
        stamps_ns: simulated time of each row [ns].
        images: views by camera; empty when none was asked for.
        proprio: measured x, y, z, roll, pitch, yaw, gripper.
        joints: measured joint positions [rad].
        actions: the actor's actions: what a policy should learn.
        executed: the actions that were done: `actions` and the noise.
    """

    task: Task
    seed: int
    instruction: str
    success: bool
    chosen: str | None
    stamps_ns: np.ndarray
    images: Mapping[str, UInt8[np.ndarray, 't ih iw 3']]
    proprio: Float[np.ndarray, 't 7']
    joints: Float[np.ndarray, 't 6']
    actions: Float[np.ndarray, 't 7']
    executed: Float[np.ndarray, 't 7']

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def paraphrases(self) -> tuple[str, ...]:
        """The task's other wordings of training."""
        return tuple(text for text in self.task.instructions() if text != self.instruction)


@dataclasses.dataclass(frozen=True)
class Job:
    """One episode to run: a task in the scene of a seed."""

    task: Task
    seed: int

    @property
    def name(self) -> str:
        """What its recording is called."""
        return f'{self.seed:06d}_{self.task.name}'


class SuccessTest:
    """Tells when a task is done: its test has held for HOLD_STEPS policy steps in a row."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._held = 0

    def update(self, state: SceneState) -> bool:
        """Takes the state of one more policy step; True when the task is done."""
        self._held = self._held + 1 if self._task.holds(state) else 0
        return self._held >= HOLD_STEPS


class Noise:
    """A stream of disturbances from a seed."""

    def __init__(self, params: NoiseParams, seed: int) -> None:
        self._params = params
        self._rng = np.random.default_rng([seed, 0x2015E])
        self._left = 0
        self._push = np.zeros(6)
        low, high = np.transpose(_DETOUR_ZONE)
        count = self._rng.integers(params.detours + 1)
        self._places = list(self._rng.uniform(low, high, (count, 3)))

    def __call__(self, action: Float[np.ndarray, '7'], state: SceneState
                 ) -> Float[np.ndarray, '7']:
        """Returns the action with this step's disturbance."""
        params, rng = self._params, self._rng
        action = self._on_detour(action, state)
        if self._left == 0 and rng.random() < params.burst_rate:
            self._left = params.burst_steps
            self._push = np.concatenate([rng.normal(0.0, params.burst_distance, 3),
                                         rng.normal(0.0, params.burst_turn, 3)])
        noisy = np.array(action)
        noisy[:3] += rng.normal(0.0, params.jitter, 3)
        if self._left > 0:
            self._left -= 1
            noisy[:6] += self._push
        return noisy

    def _on_detour(self, action: Float[np.ndarray, '7'], state: SceneState
                   ) -> Float[np.ndarray, '7']:
        while self._places:
            way = self._places[0] - state.target_position
            length = float(np.linalg.norm(way))
            if length > MAX_STEP:
                return np.array([*(way * MAX_STEP / length), *action[3:]])
            self._places.pop(0)
        return action


def expert_actor(task: Task) -> Actor:
    """Returns the scripted expert as an actor; it looks at the true state."""
    return lambda observation, state: expert_action(task, state)


def wording(task: Task, seed: int, *, held_out: bool = False) -> str:
    """Returns one of the task's wordings, chosen by the seed."""
    choices = task.instructions(held_out=held_out)
    return choices[int(np.random.default_rng([seed, 0x7E47]).integers(len(choices)))]


def task_for_seed(seed: int, layout: Layout, tasks: Sequence[Task] | None = None) -> Task:
    """Returns a task that is possible in the layout: each kind is as likely, then each task.

    Raises:
        TaskError: none of the tasks is possible.
    """
    by_kind: dict[str, list[Task]] = {}
    for task in tasks or all_tasks():
        if possible(task, layout):
            by_kind.setdefault(task.kind, []).append(task)
    if not by_kind:
        raise TaskError(f'a task must be possible in the scene of seed {seed}, but none of '
                        f'{len(tasks or ())} is; give more tasks or another seed')
    rng = np.random.default_rng([seed, 0x7A5C])
    choices = by_kind[sorted(by_kind)[rng.integers(len(by_kind))]]
    return choices[rng.integers(len(choices))]


def jobs(tasks: Iterable[Task], seeds: Iterable[int], params: SceneParams | None = None,
         ) -> list[Job]:
    """Returns each task in the scene of each seed, where it is possible."""
    layouts = {seed: sample_layout(seed, params) for seed in seeds}
    return [Job(task, seed) for task in tasks for seed, layout in layouts.items()
            if possible(task, layout)]


def run_episode(
        sim: Simulator, job: Job, actor: Actor, *, cameras: Sequence[str] = scene.CAMERAS,
        noise: NoiseParams | None = None, instruction: str | None = None,
        max_steps: int = MAX_STEPS, settle_steps: int = SETTLE_STEPS,
        interrupted: float = 0.0) -> Episode:
    """Resets the simulator to the job's seed and runs until the task is done, or `max_steps`.

    Args:
        sim: is left as the episode ended.
        job: task and seed.
        actor: gives an action for what is seen.
        cameras: views to draw; without any an episode takes a third of the time.
        noise: disturbances of what is executed.
        instruction: the wording; by default one of training's, by the seed.
        max_steps: an episode without success ends here.
        settle_steps: steps that go on after success.
        interrupted: chance that the episode begins in the middle of another task.
    """
    sim.reset(job.seed)
    _begin_another(sim, job.seed, interrupted)
    start = sim.state()
    test = SuccessTest(job.task)
    disturb = Noise(noise, job.seed) if noise else None
    rows: list[tuple[Observation, np.ndarray, np.ndarray]] = []
    done_at: int | None = None
    for step in range(max_steps + settle_steps):
        state = sim.state()
        if done_at is None and test.update(state):
            done_at = step
        if step >= (max_steps if done_at is None else done_at + settle_steps):
            break
        observation = sim.observe(cameras)
        action = np.asarray(actor(observation, state), float)
        executed = disturb(action, state) if disturb else np.array(action)
        rows.append((observation, action, executed))
        sim.step(executed)
    seen = [row[0] for row in rows]
    return Episode(
        task=job.task, seed=job.seed, instruction=instruction or wording(job.task, job.seed),
        success=done_at is not None, chosen=chosen_block(start, sim.state()),
        stamps_ns=np.array([row.stamp_ns for row in seen], np.int64),
        images={camera: np.stack([row.images[camera] for row in seen]) for camera in cameras},
        proprio=np.stack([row.proprio for row in seen]),
        joints=np.stack([row.joints for row in seen]).astype(np.float32),
        actions=np.stack([row[1] for row in rows]).astype(np.float32),
        executed=np.stack([row[2] for row in rows]).astype(np.float32))


def _begin_another(sim: Simulator, seed: int, share: float) -> None:
    """Lets the expert begin some task; all episodes of a scene then start from where that led."""
    rng = np.random.default_rng([seed, 0x1A7E])
    if rng.random() < share:
        steps = rng.integers(1, _MOST_BEGUN + 1)
        kinds = KINDS if steps <= _ON_THE_WAY else _HOLDING
        task = task_for_seed(int(rng.integers(2**31)), sim.layout,
                             [task for task in all_tasks() if task.kind in kinds])
        for _ in range(steps):
            sim.step(expert_action(task, sim.state()))


def solved_images(sim: Simulator, task: Task, layout: Layout | None = None,
                  ) -> dict[str, UInt8[np.ndarray, 'ih iw 3']]:
    """Returns the cameras' views of a scene in which the expert has done the task.

    Args:
        sim: is left as it was.
        task: the task.
        layout: the scene to start from; by default that of the last reset.

    Raises:
        TaskError: the expert did not succeed, so there is nothing to show.
    """
    before = sim.snapshot()
    try:
        sim.reset_to(layout or sim.layout)
        test, after = SuccessTest(task), 0
        for _ in range(MAX_STEPS):
            state = sim.state()
            after += after > 0 or test.update(state)
            if after > SETTLE_STEPS:
                return {camera: sim.render(camera) for camera in scene.CAMERAS}
            sim.step(expert_action(task, state))
    finally:
        sim.restore(before)
    raise TaskError(f"a goal image of '{task.name}' cannot be made: the expert did not succeed in "
                    'this scene; reset with another seed')


_worker_sim: Simulator


def _start_worker(params: SceneParams | None) -> None:
    global _worker_sim  # noqa: PLW0603 - a pool's worker has no other place to keep it
    _worker_sim = Simulator(params)


def _run_job(work: tuple[Job, Callable[[Task], Actor], Callable[[Episode], Any], dict]) -> Any:
    job, make_actor, finish, options = work
    return finish(run_episode(_worker_sim, job, make_actor(job.task), **options))


def whole(episode: Episode) -> Episode:
    """Returns the episode as it is."""
    return episode


def run_many(
        todo: Sequence[Job], *, make_actor: Callable[[Task], Actor] = expert_actor,
        processes: int = 1, params: SceneParams | None = None,
        finish: Callable[[Episode], Any] = whole, **options: Any,
) -> Iterator[Any]:
    """Yields the episode of each job, or what `finish` makes of it, in order.

    Args:
        todo: the jobs.
        make_actor: makes the actor of a task; with processes it must be importable by name.
        processes: 1 runs here, more run in that many new processes.
        params: how much scenes vary.
        finish: is given each episode in the process that ran it, so that what is large need not
            leave that process; with processes it must be importable by name.
        **options: passed on to run_episode.
    """
    if processes <= 1:
        sim = Simulator(params)
        try:
            for job in todo:
                yield finish(run_episode(sim, job, make_actor(job.task), **options))
        finally:
            sim.close()
        return
    work = [(job, make_actor, finish, options) for job in todo]
    with worker_pool(processes, _start_worker, (params,)) as pool:
        yield from pool.imap(_run_job, work)
