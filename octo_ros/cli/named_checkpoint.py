"""Checkpoints as the command line names them."""

import logging

from octo_ros import assets
from octo_ros.assets import SHIPPED
from octo_ros.assets import UNTRAINED

HELP = (f'a folder, or hf://owner/name[@revision]; "{SHIPPED}" is the policy for the simulator '
        f'that comes with the package, "{UNTRAINED}" a small one with random weights')

_LOG = logging.getLogger('octo_ros.cli')


def checkpoint_path(name: str) -> str:
    """Returns the folder or hub name that is meant; says so when its weights are random."""
    path = str(assets.named_checkpoint(name) or name)
    if assets.is_untrained(path):
        _LOG.warning('the weights of this checkpoint are random: no task will be done')
    return path
