"""Which data a run of `octo-ros finetune` has, so that it does not go on with others."""

import re
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from octo_ros.cli.data_sources import find_recordings
from octo_ros.cli.weights import digest_of
from octo_ros.errors import BagError
from octo_ros.errors import ParameterError

_MESSAGES = re.compile(r'\.(mcap|db3)(\.zstd)?$')
_CHUNKS = 64  # MiB of a file of a set: all of the actions, and not all of the frames
_SHOWN = 3


def contents_of(sources: Sequence[Path]) -> dict[str, Any]:
    """Returns what tells the data that are there now from others, as JSON can hold it.

    Returns:
        `set`, the digest of an episode set; or `recordings`, the bytes of messages by path, 0 for
        a data set of another format; empty when nothing is there any more.
    """
    from octo_ros.data.store import INDEX

    if (sources[0] / INDEX).is_file():
        files = [sources[0] / INDEX, *sources[0].glob('*.npy')]
        return {'set': digest_of(sources[0], files, _CHUNKS)}
    try:
        found = find_recordings(sources)
    except BagError:
        return {}
    return {'recordings': {str(path.expanduser().resolve()): _bytes(path) for path in found}}


def check_contents(folder: Path, sources: Sequence[Path], before: Mapping[str, Any],
                   now: Mapping[str, Any]) -> None:
    """Raises ParameterError where data are not what a run in a folder began with.

    Data that are gone altogether are let pass: a run keeps the episodes it made of recordings.

    Args:
        folder: of the run.
        sources: where the data are.
        before: what `contents_of` gave; empty when that was not noted.
        now: what it gives now.
    """
    if not before or not now or before == now:
        return
    if not ('recordings' in before and 'recordings' in now):
        place = ', '.join(map(str, sources))
        raise ParameterError(f'{folder} must go on with the data that it began with, but {place} '
                             'holds others now; choose another folder to begin anew')
    old, new = before['recordings'], now['recordings']
    groups = {
        'new': sorted(new.keys() - old.keys()),
        'changed': sorted(path for path in new.keys() & old.keys() if new[path] != old[path]),
        'gone': sorted(old.keys() - new.keys())}
    told = ', '.join(
        f"{len(paths)} {word} ({', '.join(paths[:_SHOWN])}{', ...' * (len(paths) > _SHOWN)})"
        for word, paths in groups.items() if paths)
    raise ParameterError(
        f'{folder} must go on with the recordings that it began with, got {told}; choose another '
        'folder to begin anew')


def _bytes(recording: Path) -> int:
    files = [recording] if recording.is_file() else recording.glob('*')
    return sum(file.stat().st_size for file in files if _MESSAGES.search(file.name))
