"""Control loops to test, and what answers them."""

import numpy as np

from octo_ros.policy.control_loop import ControlLoop
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.control_loop import Request

MS = 1_000_000
STEP = 200 * MS
START = 1_700_000_000_000_000_000
HORIZON = 4


def make_loop(window=1, horizon=HORIZON, dim=1, **params):
    return ControlLoop(LoopParams(**params), window=window, action_horizon=horizon, action_dim=dim)


def numbered(request: Request) -> np.ndarray:
    """A chunk whose numbers tell request and step: request 3, step 2 is 302."""
    return 100.0 * request.request_id + np.arange(HORIZON)[:, None]


def ask(loop: ControlLoop, now: int, stamp: int | None = None) -> Request:
    request = loop.observe(now, now if stamp is None else stamp, object())
    assert request is not None
    return request


def answer(loop: ControlLoop, request: Request) -> None:
    assert loop.accept(request.request_id, numbered(request), request.observed_ns)
