"""An output folder that remembers how it was made, so that a run can go on and is not mixed up."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from octo_ros.errors import ParameterError


@contextlib.contextmanager
def prepared(
        folder: Path, file_name: str, settings: Mapping[str, Any], *, free: Collection[str] = (),
        absent: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Keeps the folder for this process, made now or before with the same settings.

    A folder with nothing but the settings in it comes from a run that failed before it made
    anything; other settings may take it over. What a killed run left half done is cleared away.

    Args:
        folder: where output goes.
        file_name: file in it that holds the settings, as JSON.
        settings: values that JSON can hold.
        free: names of settings that may change.
        absent: what settings were before there was a name for them.

    Raises:
        ParameterError: the settings differ, something else is in the folder, or another process
            is at work in it.
    """
    _refuse_others(folder, file_name, settings, free, absent)  # before a file is written there
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        _refuse_others(folder, file_name, settings, free, absent)  # made by others meanwhile
        (folder / file_name).write_text(json.dumps(dict(settings), indent=1) + '\n',
                                        encoding='utf-8')
        yield


def _refuse_others(folder: Path, file_name: str, settings: Mapping[str, Any],
                   free: Collection[str], absent: Mapping[str, Any] | None) -> None:
    file = folder / file_name
    made = [entry for entry in folder.glob('*')
            if entry != file and not entry.name.startswith('.')]
    if file.is_file() and made:
        check(folder, file_name, settings, free=free, absent=absent)
    elif made or (folder.exists() and not folder.is_dir()):
        raise ParameterError(f'{folder} must be empty or made by this command, got other files; '
                             'choose another folder')


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps the folder for this process, and clears away what a killed one left half done.

    Raises:
        ParameterError: another process is at work in it.
    """
    with (folder / '.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ParameterError(f'{folder} must be used by one command at a time, another one '
                                 'is at work in it; wait for it, or choose another folder'
                                 ) from error
        for left_over in folder.glob('.partial-*'):
            shutil.rmtree(left_over, ignore_errors=True)
        yield


def left(folder: Path, names: Sequence[str]) -> list[str]:
    """Returns which parts of the output are not there yet, and says how many are."""
    todo = [name for name in names if not (folder / name).exists()]
    if len(todo) < len(names):
        print(f'{len(names) - len(todo)} of {len(names)} episodes are there already')
    return todo


def check(folder: Path, file_name: str, settings: Mapping[str, Any], *,
          free: Collection[str] = (), absent: Mapping[str, Any] | None = None) -> None:
    """Raises ParameterError unless a prepared folder was made with the same settings."""
    before = {**_plain(absent or {}), **settings_of(folder, file_name)}
    for name, value in _plain(settings).items():
        if name not in free and before.get(name) != value:
            raise ParameterError(
                f'{folder} must be made with one set of options: {name} was '
                f'{before.get(name)}, got {value}; choose another folder, or delete that one')


def settings_of(folder: Path, file_name: str) -> dict[str, Any]:
    """Returns the settings that a folder was made with. Raises ParameterError for damaged ones."""
    file = folder / file_name
    try:
        return dict(json.loads(file.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError) as error:
        raise ParameterError(f'{file} must hold the settings of the run, got: {error}; choose '
                             'another folder, or delete that one') from error


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings as they come back from a file: tuples become lists."""
    return dict(json.loads(json.dumps(dict(settings))))
