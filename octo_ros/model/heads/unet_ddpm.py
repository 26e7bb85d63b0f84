"""Diffusion head whose network is a U-Net over the steps of the chunk (arXiv:2303.04137)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.array_typing import PRNGKeyArray
from octo_ros.errors import CheckpointError
from octo_ros.model.heads.base import Metrics
from octo_ros.model.heads.base import Outputs
from octo_ros.model.heads.base import last_step
from octo_ros.model.heads.base import loss_mask
from octo_ros.model.heads.base import pool
from octo_ros.model.heads.base import read_group
from octo_ros.model.heads.base import regression_loss
from octo_ros.model.heads.noise import add_noise
from octo_ros.model.heads.noise import cosine_betas
from octo_ros.model.heads.noise import draw_for_loss
from octo_ros.model.heads.noise import noise_to_sample
from octo_ros.model.transformer import MAPHead
from octo_ros.model.unet import ConditionalUnet1D

VARIANCES = ('fixed_large', 'fixed_small')


class UNetDDPMActionHead(nn.Module):
    """Denoises a chunk of actions with the posterior of DDPM.

    Octo's own head of this name cannot run with its defaults; this one follows what it says:
    actions (b, t, ah, ad) in the loss, the last step of the window in the prediction.

    Attributes:
        readout_key: the group that the head reads.
        action_dim: numbers in an action.
        action_horizon: actions in a chunk; a multiple of 4, as each level but one halves it.
        use_map: True to pool the group's tokens by attention.
        flatten_tokens: True to join the tokens instead; with neither, their mean is taken.
        timesteps: number of denoising steps.
        max_action: actions are clipped to this in the loss [normalised action].
        clip_sample: bound of the clean action that each step estimates, or None.
        variance_type: `fixed_large` (beta) or `fixed_small` (the posterior's variance).
        down_features: widths of the network's levels; Octo has these and no such argument.
    """

    readout_key: str
    action_dim: int
    action_horizon: int
    use_map: bool = False
    flatten_tokens: bool = False
    timesteps: int = 100
    max_action: float = 1.0
    clip_sample: float | None = None
    variance_type: str = 'fixed_large'
    down_features: Sequence[int] = (256, 512, 1024)

    def setup(self) -> None:
        """Checks the configuration and makes the layers and the schedule."""
        shrink = 2 ** (len(self.down_features) - 1)
        if self.action_horizon % shrink:
            raise CheckpointError('action_horizon of a UNetDDPMActionHead must be a multiple of '
                                  f'{shrink}, got {self.action_horizon}')
        if self.use_map and self.flatten_tokens:
            raise CheckpointError('use_map and flatten_tokens of a UNetDDPMActionHead must not '
                                  'both be true; pool the tokens or join them')
        if self.variance_type not in VARIANCES:
            raise CheckpointError(f'variance_type must be one of {", ".join(VARIANCES)}, got '
                                  f'{self.variance_type!r}')
        self.map_head = MAPHead() if self.use_map else None
        self.action_proj = nn.Dense(self.action_dim)
        self.model = ConditionalUnet1D(self.down_features, kernel_size=5, time_features=128)
        self.alphas = 1 - jnp.asarray(cosine_betas(self.timesteps))
        self.alpha_hats = jnp.cumprod(self.alphas)

    def embed(self, transformer_outputs: Outputs, *, train: bool = False) -> Float[Array, 'b t d']:
        """Returns the embedding of each step that the network is conditioned on."""
        group = read_group(transformer_outputs, self.readout_key)
        if self.flatten_tokens:
            return group.tokens.reshape(*group.tokens.shape[:2], -1)
        return pool(group, self.map_head, train=train)

    def __call__(self, transformer_outputs: Outputs, time: Int[Array, 'b t 1'] | None = None,
                 noisy_actions: Float[Array, 'b t ah ad'] | None = None, *,
                 train: bool = False) -> Float[Array, 'b t ah ad']:
        """Returns the noise in the actions; both arguments may be left out to initialise."""
        embedding = self.embed(transformer_outputs, train=train)
        shape = embedding.shape[:2]
        if time is None:
            time = jnp.zeros((*shape, 1))
        if noisy_actions is None:
            noisy_actions = jnp.zeros((*shape, self.action_horizon, self.action_dim))
        return self._predict(embedding, noisy_actions, time)

    def _predict(self, embedding: Float[Array, 'b t d'], actions: Float[Array, '*s b t ah ad'],
                 time: Int[Array, '*s b t 1']) -> Float[Array, '*s b t ah ad']:
        embedding = jnp.broadcast_to(embedding, (*actions.shape[:-2], embedding.shape[-1]))
        return self.action_proj(self.model(embedding, actions, time))

    def loss(self, transformer_outputs: Outputs, actions: Float[Array, 'b t ah ad'],
             timestep_pad_mask: Bool[Array, 'b t'], action_pad_mask: Bool[Array, 'b t ah ad'],
             *, train: bool = False, time: Int[Array, 'b t 1'] | None = None,
             noise: Float[Array, 'b t ah ad'] | None = None) -> tuple[Float[Array, ''], Metrics]:
        """Returns the error of the predicted noise and metrics, summed over dimensions.

        Args:
            transformer_outputs: embeddings by group.
            actions: normalised actions.
            timestep_pad_mask: True = real step.
            action_pad_mask: True = real action dimension.
            train: True to use dropout.
            time: denoising steps; drawn from the `dropout` stream unless given.
            noise: noise to add; drawn from the `dropout` stream unless given.
        """
        clean = jnp.clip(actions, -self.max_action, self.max_action)
        if time is None or noise is None:
            time, noise = draw_for_loss(
                self.make_rng('dropout'), clean.shape, (*clean.shape[:2], 1), self.timesteps)
        noisy = add_noise(clean, noise, self.alpha_hats[time][..., None])
        predicted = self(transformer_outputs, time, noisy, train=train)
        mask = loss_mask(timestep_pad_mask, action_pad_mask)
        return regression_loss(predicted, noise, mask, 'mse', self.action_dim)

    def predict_action(self, transformer_outputs: Outputs, *, rng: PRNGKeyArray | None = None,
                       noise: tuple[Array, Array] | None = None,
                       sample_shape: tuple[int, ...] = (),
                       embodiment_action_dim: int | None = None, train: bool = False,
                       **options: Any) -> Float[Array, '*s b ah ad']:
        """Returns denoised actions for the last step of the window.

        Args:
            transformer_outputs: embeddings by group.
            rng: key to draw all noise with.
            noise: instead of a key, the initial noise (*s, b, t, ah, ad) and that of each step
                (k, *s, b, t, ah, ad); only the last step of the window is used.
            sample_shape: leading axes of the result when `rng` is given.
            embodiment_action_dim: number of dimensions that this robot has; the others get the
                noise that stood there in training.
            train: True to use dropout.
            **options: of other heads; ignored.

        Raises:
            ParameterError: there is neither key nor noise.
        """
        del options
        embedding = self.embed(last_step(transformer_outputs, self.readout_key), train=train)
        shape = (*sample_shape, embedding.shape[0], 1, self.action_horizon, self.action_dim)
        initial, steps = noise_to_sample(rng, noise, shape, self.timesteps, chunk_axes=2)
        count = self.action_dim if embodiment_action_dim is None else embodiment_action_dim
        real = jnp.arange(self.action_dim) < count

        def step(head: UNetDDPMActionHead, x: Array, inputs: tuple[Array, Array]) -> Any:
            time, z = inputs
            at = jnp.broadcast_to(time, (*x.shape[:-2], 1))
            x = head.posterior(x, head._predict(embedding, x, at), time, z)
            return jnp.where(real, x, jnp.sqrt(1 - head.alpha_hats[time]) * z), None

        times = jnp.arange(self.timesteps - 1, -1, -1)
        scan = nn.scan(step, variable_broadcast='params', split_rngs={'params': False})
        actions, _ = scan(self, initial, (times, steps))
        return actions[..., 0, :, :]

    def posterior(self, x: Float[Array, '*batch ah ad'], predicted: Float[Array, '*batch ah ad'],
                  time: Int[Array, ''], z: Float[Array, '*batch ah ad']) -> Array:
        """Returns the actions one step less noisy (arXiv:2006.11239, equations 7 and 15)."""
        alpha, now = self.alphas[time], self.alpha_hats[time]
        before = jnp.where(time > 0, self.alpha_hats[time - 1], 1.0)
        clean = (x - jnp.sqrt(1 - now) * predicted) / jnp.sqrt(now)
        if self.clip_sample is not None:
            clean = jnp.clip(clean, -self.clip_sample, self.clip_sample)
        mean = (jnp.sqrt(before) * (1 - alpha) * clean
                + jnp.sqrt(alpha) * (1 - before) * x) / (1 - now)
        variance = 1 - alpha
        if self.variance_type == 'fixed_small':
            variance = jnp.maximum(variance * (1 - before) / (1 - now), 1e-20)
        return mean + jnp.where(time > 0, jnp.sqrt(variance), 0.0) * z
