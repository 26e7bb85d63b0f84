"""The task of a runtime: instruction and goals, changed while it runs."""

import dataclasses

import numpy as np
import pytest

from octo_ros.errors import ObservationError
from octo_ros.errors import TaskError
from octo_ros.messages.runtime import NO_TASK
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.fakes import FakePolicy
from test.messages.rigs import MS
from test.messages.rigs import START
from test.messages.rigs import Rig


@pytest.fixture
def rig(messages):
    return Rig(messages)


def test_new_instruction_takes_effect_within_one_step(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    rig.work(0)
    rig.runtime.set_instruction('open the drawer')
    rig.look(200)
    chunk, output = rig.work(200)
    assert rig.policy.tasks[-1].text == 'open the drawer'
    assert output.command.chunk_id == chunk.chunk_id == 1


def test_answer_for_an_old_task_is_dropped(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    job = rig.runtime.poll(START)
    result = rig.runtime.run(job)
    rig.runtime.set_instruction('open the drawer')
    assert rig.runtime.accept(result) is None
    assert rig.runtime.tick(START).command is None


def test_clearing_the_task_holds_at_once(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    assert rig.work(0)[1].command is not None
    rig.runtime.clear_task()
    assert rig.work(10)[1].reason == NO_TASK


def test_instruction_of_spaces_is_refused_and_the_task_stays(rig):
    rig.runtime.set_instruction('pick up the cup')
    with pytest.raises(TaskError, match='must hold words'):
        rig.runtime.set_instruction('  \n')
    assert rig.runtime.task.text == 'pick up the cup'


def test_empty_instruction_takes_the_text_away_and_the_robot_holds(rig, messages):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    assert rig.work(0)[1].command is not None
    rig.runtime.set_instruction('')
    assert rig.work(10)[1].reason == NO_TASK
    rig.runtime.set_instruction('pick up the cup')
    rig.runtime.set_goal('image_wrist', messages.image(np.zeros((5, 9, 3), np.uint8)))
    rig.runtime.set_instruction('')
    assert rig.runtime.task.text is None
    assert set(rig.runtime.task.goals) == {'image_wrist'}


def test_goal_of_any_size_joins_the_text_in_the_size_of_the_policy(rig, messages):
    rig.runtime.set_instruction('pick up the cup')
    rig.runtime.set_goal('image_wrist', messages.image(np.zeros((5, 9, 3), np.uint8)))
    assert rig.runtime.task.text == 'pick up the cup'
    size = DEFAULT_SPEC.image_sizes['image_wrist']
    assert rig.runtime.task.goals['image_wrist'].shape == (*size, 3)


def test_unusable_goals_are_refused_and_the_task_stays(rig, messages):
    image = np.zeros((5, 9, 3), np.uint8)
    with pytest.raises(TaskError, match=r"got 'image_wist' .did you mean 'image_wrist'"):
        rig.runtime.set_goal('image_wist', messages.image(image))
    with pytest.raises(ObservationError, match='odd'):
        rig.runtime.set_goal('image_wrist', messages.image(image, 'odd'))
    assert rig.runtime.task.empty


def test_captured_goal_is_the_present_view(rig):
    with pytest.raises(TaskError, match="no message on 'image_primary' yet"):
        rig.runtime.capture_goal(START)
    rig.look(100)
    assert rig.runtime.capture_goal(START + 120 * MS) == ('image_primary',)
    assert rig.runtime.task.goals['image_primary'][0, 0].tolist() == [100, 100, 100]


def test_goal_cannot_be_captured_where_none_is_taken(messages):
    rig = Rig(messages, FakePolicy(dataclasses.replace(DEFAULT_SPEC, goal_keys=())))
    rig.look(0)
    with pytest.raises(TaskError, match='give an instruction instead'):
        rig.runtime.capture_goal(START)


def test_what_the_policy_sees_as_missing_is_told_once_for_each_set_of_keys(rig, messages):
    missing = ['No goal image for image_primary, image_wrist: zeros take its place.']
    assert rig.runtime.set_instruction('go') == missing
    for text in ('wave', 'go', 'stop'):
        assert rig.runtime.set_instruction(text) == []
    goal = messages.image(np.zeros((24, 32, 3), np.uint8))
    assert rig.runtime.set_goal('image_wrist', goal) == [
        'No goal image for image_primary: zeros take its place.']
    assert rig.runtime.set_instruction('again') == []
    rig.runtime.clear_task()
    assert rig.runtime.set_instruction('and again') == []
