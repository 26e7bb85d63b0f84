"""Keeps the trainer fed: batches made ahead by Grain, in threads or worker processes."""

from collections.abc import Generator
from typing import Any

import grain
from absl import flags

from octo_ros.data.batches import BatchSource
from octo_ros.workers import follow_parent
from octo_ros.workers import keep_resource_tracker

_AHEAD = 4


def batches(source: BatchSource, *, start: int = 0, workers: int = 0
            ) -> Generator[dict[str, Any], None, None]:
    """Yields batches from number `start` on, without end, in order whatever the workers.

    Close the generator when done (`contextlib.closing`): that ends threads and workers.

    Args:
        source: where they come from.
        start: number of the first batch, to go on where a run stopped.
        workers: worker processes; 0 makes batches in two threads of this process, which is
            faster until copying frames takes a whole core.
    """
    data = grain.MapDataset.source(source)[start:]
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=_AHEAD)
    stream = data.to_iter_dataset(options)
    if workers:
        keep_resource_tracker()
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain's workers read flags that only absl apps parse
        stream = stream.mp_prefetch(grain.MultiprocessingOptions(
            num_workers=workers, per_worker_buffer_size=_AHEAD), _begin)
    iterator = iter(stream)
    try:
        yield from iterator
    finally:
        # Grain 0.2.13, the newest for Python 3.10, ends its threads when the iterator goes.
        if hasattr(iterator, 'close'):
            iterator.close()


def _begin(_index: int, _count: int) -> None:
    """Called in each worker. Those of Grain would wait for ever for a trainer that was killed."""
    follow_parent()
