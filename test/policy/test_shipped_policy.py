"""The trained policy that ships hears on the robot what it heard in training."""

import jax
import numpy as np
import pytest

from octo_ros import assets
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.policy import PolicyParams
from octo_ros.policy.types import Task


@pytest.fixture(scope='module')
def model() -> OctoModel:
    return OctoModel.load_pretrained(assets.shipped_policy())


@pytest.fixture(scope='module')
def policy(model: OctoModel) -> OctoPolicy:
    return OctoPolicy(model, PolicyParams(compilation_cache='none'))


def readout(model: OctoModel, tasks: dict) -> np.ndarray:
    noise = np.random.default_rng(0)
    observations = {
        key: noise.integers(0, 256, value.shape, np.uint8) if value.dtype == np.uint8 else value
        for key, value in model.example_batch['observation'].items()
        if not isinstance(value, dict)}
    return np.asarray(model.run_transformer(observations, tasks)['readout_action'].tokens)


def test_words_reach_the_policy_as_they_reached_it_in_training(
        model: OctoModel, policy: OctoPolicy) -> None:
    heard = {}
    for colour in ('red', 'blue'):
        text = f'reach the {colour} block'
        heard[colour] = readout(model, dict(policy.encode_task(Task(text))))
        np.testing.assert_allclose(
            heard[colour], readout(model, model.create_tasks(texts=[text])), atol=1e-4)
    assert np.abs(heard['red'] - heard['blue']).max() > 0.05


def test_no_words_are_no_pieces(model: OctoModel, policy: OctoPolicy) -> None:
    goal = np.full_like(model.example_batch['task']['image_primary'][0], 100)
    task = policy.encode_task(Task(goals={'image_primary': goal}))
    bound = model.module.bind({'params': model.params}).octo_transformer
    pieces = bound.task_tokenizers['language'].with_pieces(task)['language_pieces']
    assert not np.any(jax.device_get(pieces))
