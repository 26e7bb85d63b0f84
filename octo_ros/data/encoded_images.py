"""Pictures as bytes (JPEG, PNG) to frames at the wanted size."""

from collections.abc import Sequence

import cv2
import numpy as np

from octo_ros.array_typing import Int
from octo_ros.array_typing import UInt8
from octo_ros.data.frames import Frames
from octo_ros.data.frames import Trouble
from octo_ros.policy import jpeg
from octo_ros.policy import png
from octo_ros.policy.images import preprocess

# A picture is taken as its pixels lie, as Octo's own pipeline takes it.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_picture(data: bytes | None) -> UInt8[np.ndarray, 'ih iw 3'] | None:
    """Returns a picture as RGB, or None when these bytes are none, or damaged."""
    if not data:
        return None
    try:
        if data.startswith(jpeg.START):
            return jpeg.decode_jpeg(data)
        if data.startswith(png.START):
            png.check(data)
        found = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except (cv2.error, ValueError):
        return None
    return None if found is None else np.ascontiguousarray(found[..., ::-1])


def decode_frames(pictures: Sequence[bytes | None], rows: Int[np.ndarray, 'n'],
                  size: tuple[int, int] | None) -> Frames:
    """Returns the frames of some rows, all of one size: the given one, or that of the first."""
    images: list[UInt8[np.ndarray, 'ih iw 3'] | None] = []
    troubles = []
    for row in rows:
        data = pictures[row]
        image = decode_picture(data)
        if image is None:
            text = 'the picture cannot be decoded' if data else 'no picture'
            troubles.append(Trouble(int(row), 'image' if data else 'gap', text))
        else:
            size = size or (image.shape[0], image.shape[1])
            image = preprocess(image, size)
        images.append(image)
    return Frames(images, troubles)
