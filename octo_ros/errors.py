"""Errors that a person can act on, and the search for the name they may have meant.

Whatever a caller, a file or a message can cause raises an `OctoError`. Its text follows one form:
what is wrong and where, the value that was found, then the fix. The command line prints it
without a traceback; the node logs it and stays alive.
"""

import difflib
from collections.abc import Iterable


class OctoError(Exception):
    """Base of every error whose text is written for the user."""


class ParameterError(OctoError, ValueError):
    """A parameter or argument is unknown, of the wrong type or out of range."""


class CheckpointError(OctoError):
    """A checkpoint file is missing, damaged or does not fit the model it describes."""


class ObservationError(OctoError, ValueError):
    """An image, a proprio vector or another observation cannot be used."""


class TaskError(OctoError, ValueError):
    """An instruction or a goal image cannot be used."""


class BagError(OctoError):
    """A recording is missing, damaged or lacks what was asked of it."""


class DataError(OctoError, ValueError):
    """Episodes, or a data set on disk, cannot be used as told."""


def closest(name: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` for the most similar known name, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{match[0]}'?)" if match else ''
