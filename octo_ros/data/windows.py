"""Which steps of an episode make one training example: history, action chunks and their masks.

Everything is index arithmetic over many examples at once, so that a batch is a few gathers.
"""

import dataclasses

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Int

# Octo counts a chunk as past its goal only from the second step behind the goal on: its code
# subtracts `window + 1` where the window has `window - 1` earlier steps. Released weights were
# trained so, and the last action of an episode is thereby learned at its end.
_GRACE_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Windows:
    """Steps within the episode for a batch of examples.

    Attributes:
        observations: the history, oldest first; before the start the first step is repeated.
        timestep_pad_mask: True = a real step of the history.
        actions: for every history step the chunk that begins there; behind the end the last
            action is repeated.
        action_steps: as `actions` without the bounds: where each action would lie in time.
    """

    observations: Int[np.ndarray, 'b t']
    timestep_pad_mask: Bool[np.ndarray, 'b t']
    actions: Int[np.ndarray, 'b t ah']
    action_steps: Int[np.ndarray, 'b t ah']


def make_windows(
    steps: Int[np.ndarray, 'b'], lengths: Int[np.ndarray, 'b'], window: int, action_horizon: int
) -> Windows:
    """Returns the windows that end at the given steps.

    Args:
        steps: the newest step of each example, within its episode.
        lengths: length of each example's episode.
        window: number of history steps.
        action_horizon: number of actions in a chunk.
    """
    history = steps[:, None] + np.arange(1 - window, 1)
    observations = np.maximum(history, 0)
    # A padded step carries the chunk of the step that is repeated in it.
    chunks = observations[:, :, None] + np.arange(action_horizon)
    return Windows(
        observations=observations, timestep_pad_mask=history >= 0,
        actions=np.minimum(chunks, lengths[:, None, None] - 1),
        action_steps=history[:, :, None] + np.arange(action_horizon))


def task_completed(
    action_steps: Int[np.ndarray, 'b t ah'], goal_steps: Int[np.ndarray, 'b']
) -> Bool[np.ndarray, 'b t ah']:
    """Returns True for actions that lie behind the goal; training masks them.

    Args:
        action_steps: see `Windows`.
        goal_steps: step of each example's goal; the last step when there is no goal image.
    """
    return action_steps - _GRACE_STEPS >= goal_steps[:, None, None]
