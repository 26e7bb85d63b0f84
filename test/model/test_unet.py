"""The U-Net: numbers of the reference implementation, and its head end to end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from octo_ros.model.heads.unet_ddpm import UNetDDPMActionHead
from octo_ros.model.tokens import TokenGroup
from octo_ros.model.unet import ConditionalUnet1D
from octo_ros.model.unet import sinusoidal_embedding

# What Octo's ConditionalUnet1D gives for the inputs and parameters below: batch item 0, step 1.
REFERENCE = [
    [-0.25251, 0.02532, 0.57332, 0.66936, 0.41890, 0.08338, -0.17986, -0.27343],
    [-0.02767, -0.19936, -0.20212, -0.10239, -0.01764, 0.04983, 0.12330, 0.13519],
    [1.07378, 0.42801, -0.18950, -0.27466, -0.27732, -0.24584, -0.06368, 0.35332],
    [2.04450, 2.20846, 0.71052, -0.17259, -0.30481, -0.30547, -0.30649, -0.09574]]
BLOCK = ('ConditionalResidualBlock1D_0/Conv1dBlock_0/Conv_0/kernel',
         'ConditionalResidualBlock1D_0/Conv1dBlock_0/GroupNorm_0/scale',
         'ConditionalResidualBlock1D_0/Conv_0/kernel',
         'ConditionalResidualBlock1D_0/Dense_0/kernel',
         'ConditionalResidualBlock1D_11/Conv1dBlock_1/Conv_0/bias', 'Conv1dBlock_0/Conv_0/kernel',
         'Dense_1/kernel', 'Downsample1d_1/Conv_0/kernel', 'Upsample1d_1/ConvTranspose_0/kernel')


def waves(shapes):
    """Returns parameters that anyone can make again: sines, shifted by the place in the tree."""
    flat = traverse_util.flatten_dict(shapes, sep='/')
    filled = {}
    for place, path in enumerate(sorted(flat)):
        values = 0.3 * np.sin(0.7 * np.arange(flat[path].size) + place)
        values = values + path.endswith('scale')
        filled[path] = values.reshape(flat[path].shape).astype(np.float32)
    return filled


def test_unet_gives_the_numbers_and_has_the_names_of_the_reference():
    network = ConditionalUnet1D((8, 16, 24), kernel_size=5, time_features=8)
    inputs = (np.cos(np.arange(30)).reshape(2, 3, 5), np.sin(np.arange(48)).reshape(2, 3, 4, 2),
              np.array([0, 7, 99, 3, 50, 12]).reshape(2, 3, 1))
    inputs = [value.astype(np.float32) for value in inputs]
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)['params']
    params = waves(shapes)
    assert len(params) == 146
    assert set(BLOCK) <= set(params)
    found = jax.jit(network.apply)(
        {'params': traverse_util.unflatten_dict(params, sep='/')}, *inputs)
    np.testing.assert_allclose(found[0, 1], REFERENCE, atol=2e-5)


def test_time_embedding_runs_from_one_to_a_ten_thousandth():
    found = sinusoidal_embedding(jnp.array([[2.0]]), 4)
    np.testing.assert_allclose(found[0], [np.sin(2), np.sin(2e-4), np.cos(2), np.cos(2e-4)],
                               atol=1e-6)


@pytest.fixture(scope='module')
def head():
    head = UNetDDPMActionHead('readout_action', action_dim=2, action_horizon=4, timesteps=2,
                              flatten_tokens=True, clip_sample=1.0, down_features=(8, 8, 8))
    tokens = jnp.ones((2, 2, 3, 4))
    outputs = {'readout_action': TokenGroup(tokens, jnp.ones(tokens.shape[:-1], bool))}
    shapes = jax.eval_shape(head.init, jax.random.key(0), outputs)['params']
    return head, {'params': traverse_util.unflatten_dict(waves(shapes), sep='/')}, outputs


def test_unet_head_predicts_a_chunk_for_the_last_step(head):
    module, variables, outputs = head
    noise = np.ones((3, 2, 2, 4, 2)), np.zeros((2, 3, 2, 2, 4, 2))
    actions = jax.jit(lambda noise: module.apply(
        variables, outputs, noise=noise, embodiment_action_dim=1, method='predict_action'))(noise)
    assert actions.shape == (3, 2, 4, 2)
    assert np.abs(actions[..., 0]).max() <= 1.0
    np.testing.assert_array_equal(actions[..., 1], 0.0)
    drawn = jax.eval_shape(lambda: module.apply(
        variables, outputs, rng=jax.random.key(0), sample_shape=(5,), method='predict_action'))
    assert drawn.shape == (5, 2, 4, 2)


def test_unet_loss_is_the_error_of_the_noise(head):
    module, variables, outputs = head
    actions, steps = jnp.ones((2, 2, 4, 2)), jnp.ones((2, 2), bool)
    noise = jnp.full(actions.shape, 3.0)
    time = jnp.ones((2, 2, 1), int)

    @jax.jit
    def run():
        loss, _ = module.apply(variables, outputs, actions, steps, actions > 0, time=time,
                               noise=noise, method='loss')
        kept = jnp.prod(module.bind(variables).alphas)
        noisy = jnp.sqrt(kept) * actions + jnp.sqrt(1 - kept) * noise
        return loss, module.apply(variables, outputs, time, noisy)

    loss, predicted = run()
    np.testing.assert_allclose(loss, 2 * np.square(predicted - noise).mean(), rtol=1e-4)
