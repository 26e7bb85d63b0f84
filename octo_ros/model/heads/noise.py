"""The noise of the diffusion heads: its schedule, and what is drawn in training and sampling."""

import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.array_typing import PRNGKeyArray
from octo_ros.errors import ParameterError

_SCHEDULE_OFFSET = np.float32(0.008)


def cosine_betas(steps: int) -> Float[np.ndarray, 'k']:
    """Returns the noise variances of the cosine schedule (arXiv:2102.09672, equation 17).

    Computed in float32 throughout: the networks were trained with that rounding.
    """
    time = np.arange(steps + 1, dtype=np.float32) / np.float32(steps)
    angle = (time + _SCHEDULE_OFFSET) / (1 + _SCHEDULE_OFFSET) * np.float32(np.pi / 2)
    signal = np.cos(angle) ** 2
    return np.clip(1 - signal[1:] / signal[:-1], 0, np.float32(0.999))


def draw_for_loss(key: PRNGKeyArray, shape: tuple[int, ...], time_shape: tuple[int, ...],
                  steps: int) -> tuple[Int[Array, '*s b t 1'], Float[Array, '*shape']]:
    """Draws a denoising step for each embedding, and the noise to add.

    Args:
        key: of the draw.
        shape: of the noise.
        time_shape: of the steps.
        steps: number of denoising steps.
    """
    time_key, noise_key = jax.random.split(key)
    time = jax.random.randint(time_key, time_shape, 0, steps)
    return time, jax.random.normal(noise_key, shape)


def add_noise(clean: Float[Array, '*shape'], noise: Float[Array, '*s'],
              kept: Float[Array, '*k']) -> Float[Array, '*s']:
    """Returns noisy actions of which `kept` is the share of the variance that is not noise."""
    return jnp.sqrt(kept) * clean + jnp.sqrt(1 - kept) * noise


def noise_to_sample(rng: PRNGKeyArray | None, given: tuple[Array, Array] | None,
                    shape: tuple[int, ...], steps: int, chunk_axes: int
                    ) -> tuple[Float[Array, '*shape'], Float[Array, 'k *shape']]:
    """Returns the initial noise and that of each denoising step, drawn or given.

    Args:
        rng: key to draw all noise with, where none is given.
        given: initial noise and that of each step, for all steps of the window; the last is used.
        shape: of the initial noise: samples, batch, one step of the window, chunk.
        steps: number of denoising steps.
        chunk_axes: number of axes that make up a chunk.

    Raises:
        ParameterError: there is neither key nor noise.
    """
    if given is not None:
        last = (..., slice(-1, None), *[slice(None)] * chunk_axes)
        initial, each = (jnp.asarray(part)[last] for part in given)
        return initial, each
    if rng is None:
        raise ParameterError('rng must be a random key to sample actions, got None; give one, or '
                             'give noise')
    initial_key, steps_key = jax.random.split(rng)
    return (jax.random.normal(initial_key, shape),
            jax.random.normal(steps_key, (steps, *shape)))
