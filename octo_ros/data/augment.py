"""Image augmentation as in Octo's training, compiled into the training step.

An example draws one set of numbers per camera, and its history and goal are changed alike. The
options are those of `image_augment_kwargs` in config.json; the meaning of every operation is that
of TensorFlow's function of the same name, on pixels from 0 to 1, clipped after each.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Float
from octo_ros.array_typing import PRNGKeyArray
from octo_ros.array_typing import UInt8
from octo_ros.errors import ParameterError
from octo_ros.errors import closest

_COLOURS = {
    'random_brightness': [0.1], 'random_contrast': [0.9, 1.1], 'random_saturation': [0.9, 1.1],
    'random_hue': [0.05]}

# Channels stand in front: with them behind, XLA runs these operations several times slower.
_Images = Float[Array, 'b k 3 ih iw']


def default_options(*, crop: bool) -> dict[str, Any]:
    """Returns Octo's options for a third-person camera (with crop) or a wrist camera."""
    options: dict[str, Any] = dict(_COLOURS)
    if crop:
        options['random_resized_crop'] = {'scale': [0.8, 1.0], 'ratio': [0.9, 1.1]}
    order = (['random_resized_crop'] if crop else []) + list(_COLOURS)
    return options | {'augment_order': order}


def check_options(options: Mapping[str, Any], camera: str) -> None:
    """Raises ParameterError for an operation that is unknown or has no numbers."""
    for name in options.get('augment_order', ()):
        if name not in _OPERATIONS:
            raise ParameterError(
                f"augment_order of camera '{camera}' must hold {', '.join(_OPERATIONS)}, got "
                f"'{name}'{closest(name, _OPERATIONS)}")
        if name not in options:
            raise ParameterError(f"camera '{camera}': '{name}' stands in augment_order, so its "
                                 'numbers must be given')


def augment_batch(key: PRNGKeyArray, batch: Mapping[str, Any],
                  options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Augments the images of a batch; padded images stay zero.

    Args:
        key: source of randomness.
        batch: `observation`, `task` and further entries, see `BatchSource`.
        options: camera (`primary`) to its options; cameras that are absent stay as they are.
    """
    observation, task = dict(batch['observation']), dict(batch['task'])
    for number, camera in enumerate(sorted(options)):
        name = f'image_{camera}'
        if name not in observation:
            continue
        frames = observation[name]
        there = observation['pad_mask_dict'][name]
        if name in task:
            frames = jnp.concatenate([frames, task[name][:, None]], axis=1)
            there = jnp.concatenate([there, task['pad_mask_dict'][name][:, None]], axis=1)
        changed = augment(jax.random.fold_in(key, number), frames, options[camera])
        changed = jnp.where(there[:, :, None, None, None], changed, frames)
        window = observation[name].shape[1]
        observation[name] = changed[:, :window]
        if name in task:
            task[name] = changed[:, window]
    return {**batch, 'observation': observation, 'task': task}


def augment(key: PRNGKeyArray, images: UInt8[Array, 'b k ih iw 3'], options: Mapping[str, Any]
            ) -> UInt8[Array, 'b k ih iw 3']:
    """Augments the k images of each example with the same numbers."""
    pixels = jnp.moveaxis(images, -1, 2).astype(jnp.float32) / 255.0
    for number, name in enumerate(options.get('augment_order', ())):
        draw = jax.random.fold_in(key, number)
        pixels = jnp.clip(_OPERATIONS[name](draw, pixels, options[name]), 0.0, 1.0)
    return jnp.moveaxis(jnp.round(pixels * 255.0).astype(jnp.uint8), 2, -1)


def crop_and_resize(images: _Images, boxes: Float[Array, 'b 4']) -> _Images:
    """Scales a box of each example back to the size of the image, bilinearly.

    Args:
        images: pixels.
        boxes: top, left, bottom, right as parts of the whole; 0 and 1 are the centres of the
            outermost pixels (TensorFlow's crop_and_resize).
    """
    down = _positions(boxes[:, 0], boxes[:, 2], images.shape[-2])
    across = _positions(boxes[:, 1], boxes[:, 3], images.shape[-1])
    return jax.vmap(_sample)(images, down, across)


def _positions(low: Float[Array, 'b'], high: Float[Array, 'b'], size: int
               ) -> Float[Array, 'b size']:
    part = jnp.linspace(0.0, 1.0, size)
    return (low[:, None] + (high - low)[:, None] * part) * (size - 1)


def _sample(images: Float[Array, 'k 3 ih iw'], down: Float[Array, 'ih'], across: Float[Array, 'iw']
            ) -> Float[Array, 'k 3 ih iw']:
    """Columns by a product with weights, rows by gathering: the fastest mix on a CPU."""
    weights = jnp.maximum(0.0, 1.0 - jnp.abs(across - jnp.arange(images.shape[-1])[:, None]))
    columns = images @ weights
    above = jnp.clip(jnp.floor(down).astype(int), 0, max(len(down) - 2, 0))
    below = jnp.minimum(above + 1, len(down) - 1)
    first = columns[:, :, above]
    return first + (columns[:, :, below] - first) * (down - above)[:, None]


def _crop(key: PRNGKeyArray, images: _Images, options: Mapping[str, Sequence[float]]) -> _Images:
    keys = jax.random.split(key, 4)
    count = (len(images),)
    area = jax.random.uniform(keys[0], count, minval=options['scale'][0],
                              maxval=options['scale'][1])
    low, high = np.log(options['ratio'])
    ratio = jnp.exp(jax.random.uniform(keys[1], count, minval=low, maxval=high))
    height = jnp.clip(jnp.sqrt(area / ratio), 0.0, 1.0)
    width = jnp.clip(jnp.sqrt(area * ratio), 0.0, 1.0)
    top = jax.random.uniform(keys[2], count) * (1.0 - height)
    left = jax.random.uniform(keys[3], count) * (1.0 - width)
    return crop_and_resize(images, jnp.stack([top, left, top + height, left + width], axis=1))


def _brightness(key: PRNGKeyArray, images: _Images, options: Sequence[float]) -> _Images:
    return images + _draw(key, images, -options[0], options[0])


def _contrast(key: PRNGKeyArray, images: _Images, options: Sequence[float]) -> _Images:
    mean = images.mean(axis=(3, 4), keepdims=True)
    return (images - mean) * _draw(key, images, *options) + mean


def _saturation(key: PRNGKeyArray, images: _Images, options: Sequence[float]) -> _Images:
    """Scales the saturation of HSV: distances to the largest channel grow until one is zero."""
    _, top, bottom = _hsv(images)
    full = top / jnp.maximum(top - bottom, 1e-6)
    factor = jnp.minimum(_draw(key, images, *options)[:, :, 0], full)
    return top[:, :, None] - (top[:, :, None] - images) * factor[:, :, None]


def _hue(key: PRNGKeyArray, images: _Images, options: Sequence[float]) -> _Images:
    """Turns the hue of HSV by a part of the whole circle."""
    (red, green, blue), top, bottom = _hsv(images)
    spread = top - bottom
    inverse = 1.0 / jnp.maximum(spread, 1e-6)
    hue = jnp.where(
        top == red, (green - blue) * inverse,
        jnp.where(top == green, (blue - red) * inverse + 2.0, (red - green) * inverse + 4.0))
    turned = hue + 6.0 * _draw(key, images, -options[0], options[0])[:, :, 0]
    channels = []
    for offset in (5.0, 3.0, 1.0):  # red, green and blue lie a third of the circle apart
        place = turned + offset
        place -= 6.0 * jnp.floor(place * (1.0 / 6.0))
        channels.append(top - spread * jnp.clip(jnp.minimum(place, 4.0 - place), 0.0, 1.0))
    return jnp.stack(channels, axis=2)


def _hsv(images: _Images) -> tuple[tuple[Array, ...], Array, Array]:
    """Returns the channels, and the largest and the smallest of them."""
    red, green, blue = (images[:, :, channel] for channel in range(3))
    top = jnp.maximum(jnp.maximum(red, green), blue)
    return (red, green, blue), top, jnp.minimum(jnp.minimum(red, green), blue)


def _draw(key: PRNGKeyArray, images: _Images, low: float, high: float
          ) -> Float[Array, 'b 1 1 1 1']:
    return jax.random.uniform(key, (len(images), 1, 1, 1, 1), minval=low, maxval=high)


_OPERATIONS: Mapping[str, Callable[[PRNGKeyArray, _Images, Any], _Images]] = {
    'random_resized_crop': _crop, 'random_brightness': _brightness, 'random_contrast': _contrast,
    'random_saturation': _saturation, 'random_hue': _hue}
