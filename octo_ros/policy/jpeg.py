"""JPEG pictures to RGB by libjpeg-turbo, which tells what is damaged; OpenCV keeps that to itself.

The pixels are those that OpenCV gives, to the bit.
"""

import re

import numpy as np
import simplejpeg

from octo_ros.array_typing import UInt8

START = b'\xff\xd8'

# USB cameras leave a few bytes between the parts of a picture, which costs no pixel; where data
# are damaged, libjpeg-turbo leaves out more.
_EXTRANEOUS = re.compile(r'(\d+) extraneous bytes before marker')
_HARMLESS = 16
_NO_END = 'Premature end of JPEG file'


def decode_jpeg(data: bytes) -> UInt8[np.ndarray, 'ih iw 3']:
    """Returns the picture as its pixels lie, whatever its orientation tag says.

    Damage that leaves a readable picture of other pixels is not noticed: a JPEG has no checksum.

    Raises:
        ValueError: the picture is truncated, damaged, or of a kind that libjpeg-turbo does not
            know.
    """
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, 'RGB'))
    except ValueError as error:
        if _NO_END in str(error):
            raise ValueError(f'truncated, {len(data)} bytes without an end mark') from error
        extraneous = _EXTRANEOUS.search(str(error))
        if extraneous is None or int(extraneous[1]) > _HARMLESS:
            raise
    return np.asarray(simplejpeg.decode_jpeg(data, 'RGB', strict=False))
