"""`octo-ros record --size`: demonstrations straight into an episode set, ready for training.

The episodes are those that bags would hold. Without the way over bags, frames are not compressed,
take a tenth of the room, and a training set takes less time than its recordings do.
"""

import argparse
import functools
import shutil
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from octo_ros.cli import data
from octo_ros.cli import output_folder
from octo_ros.errors import DataError

if TYPE_CHECKING:
    from octo_ros.data.episode import Episode as Example
    from octo_ros.sim.rollout import Episode
    from octo_ros.sim.rollout import Job

SETTINGS = 'recording.json'
Sizes = Mapping[str, tuple[int, int]]


def add_arguments(group: argparse._ActionsContainer) -> None:
    """Adds the options."""
    group.add_argument(
        '--size', action='append', default=[], metavar='KEY=HEIGHTxWIDTH',
        help="write an episode set with this camera's frames at this size, primary=64x64, in "
        'place of bags; once for each camera')


def run(args: argparse.Namespace, jobs: Sequence['Job'], settings: Mapping[str, Any],
        record: Callable[..., Iterable[Any]]) -> int:
    """Writes the set; returns 0. As with bags, what did not succeed is left out.

    Each episode is a set of its own until all are there, so that a run can go on.

    Args:
        args: the options.
        jobs: the episodes.
        settings: what a run must have in common with the one that it goes on with.
        record: gives what a function makes of each of some jobs, drawn by the cameras that are
            named.
    """
    from octo_ros.sim.scene import CAMERAS

    sizes = data.sizes(args.size)
    data.check_cameras(sizes, CAMERAS)
    out = args.out.expanduser()
    if out.exists() or out.is_symlink():
        raise DataError(f'{out} must not exist yet; choose another folder, or delete that one')
    folder = out.parent / f'.{out.name}.recording'
    with output_folder.prepared(folder, SETTINGS, {**settings, 'size': dict(sizes)}):
        todo = output_folder.left(folder, [job.name for job in jobs])
        finish = functools.partial(write, folder=folder, sizes=sizes)
        for _ in record([job for job in jobs if job.name in todo], finish,
                        cameras=tuple(key.removeprefix('image_') for key in sizes)):
            pass
        _put_together(out, [folder / job.name for job in jobs], sizes)
        shutil.rmtree(folder)
    return 0


def write(episode: 'Episode', folder: Path, sizes: Sizes) -> None:
    """Writes an episode of the simulator as a set of its own, by the name of its job."""
    from octo_ros.data.store import EpisodeWriter

    made = example(episode, sizes)
    with EpisodeWriter(folder / made.name, sizes) as writer:
        writer.add(made)


def _put_together(out: Path, parts: Sequence[Path], sizes: Sizes) -> None:
    from octo_ros.data.store import EpisodeSet
    from octo_ros.data.store import EpisodeWriter

    done = failed = steps = 0
    with EpisodeWriter(out, sizes) as writer:
        for part in parts:
            episode = EpisodeSet(part).episode(0)
            if episode.success:
                writer.add(episode)
                done += 1
                steps += len(episode)
            else:
                failed += 1
    print(f'{done} episodes with {steps} steps in {out}, {failed} that did not succeed left out')


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
