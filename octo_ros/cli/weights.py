"""Which weights a checkpoint holds now: a folder that training goes on in keeps its name."""

import functools
import hashlib
import itertools
from collections.abc import Iterable
from pathlib import Path

_CHUNK = 1 << 20  # bytes


def weights_of(checkpoint: str) -> dict[str, int | str]:
    """Returns what tells the newest weights of a checkpoint from others.

    Args:
        checkpoint: folder or hf:// name, which is fetched when the cache lacks it.

    Returns:
        `step`, and `digest` of the files of that step; empty when it holds no step, as whoever
        loads it will say.

    Raises:
        CheckpointError: there is no such folder, or the name cannot be had.
    """
    from octo_ros.checkpoint.released import locate

    root = locate(checkpoint)
    steps = [int(folder.name) for folder in root.iterdir()
             if folder.name.isdecimal() and folder.is_dir()]
    if not steps:
        return {}
    folder = root / str(max(steps))
    return {'step': max(steps), 'digest': digest_of(
        folder, [path for path in folder.rglob('*') if path.is_file()])}


def digest_of(folder: Path, files: Iterable[Path], chunks: int | None = None) -> str:
    """Returns a digest of the names, sizes and contents of files in a folder.

    Args:
        folder: names are told from it.
        files: in it, in any order.
        chunks: how many of 1 MiB are read of each at most; all when None.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f'{file.relative_to(folder)} {file.stat().st_size}\n'.encode())
        with file.open('rb') as content:
            parts = iter(functools.partial(content.read, _CHUNK), b'')
            for part in itertools.islice(parts, chunks):
                digest.update(part)
    return digest.hexdigest()[:16]
