"""Reads what is left of a damaged storage file, record by record, and says where it ends.

A recorder that was killed leaves an MCAP file without its index, or an SQLite file with torn
pages. Both hold their messages in the order of recording, so everything before the damage is good.
MCAP records are laid out as in the format's specification (https://mcap.dev/spec).
"""

import contextlib
import importlib
import mmap
import sqlite3
import struct
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from octo_ros.bags.packed import PACKED
from octo_ros.bags.packed import unpacked_file
from octo_ros.errors import BagError

_MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F


class RawMessage(NamedTuple):
    """A message as it lies in the file.

    Attributes:
        topic: its topic.
        msgtype: its type, such as `sensor_msgs/msg/Image`.
        definition: text of the type's definition, or '' when the file has none.
        log_ns: time of recording [ns].
        data: CDR bytes, which may be packed with zstd.
    """

    topic: str
    msgtype: str
    definition: str
    log_ns: int
    data: bytes


def recover(path: Path, note: Callable[[str], None]) -> Iterator[RawMessage]:
    """Yields the messages of a damaged storage file up to the damage.

    Args:
        path: an .mcap or .db3 file, or such a file packed with zstd.
        note: is told where the file ends before its time, or what is wrong with it.
    """
    if path.suffix == PACKED:
        with unpacked_file(path, note) as whole:
            yield from recover(whole, note)
    elif path.suffix == '.mcap':
        with path.open('rb') as file:
            if not path.stat().st_size:  # nothing to map
                note(f'{path.name}: is empty')
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield from _McapScan(note, path.name).messages(content)
    elif path.suffix == '.db3':
        yield from _recover_sqlite3(path, note)
    else:
        note(f'{path.name}: cannot be recovered, it is neither .mcap nor .db3')


class _McapScan:
    """One pass over the records of an MCAP file, from its start."""

    def __init__(self, note: Callable[[str], None], name: str) -> None:
        self._tell = note
        self._name = name
        self._noted = False
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, tuple[str, str, str]] = {}

    def messages(self, content: bytes | mmap.mmap) -> Iterator[RawMessage]:
        """Yields the messages of a whole file."""
        if content[:len(_MAGIC)] != _MAGIC:
            self._note(f'is no MCAP file, it starts with {content[:8]!r}')
            return
        self._learn(content)
        yield from self._records(content, len(_MAGIC), offset=0)

    def _learn(self, content: bytes | mmap.mmap) -> None:
        """Takes schemas and channels from the summary: the chunk that had them may be damaged."""
        position = len(_MAGIC)
        while position + 9 <= len(content):
            code, size = struct.unpack_from('<BQ', content, position)
            body, position = position + 9, position + 9 + size
            if code in (_SCHEMA, _CHANNEL) and position <= len(content):
                try:
                    self._declare(code, content[body:position])
                except (struct.error, UnicodeDecodeError, KeyError):
                    return  # told where it stands, if it is needed

    def _records(self, content: bytes | mmap.mmap, position: int, *, offset: int
                 ) -> Iterator[RawMessage]:
        """Yields from the records in `content`, which begins at byte `offset` of the file."""
        while position < len(content):
            body = position + 9
            if body > len(content):
                self._end(offset + position)
                return
            code, size = struct.unpack_from('<BQ', content, position)
            record = content[body:body + size]
            complete = len(record) == size
            if code == _DATA_END and complete:
                return
            if not complete and code != _CHUNK:
                self._end(offset + position)
                return
            try:
                yield from self._record(code, record, offset + body)
            except (struct.error, UnicodeDecodeError, KeyError):
                self._note(f'record at byte {offset + position} is damaged; what '
                           'lies before it is kept')
                return
            if not complete:
                if not self._noted:  # a chunk that was looked into has said where it ends
                    self._end(offset + position)
                return
            position = body + size

    def _record(self, code: int, record: bytes, offset: int) -> Iterator[RawMessage]:
        if code in (_SCHEMA, _CHANNEL):
            self._declare(code, record)
        elif code == _MESSAGE:
            channel, _, log_ns, _ = struct.unpack_from('<HIQQ', record)
            yield RawMessage(*self._channels[channel], log_ns, record[22:])
        elif code == _CHUNK:
            compression, at = _text(record, 28)
            checksum = struct.unpack_from('<I', record, 24)[0]
            size = struct.unpack_from('<Q', record, at)[0]
            packed = record[at + 8:at + 8 + size]
            inner = self._unpack(packed, compression, offset) if compression else packed
            if inner is None:
                return
            if checksum and len(packed) == size and zlib.crc32(inner) != checksum:
                self._note(f'chunk at byte {offset} has a wrong checksum; it is left out')
                return
            yield from self._records(inner, 0, offset=offset if compression else offset + at + 8)

    def _declare(self, code: int, record: bytes) -> None:
        """Takes a schema or a channel."""
        if code == _SCHEMA:
            name, at = _text(record, 2)
            _, at = _text(record, at)
            definition, _ = _text(record, at)
            self._schemas[struct.unpack_from('<H', record)[0]] = (name, definition)
        else:
            channel, schema = struct.unpack_from('<HH', record)
            self._channels[channel] = (_text(record, 4)[0], *self._schemas[schema])

    def _unpack(self, packed: bytes, compression: str, offset: int) -> bytes | None:
        modules = {'lz4': ('lz4.frame',), 'zstd': ('compression.zstd', 'backports.zstd')}
        for name in modules.get(compression, ()):
            with contextlib.suppress(ImportError):
                try:
                    return importlib.import_module(name).decompress(packed)
                except ImportError:
                    raise
                except Exception as error:  # each library has an error type of its own
                    self._note(f'chunk at byte {offset} cannot be unpacked '
                               f'({error}); it is left out')
                    return None
        self._note(f"chunk at byte {offset} is packed with '{compression}', which "
                   'cannot be unpacked here; it is left out')
        return None

    def _note(self, text: str) -> None:
        self._noted = True
        self._tell(f'{self._name}: {text}')

    def _end(self, offset: int) -> None:
        self._note(f'breaks off at byte {offset}; what lies before it is kept')


def _text(record: bytes, position: int) -> tuple[str, int]:
    """Returns a length-prefixed text and the position behind it."""
    size = struct.unpack_from('<I', record, position)[0]
    end = position + 4 + size
    if end > len(record):
        raise struct.error('text runs over its record')
    return record[position + 4:end].decode(), end


def _recover_sqlite3(path: Path, note: Callable[[str], None]) -> Iterator[RawMessage]:
    read = 0
    try:
        # 'immutable' reads where nothing may be written, but not what waits in the log beside it.
        mode = 'mode=ro' if unmerged(path) else 'immutable=1'
        with contextlib.closing(
                sqlite3.connect(f'{path.absolute().as_uri()}?{mode}', uri=True)) as database:
            # Without this SQLite refuses a file that is shorter than its header says.
            database.execute('PRAGMA writable_schema = ON')
            topics = {number: (name, kind) for number, name, kind in database.execute(
                'SELECT id, name, type FROM topics')}
            definitions = _sqlite3_definitions(database)
            # By row, not by time: the index may be torn while the rows before the tear are good.
            for topic, log_ns, data in database.execute(
                    'SELECT topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY id'):
                name, kind = topics[topic]
                yield RawMessage(name, kind, definitions.get(kind, ''), log_ns, data)
                read += 1
    except (sqlite3.Error, KeyError) as error:
        note(f'{path.name}: is damaged after message {read} ({error}); '
             'what lies before it is kept')


def unmerged(path: Path) -> bool:
    """Returns True where SQLite keeps newer messages in a write-ahead log beside the file.

    A recorder with that way of writing leaves it there when it is killed.
    """
    log = path.with_name(f'{path.name}-wal')
    return log.is_file() and log.stat().st_size > 0


def _sqlite3_definitions(database: sqlite3.Connection) -> dict[str, str]:
    with contextlib.suppress(sqlite3.Error):  # bags of ROS 2 before Iron have no such table
        return dict(database.execute(
            "SELECT topic_type, encoded_message_definition FROM message_definitions "
            "WHERE encoding = 'ros2msg'"))
    return {}


def storage_files(path: Path) -> list[Path]:
    """Returns the storage files of a bag folder, or the file itself, in order of recording.

    Raises:
        BagError: there is none.
    """
    if path.is_file():
        return [path]
    found = {file.name: file for file in path.iterdir()
             if file.name.removesuffix(PACKED).endswith(('.mcap', '.db3'))}
    # A recorder that is killed while it packs a file leaves both, and the packed one is not whole.
    files = [file for name, file in found.items()
             if not name.endswith(PACKED) or name.removesuffix(PACKED) not in found]
    if not files:
        raise BagError(f'recording {path} must hold an .mcap or .db3 file, got none; give the '
                       'folder that `ros2 bag record` made')
    # Split recordings are numbered without leading zeros: name_2 comes before name_10.
    names = {file: file.name.removesuffix(PACKED) for file in files}
    return sorted(files, key=lambda file: (len(names[file]), names[file]))
