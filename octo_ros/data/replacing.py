"""What writing a data set may replace: nothing that was not written so."""

import contextlib
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from octo_ros.errors import DataError


def check_target(path: Path, kind: str, is_ours: Callable[[Path], bool], *, overwrite: bool
                 ) -> None:
    """Checks that a folder may be written to.

    Args:
        path: the folder.
        kind: what may be replaced, for the error.
        is_ours: whether a folder is one of these, with nothing else in it.
        overwrite: whether one may be replaced.

    Raises:
        DataError: there is something already that is to be kept.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise DataError(f'{path} must not exist yet; choose another folder or overwrite')
    folder = path.is_dir() and not path.is_symlink()
    if not folder or (any(path.iterdir()) and not is_ours(path)):
        raise DataError(f'{path} must be empty or {kind} and nothing else to be replaced, got '
                        'other files; choose another folder, or delete that one')


def check_apart(out: Path, sources: Iterable[Path]) -> None:
    """Checks that writing a folder leaves what is read alone.

    Raises:
        DataError: the folder is a source, holds one or lies in one.
    """
    target = out.expanduser().resolve()
    for source in sources:
        other = source.expanduser().resolve()
        if target.is_relative_to(other) or other.is_relative_to(target):
            raise DataError(f'{out} must lie apart from the source {source}, got a folder that is '
                            'it, holds it or lies in it; choose another folder')


class Making:
    """A folder that is being made beside its place, where it appears whole or not at all.

    What a killed process left of the same folder is cleared away.

    Attributes:
        folder: where to write.
    """

    def __init__(self, path: Path) -> None:
        """Begins to make a folder; those that hold it are made."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f'.{path.name}.partial-'
        for left_over in path.parent.glob(f'{glob.escape(prefix)}*'):
            with contextlib.suppress(OSError):  # another process is at work on it
                lock = _locked(left_over)
                try:
                    shutil.rmtree(left_over)
                finally:
                    os.close(lock)
        self._lock: int | None = None
        while self._lock is None:
            self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
            self._lock = _lock_of_new(self.folder)

    def finish(self) -> None:
        """Puts the folder in its place, where another one may be."""
        self.folder.chmod(0o755)
        if self._path.exists():
            shutil.rmtree(self._path)
        self.folder.rename(self._path)

    def end(self) -> None:
        """Deletes what was not finished."""
        shutil.rmtree(self.folder, ignore_errors=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def _lock_of_new(folder: Path) -> int | None:
    """Returns a descriptor as `_locked` does; None if another process took the folder as left."""
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        lock = _locked(folder)
        if folder.is_dir():
            return lock
        os.close(lock)
    return None


def _locked(folder: Path) -> int:
    """Returns a descriptor that keeps a folder for this process; OSError if another has it."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def read_index(file: Path) -> dict[str, Any]:
    """Returns a JSON object; an empty one for what is none."""
    try:
        index = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}
