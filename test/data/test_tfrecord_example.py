"""The wire parser against messages that the protobuf library wrote."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from octo_ros.data.tfrecord_example import parse_example
from octo_ros.errors import DataError
from test.data import tfrecord_files

FLOATS = arrays.arrays(np.float32, st.integers(1, 9), elements=st.floats(width=32))
INTEGERS = arrays.arrays(np.int64, st.integers(1, 9))
TEXTS = st.lists(st.binary(max_size=20), min_size=1, max_size=5)
FEATURES = st.dictionaries(st.text(max_size=12), st.one_of(FLOATS, INTEGERS, TEXTS), max_size=6)


def same(found, wanted):
    """Whether two features hold the same values of the same kind."""
    if isinstance(wanted, list):
        return found == wanted
    return found.dtype == wanted.dtype and np.array_equal(found, wanted, equal_nan=(
        wanted.dtype.kind == 'f'))


@settings(max_examples=50, deadline=None)
@given(FEATURES)
def test_every_example_comes_back(features):
    found = parse_example(tfrecord_files.example(features))
    assert set(found) == set(features)
    assert all(same(found[name], values) for name, values in features.items())


@settings(max_examples=25, deadline=None)
@given(FEATURES, st.dictionaries(st.text(max_size=8), st.one_of(
    st.lists(FLOATS, min_size=1, max_size=4), st.lists(INTEGERS, min_size=1, max_size=4),
    st.lists(TEXTS, min_size=1, max_size=4)), max_size=4))
def test_the_steps_of_a_sequence_example_are_put_together(context, lists):
    found = parse_example(tfrecord_files.sequence_example(context, lists))
    for name, steps in lists.items():
        joined = ([text for texts in steps for text in texts] if isinstance(steps[0], list)
                  else np.concatenate(steps))
        assert same(found[name], joined)
    assert all(same(found[name], values) for name, values in context.items() if name not in lists)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(data):
    try:
        parse_example(data)
    except DataError:
        return


@settings(max_examples=50, deadline=None)
@given(FEATURES.filter(bool), st.data())
def test_a_message_that_is_cut_off_is_refused_or_smaller(features, data):
    whole = tfrecord_files.example(features)
    cut = whole[:data.draw(st.integers(0, len(whole) - 1))]
    if cut:
        with pytest.raises(DataError):
            parse_example(cut)


def test_unknown_fields_are_passed_over():
    odd = (b'\x18\x96\x01'  # field 3, a varint
           b'\x21' + bytes(8)  # field 4, 64 bits
           + b'\x2d' + bytes(4))  # field 5, 32 bits
    found = parse_example(odd + tfrecord_files.example({'a': np.array([1.5])}) + odd)
    assert found['a'].tolist() == [1.5]


def test_numbers_that_are_not_packed_are_read():
    floats = b'\x0d\x00\x00\x80\x3f\x0d\x00\x00\x00\x40'
    integers = b'\x08\x05\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01'
    for number, values, wanted in ((2, floats, [1.0, 2.0]), (3, integers, [5, -1])):
        feature = bytes([number << 3 | 2, len(values)]) + values
        entry = b'\x0a\x01a\x12' + bytes([len(feature)]) + feature
        features = b'\x0a' + bytes([len(entry)]) + entry
        found = parse_example(b'\x0a' + bytes([len(features)]) + features)
        assert found['a'].tolist() == wanted


def test_features_that_are_not_wanted_are_left_out():
    data = tfrecord_files.example({'a': np.array([1]), 'b': [b'x'] * 3})
    assert set(parse_example(data, lambda name: name == 'a')) == {'a'}


@pytest.mark.parametrize(('data', 'message'), [
    (b'\x0b', 'wire type'), (b'\x02\x00', 'number from 1'), (b'\x0a\x05a', 'end within'),
    (b'\x08' + b'\xff' * 11, 'at most 10'), (b'\x08\x01', 'must hold bytes')])
def test_damage_is_named(data, message):
    with pytest.raises(DataError, match=message):
        parse_example(data)
