"""`octo-ros record --size`: demonstrations straight into an episode set, ready for training.

The episodes are those that bags would hold. Without the way over bags, frames are not compressed,
take a tenth of the room, and a training set takes less time than its recordings do.
"""

import argparse
import functools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING

from octo_ros.cli import data

if TYPE_CHECKING:
    from octo_ros.data.episode import Episode as Example
    from octo_ros.sim.rollout import Episode

Sizes = Mapping[str, tuple[int, int]]


def add_arguments(group: argparse._ActionsContainer) -> None:
    """Adds the options."""
    group.add_argument(
        '--size', action='append', default=[], metavar='KEY=HEIGHTxWIDTH',
        help="write an episode set with this camera's frames at this size, primary=64x64, in "
        'place of bags; once for each camera. A set is made in one go: stopped, it begins anew')


def run(args: argparse.Namespace, record: Callable[..., Iterable['Example']]) -> int:
    """Writes the set; returns 0. As with bags, what did not succeed is left out.

    Args:
        args: the options.
        record: gives what a function makes of each episode, drawn by the cameras that are named.
    """
    from octo_ros.data.store import EpisodeWriter
    from octo_ros.sim.scene import CAMERAS

    sizes = data.sizes(args.size)
    data.check_cameras(sizes, CAMERAS)
    cameras = tuple(key.removeprefix('image_') for key in sizes)
    done = failed = steps = 0
    with EpisodeWriter(args.out, sizes) as writer:
        for episode in record(functools.partial(example, sizes=sizes), cameras=cameras):
            if episode.success:
                writer.add(episode)
                done += 1
                steps += len(episode)
            else:
                failed += 1
    print(f'{done} episodes with {steps} steps in {args.out}, {failed} that did not succeed left '
          'out')
    return 0


def example(episode: 'Episode', sizes: Sizes) -> 'Example':
    """Returns an episode of the simulator for training, its frames at the given sizes."""
    import numpy as np

    from octo_ros.data.episode import Episode as Example
    from octo_ros.policy.images import preprocess
    from octo_ros.sim.rollout import Job

    images = {key: np.stack([preprocess(frame, size)
                             for frame in episode.images[key.removeprefix('image_')]])
              for key, size in sizes.items()}
    return Example(
        name=Job(episode.task, episode.seed).name, images=images, actions=episode.actions,
        instructions=(episode.instruction, *episode.paraphrases),
        proprio=episode.proprio, success=episode.success,
        metadata={'task': episode.task.name, 'seed': episode.seed, 'robot': 'viperx_sim'})
