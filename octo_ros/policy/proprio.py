"""Proprio and its velocity, in training and at run time alike.

A policy of one frame cannot see how fast the robot moves, and one of two frames needs many
examples to learn it from their difference. So a model may have the observation `velocity` beside
`proprio`; nobody has to publish it.

Its name does not begin with `proprio`: keys of Octo's tokenizers are patterns, and a tokenizer of
`proprio` reads every key that begins so.
"""

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import Int

PROPRIO = 'proprio'
VELOCITY = 'velocity'
_NS = 1e9


def velocity(
    vectors: Float[np.ndarray, 't p'], stamps_ns: Int[np.ndarray, 't']
) -> Float[np.ndarray, 't p']:
    """Returns the change of each vector since the newest earlier one, per second.

    Args:
        vectors: in the order of time; an angle that goes on at -pi has jumped.
        stamps_ns: their times [ns]; entries of one time are one observation, repeated. One that
            goes back, as when a publisher's clock is set, counts as the latest before it.

    Returns:
        The velocities; zero where nothing is earlier.
    """
    stamps_ns = np.maximum.accumulate(stamps_ns)
    earlier = np.searchsorted(stamps_ns, stamps_ns, side='left') - 1
    first = earlier < 0
    earlier = np.where(first, 0, earlier)
    passed_s = np.where(first, 1.0, (stamps_ns - stamps_ns[earlier]) / _NS)
    return np.where(first[:, None], 0.0, (vectors - vectors[earlier]) / passed_s[:, None])
