"""What the arm can be asked to do, in words, and when it is done."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from octo_ros.errors import TaskError
from octo_ros.errors import closest
from octo_ros.sim import scene
from octo_ros.sim.randomization import Layout
from octo_ros.sim.state import SceneState

KINDS = ('reach', 'lift', 'put', 'push')
SIDES = ('left', 'right')
SIDE_SIGN = {'left': -1.0, 'right': 1.0}  # along y: the primary camera sees +y on the right
HOLD_STEPS = 2  # a success test must hold for this many policy steps in a row

REACH_RADIUS = 0.03
REACH_HEIGHT = 0.08
LIFT_HEIGHT = 0.07  # of the block's centre
HELD_DISTANCE = 0.03
PUSH_LINE = 0.16  # |y| that the block's centre must pass
RELEASED_OPENING = 2.0 * scene.BLOCK_HALF + 0.008
REST_SPEED = 0.05
MOVED_DISTANCE = 0.03
_LANE_HALF_WIDTH = 0.065

# Templates are read with {colour} and {place}. The first of each list is the plain form.
_TRAINING: Mapping[str, tuple[str, ...]] = {
    'reach': ('reach the {colour} block', 'move to the {colour} block',
              'go to the {colour} block', 'touch the {colour} cube',
              'move the gripper to the {colour} block', 'reach for the {colour} cube'),
    'lift': ('lift the {colour} block', 'pick up the {colour} block', 'grab the {colour} block',
             'raise the {colour} cube', 'take the {colour} block and lift it',
             'pick the {colour} cube up'),
    'put': ('put the {colour} block {place}', 'place the {colour} block {place}',
            'move the {colour} block {place}', 'put the {colour} cube {place}',
            'pick up the {colour} block and put it {place}', 'set the {colour} cube {place}'),
    'push': ('push the {colour} block {place}', 'slide the {colour} block {place}',
             'push the {colour} cube {place}', 'shove the {colour} block {place}',
             'move the {colour} block along the table {place}', 'slide the {colour} cube {place}'),
}
_HELD_OUT: Mapping[str, tuple[str, ...]] = {
    'reach': ('go and touch the {colour} block', 'move the gripper to the {colour} cube',
              'reach for the {colour} block'),
    'lift': ('raise the {colour} block', 'grab the {colour} cube and lift it',
             'take the {colour} cube and pick it up'),
    'put': ('place the {colour} cube {place}', 'set the {colour} block {place}',
            'grab the {colour} block and place it {place}'),
    'push': ('shove the {colour} cube {place}', 'slide the {colour} cube along the table {place}',
             'push the {colour} cube along the table {place}'),
}
_PLACES = {'plate': 'on the plate', 'bowl': 'in the bowl', 'left': 'to the left',
           'right': 'to the right', '': ''}


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing to do with one block.

    Attributes:
        kind: one of KINDS.
        colour: the block.
        place: `plate` or `bowl` for `put`, `left` or `right` for `push`, else empty.
    """

    kind: str
    colour: str
    place: str = ''

    @property
    def name(self) -> str:
        """Short name, such as `put_red_plate`."""
        return '_'.join(part for part in (self.kind, self.colour, self.place) if part)

    def instructions(self, *, held_out: bool = False) -> tuple[str, ...]:
        """Returns all wordings, of training or held out from it; the plain form comes first."""
        templates = (_HELD_OUT if held_out else _TRAINING)[self.kind]
        return tuple(template.format(colour=self.colour, place=_PLACES[self.place])
                     for template in templates)

    def holds(self, state: SceneState) -> bool:
        """True when the scene is as the task wants it."""
        block = state.blocks[self.colour]
        if self.kind == 'reach':
            return self._reached(state)
        if self.kind == 'lift':
            held = np.linalg.norm(block - state.ee_position) < HELD_DISTANCE
            return bool(held and block[2] > LIFT_HEIGHT)
        if self.kind == 'put':
            return self._put(state)
        past = SIDE_SIGN[self.place] * block[1] > PUSH_LINE
        return bool(past and block[2] < 2.0 * scene.BLOCK_HALF)

    def _reached(self, state: SceneState) -> bool:
        block = state.blocks[self.colour]
        away = {colour: float(np.linalg.norm(centre[:2] - state.ee_position[:2]))
                for colour, centre in state.blocks.items()}
        return bool(away[self.colour] < REACH_RADIUS
                    and min(away.values()) == away[self.colour]
                    and state.ee_position[2] - block[2] < REACH_HEIGHT - scene.BLOCK_HALF)

    def _put(self, state: SceneState) -> bool:
        block = state.blocks[self.colour]
        radius = scene.PLATE_RADIUS if self.place == 'plate' else scene.BOWL_RADIUS
        away = float(np.linalg.norm(block[:2] - state.containers[self.place][:2]))
        resting = (block[2] < 2.5 * scene.BLOCK_HALF
                   and state.block_speeds[self.colour] < REST_SPEED)
        return bool(away < radius and resting and state.opening > RELEASED_OPENING)


def all_tasks() -> tuple[Task, ...]:
    """Returns every task, in a fixed order."""
    places = {'reach': ('',), 'lift': ('',), 'put': scene.CONTAINERS, 'push': SIDES}
    return tuple(Task(kind, colour, place) for kind in KINDS for colour in scene.COLOURS
                 for place in places[kind])


def task_named(name: str) -> Task:
    """Returns the task of a short name. Raises TaskError for an unknown one."""
    tasks = {task.name: task for task in all_tasks()}
    if name not in tasks:
        raise TaskError(f"task must be one of {', '.join(tasks)}, got '{name}'"
                        f'{closest(name, tasks)}')
    return tasks[name]


def possible(task: Task, layout: Layout) -> bool:
    """True when the task can be done without moving another block: the push's lane is free."""
    if task.kind != 'push':
        return True
    x, y, _ = layout.blocks[task.colour]
    sign = SIDE_SIGN[task.place]
    return not any(abs(other_x - x) < _LANE_HALF_WIDTH and sign * (other_y - y) > 0.0
                   for colour, (other_x, other_y, _) in layout.blocks.items()
                   if colour != task.colour)


def recoloured(task: Task, layout: Layout) -> list[Task]:
    """Returns the task with each block for which it is possible, in the order of the colours."""
    tasks = [dataclasses.replace(task, colour=colour) for colour in scene.COLOURS]
    return [task for task in tasks if possible(task, layout)]


def chosen_block(start: SceneState, now: SceneState) -> str | None:
    """Returns the colour that the arm has gone for: moved most, else reached, else None."""
    moved = {colour: float(np.linalg.norm(now.blocks[colour] - start.blocks[colour]))
             for colour in scene.COLOURS}
    most = max(moved, key=lambda colour: moved[colour])
    if moved[most] > MOVED_DISTANCE:
        return most
    for colour in scene.COLOURS:
        if Task('reach', colour).holds(now):
            return colour
    return None
