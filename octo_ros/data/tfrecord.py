"""Reads TFRecord files without TensorFlow, damaged ones as far as they go.

A record is its length (8 bytes, little-endian), a checksum of those 8 bytes, the data, and a
checksum of the data. Checksums are CRC-32C, rotated right by 15 bits plus a constant, as
tensorflow/core/lib/hash/crc32c.h defines them.
"""

import os
import struct
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from typing import NamedTuple

import google_crc32c

from octo_ros.errors import DataError

_LENGTH = struct.Struct('<Q')
_CHECKSUM = struct.Struct('<I')
_HEADER = _LENGTH.size + _CHECKSUM.size
_MASK_DELTA = 0xA282EAD8
_WORD = 0xFFFFFFFF
_COMPRESSED = {b'\x1f\x8b': 'gzip', b'\x78\x9c': 'zlib', b'\x78\x01': 'zlib', b'\x78\xda': 'zlib'}


class Record(NamedTuple):
    """A record of a file.

    Attributes:
        number: its place among the records of the file, from 0.
        offset: where its header begins in the file [byte].
        data: what it holds.
    """

    number: int
    offset: int
    data: bytes


def read_records(file: Path, note: Callable[[str], None]) -> Iterator[Record]:
    """Yields the records of a file whose checksums are right.

    A record with damaged data is left out. Behind a damaged length nothing can be found again, so
    reading ends there.

    Args:
        file: the file.
        note: is told of damage, with record number and byte offset.

    Raises:
        DataError: the file is missing or cannot be opened.
    """
    try:
        stream = file.open('rb')
    except OSError as error:
        raise DataError(f'{file} must be a TFRecord file that can be read, got: '
                        f'{error.strerror}') from error
    with stream:
        yield from _records(stream, os.fstat(stream.fileno()).st_size, note)


def _records(stream: BinaryIO, size: int, note: Callable[[str], None]) -> Iterator[Record]:
    offset = number = 0
    while offset < size:
        where = f'record {number} at byte {offset}'
        header = stream.read(_HEADER)
        if len(header) < _HEADER:
            note(f'{where} is cut off: {size - offset} of {_HEADER} bytes of its header are there')
            return
        if masked_checksum(header[:_LENGTH.size]) != _CHECKSUM.unpack_from(header, 8)[0]:
            packed = _COMPRESSED.get(header[:2]) if not offset else None
            note(f'the file is compressed with {packed}; unpack it first' if packed else
                 f'the length of {where} has a wrong checksum; what comes after is not read')
            return
        length = _LENGTH.unpack_from(header)[0]
        end = offset + _HEADER + length + _CHECKSUM.size
        if end > size:
            note(f'{where} is cut off: {size - offset} of {end - offset} bytes are there')
            return
        data = stream.read(length)
        if masked_checksum(data) == _CHECKSUM.unpack(stream.read(_CHECKSUM.size))[0]:
            yield Record(number, offset, data)
        else:
            note(f'{where} has a wrong checksum; it is left out')
        offset = end
        number += 1


def masked_checksum(data: bytes) -> int:
    """Returns the checksum of some bytes as TFRecord files hold it."""
    crc = int(google_crc32c.value(data))
    rotated = (crc >> 15 | crc << 17) & _WORD
    return (rotated + _MASK_DELTA) & _WORD
