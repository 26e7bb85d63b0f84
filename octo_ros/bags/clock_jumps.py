"""Header stamps that do not go with the others of their topic, told by the times of recording."""

from typing import NamedTuple

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Int


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
    edges = np.flatnonzero(_jumps(np.diff(stamps), np.diff(logs), tolerance_ns)) + 1
    parts = np.split(logs - stamps, edges)
    lags = np.repeat([int(np.median(part)) for part in parts], [len(part) for part in parts])
    agreeing = lags[np.abs(lags - (np.nan if others_ns is None else others_ns)) <= tolerance_ns]
    pool = np.sort(agreeing if len(agreeing) else lags)
    typical = int(pool[(len(pool) - 1) // 2])  # one that there is, not the mean of two
    return Lags(typical, np.where(np.abs(lags - typical) > tolerance_ns, lags - typical, 0))


def _jumps(stamped: Int[np.ndarray, 'm'], logged: Int[np.ndarray, 'm'], tolerance_ns: float
           ) -> Bool[np.ndarray, 'm']:
    """Returns at which intervals the stamps, and not the times of recording, lose their rhythm.

    No message passes another of its topic, so that stamps which run backwards are always wrong.
    """
    forward = stamped[stamped > 0]
    rhythm = np.median(forward if len(forward) else logged) if len(logged) else 0.0
    kept = np.abs(logged - rhythm) <= np.minimum(np.abs(stamped - rhythm), rhythm / 2)
    return (np.abs(stamped - logged) > tolerance_ns) & (kept | (stamped < 0))
