"""Diffusion head: a small residual network denoises the action chunk (arXiv:2006.11239).

The transformer runs once; only the small network runs in each denoising step.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.array_typing import PRNGKeyArray
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
from octo_ros.model.heads.score_network import ScoreNetwork
from octo_ros.model.transformer import MAPHead


class DiffusionActionHead(nn.Module):
    """Denoises a chunk of actions in a fixed number of steps.

    Attributes:
        readout_key: the group that the head reads.
        use_map: True to pool its tokens by attention, False for their mean.
        action_horizon: actions in a chunk.
        action_dim: numbers in an action.
        max_action: actions are clipped to this on both sides [normalised action].
        loss_type: `mse` or `l1`.
        time_dim: features of the step number.
        num_blocks: residual blocks of the network.
        dropout_rate: dropout in the blocks.
        hidden_dim: width of the network.
        use_layer_norm: True for norms in the blocks.
        diffusion_steps: number of denoising steps.
        n_diffusion_samples: draws of step and noise per action in the loss.
    """

    readout_key: str
    use_map: bool = False
    action_horizon: int = 1
    action_dim: int = 7
    max_action: float = 5.0
    loss_type: str = 'mse'
    time_dim: int = 32
    num_blocks: int = 3
    dropout_rate: float | None = 0.0
    hidden_dim: int = 256
    use_layer_norm: bool = True
    diffusion_steps: int = 20
    n_diffusion_samples: int = 1

    @property
    def chunk_size(self) -> int:
        """Numbers in a chunk; a chunk is flattened action by action."""
        return self.action_horizon * self.action_dim

    def setup(self) -> None:
        """Makes the layers and the noise schedule."""
        self.map_head = MAPHead() if self.use_map else None
        self.diffusion_model = ScoreNetwork(
            self.chunk_size, self.time_dim, self.num_blocks, self.dropout_rate, self.hidden_dim,
            self.use_layer_norm)
        self.betas = jnp.asarray(cosine_betas(self.diffusion_steps))
        self.alphas = 1 - self.betas
        self.alpha_hats = jnp.cumprod(self.alphas)

    def embed(self, transformer_outputs: Outputs, *, train: bool = False) -> Float[Array, 'b t d']:
        """Returns the embedding of each step that the network is conditioned on."""
        group = read_group(transformer_outputs, self.readout_key)
        return pool(group, self.map_head, train=train)

    def __call__(self, transformer_outputs: Outputs, time: Int[Array, '*s b t 1'] | None = None,
                 noisy_actions: Float[Array, '*s b t ha'] | None = None, *,
                 train: bool = False) -> Float[Array, '*s b t ha']:
        """Returns the noise in the actions; both arguments may be left out to initialise."""
        embedding = self.embed(transformer_outputs, train=train)
        if time is None:
            time = jnp.zeros((*embedding.shape[:2], 1))
        if noisy_actions is None:
            noisy_actions = jnp.zeros((*embedding.shape[:2], self.chunk_size))
        return self.diffusion_model(embedding, noisy_actions, time, train=train)

    def loss(self, transformer_outputs: Outputs, actions: Float[Array, 'b t ah ad'],
             timestep_pad_mask: Bool[Array, 'b t'], action_pad_mask: Bool[Array, 'b t ah ad'],
             *, train: bool = False, time: Int[Array, 's b t 1'] | None = None,
             noise: Float[Array, 's b t ha'] | None = None) -> tuple[Float[Array, ''], Metrics]:
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
        clean = clean.reshape(*actions.shape[:2], self.chunk_size)
        if time is None or noise is None:
            shape = (self.n_diffusion_samples, *clean.shape)
            time, noise = draw_for_loss(
                self.make_rng('dropout'), shape, (*shape[:-1], 1), self.diffusion_steps)
        noisy = add_noise(clean, noise, self.alpha_hats[time])
        predicted = self(transformer_outputs, time, noisy, train=train)
        mask = loss_mask(timestep_pad_mask, action_pad_mask).reshape(clean.shape)
        return regression_loss(predicted, noise, jnp.broadcast_to(mask, noise.shape),
                               self.loss_type, self.action_dim)

    def predict_action(self, transformer_outputs: Outputs, *, rng: PRNGKeyArray | None = None,
                       noise: tuple[Array, Array] | None = None,
                       sample_shape: tuple[int, ...] = (),
                       embodiment_action_dim: int | None = None, train: bool = False,
                       **options: Any) -> Float[Array, '*s b ah ad']:
        """Returns denoised actions for the last step of the window.

        Args:
            transformer_outputs: embeddings by group.
            rng: key to draw all noise with.
            noise: instead of a key, the initial noise (*s, b, t, ha) and the noise of each step
                (k, *s, b, t, ha) with the steps in the order they run; only the last step of the
                window is used.
            sample_shape: leading axes of the result when `rng` is given.
            embodiment_action_dim: number of dimensions that this robot has. The others get the
                noise that stood there in training, as the network has learned to expect.
            train: True to use dropout.
            **options: of other heads; ignored.

        Raises:
            ParameterError: there is neither key nor noise.
        """
        del options
        embedding = self.embed(last_step(transformer_outputs, self.readout_key), train=train)
        shape = (*sample_shape, embedding.shape[0], 1, self.chunk_size)
        initial, steps = noise_to_sample(rng, noise, shape, self.diffusion_steps, chunk_axes=1)
        actions, _, _ = self.denoise(embedding, initial, steps, embodiment_action_dim, train=train)
        actions = actions[..., 0, :]
        return actions.reshape(*actions.shape[:-1], self.action_horizon, self.action_dim)

    def denoise(self, embedding: Float[Array, 'b t d'], initial: Float[Array, '*s b t ha'],
                steps: Float[Array, 'k *s b t ha'], embodiment_action_dim: int | None = None, *,
                train: bool = False) -> tuple[Array, Array, Array]:
        """Returns the last actions, and the actions and the predicted noise of every step."""
        real = jnp.arange(self.chunk_size) % self.action_dim < (
            self.action_dim if embodiment_action_dim is None else embodiment_action_dim)
        times = jnp.arange(self.diffusion_steps - 1, -1, -1)

        def step(module: DiffusionActionHead, x: Array, inputs: tuple[Array, Array]) -> Any:
            time, z = inputs
            beta, alpha, alpha_hat = (
                values[time] for values in (module.betas, module.alphas, module.alpha_hats))
            at = jnp.broadcast_to(time, (*x.shape[:-1], 1))
            predicted = module.diffusion_model(embedding, x, at, train=train)
            x = (x - (1 - alpha) / jnp.sqrt(1 - alpha_hat) * predicted) / jnp.sqrt(alpha)
            x = x + jnp.where(time > 0, jnp.sqrt(beta), 0.0) * z
            x = jnp.clip(x, -module.max_action, module.max_action)
            x = jnp.where(real, x, jnp.sqrt(1 - alpha_hat) * z)
            return x, (x, predicted)

        scan = nn.scan(step, variable_broadcast='params', split_rngs={'params': False,
                                                                       'dropout': True})
        final, (xs, predictions) = scan(self, initial, (times, steps))
        return final, xs, predictions
