"""Checks of PNG pictures, whose damage OpenCV prints for each of them but does not tell."""

import struct
import zlib

START = b'\x89PNG\r\n\x1a\n'
_HEAD = struct.Struct('>I4s')
_CHECKSUM = struct.Struct('>I')


def check(data: bytes) -> None:
    """Holds each chunk to its checksum, up to the end mark; what lies behind that does not count.

    Source: PNG specification, third edition, section 5.3 (chunk layout).

    Raises:
        ValueError: a chunk is damaged, or the end mark is missing.
    """
    position = len(START)
    while position + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, position)
        end = position + _HEAD.size + length
        if end + _CHECKSUM.size > len(data):
            break
        if zlib.crc32(data[position + 4:end]) != _CHECKSUM.unpack_from(data, end)[0]:
            raise ValueError(f'wrong checksum of the chunk at byte {position}')
        if kind == b'IEND':
            return
        position = end + _CHECKSUM.size
    raise ValueError(f'truncated, {len(data)} bytes without an end mark')
