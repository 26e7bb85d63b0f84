"""Weights and places of chunks, by hand-made numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_ros.policy.chunking import Chunk
from octo_ros.policy.chunking import ensemble_action
from octo_ros.policy.chunking import ensemble_weights


def make_chunk(placed_ns: int, actions: list[float]) -> Chunk:
    return Chunk(0, placed_ns, placed_ns, np.array(actions)[:, None])


def test_the_weights_fall_from_the_oldest_prediction_on() -> None:
    np.testing.assert_allclose(ensemble_weights(3, np.log(2)), [4 / 7, 2 / 7, 1 / 7])
    np.testing.assert_allclose(ensemble_weights(4, 0.0), [0.25] * 4)


@given(st.integers(1, 50), st.floats(-10, 10))
def test_the_weights_sum_to_one_and_are_never_negative(count: int, weight: float) -> None:
    weights = ensemble_weights(count, weight)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()


def test_a_chunk_knows_which_step_is_due_when() -> None:
    chunk = make_chunk(1000, [0.0, 1.0])
    assert [chunk.index_at(now, 100) for now in (999, 1000, 1099, 1100, 1250)] == [-1, 0, 0, 1, 2]
    assert chunk.due_ns(2, 100) == 1200


def test_an_ensemble_takes_from_each_chunk_the_step_nearest_in_time() -> None:
    chunks = [
        make_chunk(0, [0.0, 1.0, 2.0]),     # its step 2 is due at 200
        make_chunk(130, [10.0, 11.0, 12.0]),  # its step 1 is due at 230, step 0 at 130
        make_chunk(200, [20.0, 21.0, 22.0])]
    assert ensemble_action(chunks, 200, 100, 0.0, 3) == pytest.approx([(2 + 11 + 20) / 3])
    assert ensemble_action(chunks, 200, 100, 0.0, 2) == pytest.approx([(11 + 20) / 2])
    assert ensemble_action(chunks, 300, 100, 0.0, 3) == pytest.approx([(12 + 21) / 2])
