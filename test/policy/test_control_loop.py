"""The control loop: when each step of a chunk is executed, against Octo's own wrappers."""

import pathlib

import numpy as np
import pytest

from octo_ros.errors import ParameterError
from octo_ros.policy.control_loop import HoldReason
from test.policy.loops import HORIZON
from test.policy.loops import MS
from test.policy.loops import START
from test.policy.loops import STEP
from test.policy.loops import answer
from test.policy.loops import ask
from test.policy.loops import make_loop


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
