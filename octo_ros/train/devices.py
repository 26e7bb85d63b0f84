"""Data-parallel training: the batch is spread over all devices, everything else is on each.

With several hosts, one process runs on each of them, and all go through the same steps. The first
one alone writes what people read; states are written by all into a folder that all can reach.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from octo_ros.errors import ParameterError

_AXIS = 'data'
_LONGEST_WAIT_MS = 24 * 3600 * 1000


def connect(coordinator: str, processes: int, process: int) -> None:
    """Joins the processes of several hosts; call it before anything else touches a device.

    Args:
        coordinator: `host:port` of process 0.
        processes: number of processes.
        process: number of this one.

    Raises:
        ParameterError: the number of the process is out of range.
    """
    if not 0 <= process < processes:
        raise ParameterError(f'the process must be from 0 to {processes - 1}, got {process}')
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')  # for hosts without a GPU
    jax.distributed.initialize(coordinator, processes, process)


def is_first() -> bool:
    """Returns True in the process that writes files and speaks to the user."""
    return jax.process_index() == 0


@contextlib.contextmanager
def first_before_others(name: str) -> Iterator[None]:
    """Runs a block in the first process, then in the others, which find the files it made.

    Args:
        name: of the block; each is run once.
    """
    if not is_first():
        wait_for_all(name)
    yield
    if is_first():
        wait_for_all(name)


def wait_for_all(name: str) -> None:
    """Waits until every process is at the point of this name; each point is passed once.

    Collectives wait for each other as well, but some seconds only: not as long as reading
    recordings or compiling may take.
    """
    if jax.process_count() > 1:
        ocp.multihost.get_barrier_sync_fn()(key=name, timeout_ms=_LONGEST_WAIT_MS)


def compile_everywhere(name: str, function: Any, *arguments: Any) -> Callable[..., Any]:
    """Compiles a jitted function for arguments like these, in all processes before any goes on.

    Args:
        name: of the point where they wait for each other.
        function: what `jax.jit` returned.
        *arguments: of its first call.
    """
    compiled = function.lower(*arguments).compile()
    wait_for_all(name)
    return compiled


def any_process(flag: bool) -> bool:
    """Returns True in all processes when the flag is set in any; all must ask."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def _free_bytes(device: jax.Device) -> int | None:
    """Returns the free memory of a device; None where nobody says, as of processors."""
    stats = device.memory_stats() or {}
    limit = stats.get('bytes_limit')
    return None if limit is None else limit - stats.get('bytes_in_use', 0)


class Devices:
    """Where arrays go.

    Attributes:
        shared: placement of what every device holds whole.
        spread: placement of a batch, by its first axis.
    """

    def __init__(self, devices: Sequence[jax.Device] | None = None) -> None:
        """Takes all devices of all processes unless some are given."""
        chosen = jax.devices() if devices is None else devices
        mesh = Mesh(np.asarray(chosen), (_AXIS,))
        self.count = len(chosen)
        self.shared = NamedSharding(mesh, PartitionSpec())
        self.spread = NamedSharding(mesh, PartitionSpec(_AXIS))

    def check_batch(self, batch_size: int, parts: int) -> None:
        """Raises ParameterError when a batch cannot be spread evenly."""
        if batch_size % (self.count * parts):
            raise ParameterError(
                f"'batch_size' must be a multiple of {self.count} devices times {parts} "
                f"'optimizer.accumulate', got {batch_size}")

    def check_room(self, tree: Any) -> None:
        """Raises ParameterError when a tree is too large to be kept whole on a device."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
        for device in self.shared.mesh.local_devices:
            free = _free_bytes(device)
            if free is not None and needed > free:
                raise ParameterError(
                    f"'frames_on_device' must leave room for the model, but the frames take "
                    f'{needed / 1e9:.1f} GB and {device} has {free / 1e9:.1f} GB free; switch it '
                    'off, or train with fewer episodes or smaller images')

    def put_shared(self, tree: Any) -> Any:
        """Puts a tree whole on every device."""
        return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(
            self.shared, np.asarray(leaf)), tree)

    def put_rows(self, batch: Any) -> Any:
        """Spreads a batch that every process has whole."""
        return jax.tree.map(lambda leaf: jax.make_array_from_callback(
            np.shape(leaf), self.spread, np.asarray(leaf).__getitem__), batch)

    def put_batch(self, batch: Any) -> Any:
        """Spreads this process' rows of a batch over its devices."""
        return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(
            self.spread, np.asarray(leaf)), batch)
