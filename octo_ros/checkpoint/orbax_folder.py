"""Parameter folders with one array per entry (OCDBT, Zarr), as newer Orbax versions write them."""

from pathlib import Path
from typing import Any

import jax

from octo_ros.errors import CheckpointError

_ARRAYS = ('manifest.ocdbt', 'ocdbt.process_*', '*/.zarray', '*/zarr.json')


def is_orbax_folder(folder: Path) -> bool:
    """True when the folder holds arrays of its own, not only one aggregated msgpack file.

    `_METADATA` lies beside that file as well, so it tells nothing.
    """
    return any(next(folder.glob(pattern), None) for pattern in _ARRAYS)


def read_orbax(folder: Path) -> dict[str, Any]:
    """Restores every array onto the first local device, wherever it lay when it was saved.

    Raises:
        CheckpointError: Orbax cannot read the folder.
    """
    import orbax.checkpoint as ocp

    from octo_ros.checkpoint.orbax_reading import tree_handler

    folder = folder.resolve()
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    with ocp.Checkpointer(tree_handler()) as checkpointer:
        try:
            saved = checkpointer.metadata(folder).item_metadata
            if saved is None:
                raise ValueError('the list of its arrays is damaged or missing')
            # Without these arguments Orbax asks for the devices that the writer had.
            arguments = jax.tree.map(lambda _: ocp.ArrayRestoreArgs(sharding=here), saved.tree)
            restored = checkpointer.restore(folder, restore_args=arguments)
        except Exception as error:
            # Orbax and TensorStore document no common base of what damaged files make them raise.
            reason = (str(error).splitlines() or [''])[0][:300]
            raise CheckpointError(
                f'{folder}: Orbax cannot read this folder ({type(error).__name__}: {reason}); '
                'copy or download the whole folder again') from error
    return dict(restored)
