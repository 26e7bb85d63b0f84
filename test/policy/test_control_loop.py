"""The control loop against Octo's own wrappers, and its promises on time under random clocks."""

import pathlib

import numpy as np
import pytest

from octo_ros.policy.control_loop import ControlLoop
from octo_ros.policy.control_loop import HoldReason
from octo_ros.policy.control_loop import LoopParams

STEP = 200_000_000


def make_loop(window=1, horizon=4, dim=7, **params):
    return ControlLoop(LoopParams(**params), window=window, action_horizon=horizon, action_dim=dim)


def test_receding_horizon_equals_the_reference_wrappers(golden: pathlib.Path) -> None:
    data = np.load(golden / 'misc/history3_rhc2.npz')
    loop = make_loop(window=3, execute_steps=2)
    executed, windows, masks = [], [], []
    for step in range(6):
        now = step * STEP
        request = loop.observe(now, now, float(step))
        if request is not None:
            windows.append(request.payloads)
            masks.append(request.timestep_pad_mask)
            chunk = data['chunks'][request.request_id]
            assert loop.accept(request.request_id, chunk, request.observed_ns)
        executed.append(loop.tick(now).action)
    np.testing.assert_array_equal(executed, data['executed'])
    for window, mask, name in zip(windows, masks, ('reset', 'step0', 'step1'), strict=True):
        np.testing.assert_array_equal(window, data[f'{name}/proprio'][:, 0])
        np.testing.assert_array_equal(mask, data[f'{name}/timestep_pad_mask'])


@pytest.mark.parametrize(
    ('key', 'weight', 'steps', 'reset_at'),
    [
        ('executed_pred4_expweight_0', 0.0, 0, None),
        ('executed_pred4_expweight_0.01', 0.01, 0, None),
        ('executed_pred4_expweight_0.5', 0.5, 0, None),
        ('executed_pred4_expweight_-0.5', -0.5, 0, None),
        ('executed_pred3_expweight_0.1', 0.1, 3, None),
        ('executed_pred4_expweight_0.1_reset_before_step5', 0.1, 0, 5),
    ],
)
def test_temporal_ensemble_equals_the_reference_wrapper(
    golden: pathlib.Path, key: str, weight: float, steps: int, reset_at: int | None
) -> None:
    data = np.load(golden / 'misc/temporal_ensemble.npz')
    loop = make_loop(
        execution='temporal_ensemble', ensemble_exp_weight=weight, ensemble_steps=steps)
    executed = []
    for step, chunk in enumerate(data['chunks']):
        if step == reset_at:
            loop.reset()
        now = 1_700_000_000_000_000_000 + step * STEP
        request = loop.observe(now, now, None)
        assert loop.accept(request.request_id, chunk, request.observed_ns)
        executed.append(loop.tick(now).action)
    np.testing.assert_allclose(executed, data[key], atol=1e-6)
