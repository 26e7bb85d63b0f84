"""Checkpoints as the command line names them."""

import logging

SHIPPED = 'shipped'
UNTRAINED = 'untrained'
HELP = (f'a folder, or hf://owner/name[@revision]; "{SHIPPED}" is the policy for the simulator '
        f'that comes with the package, "{UNTRAINED}" a small one with random weights')


_LOG = logging.getLogger('octo_ros.cli')


def checkpoint_path(name: str) -> str:
    """Returns the folder or hub name that is meant; says so when its weights are random."""
    from octo_ros.assets import is_untrained
    from octo_ros.assets import shipped_checkpoint
    from octo_ros.assets import shipped_policy

    named = {SHIPPED: shipped_policy, UNTRAINED: shipped_checkpoint}
    path = str(named[name]()) if name in named else name
    if is_untrained(path):
        _LOG.warning('the weights of this checkpoint are random: no task will be done')
    return path
