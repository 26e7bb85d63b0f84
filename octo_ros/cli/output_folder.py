"""An output folder that remembers how it was made, so that a run can go on and is not mixed up."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octo_ros.errors import ParameterError


def prepare(folder: Path, file_name: str, settings: Mapping[str, Any]) -> None:
    """Makes the folder, or checks that it was made with the same settings.

    Args:
        folder: where output goes.
        file_name: file in it that holds the settings, as JSON.
        settings: values that JSON can hold.

    Raises:
        ParameterError: the settings differ, or something else is in the folder.
    """
    file = folder / file_name
    if file.is_file():
        before = json.loads(file.read_text(encoding='utf-8'))
        for name, value in settings.items():
            if before.get(name) != value:
                raise ParameterError(
                    f'{folder} must be made with one set of options: {name} was '
                    f'{before.get(name)}, got {value}; choose another folder, or delete that one')
    elif folder.exists() and any(folder.iterdir()):
        raise ParameterError(f'{folder} must be empty or made by this command, got other files; '
                             'choose another folder')
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob('.partial-*'):  # of a run that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    file.write_text(json.dumps(dict(settings), indent=1) + '\n', encoding='utf-8')
