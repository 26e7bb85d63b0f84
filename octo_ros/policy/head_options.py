"""What a caller asks of an action head, held to what that head can do."""

import contextlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import flax.errors
import jax
import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.model.heads.base import ActionHead
from octo_ros.model.heads.diffusion import DiffusionActionHead
from octo_ros.model.heads.discrete import DiscreteActionHead
from octo_ros.model.heads.unet_ddpm import UNetDDPMActionHead
from octo_ros.model.octo import OctoModule
from octo_ros.policy.normalization import NORMALIZATION_TYPES
from octo_ros.policy.normalization import action_size


def find_head(module: OctoModule, name: str) -> ActionHead:
    """Returns the head of that name. Raises ParameterError when there is none."""
    if not isinstance(name, str) or name not in module.heads:
        raise ParameterError(
            f"'head' must be one of {', '.join(module.heads)}, got '{name}'"
            f'{closest(str(name), module.heads)}')
    return module.heads[name]


def active_dimensions(
    head: ActionHead, statistics: Mapping[str, Any] | None, kind: str,
) -> int | None:
    """Returns how many dimensions the robot has, or None when it has all of the head's.

    None in the common case, so that raw and un-normalised actions share one compilation.

    Raises:
        ParameterError: the statistics are not those of actions, or the kind is unknown.
    """
    if kind not in NORMALIZATION_TYPES:
        raise ParameterError(
            f"'normalization_type' must be one of {', '.join(NORMALIZATION_TYPES)}, got "
            f"'{kind}'{closest(str(kind), NORMALIZATION_TYPES)}")
    if statistics is None:
        return None
    count = action_size(statistics, kind)
    return count if count < head.action_dim else None


def check_options(
    head: ActionHead, *, argmax: bool | None, temperature: float | None,
) -> dict[str, Any]:
    """Returns the options that were given.

    Raises:
        ParameterError: the head has no use for them, or the temperature is not positive.
    """
    given = {'argmax': argmax, 'temperature': temperature}
    options = {name: value for name, value in given.items() if value is not None}
    if options and not isinstance(head, DiscreteActionHead):
        raise ParameterError(
            f"{' and '.join(options)} must go with a discrete action head, got "
            f'{type(head).__name__}, which has no use for it; leave it out')
    if temperature is not None and not temperature > 0:
        raise ParameterError(
            f'temperature must be > 0, got {temperature}; set argmax for the most likely actions')
    return options


def check_sample_shape(sample_shape: Any) -> tuple[int, ...]:
    """Returns the leading axes. Raises ParameterError for what is not a tuple of sizes."""
    if not isinstance(sample_shape, tuple | list) or not all(
            isinstance(size, int | np.integer) and size > 0 for size in sample_shape):
        raise ParameterError(
            f'sample_shape must be a tuple of sizes > 0, got {sample_shape!r}; write (3,) for '
            'three samples, () for one without an axis')
    return tuple(int(size) for size in sample_shape)


def check_batch(
    head: ActionHead, batch: Mapping[str, Any], window: tuple[int, ...],
) -> None:
    """Holds the actions of a training batch to the head; `window` is (b, t).

    Raises:
        ParameterError: an entry is missing, or has another shape than (b, t, ah, ad).
    """
    wanted = (*window, head.action_horizon, head.action_dim)
    for name in ('action', 'action_pad_mask'):
        if name not in batch:
            raise ParameterError(
                f"the batch must have '{name}' (b, t, ah, ad) for the loss, got "
                f'{", ".join(sorted(batch)) or "nothing"}; see example_batch')
        if np.shape(batch[name]) != wanted:
            raise ParameterError(
                f"the batch's '{name}' must have the shape (b, t, ah, ad) = {wanted}, got "
                f'{np.shape(batch[name])}; cut or pad its chunks to those of the head')


def check_loss_options(head: ActionHead, options: Mapping[str, Any]) -> None:
    """Raises ParameterError for options that the head's loss does not take."""
    known = ('time', 'noise') if isinstance(
        head, DiffusionActionHead | UNetDDPMActionHead) else ()
    for name in options:
        if name not in known:
            raise ParameterError(
                f"the loss of a {type(head).__name__} must have {' and '.join(known) or 'no'} "
                f"options, got '{name}'{closest(name, known)}")


@contextlib.contextmanager
def needing_key() -> Iterator[None]:
    """Says what to give where Flax finds that a random key is missing."""
    try:
        yield
    except flax.errors.InvalidRngError as error:
        raise ParameterError(
            'rng must be a random key for dropout and for what a diffusion head draws, got None; '
            'give rng=jax.random.key(seed), a new one for every call') from error


def check_noise(
    head: ActionHead, noise: Any, sample_shape: tuple[int, ...], window: tuple[int, ...],
) -> None:
    """Holds the noise of a diffusion head to the shapes that it denoises.

    Args:
        head: the head that it is for.
        noise: initial noise (*s, b, t, ah*ad) and that of every step, (steps, *s, b, t, ah*ad);
            a U-Net head has (ah, ad) as two axes. None is always right.
        sample_shape: leading axes *s.
        window: batch size and steps of the observations, (b, t).

    Raises:
        ParameterError: it is no such pair, or the head does not denoise.
    """
    if noise is None:
        return
    chunk: tuple[int, ...]
    if isinstance(head, DiffusionActionHead):
        count, chunk, names = head.diffusion_steps, (head.chunk_size,), 'ah*ad'
    elif isinstance(head, UNetDDPMActionHead):
        count, chunk, names = head.timesteps, (head.action_horizon, head.action_dim), 'ah, ad'
    else:
        raise ParameterError(
            f'noise must go with a diffusion head, got {type(head).__name__}, which has no use '
            'for it; leave it out')
    if not isinstance(noise, tuple | list) or len(noise) != 2:
        got = f'{len(noise)} of them' if isinstance(noise, tuple | list) else f'{_kind(noise)}'
        raise ParameterError(
            f'noise must be a pair of arrays (initial, steps), got {got}; give the initial noise '
            f'(*sample_shape, b, t, {names}) and that of every step, with one axis of {count} '
            'before it')
    initial = (*sample_shape, *window, *chunk)
    for name, part, wanted in zip(
            ('initial', 'steps'), noise, (initial, (count, *initial)), strict=True):
        if np.shape(part) != wanted:
            axes = f'{"" if name == "initial" else "steps, "}*sample_shape, b, t, {names}'
            raise ParameterError(
                f'the {name} noise must have the shape ({axes}) = {wanted}, got '
                f'{np.shape(part)}; draw it for these observations and this sample_shape')
        if not isinstance(part, jax.core.Tracer) and not np.isfinite(part).all():
            raise ParameterError(f'the {name} noise must be finite, got NaN or infinity')


def _kind(value: Any) -> str:
    shape = getattr(value, 'shape', None)
    return type(value).__name__ if shape is None else f'one array of shape {shape}'
