"""Action heads by hand, apart from the reference cases that run through them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError
from octo_ros.model.heads.base import masked_mean
from octo_ros.model.heads.base import regression_loss
from octo_ros.model.heads.continuous import ContinuousActionHead
from octo_ros.model.heads.diffusion import DiffusionActionHead
from octo_ros.model.heads.discrete import DiscreteActionHead
from octo_ros.model.heads.discrete import TokenPerDimActionHead
from octo_ros.model.heads.noise import cosine_betas
from octo_ros.model.heads.unet_ddpm import UNetDDPMActionHead
from octo_ros.model.tokens import TokenGroup

BATCH, TIME, WIDTH = 2, 3, 8
KEY = jax.random.key(0)


def outputs(tokens=1):
    values = jax.random.normal(jax.random.key(1), (BATCH, TIME, tokens, WIDTH))
    return {'readout_action': TokenGroup(values, jnp.ones(values.shape[:-1], bool))}


def made(head, group=None):
    """Returns a head with parameters, called through the name of one of its methods."""
    group = outputs() if group is None else group
    variables = jax.jit(head.init)(KEY, group)

    def call(method, *args, rngs=None, **options):
        run = jax.jit(lambda args: head.apply(
            variables, *args, method=method, rngs=rngs, **options))
        return run((group, *args))

    return call


@pytest.fixture(scope='module')
def diffusion():
    return made(DiffusionActionHead('readout_action', action_horizon=2, action_dim=3,
                                    diffusion_steps=4, hidden_dim=8, num_blocks=1, time_dim=4))


@pytest.mark.parametrize('steps', [5, 10, 20, 50, 100])
def test_noise_schedule_is_the_reference(golden, steps):
    data = np.load(golden / 'misc/cosine_schedule.npz')
    betas = cosine_betas(steps)
    np.testing.assert_allclose(betas, data[f'betas_{steps}'], atol=1e-6)
    np.testing.assert_allclose(1 - betas, data[f'alphas_{steps}'], atol=1e-6)
    np.testing.assert_allclose(np.cumprod(1 - betas), data[f'alpha_hats_{steps}'], atol=1e-6)
    if steps == 100:
        np.testing.assert_allclose(betas, data['unet_betas_100'], atol=1e-6)


def test_masked_mean_counts_only_what_is_real():
    values = jnp.array([1.0, 2.0, 6.0])
    assert masked_mean(values, jnp.array([True, False, True])) == pytest.approx(3.5)
    assert masked_mean(values, jnp.zeros(3, bool)) == 0.0


def test_regression_loss_sums_over_action_dimensions():
    predicted, target = jnp.array([[1.0, -2.0]]), jnp.zeros((1, 2))
    mask = jnp.ones((1, 2), bool)
    loss, metrics = regression_loss(predicted, target, mask, 'l1', 2)
    assert (float(loss), float(metrics['mse'])) == (3.0, 5.0)
    assert float(regression_loss(predicted, target, mask, 'mse', 2)[0]) == 5.0


def test_unknown_loss_type_is_refused():
    with pytest.raises(CheckpointError, match="mse or l1, got 'huber'"):
        regression_loss(jnp.zeros(1), jnp.zeros(1), jnp.ones(1, bool), 'huber', 1)


def test_continuous_prediction_is_bounded_and_repeated_over_samples():
    head = made(ContinuousActionHead('readout_action', action_horizon=2, max_action=0.1))
    actions = head('predict_action', sample_shape=(5,))
    assert actions.shape == (5, BATCH, 2, 7)
    assert np.abs(actions).max() <= 0.1
    np.testing.assert_array_equal(actions[0], actions[4])
    np.testing.assert_allclose(actions[0], head('__call__')[:, -1], atol=1e-6)


def test_discrete_head_wants_the_right_number_of_tokens():
    head = DiscreteActionHead('readout_action', token_per='action_horizon', action_horizon=4)
    with pytest.raises(CheckpointError, match='must have 4 tokens for this head, got 1'):
        head.init(KEY, outputs())


def test_unknown_token_per_is_refused():
    with pytest.raises(CheckpointError, match="did you mean 'action_horizon'"):
        DiscreteActionHead('readout_action', token_per='action_horzon').init(KEY, outputs())


def test_discrete_head_draws_by_key_and_is_sure_by_argmax():
    head = made(TokenPerDimActionHead('readout_action', action_dim=2, vocab_size=4), outputs(2))
    likely = head('predict_action', argmax=True, sample_shape=(3,))
    cold = head('predict_action', rng=KEY, temperature=1e-6, sample_shape=(3,))
    hot = head('predict_action', rng=KEY, temperature=100.0, sample_shape=(30,))
    assert likely.shape == (3, BATCH, 1, 2)
    np.testing.assert_array_equal(likely, cold)
    assert set(np.unique(hot)) == {0.125, 0.375, 0.625, 0.875}


@pytest.mark.parametrize('head', [DiffusionActionHead('readout_action', diffusion_steps=2),
                                  DiscreteActionHead('readout_action', token_per='',
                                                     vocab_size=4),
                                  UNetDDPMActionHead('readout_action', 7, 4)])
def test_sampling_needs_a_key_or_noise(head):
    variables = jax.eval_shape(head.init, KEY, outputs())
    with pytest.raises(ParameterError, match='rng must be a random key'):
        jax.eval_shape(lambda variables: head.apply(
            variables, outputs(), method='predict_action'), variables)


def test_diffusion_samples_differ_by_key_and_stay_in_range(diffusion):
    one = diffusion('predict_action', rng=KEY, sample_shape=(2,))
    again = diffusion('predict_action', rng=KEY, sample_shape=(2,))
    other = diffusion('predict_action', rng=jax.random.key(7), sample_shape=(2,))
    assert one.shape == (2, BATCH, 2, 3)
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    assert not np.allclose(one[0], one[1])
    assert np.abs(one).max() <= 5.0


def test_diffusion_fills_dimensions_that_a_robot_lacks_with_the_last_noise(diffusion):
    initial, steps = np.zeros((BATCH, TIME, 6)), np.full((4, BATCH, TIME, 6), 2.0)
    actions = diffusion('predict_action', noise=(initial, steps), embodiment_action_dim=2)
    last = np.sqrt(1 - (1 - cosine_betas(4)[0])) * 2.0
    np.testing.assert_allclose(actions[..., 2], last, rtol=1e-5)
    assert not np.isclose(actions[..., :2], last).any()


def test_diffusion_loss_draws_steps_and_noise_from_the_dropout_stream(diffusion):
    actions = jnp.zeros((BATCH, TIME, 2, 3))
    masks = jnp.ones((BATCH, TIME), bool), jnp.ones(actions.shape, bool)
    one, metrics = diffusion('loss', actions, *masks, rngs={'dropout': KEY})
    other, _ = diffusion('loss', actions, *masks, rngs={'dropout': jax.random.key(3)})
    assert one != other
    assert set(metrics) == {'loss', 'mse'}


def test_diffusion_loss_ignores_padding(diffusion):
    actions = jax.random.normal(KEY, (BATCH, TIME, 2, 3))
    steps = jnp.ones((BATCH, TIME), bool)
    real = jnp.ones(actions.shape, bool).at[..., 2].set(False)
    time = jnp.ones((1, BATCH, TIME, 1), int)
    noise = jax.random.normal(jax.random.key(2), (1, BATCH, TIME, 2, 3))
    flat = noise.reshape(1, BATCH, TIME, 6)
    whole = diffusion('loss', actions, steps, real, time=time, noise=flat)[0]
    none = diffusion('loss', actions, ~steps, real, time=time, noise=flat)[0]
    assert whole > 0
    assert none == 0


@pytest.mark.parametrize(('kwargs', 'message'), [
    ({'action_horizon': 6}, 'multiple of 4, got 6'),
    ({'use_map': True, 'flatten_tokens': True}, 'must not both be true'),
    ({'variance_type': 'learned'}, "fixed_large, fixed_small, got 'learned'")])
def test_unet_head_refuses_what_it_cannot_do(kwargs, message):
    head = UNetDDPMActionHead(**{'readout_key': 'readout_action', 'action_dim': 2,
                                 'action_horizon': 4, **kwargs})
    with pytest.raises(CheckpointError, match=message):
        jax.eval_shape(head.init, KEY, outputs())


def posterior(**kwargs):
    head = UNetDDPMActionHead('readout_action', 1, 4, timesteps=2, **kwargs)
    betas = cosine_betas(2)

    def step(x, predicted, time, z):
        return float(head.apply({}, jnp.float32(x), jnp.float32(predicted), time,
                                jnp.float32(z), method='posterior'))

    return step, betas


def test_unet_posterior_ends_at_its_estimate_of_the_clean_action():
    step, betas = posterior()
    kept = 1 - betas[0]
    wanted = (0.7 - np.sqrt(1 - kept) * 0.2) / np.sqrt(kept)
    assert step(0.7, 0.2, 0, 9.0) == pytest.approx(wanted, rel=1e-4)  # and takes no noise there


@pytest.mark.parametrize(('kind', 'factor'), [('fixed_large', 1.0), ('fixed_small', None)])
def test_unet_posterior_mixes_estimate_and_sample(kind, factor):
    step, (first, second) = posterior(variance_type=kind)
    before = 1 - first
    now = before * (1 - second)
    clean = (0.7 - np.sqrt(1 - now) * 0.2) / np.sqrt(now)
    mean = (np.sqrt(before) * second * clean
            + np.sqrt(1 - second) * (1 - before) * 0.7) / (1 - now)
    variance = second * (factor or (1 - before) / (1 - now))
    assert step(0.7, 0.2, 1, 0.5) == pytest.approx(mean + np.sqrt(variance) * 0.5, rel=1e-4)


def test_unet_posterior_may_clip_its_estimate():
    step, _ = posterior(clip_sample=0.1)
    assert step(5.0, 0.0, 0, 0.0) == pytest.approx(0.1)
