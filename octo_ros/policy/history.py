"""The last few policy steps, padded as in training until enough of them have passed."""

import collections
from typing import Generic
from typing import TypeVar

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.errors import ParameterError

_T = TypeVar('_T')


class ObservationHistory(Generic[_T]):
    """A fixed number of observations, oldest first.

    Until the history is full its oldest observation is repeated at the front, and the mask is
    False there: the model then attends to the real steps only. The items are opaque, so raw
    messages can be kept and decoded when an inference needs them.
    """

    def __init__(self, window: int) -> None:
        """Makes an empty history.

        Args:
            window: number of policy steps to keep, at least 1.

        Raises:
            ParameterError: the window is not positive.
        """
        if window < 1:
            raise ParameterError(f'The history window must be at least 1 step, got {window}')
        self._items: collections.deque[_T] = collections.deque(maxlen=window)

    def __len__(self) -> int:
        """Returns the number of real observations held."""
        return len(self._items)

    def push(self, item: _T) -> None:
        """Appends the observation of a new policy step; the oldest one leaves a full history."""
        self._items.append(item)

    def discard(self, item: _T) -> None:
        """Removes an observation that turned out to be unusable, if it is still held."""
        kept = [held for held in self._items if held is not item]
        self._items = collections.deque(kept, maxlen=self._items.maxlen)

    def window(self) -> tuple[tuple[_T, ...], Bool[np.ndarray, 't']]:
        """Returns the padded observations, oldest first, and their mask (True = real).

        Raises:
            ParameterError: nothing has been pushed yet.
        """
        if not self._items:
            raise ParameterError('An empty history has no window; push an observation first')
        size = self._items.maxlen or 0
        missing = size - len(self._items)
        return (self._items[0],) * missing + tuple(self._items), np.arange(size) >= missing

    def reset(self) -> None:
        """Forgets all observations."""
        self._items.clear()
