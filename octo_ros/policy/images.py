"""Camera images to the model's input, with the numbers of its training.

Training resized with Lanczos3 and antialias, and cropped some cameras at random; at run time the
mean of those crops is taken from the centre and scaled back bilinearly (Octo's evaluation
wrappers). Both steps are linear and separable and nothing is clipped in between, so each axis
needs one weight matrix, made once for a pair of sizes. The matrices are banded: a few output rows
at a time touch only a short span of input rows, which keeps a 640x480 image at a few milliseconds
of one CPU core. `jax.image.resize` gives the same numbers (a test holds them together), but
compiles for every new size of camera or goal image, and that must not happen while a robot moves.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8
from octo_ros.errors import CheckpointError
from octo_ros.errors import ObservationError

# Output rows per product: small enough to skip most zeros, large enough for fast products.
_BLOCK = 8
# OpenBLAS runs a product of up to 2^18 multiplications in the calling thread. Its threads are of
# no use here, and beside a busy model they make a resize take many times as long.
_PRODUCT = 200_000
_NEGLIGIBLE = 1e-9
_LOBES = 3
_AUGMENTATION = 'image_augment_kwargs.'

Crop = tuple[float, float]
_Bands = tuple[tuple[slice, slice, Float[np.ndarray, 'block span']], ...]


def preprocess(
    image: UInt8[np.ndarray, 'ih iw 3'], size: tuple[int, int], crop: Crop | None = None
) -> UInt8[np.ndarray, 'oh ow 3']:
    """Resizes an image as in training.

    Args:
        image: RGB, any size.
        size: height and width wanted [pixel].
        crop: height and width, as parts of the whole, of the centred crop that is scaled back to
            `size`; None for no crop.

    Raises:
        ObservationError: it is not a uint8 image with three channels and at least one pixel.
    """
    check_image(image)
    if image.shape[:2] == tuple(size) and crop is None:
        return image
    untouched = image.shape[:2] == tuple(size)
    height, width = (
        _bands(source, target, None if crop is None else crop[axis], untouched)
        for axis, (source, target) in enumerate(zip(image.shape[:2], size, strict=True)))
    pixels = image.astype(np.float32)
    # A very flat image would grow by its height before it shrinks by its width.
    if size[0] <= image.shape[0] or size[1] >= image.shape[1]:
        resized = _columns(width, _rows(height, pixels, size[0]), size[1])
    else:
        resized = _rows(height, _columns(width, pixels, size[1]), size[0])
    return np.ascontiguousarray(np.clip(np.rint(resized), 0, 255), dtype=np.uint8)


def check_image(image: UInt8[np.ndarray, 'ih iw 3']) -> None:
    """Raises ObservationError for what is not a uint8 image of three channels with a pixel."""
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
        raise ObservationError(
            'An image must be uint8 with shape (height, width, 3) and not be empty, got '
            f'{image.dtype} with shape {image.shape}; convert it to RGB')


def crop_for(config: Mapping[str, Any], key: str) -> Crop | None:
    """Returns the mean of the random crops that training took of a camera.

    Args:
        config: the checkpoint's config.json.
        key: observation key, such as `image_primary`.

    Returns:
        Height and width as parts of the whole, or None when there was no random crop.

    Raises:
        CheckpointError: an entry on the way there is not a mapping, or has no numbers.
    """
    augmentation = _augmentation(config, key.removeprefix('image_'))
    crop = _mapping(augmentation, 'random_resized_crop', _AUGMENTATION)
    if not crop or 'random_resized_crop' not in (augmentation.get('augment_order') or ()):
        return None
    scale, ratio = (_mean(crop, name) for name in ('scale', 'ratio'))
    height, width = (min(1.0, math.sqrt(part)) for part in (scale / ratio, scale * ratio))
    return None if height == width == 1.0 else (height, width)


def _augmentation(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for place, holder in (
            ('', config), ('dataset_kwargs.', _mapping(config, 'dataset_kwargs', ''))):
        transform = _mapping(holder, 'frame_transform_kwargs', place)
        inner = f'{place}frame_transform_kwargs.'
        found = _mapping(transform, 'image_augment_kwargs', inner)
        if found:
            # One set of options for all cameras, or one set a camera.
            return found if 'augment_order' in found else _mapping(
                found, name, f'{inner}image_augment_kwargs.')
    return {}


def _mapping(holder: Mapping[str, Any], name: str, place: str) -> Mapping[str, Any]:
    """Returns an entry of config.json, empty when it is left out; `place` is where it stands."""
    found = holder.get(name) or {}
    if not isinstance(found, Mapping):
        raise CheckpointError(
            f"config.json: '{place}{name}' must be a mapping, got {found!r:.60}; correct it, or "
            'take it out for images without a crop')
    return found


def _mean(crop: Mapping[str, Any], name: str) -> float:
    values = crop.get(name, (1.0, 1.0))
    try:
        mean = float(np.mean(values))
    except (TypeError, ValueError):
        mean = math.nan
    if not 0 < mean < math.inf:
        raise CheckpointError(
            f"config.json: '{name}' of '{_AUGMENTATION}random_resized_crop' must be numbers > 0, "
            f'got {values!r:.60}; correct it')
    return mean


def _rows(
    bands: _Bands, image: Float[np.ndarray, 'ih iw 3'], size: int
) -> Float[np.ndarray, 'oh iw 3']:
    flat = np.ascontiguousarray(image).reshape(len(image), -1)
    return _apply(bands, flat, size).reshape(size, *image.shape[1:])


def _columns(
    bands: _Bands, image: Float[np.ndarray, 'ih iw 3'], size: int
) -> Float[np.ndarray, 'ih ow 3']:
    return _rows(bands, image.transpose(1, 0, 2), size).transpose(1, 0, 2)


def _apply(
    bands: _Bands, rows: Float[np.ndarray, 'source rest'], size: int
) -> Float[np.ndarray, 'target rest']:
    result = np.empty((size, rows.shape[1]), np.float32)
    for target, source, weights in bands:
        part = max(1, _PRODUCT // weights.size)
        for start in range(0, rows.shape[1], part):
            columns = slice(start, start + part)
            np.matmul(weights, rows[source, columns], out=result[target, columns])
    return result


@functools.lru_cache(maxsize=64)
def _bands(source: int, target: int, crop: float | None, untouched: bool) -> _Bands:
    """Cuts the weight matrix of one axis into blocks of rows without their zero columns."""
    weights = np.eye(source) if untouched else _lanczos_weights(source, target)
    if crop is not None:
        weights = _crop_weights(target, crop) @ weights
    bands = []
    for start in range(0, target, _BLOCK):
        block = weights[start:start + _BLOCK]
        used = np.flatnonzero(np.abs(block).max(axis=0) > _NEGLIGIBLE)
        span = slice(int(used[0]), int(used[-1]) + 1)
        bands.append((
            slice(start, start + len(block)), span,
            np.ascontiguousarray(block[:, span], dtype=np.float32)))
    return tuple(bands)


def _lanczos_weights(source: int, target: int) -> Float[np.ndarray, 'target source']:
    """Returns the weight of every input pixel in every output pixel; each row sums to 1.

    When an image gets smaller the kernel is stretched by the same factor (antialias).
    """
    factor = source / target
    centres = (np.arange(target) + 0.5) * factor - 0.5
    distances = (np.arange(source) - centres[:, None]) / max(factor, 1.0)
    weights = np.zeros_like(distances)
    near = np.abs(distances) < _LOBES
    weights[near] = np.sinc(distances[near]) * np.sinc(distances[near] / _LOBES)
    return weights / weights.sum(axis=1, keepdims=True)


def _crop_weights(size: int, part: float) -> Float[np.ndarray, 'target target']:
    """Returns bilinear weights that scale the centred `part` of an axis back to its size.

    The first and last output pixels lie on the ends of the crop, measured between the centres of
    the outermost input pixels (TensorFlow's crop_and_resize).
    """
    positions = (0.5 + part * (np.linspace(0.0, 1.0, size) - 0.5)) * (size - 1)
    if size == 1:
        positions = np.zeros(1)
    lower = np.clip(np.floor(positions).astype(int), 0, max(size - 2, 0))
    rest = positions - lower
    weights = np.zeros((size, size))
    weights[np.arange(size), lower] = 1.0 - rest
    weights[np.arange(size), np.minimum(lower + 1, size - 1)] += rest
    return weights
