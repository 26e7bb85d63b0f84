"""Actions faster than policy steps: what deltas add up to in each, or its last target."""

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import Int
from octo_ros.data.merge_rows import merge_rows

LOST = 1.6  # intervals without a message mean that one is missing, not late


def add_up(stamps: Int[np.ndarray, 'n'], values: Float[np.ndarray, 'n ad'],
           times: Int[np.ndarray, 't'], step_ns: int, deltas: Int[np.ndarray, 'k']
           ) -> tuple[Float[np.ndarray, 't ad'], Bool[np.ndarray, 't']]:
    """Returns one action for each step.

    An action belongs to the step in which its motion begins, half an interval of jitter allowed.

    Args:
        stamps: when each action was given, in order [ns].
        values: the actions; NaN where one could not be read.
        times: beginning of each step [ns].
        step_ns: duration of a step [ns].
        deltas: numbers that are changes, to be added up; of the others the last one counts.

    Returns:
        The actions, NaN in a step with one that is; and True for the steps whose actions are all
        there.
    """
    interval_ns = float(np.median(np.diff(stamps)))
    owner = np.floor((stamps - times[0] + interval_ns / 2) / step_ns).astype(np.int64)
    found = np.full((len(times), values.shape[1]), np.nan)
    within = (owner >= 0) & (owner < len(times))
    steps, firsts = np.unique(owner[within], return_index=True)
    edges = np.append(firsts, within.sum())
    # A number that could not be read spoils its step, also where only the last one counts.
    unread = np.logical_or.reduceat(np.isnan(values[within]), firsts, axis=0)
    found[steps] = np.where(unread, np.nan, merge_rows(values[within], edges, deltas))
    holes = np.flatnonzero(np.diff(stamps) > LOST * interval_ns)
    torn = np.concatenate([owner[holes], owner[holes + 1]])
    ended = stamps[-1] + interval_ns >= times + step_ns - interval_ns / 2
    numbers = np.arange(len(times))
    return found, np.isin(numbers, steps) & ended & ~np.isin(numbers, torn)


def rate_fault(stamps: Int[np.ndarray, 'n'], interval_s: float, nearest: Int[np.ndarray, 't'], *,
               step_s: float, tolerance: float, adds: bool) -> tuple[str, bool]:
    """Returns what is odd about the rate of actions, if anything, and if steps have several each.

    Args:
        stamps: when each action was given, in order [ns].
        interval_s: from one to the next [s].
        nearest: which of them each step would take.
        step_s: duration of a policy step [s].
        tolerance: part of it by which the interval of actions may differ.
        adds: they are changes, which are added up, and none may be lost.
    """
    lost = len(np.setdiff1d(stamps[nearest.min():nearest.max()], stamps[nearest])) if adds else 0
    differs = interval_s and abs(interval_s - step_s) > tolerance * step_s
    if not differs and not lost:
        return '', False
    faster = bool(lost) or interval_s < step_s
    done = '' if not faster else (
        '; their changes are added up' if adds else '; the last target of each step is taken')
    text = (f'actions come every {interval_s:.3f} s, the policy step is {step_s:.3f} s'
            if differs else f'{lost} action{"s" if lost > 1 else ""} more than policy steps')
    return text + done, faster
