"""Tasks are checked quickly, and a missing vocabulary is looked for once."""

import pathlib

import numpy as np
import pytest

from octo_ros.errors import TaskError
from octo_ros.policy.engine import Engine
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.tasks import TaskEncoder
from octo_ros.policy.text import TextProcessor
from octo_ros.policy.types import Task

SIZE = (64, 64)
GOAL = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture(scope='module')
def engine(golden: pathlib.Path) -> Engine:
    """An engine that has compiled nothing; checking tasks needs none of it."""
    model = OctoModel.load_pretrained(golden / 'tiny_three_cam_mse/ckpt')
    return Engine(
        model, model.dataset_statistics['bridge_dataset']['action'], image_sizes={},
        goal_sizes={'image_primary': SIZE, 'image_wrist': SIZE})


def make_encoder(engine: Engine, vocabulary: pathlib.Path) -> TaskEncoder:
    processor = TextProcessor('t5-base', 16, vocabulary=vocabulary)
    return TaskEncoder(DEFAULT_SPEC, engine, processor)


def test_a_damaged_vocabulary_is_told_at_once_and_goals_still_work(
    engine: Engine, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / 'spiece.model'
    file.write_bytes(b'not a vocabulary')
    encoder = make_encoder(engine, file)
    problem = encoder.find_vocabulary()
    assert 'must be a sentencepiece vocabulary' in problem
    file.unlink()  # it is not looked for again
    with pytest.raises(TaskError, match='must be a sentencepiece vocabulary'):
        encoder.check(Task('pick up the cup'), ())
    assert encoder.check(Task(goals={'image_primary': GOAL}), ('image_primary',)) == [
        'No instruction: the language input is masked.']
    assert 'image_primary' in encoder.encode(Task(goals={'image_primary': GOAL}))


def test_a_good_vocabulary_is_no_problem(engine: Engine, golden: pathlib.Path) -> None:
    encoder = make_encoder(engine, golden / 't5/spiece.model')
    assert encoder.find_vocabulary() == ''
    assert encoder.check(Task('pick up the cup', {'image_wrist': GOAL}), ('image_primary',)) == [
        'The goal for image_wrist has no effect: no camera is mapped to image_wrist.',
        'No goal image for image_primary: zero pixels take its place.']


def test_only_the_last_few_tasks_are_remembered(engine: Engine, golden: pathlib.Path) -> None:
    encoder = make_encoder(engine, golden / 't5/spiece.model')
    first = encoder.encode(Task(goals={'image_primary': GOAL}))
    for value in range(1, 9):
        encoder.encode(Task(goals={'image_primary': GOAL + np.uint8(value)}))
    again = encoder.encode(Task(goals={'image_primary': GOAL}))
    assert again is not first
    np.testing.assert_array_equal(again['image_primary'], first['image_primary'])
