"""Where the files that ship with the package lie: checkpoint, recording, config, launch files.

Checkpoint and recording are data of the Python package. config/ and launch/ stand at the top of a
source tree, and an installation puts them under `share/octo_ros`, in a colcon workspace as well
as in a virtual environment.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from octo_ros.errors import OctoError

SHIPPED = 'shipped'
UNTRAINED = 'untrained'
_PACKAGE = Path(__file__).resolve().parent
_CHECKPOINTS = _PACKAGE / 'assets' / 'checkpoints'


def shipped_checkpoint() -> Path:
    """Returns the folder of the small checkpoint with untrained weights, for checks and tests."""
    return _existing([_CHECKPOINTS / 'untrained'])


def shipped_policy() -> Path:
    """Returns the checkpoint for the simulator: the trained one, else the untrained one."""
    return _existing([_CHECKPOINTS / 'tabletop', _CHECKPOINTS / 'untrained'])


def named_checkpoint(name: str) -> Path | None:
    """Returns the folder of a checkpoint that ships with the package, None for another name."""
    named = {SHIPPED: shipped_policy, UNTRAINED: shipped_checkpoint}
    return named[name]() if name in named else None


def is_untrained(checkpoint: str | Path) -> bool:
    """True for the shipped checkpoint whose weights are random."""
    return Path(checkpoint).resolve() == _CHECKPOINTS / 'untrained'


def shipped_recording() -> Path:
    """Returns the folder of the small recording (rosbag2) that ships with the package."""
    return _existing([_PACKAGE / 'assets' / 'recordings' / 'tabletop'])


def config_dir() -> Path:
    """Returns the folder of controller.yaml, fastdds.xml and robots/."""
    return _existing([share / 'config' for share in _shares()])


def launch_dir() -> Path:
    """Returns the folder of the launch files."""
    return _existing([share / 'launch' for share in _shares()])


def _shares() -> Iterator[Path]:
    """Yields the places where config/ and launch/ may lie, the source tree first.

    A source tree is known by its package.xml, so that a `config` folder which happens to lie
    beside an installed package is not taken for ours.
    """
    source = _PACKAGE.parent
    if (source / 'package.xml').is_file():
        yield source
    yield from _ament_share()
    for parent in _PACKAGE.parents:
        yield parent / 'share' / 'octo_ros'
    yield Path(sys.prefix) / 'share' / 'octo_ros'


def _ament_share() -> Iterator[Path]:
    try:
        ament = importlib.import_module('ament_index_python.packages')
    except ImportError:
        return
    try:
        yield Path(ament.get_package_share_directory('octo_ros'))
    except (LookupError, OSError, ValueError):  # OSError: AMENT_PREFIX_PATH is not set
        return


def _existing(candidates: list[Path]) -> Path:
    for candidate in candidates:
        if candidate.exists():
            return candidate
    tried = ', '.join(str(candidate) for candidate in dict.fromkeys(candidates))
    raise OctoError(
        f'a folder that ships with octo_ros must exist, found none of: {tried}; '
        'install the package again')
