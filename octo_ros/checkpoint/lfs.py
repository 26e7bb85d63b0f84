"""Recognises what Git leaves in place of a large file that was not fetched.

The pointer format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from pathlib import Path

from octo_ros.errors import CheckpointError

_POINTER = b'version https://git-lfs.github.com/spec/'


def refuse_pointer(path: Path) -> None:
    """Raises CheckpointError when a file is only a pointer to the one that is meant."""
    with path.open('rb') as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f'{path}: must be the file itself, got its Git LFS pointer; run `git lfs pull` '
                'where the checkpoint was cloned')
