"""What is known of one stream of messages: the newest one, its rate, losses and bad data."""

import collections
import dataclasses
import logging
import statistics
from typing import Any

from octo_ros.messages.conversions import stamp_ns

_LOG = logging.getLogger('octo_ros.messages')
# A gap counts as a loss where it is this near to a multiple of the usual interval of the camera,
# and up to this long: after that the camera was away, or its clock was set.
_WHOLE = 0.2
_OUTAGE_NS, _OUTAGE_INTERVALS = 1_000_000_000, 5
# Part of the frames that is lost when it is worth a word, and when all is well again.
_LOSSY, _SOUND = 0.2, 0.05
_LOSS_SMOOTHING = 0.02
_SMOOTHING = 0.1
# The usual interval is the median of the last ones: a camera slows down in the dark.
_WARM_UP, _RECENT = 5, 31
# Part of the last intervals that are few times the usual one where there is a rhythm at all.
_STEADY, _FEW = 0.75, 5
# Good messages in a row that make a recovery: data that is bad now and then is told once.
_RECOVERED = 5


@dataclasses.dataclass(frozen=True)
class Stamped:
    """A message with its times.

    Attributes:
        message: the message as it came, not decoded.
        stamp_ns: its header stamp, or the time of receipt when the header has none [ns].
        received_ns: the time of receipt [ns].
    """

    message: Any
    stamp_ns: int
    received_ns: int


@dataclasses.dataclass(frozen=True)
class StreamHealth:
    """State of one stream, for diagnostics.

    Attributes:
        received: number of messages so far.
        rate_hz: smoothed rate by stamps, 0 until two messages came.
        age_s: age of the newest message by its stamp, or None when none came.
        dropped: frames of a camera that the gaps between stamps say were lost on the way.
        bad: messages that could not be decoded; only those that the policy wanted are decoded.
        problem: what is wrong with the newest one that was decoded, or ''.
        lossy: whether many of the last frames were lost on the way.
        required: whether the policy cannot do without it.
    """

    received: int
    rate_hz: float
    age_s: float | None
    dropped: int
    bad: int
    problem: str
    lossy: bool = False
    required: bool = False


class Stream:
    """The newest message of one stream and its statistics; keeping one costs O(1)."""

    def __init__(self, name: str, *, periodic: bool = False) -> None:
        """Starts empty.

        Args:
            name: for log lines.
            periodic: True for a camera, whose lost frames leave gaps in its rhythm.
        """
        self.name = name
        self._periodic = periodic
        self.newest: Stamped | None = None
        self._received = 0
        self._dropped = 0
        self._loss = 0.0
        self._told_lossy = False
        self._bad = 0
        self._interval_ns = 0.0
        self._recent_ns: collections.deque[int] = collections.deque(maxlen=_RECENT)
        self._problem = ''
        self._told_unstamped = False
        self._told_bad = False
        self._good_in_a_row = 0
        self._told_missing = False
        self._changed_ns: int | None = None

    def store(self, message: Any, received_ns: int) -> None:
        """Keeps a message as the newest."""
        stamp = stamp_ns(message)
        if stamp == 0:
            stamp = received_ns
            if not self._told_unstamped:
                self._told_unstamped = True
                _LOG.warning('%s: messages have no header stamp; the time of receipt is used, '
                             'let the driver set header.stamp', self.name)
        if self.newest is not None:
            self._measure(stamp - self.newest.stamp_ns)
        self.newest = Stamped(message, stamp, received_ns)
        self._received += 1

    def clear(self) -> None:
        """Forgets the newest message and the rate, as after a jump of the clock."""
        self.newest = None
        self._interval_ns = 0.0
        self._recent_ns.clear()

    def report_bad(self, problem: str) -> None:
        """Counts a message that could not be used; warns unless it did since the recovery."""
        self._bad += 1
        self._good_in_a_row = 0
        if not self._told_bad:
            _LOG.warning('%s: %s', self.name, problem)
        self._told_bad = True
        self._problem = problem

    def report_good(self) -> None:
        """Says that the stream recovered after some good messages in a row."""
        self._problem = ''
        self._good_in_a_row += 1
        if self._told_bad and self._good_in_a_row >= _RECOVERED:
            self._told_bad = False
            _LOG.info('%s: recovered, messages can be used again (%d could not)',
                      self.name, self._bad)

    def note_use(self, used: bool, now_ns: int, grace_ns: int) -> None:
        """Warns when the policy runs without this stream, and says when it does with it again.

        Args:
            used: whether the stream has a message for the policy step of this time.
            now_ns: the time [ns].
            grace_ns: for how long it has to be missing, or back, to be worth a word [ns].
        """
        if used != self._told_missing:
            self._changed_ns = None
            return
        if self._changed_ns is None or now_ns < self._changed_ns:
            self._changed_ns = now_ns
        if now_ns - self._changed_ns < grace_ns:
            return
        self._told_missing, self._changed_ns = not used, None
        if used:
            _LOG.info('%s: messages come again, the policy uses them', self.name)
            return
        fault = 'no message has come'
        if self.newest is not None:
            fault = f'the newest message is {(now_ns - self.newest.stamp_ns) / 1e9:.1f} s old'
        _LOG.warning('%s: %s; the policy runs without it (masked)', self.name, fault)

    def health(self, now_ns: int) -> StreamHealth:
        """Returns the state at a time."""
        age_s = None if self.newest is None else (now_ns - self.newest.stamp_ns) / 1e9
        rate_hz = 1e9 / self._interval_ns if self._interval_ns else 0.0
        return StreamHealth(self._received, rate_hz, age_s, self._dropped, self._bad,
                            self._problem, lossy=self._told_lossy)

    def _measure(self, interval_ns: int) -> None:
        if interval_ns <= 0:  # the same image again, or a recording that starts over
            return
        if not self._interval_ns:
            self._interval_ns = float(interval_ns)
        bounded = min(float(interval_ns), 2.0 * self._interval_ns)  # a pause is no new rate
        self._interval_ns += _SMOOTHING * (bounded - self._interval_ns)
        if not self._periodic or self._told_unstamped:
            return
        usual_ns = statistics.median(self._recent_ns) if len(self._recent_ns) > _WARM_UP else 0
        if usual_ns and interval_ns > max(_OUTAGE_NS, _OUTAGE_INTERVALS * usual_ns):
            return
        if usual_ns:
            rhythm = [_multiple(recent_ns / usual_ns) for recent_ns in self._recent_ns]
            steady = sum(0 < count <= _FEW for count in rhythm) >= _STEADY * len(rhythm)
            self._note_losses(max(_multiple(interval_ns / usual_ns) - 1, 0) if steady else 0)
        self._recent_ns.append(interval_ns)

    def _note_losses(self, lost: int) -> None:
        """Counts the frames that are missing before this one; warns once when they are many."""
        self._dropped += lost
        self._loss += _LOSS_SMOOTHING * (lost / (lost + 1) - self._loss)
        if not self._told_lossy and self._loss > _LOSSY:
            self._told_lossy = True
            _LOG.warning(
                '%s: many frames are lost on the way; images need larger buffers than DDS has by '
                'default (config/fastdds.xml of this package, by '
                'FASTDDS_DEFAULT_PROFILES_FILE), or the compressed topic', self.name)
        elif self._told_lossy and self._loss < _SOUND:
            self._told_lossy = False
            _LOG.info('%s: frames come without gaps again', self.name)


def _multiple(ratio: float) -> int:
    """Returns the whole number that a ratio is near to, or 0."""
    count = round(ratio)
    return count if abs(ratio - count) <= _WHOLE else 0
