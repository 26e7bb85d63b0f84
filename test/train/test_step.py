"""One step: accumulation, moving average, bfloat16, repeatability."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from octo_ros.data.tasks import TaskParams
from octo_ros.errors import ParameterError
from octo_ros.train import devices
from octo_ros.train.adapt import ModelParams
from octo_ros.train.finetune import plan_finetune
from octo_ros.train.freezing import split
from octo_ros.train.params import OptimizerParams
from octo_ros.train.step import init_state
from octo_ros.train.step import make_train_step
from octo_ros.train.step import with_frames
from test.train.conftest import run_params


@pytest.fixture
def plan(base, episodes):
    """Returns a plan with an L1 head, whose loss draws no random numbers."""
    return plan_finetune(base, episodes, ModelParams(head='l1'), run_params())


def _go(plan, steps=2, batch=None, frames=None, **changes):
    params = run_params(optimizer=OptimizerParams(
        warmup_steps=0, schedule='constant', learning_rate=1e-2,
        **changes.pop('optimizer', {})), **changes)
    trained, frozen = split(plan.setup.params, plan.setup.frozen_keys)
    state = init_state(params, trained)
    step = jax.jit(make_train_step(plan.setup.module, params, {}))
    for _ in range(steps):
        given = plan.setup.source[0] if batch is None else batch
        state, metrics = step(state, frozen, given, frames)
    return state, metrics


def _close(first, second, tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance), first, second)


def test_parts_of_a_batch_give_the_gradient_of_the_whole(plan):
    batch = plan.setup.source[0]
    batch['action_pad_mask'][:] = True
    batch['observation']['timestep_pad_mask'][:] = True
    whole, metrics = _go(plan, 1, batch)
    parts, part_metrics = _go(plan, 1, batch, optimizer={'accumulate': 4})
    for name in ('loss', 'gradient_norm'):
        assert float(part_metrics[name]) == pytest.approx(float(metrics[name]), rel=1e-4)
    assert whole.step == parts.step == 1


def test_a_step_is_a_function_of_its_inputs(plan):
    first, second = _go(plan), _go(plan)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_the_moving_average_follows_slowly(plan):
    state, _ = _go(plan, 1, optimizer={'ema_decay': 0.9})
    start, _ = split(plan.setup.params, plan.setup.frozen_keys)
    wanted = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, start, state.trained)
    _close(state.average, wanted, 1e-6)


def test_bfloat16_products_stay_close_and_parameters_stay_float32(plan):
    exact, metrics = _go(plan, 2)  # in the first step the head says the mean action, exactly
    rough, rough_metrics = _go(plan, 2, bfloat16=True)
    assert float(rough_metrics['loss']) == pytest.approx(float(metrics['loss']), rel=0.05)
    assert float(rough_metrics['loss']) != float(metrics['loss'])
    assert {leaf.dtype for leaf in jax.tree.leaves(rough.trained)} == {jnp.dtype('float32')}
    assert jax.tree.structure(rough) == jax.tree.structure(exact)


@pytest.mark.parametrize('keep_image_prob', [0.0, 0.5])
def test_frames_on_the_device_give_the_batch_and_the_step_of_frames_from_the_host(
        base, episodes, keep_image_prob):
    plans = [plan_finetune(base, episodes, ModelParams(head='l1'), run_params(
        frames_on_device=on_device, task=TaskParams(keep_image_prob=keep_image_prob)))
        for on_device in (False, True)]
    images, rows = (plan.setup.source[0] for plan in plans)
    assert rows['observation']['image_primary'].dtype == np.int32
    frames = {key: jnp.asarray(value) for key, value in plans[1].setup.source.frames.items()}
    jax.tree.map(np.testing.assert_array_equal, images, with_frames(rows, frames))
    first, second = (_go(plan, 1, batch, frames=held)[1] for plan, batch, held in zip(
        plans, (images, rows), (None, frames), strict=True))
    for name in ('loss', 'gradient_norm'):
        assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-4)


def test_frames_that_do_not_fit_the_device_are_refused_with_both_sizes(monkeypatch):
    monkeypatch.setattr(devices, '_free_bytes', lambda device: 1_000_000_000)
    frames = {'image_primary': np.broadcast_to(np.uint8(0), (100_000, 128, 128, 3))}
    with pytest.raises(ParameterError, match=r'4\.9 GB and .* 1\.0 GB free; switch it off'):
        devices.Devices().check_room(frames)
