"""What writing a data set may replace: nothing that was not written so."""

import json
import shutil
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


def replace(path: Path, made: Path) -> None:
    """Puts a finished folder, which lies beside it, in the place of another that may exist."""
    made.chmod(0o755)
    if path.exists():
        shutil.rmtree(path)
    made.rename(path)


def read_index(file: Path) -> dict[str, Any]:
    """Returns a JSON object; an empty one for what is none."""
    try:
        index = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}
