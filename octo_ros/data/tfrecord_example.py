"""Parses tf.train.Example and tf.train.SequenceExample messages from their wire form.

Only the few fields of tensorflow/core/example/{example,feature}.proto are known here; other
fields are passed over as protobuf demands. A SequenceExample becomes the same mapping as an
Example: the features of all steps, one behind the other.
"""

from collections.abc import Callable
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.errors import DataError

Values = list[bytes] | Float[np.ndarray, 'n'] | Int[np.ndarray, 'n']
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MOST_VARINT_BYTES = 10
_WORD64 = (1 << 64) - 1


class _Field(NamedTuple):
    """A field of a message: a number for varints, and the bytes otherwise."""

    number: int
    wire: int
    value: int
    data: memoryview


def parse_example(
    data: bytes | memoryview, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, Values]:
    """Returns the features of an Example, or of a SequenceExample with its steps put together.

    Args:
        data: the serialized message.
        wanted: says which features to take; the others cost next to nothing.

    Raises:
        DataError: these bytes are no such message.
    """
    features: dict[str, Values] = {}
    for field in _fields(memoryview(data)):
        if field.number == 1:  # Example.features, SequenceExample.context
            features |= _features(_message(field), wanted)
        elif field.number == 2:  # SequenceExample.feature_lists
            features |= _feature_lists(_message(field), wanted)
    return features


def _features(data: memoryview, wanted: Callable[[str], bool]) -> dict[str, Values]:
    return {name: _feature([value]) for name, value in _map(data) if wanted(name)}


def _feature_lists(data: memoryview, wanted: Callable[[str], bool]) -> dict[str, Values]:
    return {name: _feature([_message(item) for item in _fields(value) if item.number == 1])
            for name, value in _map(data) if wanted(name)}


def _map(data: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Yields the entries of the map that is field 1 of a message."""
    for entry in _fields(data):
        if entry.number != 1:
            continue
        name, value = b'', memoryview(b'')
        for field in _fields(_message(entry)):
            if field.number == 1:
                name = bytes(_message(field))
            elif field.number == 2:
                value = _message(field)
        yield name.decode('utf-8', 'replace'), value


def _feature(messages: list[memoryview]) -> Values:
    """Returns the values of some Feature messages, one behind the other; [] for none."""
    texts: list[bytes] = []
    numbers: list[np.ndarray] = []
    for message in messages:
        for field in _fields(message):
            if field.number == 1:
                texts += [bytes(_message(item)) for item in _fields(_message(field))
                          if item.number == 1]
            elif field.number == 2:
                numbers += [_floats(item) for item in _fields(_message(field)) if item.number == 1]
            elif field.number == 3:
                numbers += [_integers(item) for item in _fields(_message(field))
                            if item.number == 1]
    if texts and numbers:
        raise DataError('the values of a feature must be of one kind, got bytes and numbers')
    if numbers:
        return np.concatenate(numbers)
    return texts


def _floats(field: _Field) -> Float[np.ndarray, 'n']:
    if field.wire not in (_BYTES, _FIXED32) or len(field.data) % 4:
        raise DataError(f'a list of floats must hold 4 bytes each, got {len(field.data)} bytes of '
                        f'wire type {field.wire}')
    return np.frombuffer(field.data, '<f4').astype(np.float32, copy=False)


def _integers(field: _Field) -> Int[np.ndarray, 'n']:
    if field.wire == _VARINT:
        return np.array([_signed(field.value)], np.int64)
    if field.wire != _BYTES:
        raise DataError(f'a list of integers must be varints, got wire type {field.wire}')
    small = np.frombuffer(field.data, np.uint8)
    if (small < 0x80).all():  # flags and pixels below 128, many at once
        return small.astype(np.int64)
    values, place = [], 0
    while place < len(field.data):
        value, place = _varint(field.data, place)
        values.append(_signed(value))
    return np.array(values, np.int64)


def _message(field: _Field) -> memoryview:
    if field.wire != _BYTES:
        raise DataError(f'field {field.number} must hold bytes, got wire type {field.wire}')
    return field.data


def _fields(data: memoryview) -> Iterator[_Field]:
    """Yields the fields of a message in their order."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise DataError('a field must have a number from 1, got 0')
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield _Field(number, wire, value, data[:0])
            continue
        if wire == _BYTES:
            size, place = _varint(data, place)
        elif wire in _FIXED_SIZES:
            size = _FIXED_SIZES[wire]
        else:
            raise DataError(f'a field must have wire type 0, 1, 2 or 5, got {wire}')
        if place + size > len(data):
            raise DataError(f'field {number} must end within its message, got {size} bytes at '
                            f'byte {place} of {len(data)}')
        yield _Field(number, wire, 0, data[place:place + size])
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Returns a number of up to 64 bits, and the place behind it."""
    value = 0
    for index in range(_MOST_VARINT_BYTES):
        if place + index >= len(data):
            raise DataError(f'a number must end within its message, got {len(data)} bytes')
        byte = data[place + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & _WORD64, place + index + 1
    raise DataError(f'a number must have at most {_MOST_VARINT_BYTES} bytes, got more at byte '
                    f'{place}')


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
