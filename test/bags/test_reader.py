"""Recordings are read in both storages; damage is told and what was read is kept."""

import contextlib
import json
import shutil
import sqlite3
import tracemalloc
import zlib

import pytest
from rosbags.rosbag2 import CompressionFormat
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2 import Reader
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore

from octo_ros.bags.packed import zstd
from octo_ros.bags.reader import IMAGE_TYPES
from octo_ros.bags.reader import BagReader
from octo_ros.bags.recovery import storage_files
from octo_ros.errors import BagError

BRIDGE_TOPICS = {
    '/camera_0/image_raw/compressed', '/camera_1/image_raw/compressed',
    '/camera_2/image_raw/compressed', '/instruction', '/state', '/expert_action'}


def test_every_bridge_recording_is_read_whole(shared):
    bridge = shared / 'data' / 'bridge'
    index = json.loads((bridge / 'index.json').read_text())
    assert len(index) == 20
    for entry in index:
        with BagReader(bridge / entry['bag']) as bag:
            assert set(bag.topics) == BRIDGE_TOPICS
            messages = list(bag.messages())
            assert len(messages) == sum(bag.counts.values()) == 5 * entry['steps'] + 1
            assert messages[0].message.data == entry['instruction']
            assert bag.damage == []
            times = [message.log_ns for message in messages]
            assert times == sorted(times)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_topics_can_be_chosen(ten_steps, storage):
    with BagReader(ten_steps(storage=storage)) as bag:
        assert bag.topics_of(IMAGE_TYPES) == ['/cam/front', '/cam/hand']
        chosen = list(bag.messages(['/cam/front', '/not/there']))
    assert [message.topic for message in chosen] == ['/cam/front'] * 10


def test_recording_is_called_as_its_folder_dots_and_all(ten_steps, monkeypatch):
    folder = ten_steps('rec_v1.1')
    monkeypatch.chdir(folder)
    for path in (folder, '.', '../rec_v1.1', 'rec_v1.1.mcap'):
        with BagReader(path) as bag:
            assert bag.name == 'rec_v1.1'


def test_recording_below_the_home_folder_is_found(ten_steps, monkeypatch):
    folder = ten_steps()
    monkeypatch.setenv('HOME', str(folder.parent))
    with BagReader(f'~/{folder.name}') as bag:
        assert bag.path == folder
    with pytest.raises(BagError, match='recording ~nobody-of-that-name/bag must exist'):
        BagReader('~nobody-of-that-name/bag')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_storage_file_alone_is_read(ten_steps, storage):
    folder = ten_steps(storage=storage)
    (file,) = (item for item in folder.iterdir() if item.suffix in ('.mcap', '.db3'))
    with BagReader(file) as bag:
        assert len(list(bag.messages())) == 31
        assert bag.damage == []


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_recording_without_metadata_is_read(ten_steps, storage):
    folder = ten_steps(storage=storage)
    (folder / 'metadata.yaml').unlink()
    with BagReader(folder) as bag:
        assert len(list(bag.messages())) == 31
        assert 'metadata' in bag.damage[0]


@pytest.mark.parametrize('name', ['episode_00', 'episode_01'])
def test_truncated_recording_keeps_what_lies_before_the_end(copied, name):
    folder = copied(name)
    (file,) = (item for item in folder.iterdir() if item.suffix in ('.mcap', '.db3'))
    with BagReader(folder) as bag:
        whole = [(message.topic, message.log_ns) for message in bag.messages()]
    content = file.read_bytes()
    counts = []
    for part in (0.5, 0.8, 0.99):
        file.write_bytes(content[:int(part * len(content))])
        with BagReader(folder) as bag:
            read = [(message.topic, message.log_ns) for message in bag.messages()]
            assert bag.damage
            assert file.name in ' '.join(bag.damage) or folder.name in ' '.join(bag.damage)
        assert read == whole[:len(read)]
        counts.append(len(read))
    assert counts == sorted(counts)
    assert counts[0] >= 10
    assert counts[-1] >= 45


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('loss', ['end', 'metadata'])
def test_recording_of_a_killed_recorder_does_not_fill_the_memory(record, storage, loss):
    recording = record(storage=storage)
    for step in range(65):
        recording.image('/cam/front', 0.1 * step, step, size=(480, 640))
    recording.close()
    (file,) = (item for item in recording.path.iterdir() if item.suffix in ('.mcap', '.db3'))
    assert file.stat().st_size > 55e6
    (recording.path / 'metadata.yaml').unlink()
    if loss == 'end':
        with file.open('r+b') as content:
            content.truncate(int(0.9 * file.stat().st_size))
    tracemalloc.start()
    try:
        with BagReader(recording.path) as bag:
            (count,) = bag.counts.values()
            shades = [item.message.data[0] for item in bag.messages()]
            damage = list(bag.damage)
            assert [item.message.data[0] for item in bag.messages(['/cam/front'])] == shades
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6
    assert shades == list(range(count))
    assert count == 65 if loss == 'metadata' else 50 < count < 65
    assert bag.damage == damage  # told once
    assert len(set(damage)) == len(damage)


def test_truncated_mcap_names_the_byte(copied):
    folder = copied('episode_00')
    file = folder / 'episode_00.mcap'
    content = file.read_bytes()
    file.write_bytes(content[:60_000])
    with BagReader(folder) as bag:
        (line,) = (line for line in bag.damage if 'breaks off' in line)
    offset = int(line.split('byte ')[1].split(';')[0])
    assert 50_000 < offset <= 60_000
    assert content[offset] == 0x05  # a message record of the format begins there


def test_torn_page_of_sqlite_keeps_the_rows_before_it(copied):
    folder = copied('episode_01')
    file = folder / 'episode_01.db3'
    content = bytearray(file.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle:middle + 8192] = bytes(8192)
    file.write_bytes(content)
    with BagReader(folder) as bag:
        assert 10 <= len(list(bag.messages())) < 51
        assert 'is damaged after message' in ' '.join(bag.damage)


def chunks(content):
    """Returns where each chunk of an MCAP file begins, and how long it is."""
    position, found = 8, []
    while content[position] != 0x0F:  # the end of the data
        size = int.from_bytes(content[position + 1:position + 9], 'little')
        if content[position] == 0x06:
            found.append((position, size))
        position += 9 + size
    return found


@pytest.mark.parametrize('number', [0, 1, 2])
@pytest.mark.parametrize('damage', ['checksum', 'content'])
def test_what_lies_behind_a_damaged_chunk_of_an_mcap_is_read(record, number, damage):
    recording = record('bag', 'mcap')
    for step in range(30):
        recording.image('/cam/front', 0.2 * step, step, size=(256, 160))
        recording.action('/expert_action', 0.2 * step, [0.0] * 7)
    recording.close()
    (file,) = recording.path.glob('*.mcap')
    with BagReader(recording.path) as bag:
        whole = [(message.topic, message.log_ns) for message in bag.messages()]
        assert not bag.damage
    content = bytearray(file.read_bytes())
    places = chunks(content)
    assert len(places) >= 3
    start, size = places[number]
    content[start + 33] ^= 0xFF  # in the checksum, which is 0 = none here
    if damage == 'content':
        body = content[start + 9 + 40:start + 9 + size]
        content[start + 33:start + 37] = zlib.crc32(body).to_bytes(4, 'little')
        content[start + 9 + size // 2] ^= 0xFF
    file.write_bytes(content)
    with BagReader(recording.path) as bag:
        read = [(message.topic, message.log_ns) for message in bag.messages()]
        damages = ' '.join(bag.damage)
    assert f'chunk at byte {start + 9} has a wrong checksum; it is left out' in damages
    assert read == [item for item in whole if item in set(read)]
    assert 20 <= len(read) < 60
    assert (whole[0] in read) == (number > 0)
    assert whole[-1] in read


def test_message_that_cannot_be_decoded_is_left_out(ten_steps):
    folder = ten_steps(storage='sqlite3')
    (file,) = folder.glob('*.db3')
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute('UPDATE messages SET data = ? WHERE id = 5', (b'\x00\x01\x00\x00\x07',))
    with BagReader(folder) as bag:
        assert len(list(bag.messages())) == 30
        (line,) = bag.damage
    assert 'message 5' in line
    assert 'left out' in line


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_files_that_are_compressed_as_a_whole_are_read(tmp_path, storage):
    store = get_typestore(Stores.ROS2_HUMBLE)
    writer = Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode.FILE, CompressionFormat.ZSTD)
    with writer:
        topic = writer.add_connection('/words', 'std_msgs/msg/String', typestore=store)
        text = store.types['std_msgs/msg/String'](data='go')
        for log_ns in range(5):
            writer.write(topic, log_ns, store.serialize_cdr(text, 'std_msgs/msg/String'))
    assert not [*(tmp_path / 'bag').glob('*.db3'), *(tmp_path / 'bag').glob('*.mcap')]
    with BagReader(tmp_path / 'bag') as bag:
        assert len(list(bag.messages())) == 5
        assert bag.damage == []


def test_messages_in_the_log_of_a_recorder_that_was_killed_are_read(ten_steps, tmp_path):
    folder = ten_steps(storage='sqlite3')
    (file,) = folder.glob('*.db3')
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute('PRAGMA journal_mode = WAL')
        rows = database.execute('SELECT * FROM messages WHERE id > 10').fetchall()
        with database:
            database.execute('DELETE FROM messages WHERE id > 10')
        database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        with database:
            database.executemany(
                f'INSERT INTO messages VALUES ({", ".join("?" * len(rows[0]))})', rows)
        killed = shutil.copytree(folder, tmp_path / 'killed')
    assert (killed / f'{file.name}-wal').stat().st_size > 0
    (killed / f'{file.name}-shm').unlink()
    with BagReader(killed) as bag:
        assert len(list(bag.messages())) == 31
    assert 'last messages lie in the log beside it' in bag.damage[0]
    assert not any('damaged' in line for line in bag.damage)


def test_missing_storage_file_is_told(ten_steps):
    folder = ten_steps()
    (folder / 'bag.mcap').unlink()
    with pytest.raises(BagError, match=r'must hold an \.mcap or \.db3 file, got none'):
        BagReader(folder)


@pytest.mark.parametrize('content', [b'', b'no recording at all'])
@pytest.mark.parametrize('suffix', ['.mcap', '.db3'])
def test_file_that_is_no_recording_is_refused(tmp_path, suffix, content):
    file = tmp_path / f'bag{suffix}'
    file.write_bytes(content)
    with pytest.raises(BagError, match=f'bag{suffix}.* must hold messages that can be read'):
        BagReader(file)


def test_missing_recording_names_the_closest(ten_steps):
    folder = ten_steps('episode_07')
    with pytest.raises(BagError, match="did you mean 'episode_07'"):
        BagReader(folder.parent / 'episode_7')


def test_missing_topic_names_the_closest(ten_steps):
    with BagReader(ten_steps()) as bag, pytest.raises(
            BagError, match=r"'/cam/frnt', got /cam/front, .*did you mean '/cam/front'"):
        bag.require('/cam/frnt')


def test_files_of_a_split_recording_are_in_order_of_number(tmp_path):
    for number in (0, 10, 2):
        (tmp_path / f'bag_{number}.mcap').touch()
    assert [file.stem for file in storage_files(tmp_path)] == ['bag_0', 'bag_2', 'bag_10']


def test_split_recording_without_metadata_is_read(ten_steps, tmp_path):
    folder = tmp_path / 'split'
    folder.mkdir()
    for number in (0, 1):
        part = ten_steps(f'part_{number}')
        shutil.copyfile(part / f'part_{number}.mcap', folder / f'part_{number}.mcap')
    with BagReader(folder) as bag:
        assert sum(bag.counts.values()) == len(list(bag.messages())) == 62


def _packed(source, path, mode, plugin):
    writer = Writer(path, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    store = get_typestore(Stores.ROS2_KILTED)
    with Reader(source) as reader, writer:
        topics = {item.topic: writer.add_connection(item.topic, item.msgtype, typestore=store)
                  for item in reader.connections}
        for item, log_ns, data in reader.messages():
            writer.write(topics[item.topic], log_ns, data)
    (file,) = (item for item in path.iterdir() if item.name != 'metadata.yaml')
    return file


@pytest.mark.parametrize('plugin', list(StoragePlugin))
@pytest.mark.parametrize('mode', [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_packed_messages_and_files_are_read_without_metadata(ten_steps, tmp_path, mode, plugin):
    source = ten_steps()
    with BagReader(source) as bag:
        expected = list(bag.messages())
    if plugin is StoragePlugin.MCAP and mode is CompressionMode.FILE:
        folder = tmp_path / 'packed'
        folder.mkdir()
        file = folder / 'packed_0.mcap.zstd'
        file.write_bytes(zstd.compress((source / 'bag.mcap').read_bytes()))
    else:
        file = _packed(source, tmp_path / 'packed', mode, plugin)
        (tmp_path / 'packed' / 'metadata.yaml').unlink()
    for path in (file.parent, file):
        with BagReader(path) as bag:
            messages = list(bag.messages())
            assert not [line for line in bag.damage if 'left out' in line]
        if path == file:  # which lacks nothing
            assert not bag.damage
        assert [item[:2] for item in messages] == [item[:2] for item in expected]
        assert [item.message.data.tolist() for item in messages if 'cam' in item.topic] == [
            item.message.data.tolist() for item in expected if 'cam' in item.topic]


def test_a_packed_file_that_breaks_off_gives_what_lies_before(record):
    recording = record()
    for step in range(20):
        recording.image('/cam/front', 0.2 * step, step, size=(240, 320))
    recording.close()
    packed = zstd.compress((recording.path / 'bag.mcap').read_bytes())
    broken = recording.path.parent / 'broken.mcap.zstd'
    broken.write_bytes(packed[:len(packed) // 2])
    with BagReader(broken) as bag:
        assert 5 < len(list(bag.messages())) < 20
        assert bag.name == 'broken'
        assert any('cannot be unpacked to its end' in line for line in bag.damage)
    for content in (packed[:10], b'no such thing', b''):
        broken.write_bytes(content)
        with pytest.raises(BagError, match=r'must hold messages .* (be unpacked|is empty)'):
            BagReader(broken)


@pytest.mark.parametrize('part', [0.5, 0.9, 0.999])
def test_a_packed_database_that_breaks_off_gives_what_lies_before(record, part):
    recording = record(storage='sqlite3')
    for step in range(40):
        recording.image('/cam/front', 0.2 * step, step, size=(240, 320))
    recording.close()
    (file,) = recording.path.glob('*.db3')
    packed = zstd.compress(file.read_bytes())
    broken = recording.path.parent / 'broken.db3.zstd'
    broken.write_bytes(packed[:int(part * len(packed))])
    with BagReader(broken) as bag:
        shades = [item.message.data[0] for item in bag.messages()]
        assert shades == list(range(len(shades)))
        assert len(shades) >= 40 * part / 2
        (line,) = (line for line in bag.damage if 'cannot be unpacked to its end' in line)
        assert line.startswith('broken.db3.zstd')


def test_packed_files_lie_among_the_others_and_give_way_to_what_they_were_made_of(tmp_path):
    for name in ('bag_0.db3.zstd', 'bag_1.db3', 'bag_1.db3.zstd', 'bag_10.db3', 'bag_2.db3.zstd'):
        (tmp_path / name).touch()
    assert [file.name for file in storage_files(tmp_path)] == [
        'bag_0.db3.zstd', 'bag_1.db3', 'bag_2.db3.zstd', 'bag_10.db3']
