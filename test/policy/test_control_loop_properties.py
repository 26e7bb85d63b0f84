"""The promises of the control loop on time, under random clocks."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from octo_ros.policy.control_loop import ControlLoop
from octo_ros.policy.control_loop import Request
from test.policy.loops import HORIZON
from test.policy.loops import MS
from test.policy.loops import START
from test.policy.loops import STEP
from test.policy.loops import make_loop
from test.policy.loops import numbered

events = st.lists(
    st.tuples(
        st.sampled_from(['poll', 'tick', 'finish', 'replan']),
        st.integers(0, 150),  # ms since the last event
        st.integers(0, 90),  # age of the sample in ms
    ),
    min_size=5,
    max_size=80,
)


def run(loop: ControlLoop, script: list) -> Iterator[tuple[int, Request | None, object]]:
    """Plays a script of events; yields time, pending request and tick."""
    now, request, newest = START, None, START - 1
    for kind, wait_ms, age_ms in script:
        now += wait_ms * MS
        if kind == 'poll' and loop.step_due(now):
            stamp = max(newest, now - age_ms * MS)
            newest = stamp
            request = loop.observe(now, stamp, stamp) or request
        elif kind == 'finish' and request is not None:
            loop.accept(request.request_id, numbered(request), request.observed_ns)
            request = None
        elif kind == 'replan':
            loop.replan(now)
        yield now, request, loop.tick(now)


@settings(max_examples=150, deadline=None)
@given(events, st.sampled_from([0, 1, 3]))
def test_an_action_is_executed_within_its_own_step_and_never_before_or_late(
    script: list, execute_steps: int
) -> None:
    loop = make_loop(window=2, execute_steps=execute_steps)
    for now, _, tick in run(loop, script):
        if tick.action is None:
            assert tick.reason is not None
        else:
            assert tick.due_ns <= now < tick.due_ns + STEP
            assert tick.due_ns == tick.observed_ns + tick.step_index * STEP
            assert tick.action.tolist() == [100.0 * tick.chunk_id + tick.step_index]


@settings(max_examples=150, deadline=None)
@given(events, st.sampled_from(['receding_horizon', 'temporal_ensemble']))
def test_steps_come_one_by_one_and_chunks_never_go_back(script: list, execution: str) -> None:
    loop = make_loop(execution=execution)
    due, chunk = -STEP, -1
    for _, _, tick in run(loop, script):
        if tick.action is None:
            continue
        assert tick.chunk_id >= chunk
        if tick.new_step:
            assert tick.due_ns - due > STEP // 2
            due = tick.due_ns
        else:
            assert abs(tick.due_ns - due) <= STEP
        chunk = tick.chunk_id


@settings(max_examples=150, deadline=None)
@given(events, st.integers(1, 4))
def test_a_request_holds_the_newest_samples_in_order(script: list, window: int) -> None:
    loop = make_loop(window=window, execute_steps=1)
    for now, request, _ in run(loop, script):
        if request is None:
            continue
        real = [p for p, m in zip(request.payloads, request.timestep_pad_mask, strict=True) if m]
        assert len(request.payloads) == window
        assert real == sorted(set(real))
        assert request.payloads[-1] == request.observed_ns <= now
        assert set(request.payloads) == set(real)


@settings(max_examples=100, deadline=None)
@given(events, st.floats(-2, 2))
def test_an_ensemble_lies_within_what_its_chunks_predict(script: list, weight: float) -> None:
    loop = make_loop(execution='temporal_ensemble', ensemble_exp_weight=weight)
    for _, _, tick in run(loop, script):
        if tick.action is not None:
            assert -1e-6 <= tick.action[0] <= 100.0 * tick.chunk_id + HORIZON
