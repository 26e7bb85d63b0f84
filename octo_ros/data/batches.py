"""Training batches by number: batch i is a function of the data, the parameters and the seed.

That makes a run resumable to the bit, and lets any number of workers and hosts share the work:
each draws the randomness of the whole batch and gathers its own rows.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.array_typing import UInt8
from octo_ros.data.instructions import InstructionTable
from octo_ros.data.store import EpisodeSet
from octo_ros.data.tasks import TaskParams
from octo_ros.data.tasks import Tasks
from octo_ros.data.tasks import draw_tasks
from octo_ros.data.windows import make_windows
from octo_ros.data.windows import task_completed
from octo_ros.errors import DataError
from octo_ros.policy.normalization import normalize

_SHUFFLE_STREAM = 0
_TASK_STREAM = 1
_NOISE_STREAM = 2


@dataclasses.dataclass(frozen=True)
class BatchSpec:
    """Shape of the batches.

    Attributes:
        batch_size: examples in a batch, over all hosts.
        window: history steps.
        action_horizon: actions in a chunk.
        action_dim: dimensions of the action head; those that the data lack are zero and masked.
        proprio: True to give the proprio vector.
        velocity: True to give its velocity, too; only with `proprio`.
        normalization_type: 'normal' or 'bounds'.
        language: True to give the instruction.
    """

    batch_size: int
    window: int = 2
    action_horizon: int = 4
    action_dim: int = 7
    proprio: bool = False
    velocity: bool = False
    normalization_type: str = 'normal'
    language: bool = True


class BatchSource:
    """Endless batches, by index; every epoch visits the steps in a new random order."""

    def __init__(
        self, episodes: EpisodeSet, statistics: Mapping[str, Any], spec: BatchSpec,
        tasks: TaskParams, instructions: InstructionTable, *, seed: int,
        shard: tuple[int, int] = (0, 1), subset: Int[np.ndarray, 'k'] | None = None,
        openings: tuple[int, int] = (0, 1), contrast: bool = False, frame_rows: bool = False,
        proprio_noise: float = 0.0, image_dropout: float = 0.0,
    ) -> None:
        """Prepares the gathers.

        Args:
            episodes: the data.
            statistics: entry of the data set, with `action` and, where wanted, `proprio`.
            spec: shape of the batches.
            tasks: how examples are given their task.
            instructions: the encoded instructions of these episodes.
            seed: of order, goals and dropouts.
            shard: index of this host and number of hosts.
            subset: the episodes to take; all when None.
            openings: number of first steps of an episode, and how often an epoch visits them.
            contrast: True to keep the first steps of episodes of one scene side by side.
            frame_rows: True to give, in place of an image, the row of its frame in the set as
                int32; -1 for no frame.
            proprio_noise: deviation of noise on normalised proprio and velocity, one draw for
                all steps of a window.
            image_dropout: part of the examples without any image.

        Raises:
            DataError: sizes do not fit, or there is nothing to take.
        """
        _check(episodes, spec, shard)
        self.spec = spec
        self._episodes = episodes
        self._tasks = tasks
        self._instructions = instructions
        self._seed = seed
        self._shard = shard
        self._frame_rows = frame_rows
        chosen = np.arange(len(episodes)) if subset is None else np.asarray(subset)
        if not len(chosen):
            raise DataError(f'{episodes.path}: at least one episode must be taken, got none')
        self._owner = np.repeat(chosen, episodes.lengths[chosen])
        self._step = np.concatenate([np.arange(n) for n in episodes.lengths[chosen]])
        first_steps, visits = openings
        opening = self._step < first_steps
        self._visits = np.repeat(np.arange(len(self._step)), np.where(opening, visits, 1))
        self._groups = np.arange(len(self._visits))
        if contrast:
            self._groups = _scene_groups(
                self._visits, _scenes(episodes)[self._owner], self._step, opening)
        self._actions, self._action_mask = _padded_actions(episodes, statistics, spec)
        self._action_statistics = statistics['action']
        self._noise, self._image_dropout = proprio_noise, image_dropout
        vectors = episodes.vectors(velocity=spec.velocity) if spec.proprio else {}
        self._vectors = {key: normalize(values, statistics[key], spec.normalization_type)
                         for key, values in vectors.items()}
        self._last_seen = _last_seen(episodes)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Returns a number of batches that no training reaches."""
        return 2 ** 40

    @property
    def examples(self) -> int:
        """Number of different examples: the steps of the chosen episodes."""
        return len(self._step)

    @property
    def frames(self) -> Mapping[str, UInt8[np.ndarray, 'n ih iw 3']]:
        """All frames of the set, by observation key."""
        return self._episodes.images

    @property
    def mean_action(self) -> Float[np.ndarray, 'ad']:
        """The mean action that the statistics hold, normalised: what a policy says blindly."""
        mean = np.asarray(self._action_statistics['mean'])[None]
        normalized = normalize(mean, self._action_statistics, self.spec.normalization_type)[0]
        return np.pad(normalized, (0, self.spec.action_dim - len(normalized)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns this host's rows of batch `index`."""
        size = self.spec.batch_size
        rows = self._positions(index * size + np.arange(size))
        rng = np.random.default_rng((self._seed, _TASK_STREAM, index))
        owner, step = self._owner[rows], self._step[rows]
        tasks = draw_tasks(rng, self._tasks, step, self._episodes.lengths[owner],
                           self._instructions.counts[owner])
        part, parts = self._shard
        mine = slice(part * size // parts, (part + 1) * size // parts)
        batch = self._gather(owner[mine], step[mine], Tasks(
            tasks.goal_steps[mine], tasks.keep_goal[mine], tasks.instructions[mine]))
        return self._disturbed(batch, index, mine)

    def in_order(self, rows: Int[np.ndarray, 'b'], *, goal: bool) -> dict[str, Any]:
        """Returns chosen examples, numbered along the episodes.

        Args:
            rows: numbers of the examples, over all hosts.
            goal: True for the last frames of the episode as the task, False for the instruction.
        """
        owner, step = self._owner[rows], self._step[rows]
        last = self._episodes.lengths[owner] - 1
        keep = np.full(len(rows), goal)
        return self._gather(owner, step, Tasks(last, keep, np.zeros(len(rows), np.int64)))

    def _disturbed(self, batch: dict[str, Any], index: int, mine: slice) -> dict[str, Any]:
        """Adds noise to vectors and takes images away, in place."""
        rng = np.random.default_rng((self._seed, _NOISE_STREAM, index))
        dropped = (rng.random(self.spec.batch_size) < self._image_dropout)[mine]
        for part in (batch['observation'], batch['task']) if dropped.any() else ():
            for key in part.keys() & self._episodes.images.keys():
                part[key][dropped] = -1 if self._frame_rows else 0
                part['pad_mask_dict'][key][dropped] = False
        for key, values in self._vectors.items() if self._noise else ():
            noise = rng.normal(0.0, self._noise, (self.spec.batch_size, 1, values.shape[1]))
            batch['observation'][key] += noise[mine].astype(values.dtype)
        return batch

    def _positions(self, places: Int[np.ndarray, 'b']) -> Int[np.ndarray, 'b']:
        """Returns which example stands at each place of the endless shuffled stream."""
        rows = np.empty_like(places)
        length = len(self._visits)
        epochs = places // length
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = self._epoch_order(int(epoch))[places[here] % length]
        return rows

    def _epoch_order(self, epoch: int) -> Int[np.ndarray, 'n']:
        kept, order = self._order  # one read: several threads may make batches
        if kept != epoch:
            rng = np.random.default_rng((self._seed, _SHUFFLE_STREAM, epoch))
            places = np.argsort(rng.permutation(self._groups.max() + 1))[self._groups]
            order = self._visits[np.argsort(places, kind='stable')]
            self._order = (epoch, order)
        return order

    def _gather(self, owner: Int[np.ndarray, 'b'], step: Int[np.ndarray, 'b'], tasks: Tasks
                ) -> dict[str, Any]:
        starts, lengths = self._episodes.starts[owner], self._episodes.lengths[owner]
        tasks = self._seen_goals(starts, lengths, tasks)
        windows = make_windows(step, lengths, self.spec.window, self.spec.action_horizon)
        completed = task_completed(windows.action_steps, tasks.goal_steps)
        seen = starts[:, None] + windows.observations
        chunks = starts[:, None, None] + windows.actions
        observation: dict[str, Any] = {
            'timestep': windows.observations.astype(np.int32),
            'timestep_pad_mask': windows.timestep_pad_mask, 'task_completed': completed}
        masks: dict[str, Any] = {'timestep': windows.timestep_pad_mask}
        for key, frames in self._episodes.images.items():
            observation[key] = seen.astype(np.int32) if self._frame_rows else frames[seen]
            masks[key] = self._episodes.present[key][seen]
        for key, values in self._vectors.items():
            observation[key] = values[seen]
            masks[key] = np.ones(seen.shape, bool)
        return {
            'observation': observation | {'pad_mask_dict': masks},
            'task': self._task(owner, starts + tasks.goal_steps, tasks),
            'action': self._actions[chunks],
            'action_pad_mask': self._action_mask & ~completed[..., None]}

    def _seen_goals(self, starts: Int[np.ndarray, 'b'], lengths: Int[np.ndarray, 'b'], tasks: Tasks
                    ) -> Tasks:
        """Moves goals of which no camera gave a frame to the last one before that has some.

        Without any there is no goal: the instruction is kept.
        """
        last = self._last_seen[starts + tasks.goal_steps] - starts
        keep = tasks.keep_goal & (last >= 0)
        moved = np.where(keep, last, lengths - 1)
        return dataclasses.replace(tasks, keep_goal=keep, goal_steps=np.where(
            tasks.keep_goal, moved, tasks.goal_steps))

    def _task(self, owner: Int[np.ndarray, 'b'], goals: Int[np.ndarray, 'b'], tasks: Tasks
              ) -> dict[str, Any]:
        task: dict[str, Any] = {'timestep': tasks.goal_steps.astype(np.int32)}
        masks: dict[str, Any] = {'timestep': np.ones(len(owner), bool)}
        for key, frames in self._episodes.images.items() if self._tasks.uses_goals else ():
            masks[key] = tasks.keep_goal & self._episodes.present[key][goals]
            if self._frame_rows:
                task[key] = np.where(masks[key], goals, -1).astype(np.int32)
                continue
            images = np.zeros((len(goals), *frames.shape[1:]), np.uint8)
            images[masks[key]] = frames[goals[masks[key]]]
            task[key] = images
        if self.spec.language:
            rows = np.where(
                tasks.keep_goal, 0, self._instructions.rows(owner, tasks.instructions))
            task['language_instruction'] = self._instructions.encoded(rows)
            masks['language_instruction'] = rows > 0
        return task | {'pad_mask_dict': masks}


def _last_seen(episodes: EpisodeSet) -> Int[np.ndarray, 'n']:
    """Returns the last row, at or before each, of which any camera gave a frame; -1 for none."""
    seen = np.zeros(len(episodes.actions), bool)
    for there in episodes.present.values():
        seen |= there
    return np.maximum.accumulate(np.where(seen, np.arange(len(seen)), -1))


def _scenes(episodes: EpisodeSet) -> Int[np.ndarray, 'e']:
    """Returns a number for the scene of each episode: those with one `seed` share theirs."""
    seeds = [entry['metadata'].get('seed') for entry in episodes.entries]
    if None in seeds:
        raise DataError(
            f"{episodes.path}: to contrast episodes of one scene, each must have the scene's seed "
            f"in its metadata, '{episodes.entries[seeds.index(None)]['name']}' has none")
    return np.unique(seeds, return_inverse=True)[1]


def _scene_groups(visits: Int[np.ndarray, 'n'], scenes: Int[np.ndarray, 'm'],
                  steps: Int[np.ndarray, 'm'], opening: Bool[np.ndarray, 'm']
                  ) -> Int[np.ndarray, 'n']:
    """Returns for each visit the number of its group, which stays together in the order.

    A group is one opening step in all episodes of a scene, or any other step alone.
    """
    rows = np.arange(len(visits))
    nth = rows - np.searchsorted(visits, visits)  # 0, 1, ... for the visits of one step
    key = np.stack([scenes[visits], steps[visits], nth, np.where(opening[visits], -1, rows)])
    return np.unique(key, axis=1, return_inverse=True)[1].reshape(-1)


def _padded_actions(episodes: EpisodeSet, statistics: Mapping[str, Any], spec: BatchSpec
                    ) -> tuple[Float[np.ndarray, 'n ad'], np.ndarray]:
    actions = normalize(episodes.actions, statistics['action'], spec.normalization_type)
    missing = spec.action_dim - actions.shape[1]
    mask = np.arange(spec.action_dim) < actions.shape[1]
    return np.pad(actions, ((0, 0), (0, missing))), mask


def _check(episodes: EpisodeSet, spec: BatchSpec, shard: tuple[int, int]) -> None:
    if episodes.actions.shape[1] > spec.action_dim:
        raise DataError(
            f'{episodes.path}: actions must have at most the {spec.action_dim} dimensions of the '
            f'action head, got {episodes.actions.shape[1]}; train a head of that size')
    if spec.batch_size % shard[1]:
        raise DataError(
            f'the batch size must be a multiple of the {shard[1]} hosts, got {spec.batch_size}')
    if spec.proprio and episodes.proprio is None:
        raise DataError(f'{episodes.path}: must have proprio, which the model takes, got none')
