"""Checks of PNG pictures, whose damage OpenCV prints for each of them but does not tell."""

import struct
import zlib

START = b'\x89PNG\r\n\x1a\n'
_HEAD = struct.Struct('>I4s')
_CHECKSUM = struct.Struct('>I')


def check(data: bytes) -> None:
    """Holds critical chunks to their checksums, up to the end mark; what lies behind is no matter.

    Source: PNG specification, third edition, sections 5.3 (layout of chunks) and 5.4 (their names:
    those of critical ones begin with a capital letter).

    Raises:
        ValueError: such a chunk is damaged, or the end mark is missing.
    """
    position = len(START)
    while position + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, position)
        end = position + _HEAD.size + length
        if end + _CHECKSUM.size > len(data):
            break
        if kind[:1].isupper() and (
                zlib.crc32(data[position + 4:end]) != _CHECKSUM.unpack_from(data, end)[0]):
            raise ValueError(f'wrong checksum of the chunk at byte {position}')
        if kind == b'IEND':
            return
        position = end + _CHECKSUM.size
    raise ValueError(f'truncated, {len(data)} bytes without an end mark')
