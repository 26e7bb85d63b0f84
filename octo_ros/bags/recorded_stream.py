"""The messages of one recorded topic, in order of their stamps."""

from typing import Any

import numpy as np

from octo_ros.array_typing import Int
from octo_ros.bags.episodes import action_stamp_ns
from octo_ros.messages.conversions import stamp_ns

_NS = 1_000_000_000
_SAME_NS = 2_000_000  # stamps this close are of one moment


class RecordedStream:
    """Takes the messages in order of recording, and sorts them by their stamps.

    Attributes:
        topic: its topic.
        messages: the messages.
        unstamped: number of headers whose stamp is zero.
        stamps: after `sort`, header stamp of each message, else its time of recording [ns].
        offset_ns: after `sort`, by how much the times of recording typically lie behind [ns].
    """

    def __init__(self, topic: str) -> None:
        """Begins without messages."""
        self.topic = topic
        self.messages: list[Any] = []
        self.unstamped = 0
        self._stamps: list[int] = []
        self._logs: list[int] = []

    def add(self, message: Any, log_ns: int) -> None:
        """Takes the next message and its time of recording [ns]."""
        self.unstamped += hasattr(message, 'header') and not stamp_ns(message)
        self._stamps.append(action_stamp_ns(message, log_ns))
        self._logs.append(log_ns)
        self.messages.append(message)

    def sort(self) -> None:
        """Brings the messages into the order of their stamps."""
        order = np.argsort(self._stamps, kind='stable')
        self.messages = [self.messages[index] for index in order]
        self.stamps = np.asarray(self._stamps, np.int64)[order]
        self.offset_ns = int(np.median(np.asarray(self._logs) - np.asarray(self._stamps))) if (
            self._logs) else 0

    @property
    def interval_s(self) -> float:
        """Typical time between two messages [s]; 0 when there are not two."""
        return float(np.median(np.diff(self.stamps))) / _NS if len(self.stamps) > 1 else 0.0

    def newest(self, times: Int[np.ndarray, 't'], max_age_ns: int) -> Int[np.ndarray, 't']:
        """Returns which message was the newest at each time; -1 where it was too old or none."""
        index = np.searchsorted(self.stamps, times + _SAME_NS, side='right') - 1
        if not len(self.stamps):
            return index
        age = times - self.stamps[np.maximum(index, 0)]
        return np.where((index >= 0) & (age <= max_age_ns), index, -1)
