"""TFRecord files that a few lines by hand wrote, whole and damaged."""

import gzip

import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from octo_ros.data.tfrecord import masked_checksum
from octo_ros.data.tfrecord import read_records
from octo_ros.errors import DataError
from test.data import tfrecord_files

RECORDS = [b'first', b'', b'third record']


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'a.tfrecord'


def read(file):
    """Returns the data of the records that could be read, and what was noted."""
    notes = []
    return [record.data for record in read_records(file, notes.append)], notes


def test_the_checksum_is_the_one_of_the_rfc():
    assert tfrecord_files.crc32c(b'123456789') == 0xE3069283  # RFC 3720, B.4
    assert masked_checksum(b'123456789') == tfrecord_files.masked(b'123456789')


def test_records_come_back_with_number_and_offset(file):
    offsets = tfrecord_files.write_records(file, RECORDS)
    found = list(read_records(file, pytest.fail))
    assert [record.data for record in found] == RECORDS
    assert [record.offset for record in found] == offsets
    assert [record.number for record in found] == [0, 1, 2]


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_what_lies_before_damage_is_kept(file, records, data):
    offsets = tfrecord_files.write_records(file, records)
    whole = file.read_bytes()
    assert read(file) == (records, [])
    if not whole:
        return
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        file.write_bytes(whole[:place])
    else:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1:])
    hit = max(number for number, offset in enumerate(offsets) if offset <= place)
    found, notes = read(file)
    assert found[:hit] == records[:hit]
    assert all(item in records for item in found)
    cut_between = len(file.read_bytes()) in offsets
    assert bool(notes) != cut_between
    if notes:
        assert f'record {hit} at byte {offsets[hit]}' in notes[0] or 'compressed' in notes[0]


def test_a_record_with_damaged_data_is_left_out_and_the_rest_is_read(file):
    offsets = tfrecord_files.write_records(file, RECORDS)
    raw = bytearray(file.read_bytes())
    raw[offsets[0] + 12] ^= 1
    file.write_bytes(raw)
    found, notes = read(file)
    assert found == RECORDS[1:]
    assert notes == ['record 0 at byte 0 has a wrong checksum; it is left out']


def test_a_compressed_file_is_named_as_such(file):
    file.write_bytes(gzip.compress(tfrecord_files.frame(b'x')))
    assert read(file) == ([], ['the file is compressed with gzip; unpack it first'])


def test_a_missing_file_is_refused(file):
    with pytest.raises(DataError, match='must be a TFRecord file'):
        list(read_records(file, pytest.fail))
