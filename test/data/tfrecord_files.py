"""Writes TFRecord files for tests: framing by hand, messages by the protobuf library."""

import struct

import numpy as np
from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {'bytes': _FIELD.TYPE_BYTES, 'float': _FIELD.TYPE_FLOAT, 'int64': _FIELD.TYPE_INT64,
          'string': _FIELD.TYPE_STRING}


def _message(holder, name, fields, *, oneof=None, entry=False):
    """Adds a message; fields are (name, number, type, repeated)."""
    messages = holder.message_type if hasattr(holder, 'message_type') else holder.nested_type
    message = messages.add()
    message.name = name
    if oneof:
        message.oneof_decl.add(name=oneof)
    for field_name, number, kind, repeated in fields:
        field = message.field.add(name=field_name, number=number)
        field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
        if kind in _TYPES:
            field.type = _TYPES[kind]
        else:
            field.type, field.type_name = _FIELD.TYPE_MESSAGE, f'.octo_test.{kind}'
        if oneof:
            field.oneof_index = 0
    message.options.map_entry = entry
    return message


def _classes():
    file = descriptor_pb2.FileDescriptorProto(
        name='octo_test.proto', package='octo_test', syntax='proto3')
    for name, kind in (('BytesList', 'bytes'), ('FloatList', 'float'), ('Int64List', 'int64')):
        _message(file, name, [('value', 1, kind, True)])
    _message(file, 'Feature', [
        ('bytes_list', 1, 'BytesList', False), ('float_list', 2, 'FloatList', False),
        ('int64_list', 3, 'Int64List', False)], oneof='kind')
    for name, field, kind in (('Features', 'feature', 'Feature'),
                              ('FeatureLists', 'feature_list', 'FeatureList')):
        entry = f'{field.title().replace("_", "")}Entry'
        holder = _message(file, name, [(field, 1, f'{name}.{entry}', True)])
        _message(holder, entry, [('key', 1, 'string', False), ('value', 2, kind, False)],
                 entry=True)
    _message(file, 'FeatureList', [('feature', 1, 'Feature', True)])
    _message(file, 'Example', [('features', 1, 'Features', False)])
    _message(file, 'SequenceExample', [
        ('context', 1, 'Features', False), ('feature_lists', 2, 'FeatureLists', False)])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(f'octo_test.{name}'))
            for name in ('Example', 'SequenceExample')]


Example, SequenceExample = _classes()


def fill(feature, values):
    """Puts bytes, floats or integers into a Feature."""
    if isinstance(values, list):
        feature.bytes_list.value.extend(values)
    elif values.dtype.kind == 'f':
        feature.float_list.value.extend(values.astype(np.float32).ravel().tolist())
    else:
        feature.int64_list.value.extend(values.astype(np.int64).ravel().tolist())


def example(features):
    """Returns the bytes of an Example of these features."""
    message = Example()
    for name, values in features.items():
        fill(message.features.feature[name], values)
    return message.SerializeToString()


def sequence_example(context, lists):
    """Returns the bytes of a SequenceExample; `lists` holds the values of each step."""
    message = SequenceExample()
    for name, values in context.items():
        fill(message.context.feature[name], values)
    for name, steps in lists.items():
        for values in steps:
            fill(message.feature_lists.feature_list[name].feature.add(), values)
    return message.SerializeToString()


def crc32c(data):
    """CRC-32C bit by bit, by its polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    """The checksum as TFRecord files hold it."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data):
    """Returns a record with its length and checksums."""
    length = struct.pack('<Q', len(data))
    return (length + struct.pack('<I', masked(length)) + data + struct.pack('<I', masked(data)))


def write_records(path, records):
    """Writes a TFRecord file; returns the byte offsets of the records."""
    framed = [frame(record) for record in records]
    path.write_bytes(b''.join(framed))
    return np.cumsum([0, *(len(item) for item in framed)])[:-1].tolist()
