"""The error on held-out episodes, against numbers worked out by hand."""

import numpy as np
import pytest

from octo_ros.train.adapt import ModelParams
from octo_ros.train.evaluate import compare
from octo_ros.train.finetune import plan_finetune
from test.train.conftest import run_params


def test_the_mean_action_has_an_error_of_one(base, episodes):
    plan = plan_finetune(base, episodes, ModelParams(head='mse'), run_params(), held_out=[0])
    for evaluator in plan.evaluators.values():  # a fresh head answers with the mean action
        report = evaluator(plan.model.params)
        assert report.error == pytest.approx(1.0, abs=1e-4)
        assert report.next_error == pytest.approx(1.0, abs=1e-4)


def test_the_next_action_is_told_apart_from_the_chunk():
    recorded = np.array([[[1.0], [2.0]], [[-1.0], [4.0]]])
    predicted = np.array([[[1.0], [0.0]], [[0.0], [9.0]]])
    mask = np.array([[[True], [True]], [[True], [False]]])  # 4 is beyond the end
    report = compare(predicted, recorded, mask, np.zeros(1))
    assert report.next_error == pytest.approx((0.0 + 1.0) / (1.0 + 1.0))
    assert report.error == pytest.approx((0.0 + 4.0 + 1.0) / (1.0 + 4.0 + 1.0))
    assert report.absolute == pytest.approx([(0.0 + 2.0 + 1.0) / 3.0])


def test_a_dimension_that_the_data_lack_does_not_count():
    recorded, predicted = np.zeros((1, 1, 2)), np.ones((1, 1, 2))
    mask = np.array([[[True, False]]])
    report = compare(predicted, recorded, mask, np.full(2, 2.0))
    assert report.per_dimension == pytest.approx([0.25])
