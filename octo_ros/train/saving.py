"""The state of a run on disk, so that a killed run goes on as if nothing had happened."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp

from octo_ros.checkpoint.orbax_reading import tree_handler
from octo_ros.errors import CheckpointError

_KEPT = 2


class StateStore:
    """Saved states of a run, written by Orbax behind the back of the training; a context manager.

    The two latest are kept. A state appears whole or not at all. With several processes, all must
    save and restore the same steps, in a folder that all can reach.
    """

    def __init__(self, path: Path) -> None:
        """Opens the folder, making it when there is none."""
        self.path = path.absolute()
        self._manager = ocp.CheckpointManager(
            self.path, item_handlers=tree_handler(), options=ocp.CheckpointManagerOptions(
                max_to_keep=_KEPT, create=True, enable_async_checkpointing=True))

    def __enter__(self) -> 'StateStore':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """The latest saved step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, notes: Mapping[str, Any] | None = None) -> None:
        """Begins to save a state; the arrays may be used and donated at once.

        Args:
            step: its number.
            state: a tree of arrays.
            notes: what else must be known to go on from it, as JSON can hold it.
        """
        if step != self.latest:
            self._manager.save(
                step, args=ocp.args.PyTreeSave(state), custom_metadata=dict(notes or {}))

    def notes(self) -> dict[str, Any]:
        """Returns the notes of the latest state; empty for one of an earlier version."""
        return dict(self._manager.metadata(self.latest).custom_metadata or {})

    def restore(self, like: Any) -> Any:
        """Returns the latest state, in the structure, shapes and placement of `like`.

        Raises:
            CheckpointError: it is damaged, or of a run with other parameters.
        """
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        arguments = ocp.checkpoint_utils.construct_restore_args(shapes)
        try:
            return self._manager.restore(
                self.latest, args=ocp.args.PyTreeRestore(shapes, restore_args=arguments))
        except Exception as error:
            # Orbax and TensorStore document no common base of what damaged files make them raise.
            raise CheckpointError(
                f'{self.path / str(self.latest)}: must hold the state of this very run '
                f'({str(error)[:300]}); give the same data, checkpoint and parameters, or another '
                'folder to start anew') from error
