"""Which number of which chunk is due now: receding horizon and temporal ensemble, by stamps.

A chunk is placed in time by the stamp of the observation it was computed from: its step k is due
from `placed_ns + k * step_ns` on. Arrival times play no part, so a slow inference costs the first
steps of a chunk and never shifts the rest.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.policy.poses import mean_angles


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
    """An action chunk and its place in time.

    Attributes:
        chunk_id: number of the request that it answers.
        observed_ns: stamp of the newest observation behind it [ns].
        placed_ns: when its first step is due [ns]; `observed_ns`, except that an observation
            stamped in the future is placed at the moment it was sampled.
        actions: one action a step.
    """

    chunk_id: int
    observed_ns: int
    placed_ns: int
    actions: Float[np.ndarray, 'ah ad']

    def index_at(self, now_ns: int, step_ns: int) -> int:
        """Returns the step that is due at a time; negative before the chunk, any size after."""
        return (now_ns - self.placed_ns) // step_ns

    def due_ns(self, index: int, step_ns: int) -> int:
        """Returns when a step is due [ns]."""
        return self.placed_ns + index * step_ns


def ensemble_weights(count: int, exp_weight: float) -> Float[np.ndarray, 'n']:
    """Returns the weights of `count` predictions, oldest first; they sum to 1.

    Prediction i counts exp(-exp_weight * i): 0 gives the plain mean, a positive value trusts the
    older predictions more (ACT, Zhao et al. 2023, section IV.A).
    """
    exponents = -exp_weight * np.arange(count)
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()


def ensemble_action(
    chunks: Sequence[Chunk],
    due_ns: int,
    step_ns: int,
    exp_weight: float,
    predictions: int,
    pose_angles: str = '',
) -> Float[np.ndarray, 'ad']:
    """Averages what several chunks predict for one and the same step in time.

    Args:
        chunks: oldest first; each contributes the step whose due time is nearest to `due_ns`
            (observation stamps jitter around the policy's rhythm).
        due_ns: when the wanted step is due [ns]; at least one chunk must cover it.
        step_ns: length of a policy step [ns].
        exp_weight: see `ensemble_weights`.
        predictions: how many leading steps of each chunk take part.
        pose_angles: see `RobotProfile`; numbers 3 to 5 are averaged as a rotation then.
    """
    indices = [(due_ns - chunk.placed_ns + step_ns // 2) // step_ns for chunk in chunks]
    rows = [
        chunk.actions[index]
        for chunk, index in zip(chunks, indices, strict=True)
        if 0 <= index < min(predictions, len(chunk.actions))
    ]
    actions = np.asarray(rows, dtype=np.float64)
    weights = ensemble_weights(len(rows), exp_weight)
    mean = weights @ actions
    if pose_angles and len(rows) > 1:
        mean[3:6] = mean_angles(actions[:, 3:6], weights, pose_angles)
    return mean
