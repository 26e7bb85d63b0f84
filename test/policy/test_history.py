"""The history pads by repeating its oldest observation, with the mask False there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_ros.errors import ParameterError
from octo_ros.policy.history import ObservationHistory


@given(st.integers(1, 6), st.lists(st.integers(), min_size=1, max_size=12))
def test_the_window_holds_the_newest_items_and_masks_the_padding(size: int, items: list) -> None:
    history = ObservationHistory(size)
    for item in items:
        history.push(item)
    window, mask = history.window()
    real = items[-size:]
    assert len(window) == len(mask) == size
    assert list(window[size - len(real):]) == real
    assert set(window[:size - len(real)]) <= {real[0]}
    np.testing.assert_array_equal(mask, np.arange(size) >= size - len(real))


def test_a_discarded_item_leaves_the_history() -> None:
    history = ObservationHistory(3)
    first, second = [1], [1]
    history.push(first)
    history.push(second)
    history.discard(second)
    window, mask = history.window()
    assert all(item is first for item in window)
    assert mask.tolist() == [False, False, True]


def test_an_empty_history_has_no_window() -> None:
    history = ObservationHistory(2)
    history.push(1)
    history.reset()
    assert len(history) == 0
    with pytest.raises(ParameterError, match='push an observation first'):
        history.window()


def test_a_window_without_steps_is_refused() -> None:
    with pytest.raises(ParameterError, match='at least 1 step'):
        ObservationHistory(0)
