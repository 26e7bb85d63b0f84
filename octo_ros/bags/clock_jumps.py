"""Header stamps that do not go with the others of their topic, told by the times of recording.

A stamp is doubted only where being recorded late cannot explain it. Messages of a topic are
recorded in order, so stamps that run backwards are wrong. Else a jump counts only on a topic of
steady rhythm, where the times of recording keep the rhythm, the stamps do not, and the lags on
both sides lie much closer together than the jump is wide. All other stamps are kept: of topics
without a rhythm also those that jump forward, and an old first one, which a latched topic has.
"""

from typing import NamedTuple

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Int

_STEADY = 0.8  # part of the intervals that must be near the typical one, to speak of a rhythm
_NEAR = 0.25  # of an interval: so far from the typical one it may be
_NEIGHBOURS = 5  # messages on each side of a jump whose lags are looked at
_CLOSE = 0.25  # of a jump: so far apart these lags may be
_SPREAD = 3  # times the lags' usual change from message to message a jump must be wide


class Lags(NamedTuple):
    """By how much times of recording lie behind header stamps.

    Attributes:
        typical_ns: of the stamps that can be used [ns].
        off_ns: by how much those that cannot be used lie before them; 0 for the others [ns].
    """

    typical_ns: int
    off_ns: Int[np.ndarray, 'n']


def find_lags(stamps: Int[np.ndarray, 'n'], logs: Int[np.ndarray, 'n'], tolerance_ns: float,
              others_ns: float | None = None) -> Lags:
    """Finds the stamps of a topic that lie elsewhere than its other stamps.

    Stamps between two jumps belong together and have one lag, whatever single times of recording
    say: a slow recorder writes in bursts, and its stamps are sound.

    Args:
        stamps: header stamps in order of recording [ns].
        logs: times of recording, ascending [ns].
        tolerance_ns: how far from the others a stamp may lie [ns].
        others_ns: lag of the other topics, which a lag of this one must agree with, if any does.
    """
    if not len(stamps):
        return Lags(0, np.zeros(0, np.int64))
    edges = np.flatnonzero(_jumps(stamps, logs, tolerance_ns)) + 1
    parts = np.split(logs - stamps, edges)
    lags = np.repeat([int(np.median(part)) for part in parts], [len(part) for part in parts])
    agreeing = lags[np.abs(lags - (np.nan if others_ns is None else others_ns)) <= tolerance_ns]
    pool = np.sort(agreeing if len(agreeing) else lags)
    typical = int(pool[(len(pool) - 1) // 2])  # one that there is, not the mean of two
    return Lags(typical, np.where(np.abs(lags - typical) > tolerance_ns, lags - typical, 0))


def _jumps(stamps: Int[np.ndarray, 'n'], logs: Int[np.ndarray, 'n'], tolerance_ns: float
           ) -> Bool[np.ndarray, 'm']:
    """Returns at which of the n - 1 intervals the stamps jump, and not the times of recording."""
    stamped, logged, lags = np.diff(stamps), np.diff(logs), logs - stamps
    wide = np.abs(logged - stamped) > tolerance_ns
    if not wide.any():
        return wide
    kept = _keeps_rhythm(stamped, logged)
    sure = wide & ((stamped < 0) | kept & ((stamped == 0) | _between_stable(lags, wide)))
    back = _undone(lags, wide, sure) | _undone(lags[::-1], wide[::-1], sure[::-1])[::-1]
    return sure | back


def _keeps_rhythm(stamped: Int[np.ndarray, 'm'], logged: Int[np.ndarray, 'm']
                  ) -> Bool[np.ndarray, 'm']:
    """Returns where a steady rhythm is kept by the times of recording, but less by the stamps."""
    forward = stamped[stamped > 0]
    beats = forward if len(forward) else logged
    rhythm = np.median(beats)
    steady = np.mean(np.abs(beats - rhythm) <= _NEAR * rhythm) >= _STEADY
    return steady & (np.abs(logged - rhythm) <= np.minimum(
        np.abs(stamped - rhythm), _NEAR * rhythm))


def _between_stable(lags: Int[np.ndarray, 'n'], wide: Bool[np.ndarray, 'm']
                    ) -> Bool[np.ndarray, 'm']:
    """Returns which wide changes of the lag lead from one stable lag to another.

    A lag that falls below a stable one tells by a single message, for none is recorded before it
    is sent; one that rises may be a single late message.
    """
    changes = np.diff(lags)
    least = _SPREAD * np.percentile(np.abs(changes), 75)
    edges = np.flatnonzero(wide)
    found = np.zeros(len(wide), bool)
    for edge, begin, end in zip(edges, [0, *edges[:-1] + 1], [*edges[1:] + 1, len(lags)],
                                strict=True):
        before = lags[max(begin, edge + 1 - _NEIGHBOURS):edge + 1]
        after = lags[edge + 1:min(end, edge + 1 + _NEIGHBOURS)]
        change = abs(changes[edge])
        found[edge] = (
            len(before) > 1 and (len(after) > 1 or changes[edge] < 0) and change > least
            and max(np.ptp(before), np.ptp(after)) <= _CLOSE * change)
    return found


def _undone(lags: Int[np.ndarray, 'n'], wide: Bool[np.ndarray, 'm'], sure: Bool[np.ndarray, 'm']
            ) -> Bool[np.ndarray, 'm']:
    """Returns which wide changes bring the lag back to what it was before a sure jump."""
    found = np.zeros(len(wide), bool)
    base: int | None = None
    for edge in np.flatnonzero(wide):
        left, right = int(lags[edge]), int(lags[edge + 1])
        if base is not None and abs(right - base) < abs(right - left) / 2:
            found[edge], base = True, None
        elif base is None and sure[edge]:
            base = left
    return found
