"""What a policy is tested on in the simulator, what came out, and the figures of it."""

import csv
import dataclasses
import io
import os
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from octo_ros.errors import DataError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.sim.measure import wilson
from octo_ros.sim.randomization import sample_layout
from octo_ros.sim.rollout import task_for_seed
from octo_ros.sim.rollout import wording
from octo_ros.sim.tasks import Task
from octo_ros.sim.tasks import possible
from octo_ros.sim.tasks import recoloured
from octo_ros.sim.tasks import task_named

# What the policy is told. The last three are controls: without the words or pixels that name a
# block, a policy that uses them can only guess.
CONDITIONS = {
    'language': 'an instruction in words seen in training',
    'unseen': 'an instruction in words never seen in training',
    'goal': 'goal images of the solved scene',
    'changed': 'an instruction that takes the place of one for another block, on the way there',
    'held': 'an instruction that follows when another block was lifted and is held',
    'colourless': 'control: the instruction without the colour',
    'blank': 'control: an instruction that says nothing',
    'black': 'control: black goal images',
}
GOAL_CONDITIONS = ('goal', 'black')
BLANK = '.'  # an instruction must not be empty
# Policy steps; a block is reached in 5, and lifted in 9.
CHANGED_AFTER = {'changed': 3, 'held': 11}
_SEED_STRIDE = 100_000_007


@dataclasses.dataclass(frozen=True)
class Trial:
    """One episode to run: a task in the scene of a seed, told in one way."""

    condition: str
    task: Task
    seed: int

    @property
    def instruction(self) -> str:
        """The words; empty where goal images say it."""
        if self.condition in GOAL_CONDITIONS:
            return ''
        if self.condition == 'blank':
            return BLANK
        text = wording(self.task, self.seed, held_out=self.condition == 'unseen')
        if self.condition == 'colourless':
            text = text.replace(f'{self.task.colour} ', '')
        return text

    def policy_seed(self, seed: int) -> int:
        """Returns the seed of the policy's random numbers in this trial, of a session's seed."""
        return _SEED_STRIDE * seed + self.seed

    @property
    def first_told(self) -> str:
        """The words that the instruction takes the place of; empty where there are none."""
        if self.condition not in CHANGED_AFTER:
            return ''
        first = self.task if self.condition == 'changed' else Task('lift', self.task.colour)
        others = [task for task in recoloured(first, sample_layout(self.seed))
                  if task.colour != self.task.colour]
        return wording(others[self.seed % len(others)], self.seed) if others else ''

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells this trial from others."""
        return self.condition, self.task.name, self.seed


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out of a trial.

    Attributes:
        trial: the trial.
        success: the task was done within the steps allowed.
        chosen: colour of the block that the arm went for, or ''.
        steps: policy steps until success or the end.
        wall_s: how long it took [s].
    """

    trial: Trial
    success: bool
    chosen: str
    steps: int
    wall_s: float

    @property
    def wrong_colour(self) -> bool:
        """True when the arm went for another block than the task's."""
        return self.chosen not in ('', self.trial.task.colour)


@dataclasses.dataclass(frozen=True)
class Figure:
    """The figures of a group of outcomes.

    Attributes:
        condition: of the group.
        kind: kind of its tasks, or `all`.
        trials: how many.
        successes: how many of them succeeded.
        low: lower end of the 95 % Wilson interval of the success rate.
        high: upper end.
        right: trials in which the arm went for the right block.
        wrong: trials in which it went for another one.
        mean_steps: policy steps of the successes; None when there are none.
    """

    condition: str
    kind: str
    trials: int
    successes: int
    low: float
    high: float
    right: int
    wrong: int
    mean_steps: float | None


def make_trials(conditions: Sequence[str], tasks: Sequence[Task], seeds: Iterable[int],
                ) -> list[Trial]:
    """Returns, for each condition, kind of task and seed, one of the kind's tasks.

    All conditions get the same tasks in the same scenes.

    Raises:
        ParameterError: a condition is unknown.
    """
    for condition in conditions:
        if condition not in CONDITIONS:
            raise ParameterError(f"condition must be one of {', '.join(CONDITIONS)}, got "
                                 f"'{condition}'{closest(condition, CONDITIONS)}")
    by_kind: dict[str, list[Task]] = {}
    for task in tasks:
        by_kind.setdefault(task.kind, []).append(task)
    chosen: list[tuple[Task, int]] = []
    for seed in seeds:
        layout = sample_layout(seed)
        chosen += [(task_for_seed(seed, layout, group), seed) for group in by_kind.values()
                   if any(possible(task, layout) for task in group)]
    return [Trial(condition, task, seed) for condition in conditions for task, seed in chosen]


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Returns the figures of each condition and kind, and of each condition as a whole."""
    rows = []
    for condition in dict.fromkeys(outcome.trial.condition for outcome in outcomes):
        of = [outcome for outcome in outcomes if outcome.trial.condition == condition]
        kinds = sorted({outcome.trial.task.kind for outcome in of})
        rows += [_figure(condition, kind, [o for o in of if o.trial.task.kind == kind])
                 for kind in kinds]
        if len(kinds) > 1:
            rows.append(_figure(condition, 'all', of))
    return rows


def _figure(condition: str, kind: str, outcomes: Sequence[Outcome]) -> Figure:
    good = [outcome for outcome in outcomes if outcome.success]
    low, high = wilson(len(good), len(outcomes))
    right = sum(outcome.chosen == outcome.trial.task.colour for outcome in outcomes)
    steps = sum(outcome.steps for outcome in good) / len(good) if good else None
    return Figure(condition, kind, len(outcomes), len(good), low, high, right,
                  sum(outcome.wrong_colour for outcome in outcomes), steps)


def markdown(rows: Sequence[Figure]) -> str:
    """Returns figures as a Markdown table."""
    lines = ['| told by | task | success | 95 % interval | right block | wrong block | steps |',
             '|---|---|---|---|---|---|---|']
    for row in rows:
        # A block that is held already when the task is told was not gone for.
        right, wrong = ('-', '-') if row.condition == 'held' else (
            f'{row.right / row.trials:.0%}', f'{row.wrong / row.trials:.0%}')
        steps = '-' if row.mean_steps is None else f'{row.mean_steps:.0f}'
        lines.append(
            f'| {row.condition} | {row.kind} | {row.successes}/{row.trials} = '
            f'{100 * row.successes / row.trials:.3g}% | {row.low:.0%} to {row.high:.0%} | '
            f'{right} | {wrong} | {steps} |')
    return '\n'.join(lines) + '\n'


class OutcomeFile:
    """A CSV table of outcomes to which each is added when it is known."""

    COLUMNS = ('condition', 'task', 'seed', 'success', 'chosen', 'steps', 'wall_s', 'instruction')

    def __init__(self, path: Path) -> None:
        """Takes a file that may exist."""
        self.path = path

    def read(self) -> Iterator[Outcome]:
        """Yields what is there; a last line that was cut short is left out.

        Raises:
            DataError: the file is not one of these tables.
        """
        whole = self._whole_lines()
        if not whole:
            return
        table = csv.DictReader(io.StringIO(whole.decode(), newline=''))
        if tuple(table.fieldnames or ()) != self.COLUMNS:
            raise DataError(f'{self.path} must be a table of outcomes, got the columns '
                            f"{', '.join(table.fieldnames or ())}; choose another folder")
        for row in table:
            try:
                yield Outcome(
                    Trial(row['condition'], task_named(row['task']), int(row['seed'])),
                    row['success'] == 'True', row['chosen'], int(row['steps']),
                    float(row['wall_s']))
            except (TypeError, ValueError, ParameterError) as error:
                raise DataError(f'{self.path} must hold an outcome in line {table.line_num}, got: '
                                f'{error}; delete that line') from error

    def add(self, outcome: Outcome) -> None:
        """Adds a line; it is on the disk when this returns."""
        whole = len(self._whole_lines())
        if self.path.exists():
            os.truncate(self.path, whole)
        with self.path.open('a', newline='', encoding='utf-8') as file:
            table = csv.writer(file)
            if not whole:
                table.writerow(self.COLUMNS)
            trial = outcome.trial
            table.writerow([*trial.key, outcome.success, outcome.chosen, outcome.steps,
                            f'{outcome.wall_s:.2f}', trial.instruction])

    def _whole_lines(self) -> bytes:
        """Returns the file without a last line that was cut short, as by a full disk."""
        text = self.path.read_bytes() if self.path.is_file() else b''
        return text[:text.rfind(b'\n') + 1]
