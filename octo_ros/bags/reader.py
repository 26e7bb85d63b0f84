"""Reads rosbag2 recordings (sqlite3 and MCAP), whole or damaged, without ROS."""

import collections
import contextlib
import itertools
import logging
import os
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from typing import NamedTuple

from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores
from rosbags.typesys import get_types_from_msg
from rosbags.typesys import get_typestore
from rosbags.typesys.store import Typestore

from octo_ros.bags.packed import PACKED
from octo_ros.bags.packed import unpacked
from octo_ros.bags.packed import unpacked_file
from octo_ros.bags.recovery import RawMessage
from octo_ros.bags.recovery import recover
from octo_ros.bags.recovery import storage_files
from octo_ros.bags.recovery import unmerged
from octo_ros.errors import BagError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest

_LOG = logging.getLogger('octo_ros.bags')
_LATEST_S = 2.0 ** 31  # the seconds of a stamp have 31 bits
IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')


class BagMessage(NamedTuple):
    """A message of a recording.

    Attributes:
        topic: its topic.
        log_ns: time of recording, less the reader's clock offset [ns].
        message: the message, with the fields of its ROS type.
    """

    topic: str
    log_ns: int
    message: Any


class BagReader:
    """An open recording; a context manager.

    Damage does not raise while there is something left to read: it is kept in `damage` and logged,
    and what was read stays.

    Attributes:
        path: the recording.
        topics: topic to message type.
        counts: topic to number of messages, as far as known.
        damage: what is wrong with the recording, one line each.
        types: the message classes, also for writing.
    """

    def __init__(self, path: str | Path, *, clock_offset_s: float = 0.0, log: bool = True) -> None:
        """Opens a bag folder, or one .mcap or .db3 file, which may be packed with zstd.

        Args:
            path: the recording.
            clock_offset_s: how far the times of recording are ahead of the clock that is meant,
                such as that of the header stamps; it is taken off them [s].
            log: False to leave it to the caller to tell of damage.

        Raises:
            BagError: it is missing, or no message of it can be read.
            ParameterError: the times less the offset are none that a stamp can have.
        """
        self._log = log
        self._clock_offset_ns = round(clock_offset_s * 1e9)
        # Unlike Path.expanduser, this leaves the home of a user that there is not as it is.
        self.path = Path(os.path.expanduser(path))
        self.damage: list[str] = []
        self._told: set[str] = set()  # the same
        self.types: Typestore = get_typestore(Stores.ROS2_KILTED)
        self._reader: Reader | None = None
        self._unpacked = contextlib.ExitStack()  # what was unpacked until the reader is closed
        self._left: list[Path] = []  # files that are read without the recording's index
        self._last_ns = 0
        self.topics: dict[str, str] = {}
        self.counts: Mapping[str, int] = {}
        if not self.path.exists():
            raise BagError(f'recording {self.path} must exist, got no such file or folder'
                           f'{closest(self.path.name, _siblings(self.path))}')
        try:
            self._open()
        except Exception as error:  # rosbags lets errors of yaml, sqlite and struct through
            self._recover(error)
        if self._clock_offset_ns:
            self._check_offset(clock_offset_s)

    @property
    def name(self) -> str:
        """What the recording is called: as its folder, or as its storage file less the ending."""
        path = self.path.resolve()  # '.' and '..' say no name
        return path.name if path.is_dir() else Path(path.name.removesuffix(PACKED)).stem

    def __enter__(self) -> 'BagReader':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        self._unpacked.close()

    def topics_of(self, types: Collection[str]) -> list[str]:
        """Returns the topics of some message types, in alphabetical order."""
        return sorted(topic for topic, kind in self.topics.items() if kind in types)

    def require(self, topic: str) -> None:
        """Raises BagError that lists the topics when the recording lacks one."""
        if topic not in self.topics:
            raise BagError(
                f"recording {self.path} must have the topic '{topic}', got "
                f"{', '.join(sorted(self.topics))}{closest(topic, self.topics)}")

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Yields messages in order of recording; those that cannot be decoded are left out.

        Args:
            topics: the topics to read; all when None.
        """
        wanted = self.topics if topics is None else [t for t in topics if t in self.topics]
        source = self._raw(wanted) if self._reader is not None else self._scan()
        for read, raw in enumerate((raw for raw in source if raw.topic in wanted), start=1):
            try:
                message = self.types.deserialize_cdr(unpacked(raw.data), raw.msgtype)
            except Exception as error:  # see __init__
                self._note(f"{self.path.name}: message {read} on '{raw.topic}' at "
                           f'{raw.log_ns / 1e9:.3f} s cannot be decoded '
                           f'({type(error).__name__}: {error}); it is left out')
                continue
            yield BagMessage(raw.topic, raw.log_ns - self._clock_offset_ns, message)

    def _open(self) -> None:
        path = self.path
        if path.suffix == PACKED and path.is_file():  # rosbags does so where metadata.yaml says it
            path = self._unpacked.enter_context(unpacked_file(path, self._note))
        files = path.glob('*.db3') if path.is_dir() else [path]
        waiting = [file.name for file in files if unmerged(file)]
        if waiting:  # rosbags would read the file without its log
            raise BagError(f"{', '.join(waiting)} was not closed: its last messages lie in the "
                           'log beside it (-wal)')
        reader = Reader(path)
        reader.open()
        self._reader = reader
        self._last_ns = reader.end_time
        self.topics = {item.topic: item.msgtype for item in reader.connections}
        self.counts = {item.topic: item.msgcount for item in reader.connections}
        for item in reader.connections:
            self._register(item.msgtype, item.msgdef.data)

    def _recover(self, error: Exception) -> None:
        """Reads file by file what the index of the recording no longer gives."""
        self.close()
        self._note(f'{self.path.name}: {error}; reading what is left of it')
        self._left, self.topics, self._last_ns = storage_files(self.path), {}, 0
        # Counted here and read again for `messages`: recordings may be larger than the memory.
        counts: collections.Counter[str] = collections.Counter()
        kinds: dict[tuple[str, str], None] = {}
        for raw in self._scan():
            counts[raw.topic] += 1
            self.topics[raw.topic] = raw.msgtype
            kinds[raw.msgtype, raw.definition] = None
            self._last_ns = max(self._last_ns, raw.log_ns)
        if not counts:
            raise BagError(f'recording {self.path} must hold messages that can be read, got: '
                           + '; '.join(self.damage))
        self.counts = counts
        for msgtype, definition in kinds:
            self._register(msgtype, definition)
        self._note(f'{self.path.name}: {counts.total()} messages could be read')

    def _scan(self) -> Iterator[RawMessage]:
        return itertools.chain.from_iterable(recover(file, self._note) for file in self._left)

    def _check_offset(self, offset_s: float) -> None:
        # The first messages may have the time 0, which a small offset makes negative.
        if self._last_ns and not 0.0 <= self._last_ns / 1e9 - offset_s < _LATEST_S:
            self.close()
            raise ParameterError(
                'the clock offset must be the seconds between two clocks, got '
                f'{offset_s:g} s for a recording that ends at {self._last_ns / 1e9:.2f} s: less '
                f'the offset, this must lie between 0 and {_LATEST_S:.0f} s')

    def _raw(self, topics: Collection[str]) -> Iterator[RawMessage]:
        if self._reader is None:
            return
        wanted = [item for item in self._reader.connections if item.topic in topics]
        source = self._reader.messages(connections=wanted) if wanted else iter(())
        read: collections.Counter[tuple[str, int]] = collections.Counter()
        while True:
            try:
                item, log_ns, data = next(source)
            except StopIteration:
                return
            except Exception as error:  # see __init__
                self._note(f'{self.path.name}: is damaged after message {read.total()} of the '
                           f'wanted topics ({error}); what was read is kept')
                break
            read[item.topic, log_ns] += 1
            yield RawMessage(item.topic, item.msgtype, '', log_ns, data)
        yield from self._behind_damage(topics, read)

    def _behind_damage(self, topics: Collection[str], read: collections.Counter[tuple[str, int]]
                       ) -> Iterator[RawMessage]:
        """Yields from the files what was not read yet.

        Args:
            topics: the wanted ones.
            read: how many messages were read by topic and time; this is used up.
        """
        for raw in itertools.chain.from_iterable(
                recover(file, self._note) for file in storage_files(self.path)):
            if raw.topic not in topics:
                continue
            if read[raw.topic, raw.log_ns]:
                read[raw.topic, raw.log_ns] -= 1
            else:
                yield raw

    def _register(self, msgtype: str, definition: str) -> None:
        """Learns a message type that the standard ones do not include."""
        if msgtype in self.types.fielddefs or not definition:
            return
        with contextlib.suppress(Exception):  # an odd definition matters only if it is wanted
            known = self.types.fielddefs
            self.types.register({name: fields for name, fields in get_types_from_msg(
                definition, msgtype).items() if name not in known})

    def _note(self, text: str) -> None:
        if text in self._told:  # the files may be read more than once
            return
        self._told.add(text)
        self.damage.append(text)
        if self._log:
            _LOG.warning('%s', text)


def _siblings(path: Path) -> list[str]:
    return [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []


