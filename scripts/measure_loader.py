"""Measures how fast batches are made: `python scripts/measure_loader.py SET`.

SET is an episode set of `octo-ros data build`. Batches are those of Octo's training: 256 examples,
window 2, chunks of 4 actions, a goal image or the words.
"""

import argparse
import contextlib
import itertools
import time
from collections.abc import Sequence

import numpy as np

from octo_ros.data.batches import BatchSource
from octo_ros.data.batches import BatchSpec
from octo_ros.data.instructions import InstructionTable
from octo_ros.data.loader import batches
from octo_ros.data.statistics import dataset_statistics
from octo_ros.data.store import EpisodeSet
from octo_ros.data.tasks import TaskParams

_TOKENS = 16


def samples_per_s(source: BatchSource, workers: int, count: int) -> float:
    """Returns the rate of `count` batches once the first ones are there [1/s]."""
    with contextlib.closing(batches(source, workers=workers)) as stream:
        for _ in itertools.islice(stream, 8):  # what was made ahead while this started
            pass
        begin_s = time.perf_counter()
        for _ in itertools.islice(stream, count):
            pass
        return count * source.spec.batch_size / (time.perf_counter() - begin_s)


def main() -> None:
    """Prints a line for each number of worker processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('set')
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--batches', type=int, default=40)
    args = parser.parse_args()
    episodes = EpisodeSet(args.set)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), _TOKENS), np.int32)

    texts = [entry['instructions'] for entry in episodes.entries]
    statistics = dataset_statistics(
        np.asarray(episodes.actions), episodes.proprio, len(episodes), None)
    source = BatchSource(
        episodes, statistics, BatchSpec(256, action_dim=episodes.actions.shape[1]), TaskParams(),
        InstructionTable(texts, encode), seed=0)
    sizes = ', '.join(f'{key} {height}x{width}' for key, (height, width)
                      in episodes.image_sizes.items())
    print(f'{len(episodes)} episodes, {sizes}, batches of {source.spec.batch_size}')
    for workers in args.workers:
        rate = samples_per_s(source, workers, args.batches)
        print(f'{workers} worker processes: {rate:,.0f} samples/s')


if __name__ == '__main__':
    main()
