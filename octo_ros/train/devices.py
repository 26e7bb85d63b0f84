"""Data-parallel training: the batch is spread over all devices, everything else is on each."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from octo_ros.errors import ParameterError

_AXIS = 'data'


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
    jax.distributed.initialize(coordinator, processes, process)


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
