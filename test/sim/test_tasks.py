import dataclasses

import numpy as np
import pytest

from octo_ros.errors import TaskError
from octo_ros.sim import tasks
from octo_ros.sim.randomization import sample_layout
from octo_ros.sim.state import SceneState
from octo_ros.sim.tasks import Task

START = SceneState(
    ee_position=np.array([0.30, 0.0, 0.20]), target_position=np.array([0.30, 0.0, 0.20]),
    target_rpy=np.zeros(3), opening=0.069,
    blocks={'red': np.array([0.30, -0.10, 0.018]), 'green': np.array([0.25, 0.0, 0.018]),
            'blue': np.array([0.30, 0.10, 0.018])},
    block_speeds={'red': 0.0, 'green': 0.0, 'blue': 0.0},
    containers={'plate': np.array([0.47, 0.1, 0.0]), 'bowl': np.array([0.47, -0.1, 0.0])})


def scene_with(*, ee=None, opening=None, speed=0.0, **blocks):
    return dataclasses.replace(
        START, ee_position=START.ee_position if ee is None else np.array(ee),
        opening=START.opening if opening is None else opening,
        blocks={**START.blocks, **{name: np.array(place) for name, place in blocks.items()}},
        block_speeds=dict.fromkeys(START.blocks, speed))


@pytest.mark.parametrize(('ee', 'holds'), [
    ((0.30, -0.10, 0.055), True), ((0.30, -0.12, 0.055), True), ((0.30, -0.14, 0.055), False),
    ((0.30, -0.10, 0.12), False), ((0.25, 0.0, 0.055), False)])
def test_reach(ee, holds):
    assert Task('reach', 'red').holds(scene_with(ee=ee)) is holds


@pytest.mark.parametrize(('ee', 'block', 'holds'), [
    ((0.3, -0.1, 0.14), (0.3, -0.1, 0.14), True), ((0.3, -0.1, 0.05), (0.3, -0.1, 0.05), False),
    ((0.3, 0.1, 0.14), (0.3, -0.1, 0.14), False)])
def test_lift(ee, block, holds):
    assert Task('lift', 'red').holds(scene_with(ee=ee, red=block, opening=0.036)) is holds


@pytest.mark.parametrize(('place', 'block', 'opening', 'speed', 'holds'), [
    ('plate', (0.47, 0.10, 0.024), 0.069, 0.0, True),
    ('plate', (0.47, 0.16, 0.024), 0.069, 0.0, True),
    ('plate', (0.47, 0.18, 0.024), 0.069, 0.0, False),
    ('plate', (0.47, 0.10, 0.024), 0.036, 0.0, False),  # still held
    ('plate', (0.47, 0.10, 0.024), 0.069, 0.3, False),  # still moving
    ('plate', (0.47, 0.10, 0.12), 0.069, 0.0, False),
    ('bowl', (0.47, 0.10, 0.024), 0.069, 0.0, False),  # on the plate
    ('bowl', (0.47, -0.10, 0.024), 0.069, 0.0, True)])
def test_put(place, block, opening, speed, holds):
    state = scene_with(red=block, opening=opening, speed=speed)
    assert Task('put', 'red', place).holds(state) is holds
    assert not Task('put', 'blue', place).holds(state)


@pytest.mark.parametrize(('side', 'y', 'z', 'holds'), [
    ('left', -0.18, 0.018, True), ('left', -0.12, 0.018, False), ('left', 0.18, 0.018, False),
    ('right', 0.18, 0.018, True), ('right', 0.18, 0.1, False)])
def test_push(side, y, z, holds):
    assert Task('push', 'red', side).holds(scene_with(red=(0.30, y, z))) is holds


def test_nothing_holds_at_the_start_of_any_seed(sim):
    for seed in range(20):
        sim.reset(seed)
        state = sim.state()
        assert not any(task.holds(state) for task in tasks.all_tasks())


def test_there_are_eighteen_tasks_with_names_that_lead_back():
    every = tasks.all_tasks()
    assert len(every) == 18
    assert all(tasks.task_named(task.name) == task for task in every)
    with pytest.raises(TaskError, match="did you mean 'lift_red'"):
        tasks.task_named('lift_redd')


def test_wordings_tell_tasks_apart_and_held_out_ones_are_new():
    training, held_out = {}, {}
    for task in tasks.all_tasks():
        for text in task.instructions():
            assert training.setdefault(text, task) == task
        for text in task.instructions(held_out=True):
            assert held_out.setdefault(text, task) == task
    assert not set(training) & set(held_out)
    # A policy with its own small vocabulary knows no other words.
    assert {word for text in held_out for word in text.split()} <= {
        word for text in training for word in text.split()}
    assert Task('put', 'red', 'bowl').instructions()[0] == 'put the red block in the bowl'


def test_a_push_is_possible_only_along_a_free_lane():
    layout = dataclasses.replace(sample_layout(0), blocks={
        'red': (0.30, -0.10, 0.0), 'green': (0.30, 0.05, 0.0), 'blue': (0.24, 0.12, 0.0)})
    wanted = {('red', 'left'): True, ('red', 'right'): False, ('green', 'left'): False,
              ('green', 'right'): False, ('blue', 'left'): False, ('blue', 'right'): True}
    for (colour, side), answer in wanted.items():
        assert tasks.possible(Task('push', colour, side), layout) is answer
    assert all(tasks.possible(Task('lift', colour), layout) for colour in layout.blocks)


@pytest.mark.parametrize(('changed', 'colour'), [
    ({}, None), ({'blue': (0.30, 0.10, 0.10)}, 'blue'), ({'ee': (0.25, 0.0, 0.05)}, 'green'),
    ({'ee': (0.25, 0.0, 0.05), 'red': (0.30, -0.2, 0.018)}, 'red')])
def test_the_chosen_block_is_the_one_moved_or_else_reached(changed, colour):
    assert tasks.chosen_block(START, scene_with(**changed)) == colour
