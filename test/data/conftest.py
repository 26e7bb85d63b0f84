"""A small episode set whose frames tell which step they are."""

import numpy as np
import pytest

from octo_ros.data.episode import Episode
from octo_ros.data.store import EpisodeSet
from octo_ros.data.store import EpisodeWriter

LENGTHS = (5, 3, 9)


def make_episode(number, length, *, proprio=True):
    """Returns an episode whose every value is 10 * episode + step."""
    values = 10 * number + np.arange(length)
    frames = np.broadcast_to(values[:, None, None, None].astype(np.uint8), (length, 4, 6, 3))
    return Episode(
        name=f'episode_{number}', images={'image_primary': np.array(frames)},
        actions=np.repeat(values[:, None], 2, axis=1).astype(np.float32),
        instructions=(f'task {number}', f'other words {number}') if number else (),
        proprio=values[:, None].astype(np.float32) if proprio else None, success=True,
        metadata={'seed': number})


@pytest.fixture
def episode_set(tmp_path):
    """Returns a set of three episodes; the first has no instruction."""
    with EpisodeWriter(tmp_path / 'set', {'image_primary': (4, 6)}) as writer:
        for number, length in enumerate(LENGTHS):
            writer.add(make_episode(number, length))
    return EpisodeSet(tmp_path / 'set')
