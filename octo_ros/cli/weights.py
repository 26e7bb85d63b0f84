"""Which weights a checkpoint holds now: a folder that training goes on in keeps its name."""

import functools
import hashlib

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
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob('*') if path.is_file()):
        digest.update(f'{file.relative_to(folder)} {file.stat().st_size}\n'.encode())
        with file.open('rb') as content:
            for part in iter(functools.partial(content.read, _CHUNK), b''):
                digest.update(part)
    return {'step': max(steps), 'digest': digest.hexdigest()[:16]}
