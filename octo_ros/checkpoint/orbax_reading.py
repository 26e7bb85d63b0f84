"""How Orbax reads arrays here: each to its end, also when another one of them is damaged.

Orbax gives up at the first damaged array and closes its event loop while the other reads are still
under way; what they leave behind complains later, in whatever runs by then. The handlers below let
every read end before the first error is raised.
"""

import asyncio
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


class _ToTheEnd:
    """Asks the handler that it is mixed into for one array at a time, all at once."""

    async def metadata(self, infos: Sequence[Any]) -> list[Any]:
        """Returns shape and type of each array."""
        return await _each(super().metadata, [([info],) for info in infos])  # type: ignore[misc]

    async def deserialize(self, infos: Sequence[Any], args: Sequence[Any] | None = None
                          ) -> list[Any]:
        """Returns the arrays."""
        wanted = args or [ocp.RestoreArgs()] * len(infos)
        return await _each(super().deserialize, [  # type: ignore[misc]
            ([info], [arg]) for info, arg in zip(infos, wanted, strict=True)])


class _ArrayHandler(_ToTheEnd, ocp.type_handlers.ArrayHandler):
    """Of jax arrays."""


class _NumpyHandler(_ToTheEnd, ocp.type_handlers.NumpyHandler):
    """Of numpy arrays."""


class _ScalarHandler(_ToTheEnd, ocp.type_handlers.ScalarHandler):
    """Of single numbers."""


def tree_handler() -> ocp.PyTreeCheckpointHandler:
    """Returns what writes and reads a tree of arrays and numbers."""
    return ocp.PyTreeCheckpointHandler(
        type_handler_registry=ocp.type_handlers.create_type_handler_registry(
            (int, _ScalarHandler()), (float, _ScalarHandler()), (np.number, _ScalarHandler()),
            (np.ndarray, _NumpyHandler()), (jax.Array, _ArrayHandler()),
            (str, ocp.type_handlers.StringHandler())))


async def _each(read: Callable[..., Awaitable[Sequence[Any]]], calls: Sequence[tuple[Any, ...]]
                ) -> list[Any]:
    """Returns the one result of each call, or raises the first error when all have ended."""
    results = await asyncio.gather(*(read(*call) for call in calls), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [item for result in results for item in result]  # type: ignore[union-attr]
