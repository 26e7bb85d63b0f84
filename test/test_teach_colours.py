"""The step on the way to the shipped policy that teaches it what a colour means."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from octo_ros import OctoModel
from octo_ros.assets import shipped_policy
from octo_ros.checkpoint.spec_registry import build_module

SCRIPT = Path(__file__).resolve().parent.parent / 'scripts' / 'teach_colours.py'


@pytest.fixture(scope='module')
def script():
    """Returns the script as a module."""
    spec = importlib.util.spec_from_file_location('teach_colours', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def base():
    """Returns the shipped policy."""
    return OctoModel.load_pretrained(shipped_policy())


@pytest.fixture(scope='module')
def lessons(script, base):
    """Returns lessons about four scenes, whose blocks are 10 cm apart."""
    rng = np.random.default_rng(0)
    actions = np.zeros((4, 3, 7))
    actions[..., 0] = [-0.1, 0.0, 0.1]
    return script.Lessons(base, {
        'image_primary': rng.integers(0, 256, (4, 64, 64, 3), np.uint8),
        'proprio': rng.random((4, 7)), 'action': actions})


def test_a_batch_tells_each_scene_with_every_colour(script, base, lessons):
    batch = lessons.batch(np.array([2, 0]), np.random.default_rng(0))
    frames = batch['observations']['image_primary'][:, 0]
    np.testing.assert_array_equal(frames, lessons.scenes['image_primary'][[2, 2, 2, 0, 0, 0]])
    assert len(np.unique(batch['actions'][:3, 0, 0, 0])) == 3
    ids = batch['tasks']['language_instruction']['input_ids']
    for row, colour in enumerate(2 * script.COLOURS):
        (word,) = base.text_processor.encode([colour])['input_ids']
        assert set(word[word > 1]) <= set(ids[row])


def test_the_examination_counts_the_answers_next_to_the_told_block(lessons):
    told = lessons.scenes['action'].reshape(-1, 7)
    assert lessons.right(told) == 1.0
    assert lessons.right(np.repeat(told[::3], 3, axis=0)) == pytest.approx(1 / 3)


def test_the_policy_gets_the_eyes_of_the_student_and_keeps_the_rest(script, base):
    module = build_module(script.student_config(base.config), params_shapes=base.params)
    example = base.example_batch
    shapes = jax.eval_shape(
        module.init, jax.random.key(0), example['observation'], example['task'],
        example['observation']['timestep_pad_mask'])['params']
    student = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, leaf.dtype), shapes)
    policy = script.join(base, student)
    assert [*policy.config['model']['observation_tokenizers']][-2:] == [script.NAME, 'proprio']
    for name, values in policy.params['octo_transformer'].items():
        for new, old in zip(jax.tree.leaves(values), jax.tree.leaves(
                base.params['octo_transformer'][name]), strict=True):
            if script.NAME in name:
                assert (np.asarray(new) == 0.5).all()
            else:
                np.testing.assert_array_equal(new, old)
