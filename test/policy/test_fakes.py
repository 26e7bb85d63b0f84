"""The fake policy is deterministic and checks its inputs as a real one does."""

import dataclasses

import numpy as np
import pytest

from octo_ros.errors import TaskError
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.fakes import FakePolicy
from octo_ros.policy.types import Frame
from octo_ros.policy.types import Task
from octo_ros.policy.types import Window


def make_window(value=0):
    frame = Frame(5, {'image_primary': np.full((32, 32, 3), value, np.uint8)})
    return Window((frame, frame), np.array([False, True]))


def run(policy: FakePolicy, text='go', value=0, count=2):
    task = policy.encode_task(Task(text))
    return np.stack([policy.infer(make_window(value), task).actions for _ in range(count)])


def test_one_seed_gives_one_stream_of_actions() -> None:
    policy = FakePolicy(seed=3)
    first = run(policy)
    policy.reset()
    np.testing.assert_array_equal(run(policy), first)
    np.testing.assert_array_equal(run(FakePolicy(seed=3)), first)
    assert first.shape == (2, 4, 7)
    assert np.abs(first).max() <= 0.01
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize('other', [{'text': 'stop'}, {'value': 1}])
def test_actions_depend_on_task_and_images(other: dict) -> None:
    assert not np.array_equal(run(FakePolicy()), run(FakePolicy(), **other))


def test_it_remembers_what_it_was_asked() -> None:
    policy = FakePolicy()
    policy.prepare(['image_primary'], window=2, progress=lambda text: None)
    run(policy)
    assert policy.prepared.image_keys == ('image_primary',)
    assert len(policy.windows) == policy.inferences == 2
    assert policy.tasks[0].text == 'go'


def test_a_hook_can_make_an_inference_fail() -> None:
    def fail(window: Window) -> None:
        raise TaskError('not now')

    with pytest.raises(TaskError, match='not now'):
        run(FakePolicy(before_infer=fail))


def test_unknown_goals_are_refused_and_missing_ones_told() -> None:
    policy = FakePolicy()
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(TaskError, match="did you mean 'image_wrist'"):
        policy.check_task(Task(goals={'image_wris': image}))
    assert policy.check_task(Task('go', {'image_primary': image, 'image_wrist': image})) == []
    assert 'image_wrist' in policy.check_task(Task('go', {'image_primary': image}))[0]


def test_a_missing_goal_is_told_where_another_camera_uses_it() -> None:
    policy = FakePolicy(dataclasses.replace(
        DEFAULT_SPEC, goal_cameras={'image_primary': (), 'image_wrist': ('image_primary',)}))
    policy.prepare(['image_wrist'], window=2)
    assert policy.check_task(Task('go')) == [
        'No goal image for image_primary: zeros take its place.']
