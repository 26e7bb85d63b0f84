"""JPEG pictures to RGB by libjpeg-turbo, which tells what is damaged; OpenCV keeps that to itself.

The pixels are those that OpenCV gives, to the bit.
"""

import re

import numpy as np
import simplejpeg

from octo_ros.array_typing import UInt8

START = b'\xff\xd8'
_END = b'\xff\xd9'
# Behind the end mark of a picture; more must be zeros, of a buffer of fixed size.
_MOST_TRAILING = 1024

# USB cameras leave a few bytes between the parts of a picture, which costs no pixel.
_HARMLESS = re.compile(r'\d+ extraneous bytes before marker')


def decode_jpeg(data: bytes) -> UInt8[np.ndarray, 'ih iw 3']:
    """Returns the picture as its pixels lie, whatever its orientation tag says.

    Damage that leaves a readable picture of other pixels is not noticed: a JPEG has no checksum.

    Raises:
        ValueError: the picture is truncated, damaged, or of a kind that libjpeg-turbo does not
            know.
    """
    _check_end(data)
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, 'RGB'))
    except ValueError as error:
        if not _HARMLESS.search(str(error)):
            raise
    return np.asarray(simplejpeg.decode_jpeg(data, 'RGB', strict=False))


def _check_end(data: bytes) -> None:
    mark = data.rfind(_END)
    if mark < 0 or not data.endswith(bytes(max(len(data) - mark - _MOST_TRAILING, 0))):
        raise ValueError(f'truncated, {len(data)} bytes without an end mark')
