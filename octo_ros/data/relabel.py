"""Actions from what the robot did, as Octo relabelled BridgeData before training."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.data.episode import Episode
from octo_ros.errors import DataError
from octo_ros.policy.poses import wrapped

_OPEN = 0.95
_CLOSED = 0.05


def reached_actions(
    actions: Float[np.ndarray, 't ad'], states: Float[np.ndarray, 't p'],
    grippers: Sequence[int], *, delta: bool, angles: Sequence[int] = (),
) -> Float[np.ndarray, 'u ad']:
    """Returns actions whose motion is the state that was reached one step later.

    The last step has no successor and falls away. Grippers keep their command, made binary
    (`octo/data/oxe/oxe_standardization_transforms.py` of the reference implementation: the same
    numbers, but where an angle passes pi from one step to the next; there it makes a whole turn).

    Args:
        actions: recorded actions.
        states: proprio; it must begin with the quantities that the action moves, in its order.
        grippers: which dimensions of the action are grippers.
        delta: whether actions are changes per step, or targets.
        angles: which dimensions of the action are angles [rad], whose changes are the short way
            round, -pi..pi.

    Raises:
        DataError: the state has too few numbers.
    """
    motion = [index for index in range(actions.shape[1]) if index not in grippers]
    if motion and states.shape[1] <= max(motion):
        raise DataError(f'the state must have the {max(motion) + 1} numbers that the action '
                        f'moves, got {states.shape[1]}; leave the actions as recorded')
    found = actions[:-1].copy()
    found[:, motion] = states[1:, motion] - (states[:-1, motion] if delta else 0.0)
    if delta:
        for index in angles:
            change = found[:, index]
            # Others keep their numbers to the last bit.
            found[:, index] = np.where(np.abs(change) > np.pi, wrapped(change), change)
    for index in grippers:
        found[:, index] = binary_gripper(actions[:, index])[:-1]
    return found


def reached_episode(episode: Episode, grippers: Sequence[int], *, delta: bool,
                    angles: Sequence[int] = ()) -> Episode:
    """Returns an episode with reached actions, which is a step shorter; see `reached_actions`.

    Raises:
        DataError: it has no proprio or one that is too short, or a single step.
    """
    if episode.proprio is None:
        raise DataError(f'{episode.name} must have a state to take reached actions from, got '
                        'none; name its topic with --state, or leave the actions as recorded')
    if len(episode) < 2:
        raise DataError(f'{episode.name} must have two steps for a reached action, got one')
    return dataclasses.replace(
        episode,
        actions=reached_actions(episode.actions, episode.proprio, grippers, delta=delta,
                                angles=angles),
        proprio=episode.proprio[:-1],
        images={key: frames[:-1] for key, frames in episode.images.items()},
        present={key: mask[:-1] for key, mask in episode.present.items()})


def binary_gripper(values: Float[np.ndarray, 't']) -> Float[np.ndarray, 't']:
    """Returns 1 for open and 0 for closed; on its way a gripper counts as what it gets to.

    Where it never gets to either, the last value stays.
    """
    count = len(values)
    between = (values >= _CLOSED) & (values <= _OPEN)
    settled = np.where(between, count, np.arange(count))
    following = np.minimum.accumulate(settled[::-1])[::-1]
    return np.append(values > _OPEN, values[-1]).astype(values.dtype)[following]
