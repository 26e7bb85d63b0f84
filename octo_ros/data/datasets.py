"""Finds out what format a data set has, and opens it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from octo_ros.data.dataset_hub import download
from octo_ros.data.dataset_hub import hub_dataset
from octo_ros.data.findings import Demonstration
from octo_ros.data.import_spec import ImportSpec
from octo_ros.data.lerobot_info import is_lerobot
from octo_ros.data.rlds_layout import rlds_folder
from octo_ros.errors import DataError


@contextlib.contextmanager
def needed_packages(purpose: str) -> Iterator[None]:
    """Names the extra to install when a package is missing.

    Raises:
        DataError: an import within failed.
    """
    try:
        yield
    except ImportError as error:
        raise DataError(f"{purpose} need the package '{error.name}' ({error}); install it with "
                        "pip install 'octo_ros[train]'") from error


class Dataset(Protocol):
    """A data set of another format.

    Attributes:
        summary: what it is, in one line.
        total: how many episodes it has; None when nobody says.
    """

    summary: str
    total: int | None

    def __iter__(self) -> Iterator[Demonstration]:
        """Yields its episodes."""
        ...


def is_dataset(path: Path) -> bool:
    """Whether a path is a LeRobot or RLDS data set, or a name of one on the hub."""
    return hub_dataset(path) is not None or is_lerobot(path) or rlds_folder(path) is not None


def open_dataset(path: Path, spec: ImportSpec) -> Dataset:
    """Opens a data set of a known format.

    Raises:
        DataError: it is of none, or cannot be used as told.
    """
    source = hub_dataset(path)
    folder = path if source is None else download(source, list(spec.cameras.values()))
    if is_lerobot(folder):
        with needed_packages('LeRobot data sets'):
            from octo_ros.data.lerobot_reader import LeRobotSource
        return LeRobotSource(folder, spec)
    inside = rlds_folder(folder)
    if inside is not None:
        with needed_packages('RLDS data sets'):
            from octo_ros.data.rlds_reader import RldsSource
        return RldsSource(inside, spec)
    raise DataError(f'{path} must be a LeRobot data set (with meta/info.json) or an RLDS data set '
                    '(with TFRecord shards), got neither')
