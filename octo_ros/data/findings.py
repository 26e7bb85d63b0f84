"""What is wrong with a demonstration, and what is left of it after mending."""

import dataclasses

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.data.episode import Episode


@dataclasses.dataclass(frozen=True)
class Finding:
    """A fault of a recording, or of an episode of a data set.

    Attributes:
        source: path of the recording, or name of the episode.
        kind: `gap`, `rate`, `missing`, `nan`, `action`, `state`, `gripper`, `stamps`, `image`,
            `damage`, `instruction` or `unusable`.
        topic: the topic or feature where it was found; empty for the whole recording.
        time_s: since the first action [s]; None when it has no one place.
        text: what is wrong, in words.
        count: how many times, when it is told once for several.
    """

    source: str
    kind: str
    topic: str
    time_s: float | None
    text: str
    count: int = 1


@dataclasses.dataclass(frozen=True)
class Demonstration:
    """A recording as an episode.

    Attributes:
        episode: what can be trained with after mending; None when nothing is left.
        findings: its faults; empty for a sound recording.
    """

    episode: Episode | None
    findings: tuple[Finding, ...]


def stretches(hit: Bool[np.ndarray, 't']) -> list[slice]:
    """Returns the stretches of steps in which something is true, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], hit, [False]]).astype(int)))
    return [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def close_stretches(hit: Bool[np.ndarray, 't']) -> list[slice]:
    """Returns such stretches, with single steps in which it is not true: one fault in two steps.

    A stretch begins and ends with a step in which it is true.
    """
    between = np.zeros_like(hit)
    between[1:-1] = hit[:-2] & hit[2:]
    return stretches(hit | between)


def longest(good: Bool[np.ndarray, 't']) -> slice:
    """Returns the first of the longest stretches of good steps; an empty one when none is."""
    return max(stretches(good), key=lambda part: part.stop - part.start, default=slice(0, 0))
