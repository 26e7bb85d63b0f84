"""The messages of one recorded topic, in order of their stamps."""

import copy
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Int
from octo_ros.bags.clock_jumps import find_lags
from octo_ros.bags.episodes import action_stamp_ns
from octo_ros.bags.faster_actions import LOST
from octo_ros.data.findings import close_stretches
from octo_ros.messages.conversions import stamp_ns

_NS = 1_000_000_000
SAME_NS = 2_000_000  # stamps this close are of one moment


class Moved(NamedTuple):
    """Messages that were taken by the time of recording, for their stamps lie elsewhere.

    They follow each other, but for single sound ones.

    Attributes:
        log_ns: time of recording of the first [ns].
        off_ns: by how much the stamps lie before those of the others, at most; or behind [ns].
        messages: how many.
    """

    log_ns: int
    off_ns: int
    messages: int


class RecordedStream:
    """Takes the messages in order of recording, and sorts them by their stamps.

    Attributes:
        topic: its topic.
        messages: the messages.
        unstamped: number of headers whose stamp is zero.
        stamps: after `sort`, header stamp of each message, else its time of recording [ns].
        offset_ns: after `sort`, by how much the times of recording typically lie behind [ns].
        moved: after `sort`, where the time of recording took the place of the stamp.
    """

    def __init__(self, topic: str) -> None:
        """Begins without messages."""
        self.topic = topic
        self.messages: list[Any] = []
        self.unstamped = 0
        self.moved: list[Moved] = []
        self._stamps: list[int] = []
        self._logs: list[int] = []

    def add(self, message: Any, log_ns: int) -> None:
        """Takes the next message and its time of recording [ns]."""
        self.unstamped += hasattr(message, 'header') and not stamp_ns(message)
        self._stamps.append(action_stamp_ns(message, log_ns))
        self._logs.append(log_ns)
        self.messages.append(message)

    @property
    def lags(self) -> Int[np.ndarray, 'n']:
        """By how much each time of recording lies behind the stamp [ns]."""
        return np.asarray(self._logs, np.int64) - np.asarray(self._stamps, np.int64)

    def sort(self, tolerance_ns: float, others_ns: float | None = None) -> None:
        """Brings the messages into the order of their stamps, once those are in order themselves.

        Args:
            tolerance_ns: stamps that lie further from the topic's others give way to the times of
                recording, less what these typically lie behind [ns].
            others_ns: the typical offset of the other topics, if there is one [ns].
        """
        recorded = np.argsort(self._logs, kind='stable')
        stamps = np.asarray(self._stamps, np.int64)[recorded]
        logs = np.asarray(self._logs, np.int64)[recorded]
        self.offset_ns, off_ns = find_lags(stamps, logs, tolerance_ns, others_ns)
        for part in close_stretches(off_ns != 0):
            most_ns = max(off_ns[part].tolist(), key=abs)
            self.moved.append(
                Moved(int(logs[part.start]), most_ns, int(np.count_nonzero(off_ns[part]))))
        stamps = np.where(off_ns != 0, logs - self.offset_ns, stamps)
        self._recorded = logs, logs - stamps
        order = np.argsort(stamps, kind='stable')
        self.messages = [self.messages[index] for index in recorded[order]]
        self.stamps = stamps[order]

    def only(self, good: Bool[np.ndarray, 'n']) -> 'RecordedStream':
        """Returns the stream with some of its messages, once they are sorted."""
        found = copy.copy(self)
        found.messages = [self.messages[index] for index in np.flatnonzero(good)]
        found.stamps = self.stamps[good]
        return found

    def behind_ns(self, other: 'RecordedStream') -> int:
        """By how much more than the other's its times of recording lie behind its stamps [ns].

        Both are to be sorted, and to have messages. Typical lags say it, and so must the lags of
        one moment: those of a simulated time that is slower than the recorder's grow, and differ
        between topics that do not begin together.
        """
        typical_ns = self.offset_ns - other.offset_ns
        (logs, lags), (other_logs, other_lags) = self._recorded, other._recorded
        both = (logs >= other_logs[0]) & (logs <= other_logs[-1])
        if not both.any():
            return typical_ns
        at_once = lags[both] - np.interp(logs[both], other_logs, other_lags)
        return min(typical_ns, round(float(np.median(at_once))), key=abs)

    @property
    def interval_s(self) -> float:
        """Time between two messages [s], on average and without holes; 0 if there are not two."""
        intervals = np.diff(np.unique(self.stamps))
        if not len(intervals):
            return 0.0
        return float(intervals[intervals <= LOST * np.median(intervals)].mean()) / _NS

    def replace(self, stamped: Sequence[tuple[int, Any]]) -> None:
        """Puts other messages, in order of their stamps [ns], in the place of the sorted ones."""
        self.messages = [message for _, message in stamped]
        self.stamps = np.asarray([stamp for stamp, _ in stamped], np.int64)

    def nearest(self, times: Int[np.ndarray, 't']) -> Int[np.ndarray, 't']:
        """Returns which message is the nearest to each time."""
        right = np.clip(np.searchsorted(self.stamps, times), 1, max(len(self.stamps) - 1, 1))
        left = right - 1
        right = np.minimum(right, len(self.stamps) - 1)
        nearer = np.abs(self.stamps[right] - times) < np.abs(self.stamps[left] - times)
        return np.where(nearer, right, left)

    def newest(self, times: Int[np.ndarray, 't'], max_age_ns: int) -> Int[np.ndarray, 't']:
        """Returns which message was the newest at each time; -1 where it was too old or none."""
        index = np.searchsorted(self.stamps, times + SAME_NS, side='right') - 1
        if not len(self.stamps):
            return index
        age = times - self.stamps[np.maximum(index, 0)]
        return np.where((index >= 0) & (age <= max_age_ns), index, -1)
