"""Checkpoints as the command line names them."""

SHIPPED = 'shipped'
HELP = (f'a folder, or hf://owner/name[@revision]; "{SHIPPED}" is the one that comes with the '
        'package')


def checkpoint_path(name: str) -> str:
    """Returns the folder or hub name that is meant."""
    from octo_ros.assets import shipped_checkpoint
    return str(shipped_checkpoint()) if name == SHIPPED else name
