"""Which goals have an effect follows from the tokenizers that read them, not from their names."""

import pathlib

import numpy as np
import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.spec import checkpoint_goal_cameras
from octo_ros.policy.types import Frame
from octo_ros.policy.types import Task
from octo_ros.policy.types import Window
from test.tiny_models import image_tokenizer
from test.tiny_models import make_model

PRIMARY, WRIST = 'image_primary', 'image_wrist'
MISSING = 'No goal image for image_primary: zero pixels take its place.'
APART = ({'p': image_tokenizer([PRIMARY]), 'w': image_tokenizer([WRIST])},
         {'g': image_tokenizer([], [PRIMARY])})
ACROSS = ({'p': image_tokenizer([PRIMARY]), 'w': image_tokenizer([WRIST], [PRIMARY])}, {})
BOTH = ({'p': image_tokenizer([PRIMARY], [PRIMARY]),
         'w': image_tokenizer([WRIST], ['image_p.*'])}, {})


def prepared(tokenizers, *cameras: str) -> OctoPolicy:
    policy = OctoPolicy(make_model(*tokenizers))
    policy.prepare(cameras, window=2)
    return policy


def chunks_of_two_goals(policy: OctoPolicy, camera: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    frame = Frame(0, {camera: rng.integers(0, 255, (64, 64, 3), np.uint8)})
    window = Window((frame, frame), np.ones(2, bool))
    first, second = (
        policy.infer(window, policy.encode_task(Task(goals={
            PRIMARY: rng.integers(0, 255, (64, 64, 3), np.uint8)}))).actions
        for _ in range(2))
    return first, second


@pytest.mark.parametrize('tokenizers', [APART, ACROSS, BOTH])
def test_a_goal_that_another_tokenizer_reads_has_an_effect_without_its_camera(tokenizers) -> None:
    policy = prepared(tokenizers, WRIST)
    goal = np.zeros((64, 64, 3), np.uint8)
    assert policy.check_task(Task(goals={PRIMARY: goal})) == []
    assert policy.check_task(Task()) == [MISSING]
    first, second = chunks_of_two_goals(policy, WRIST)
    assert not np.allclose(first, second)


def test_a_goal_whose_readers_have_no_camera_has_no_effect() -> None:
    policy = prepared(ACROSS, PRIMARY)
    goal = np.zeros((64, 64, 3), np.uint8)
    assert policy.check_task(Task(goals={PRIMARY: goal})) == [
        'The goal for image_primary has no effect: no camera is mapped to image_wrist.']
    assert policy.check_task(Task()) == []
    np.testing.assert_array_equal(*chunks_of_two_goals(policy, PRIMARY))


@pytest.mark.parametrize(('tokenizers', 'expected'), [
    (APART, ()), (ACROSS, (WRIST,)), (BOTH, (PRIMARY, WRIST))])
def test_the_cameras_of_goals_are_known_without_the_parameters(
        tokenizers, expected, tmp_path: pathlib.Path) -> None:
    model = make_model(*tokenizers)
    assert OctoPolicy(model).spec.goal_cameras == {PRIMARY: expected}
    model.save_pretrained(1, tmp_path)
    assert checkpoint_goal_cameras(tmp_path) == {PRIMARY: expected}


def test_the_cameras_of_goals_are_known_without_the_size_of_the_language_model() -> None:
    assert checkpoint_goal_cameras(shipped_checkpoint()) == {PRIMARY: (PRIMARY,), WRIST: (WRIST,)}
