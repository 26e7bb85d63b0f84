"""The control loop against Octo's own wrappers, and its promises on time under random clocks."""

import logging
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from octo_ros.errors import ParameterError
from octo_ros.policy.control_loop import ControlLoop
from octo_ros.policy.control_loop import HoldReason
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


def test_receding_horizon_equals_the_reference_wrappers(golden: pathlib.Path) -> None:
    data = np.load(golden / 'misc/history3_rhc2.npz')
    loop = make_loop(window=3, dim=7, execute_steps=2)
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
@pytest.mark.parametrize('jitter_ms', [0, 60])
def test_temporal_ensemble_equals_the_reference_wrapper(
    golden: pathlib.Path, key: str, weight: float, steps: int, reset_at: int | None, jitter_ms: int
) -> None:
    data = np.load(golden / 'misc/temporal_ensemble.npz')
    loop = make_loop(
        dim=7, execution='temporal_ensemble', ensemble_exp_weight=weight, ensemble_steps=steps)
    executed = []
    for step, chunk in enumerate(data['chunks']):
        if step == reset_at:
            loop.reset()
        now = START + step * STEP
        stamp = now - (step % 2) * jitter_ms * MS
        request = loop.observe(now, stamp, None)
        assert loop.accept(request.request_id, chunk, stamp)
        executed.append(loop.tick(now).action)
    np.testing.assert_allclose(executed, data[key], atol=1e-6)


def test_each_step_is_due_at_the_stamp_of_the_observation_plus_its_number() -> None:
    loop = make_loop(execute_steps=4)
    request = ask(loop, START + 50 * MS, START)
    answer(loop, request)
    ticks = [loop.tick(START + 50 * MS + k * STEP // 2) for k in range(8)]
    assert [tick.step_index for tick in ticks] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [tick.new_step for tick in ticks] == [True, False] * 4
    assert [tick.due_ns - START for tick in ticks[::2]] == [0, STEP, 2 * STEP, 3 * STEP]
    assert all(tick.observed_ns == START for tick in ticks)


def test_steps_that_are_past_when_a_chunk_comes_are_skipped() -> None:
    loop = make_loop()
    request = ask(loop, START)
    assert loop.tick(START + 1).reason is HoldReason.WAITING_FOR_INFERENCE
    late = START + 2 * STEP + 30 * MS
    loop.tick(late)
    answer(loop, request)
    tick = loop.tick(late)
    assert (tick.step_index, tick.action.tolist(), tick.due_ns) == (2, [2.0], START + 2 * STEP)


def test_a_chunk_that_is_past_altogether_is_never_executed() -> None:
    loop = make_loop(max_observation_age_s=5.0)
    request = ask(loop, START)
    answer(loop, request)
    tick = loop.tick(START + HORIZON * STEP)
    assert tick.action is None
    assert tick.reason is HoldReason.CHUNK_LATE


def test_a_used_up_chunk_gives_no_action() -> None:
    loop = make_loop(max_observation_age_s=5.0)
    answer(loop, ask(loop, START))
    assert loop.tick(START).step_index == 0
    tick = loop.tick(START + HORIZON * STEP)
    assert (tick.action, tick.reason) == (None, HoldReason.CHUNK_EXHAUSTED)
    assert (tick.chunk_id, tick.step_index, tick.new_step) == (-1, -1, False)


def test_the_next_chunk_takes_over_at_its_own_place_in_time() -> None:
    loop = make_loop(execute_steps=1)
    answer(loop, ask(loop, START))
    loop.tick(START)
    second = ask(loop, START + STEP)
    assert loop.tick(START + STEP + 1).action.tolist() == [1.0]  # the old one serves meanwhile
    answer(loop, second)
    tick = loop.tick(START + STEP + 100 * MS)
    assert (tick.chunk_id, tick.step_index, tick.new_step) == (1, 0, False)


def test_two_chunks_with_jittering_stamps_do_not_make_one_step_count_twice() -> None:
    loop = make_loop(execute_steps=1)
    answer(loop, ask(loop, START))
    assert loop.tick(START + 190 * MS).new_step
    answer(loop, ask(loop, START + STEP, START + STEP - 33 * MS))
    assert loop.tick(START + STEP).new_step  # due at 167 ms: the second step
    assert not loop.tick(START + STEP + 100 * MS).new_step
    assert loop.tick(START + STEP + 170 * MS).new_step  # due at 367 ms: the third


def test_inferences_are_asked_for_every_so_many_steps() -> None:
    loop = make_loop(execute_steps=2)
    asked = []
    for step in range(6):
        request = loop.observe(START + step * STEP, START + step * STEP, None)
        if request is not None:
            answer(loop, request)
            asked.append(step)
    assert asked == [0, 2, 4]


def test_one_inference_is_out_at_a_time_and_the_next_follows_at_once() -> None:
    loop = make_loop(execute_steps=1)
    first = ask(loop, START)
    assert loop.observe(START + STEP, START + STEP, None) is None
    assert loop.observe(START + 2 * STEP, START + 2 * STEP, None) is None
    answer(loop, first)
    assert ask(loop, START + 3 * STEP).request_id == first.request_id + 1


def test_by_default_half_of_a_chunk_is_executed() -> None:
    assert make_loop().execute_steps == 2
    assert make_loop(horizon=1).execute_steps == 1


def test_a_policy_step_is_sampled_once_and_a_sample_that_is_not_newer_leaves_it_due() -> None:
    loop = make_loop()
    assert loop.step_due(START)
    ask(loop, START)
    assert not loop.step_due(START + STEP - 1)
    assert loop.step_due(START + STEP)
    assert loop.observe(START + STEP, START, None) is None
    assert loop.step_due(START + STEP)
    loop.observe(START + STEP + 20 * MS, START + STEP + 10 * MS, None)
    assert not loop.step_due(START + 2 * STEP - 1)


def test_the_history_is_kept_by_policy_step() -> None:
    loop = make_loop(window=3, execute_steps=1)
    for step, payload in enumerate('abcd'):
        request = loop.observe(START + step * STEP, START + step * STEP, payload)
        answer(loop, request)
    assert request.payloads == ('b', 'c', 'd')
    assert request.timestep_pad_mask.tolist() == [True] * 3


def test_after_a_gap_the_history_starts_anew() -> None:
    loop = make_loop(window=2, execute_steps=1, max_observation_age_s=0.5)
    answer(loop, loop.observe(START, START, 'old'))
    now = START + 5 * STEP
    request = loop.observe(now, now, 'new')
    assert request.payloads == ('new', 'new')
    assert request.timestep_pad_mask.tolist() == [False, True]


@pytest.mark.parametrize(
    ('age_ms', 'reason'),
    [(600, HoldReason.OBSERVATION_STALE), (-600, HoldReason.OBSERVATION_AHEAD)],
)
def test_an_observation_of_another_time_is_not_used(age_ms: int, reason: HoldReason) -> None:
    loop = make_loop()
    assert loop.observe(START, START - age_ms * MS, None) is None
    assert loop.tick(START).reason is reason
    ask(loop, START + MS)
    assert loop.tick(START + MS).reason is HoldReason.WAITING_FOR_INFERENCE


def test_a_stamp_slightly_ahead_counts_as_now() -> None:
    loop = make_loop()
    answer(loop, ask(loop, START, START + 20 * MS))
    tick = loop.tick(START)
    assert (tick.step_index, tick.due_ns, tick.observed_ns) == (0, START, START + 20 * MS)


def test_observations_that_stop_are_named_as_the_reason() -> None:
    loop = make_loop()
    assert loop.tick(START).reason is HoldReason.NO_OBSERVATION
    answer(loop, ask(loop, START))
    loop.tick(START)
    assert loop.tick(START + 5 * STEP).reason is HoldReason.OBSERVATION_STALE


def test_a_failed_inference_is_asked_for_again_without_the_unusable_payload() -> None:
    loop = make_loop(window=3)
    good = loop.observe(START, START, 'good')
    answer(loop, good)
    loop.observe(START + STEP, START + STEP, 'bad')
    request = loop.observe(START + 2 * STEP, START + 2 * STEP, 'worse')
    loop.abandon(request.request_id, unusable=('bad', 'worse'))
    request = loop.observe(START + 3 * STEP, START + 3 * STEP, 'new')
    assert request.payloads == ('good', 'good', 'new')


def test_answers_from_before_a_reset_or_a_new_task_are_ignored() -> None:
    loop = make_loop()
    request = ask(loop, START)
    loop.reset()
    assert not loop.accept(request.request_id, numbered(request), START)
    request = ask(loop, START + STEP)
    loop.replan(START + STEP)
    assert not loop.accept(request.request_id, numbered(request), START + STEP)
    assert loop.tick(START + STEP).action is None


@pytest.mark.parametrize('execution', ['receding_horizon', 'temporal_ensemble'])
def test_a_new_task_ends_the_running_chunk_within_one_step(execution: str) -> None:
    loop = make_loop(execution=execution)
    answer(loop, ask(loop, START))
    change = START + 50 * MS
    loop.replan(change)
    assert loop.tick(change + STEP - 1).action is not None
    tick = loop.tick(change + STEP)
    assert (tick.action, tick.reason) == (None, HoldReason.WAITING_FOR_INFERENCE)


@pytest.mark.parametrize('execution', ['receding_horizon', 'temporal_ensemble'])
def test_a_new_task_is_planned_in_the_next_step_and_never_mixed_with_the_old(
    execution: str,
) -> None:
    loop = make_loop(execution=execution, execute_steps=4)
    answer(loop, ask(loop, START))
    loop.replan(START + MS)
    request = ask(loop, START + STEP)
    answer(loop, request)
    assert loop.tick(START + STEP).action.tolist() == [100.0 * request.request_id]
    assert loop.tick(START + 3 * STEP).action is not None


@pytest.mark.parametrize('call', ['tick', 'observe', 'step_due'])
def test_a_clock_that_jumps_back_starts_everything_anew(
    call: str, caplog: pytest.LogCaptureFixture
) -> None:
    loop = make_loop(window=2)
    answer(loop, loop.observe(START, START, 'old'))
    loop.tick(START)
    earlier = START - 5 * STEP
    with caplog.at_level(logging.WARNING, logger='octo_ros.policy'):
        if call == 'tick':
            assert loop.tick(earlier).reason is HoldReason.CLOCK_JUMPED_BACK
        elif call == 'observe':
            assert loop.observe(earlier, earlier, 'new').payloads == ('new', 'new')
            assert loop.tick(earlier).reason is HoldReason.CLOCK_JUMPED_BACK
            assert loop.tick(earlier).reason is HoldReason.WAITING_FOR_INFERENCE
        else:
            assert loop.step_due(earlier)
    assert 'jumped back by 1.000 s' in caplog.text


def test_times_that_threads_swapped_are_no_jump() -> None:
    loop = make_loop()
    answer(loop, ask(loop, START))
    loop.tick(START + 40 * MS)
    assert loop.tick(START + 1).action is not None


@pytest.mark.parametrize(
    ('chunk', 'problem'),
    [(np.zeros((3, 1)), 'shape'), (np.full((HORIZON, 1), np.nan), 'finite')],
)
def test_a_bad_chunk_is_refused_and_the_next_one_taken(chunk: np.ndarray, problem: str) -> None:
    loop = make_loop()
    request = ask(loop, START)
    with pytest.raises(ParameterError, match=problem):
        loop.accept(request.request_id, chunk, START)
    answer(loop, ask(loop, START + STEP))


@pytest.mark.parametrize('name', ['execute_steps', 'ensemble_steps'])
def test_more_steps_than_a_chunk_has_are_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=f"'{name}' must be at most 4"):
        make_loop(**{name: 5})


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


def test_waiting_for_inference_executes_each_chunk_from_its_own_observation() -> None:
    loop = make_loop(execute_steps=2, wait_for_inference=True)
    answer(loop, ask(loop, 150 * MS, stamp=0))  # steps begin with frames, however late they come
    assert loop.tick(150 * MS).action == 0
    assert loop.tick(STEP).reason is HoldReason.STANDING_STILL  # step 1 is not observed yet
    assert loop.observe(STEP, STEP, object()) is None
    assert loop.tick(STEP).action == 1
    request = ask(loop, 2 * STEP)
    tick = loop.tick(2 * STEP)
    assert tick.action is None
    assert tick.reason is HoldReason.STANDING_STILL
    answer(loop, request)
    tick = loop.tick(2 * STEP + MS)
    assert tick.action == 100
    assert tick.new_step
