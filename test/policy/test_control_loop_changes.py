"""The control loop when the task changes, the clock jumps or all starts anew."""

import logging

import pytest

from octo_ros.policy.control_loop import HoldReason
from test.policy.loops import MS
from test.policy.loops import START
from test.policy.loops import STEP
from test.policy.loops import answer
from test.policy.loops import ask
from test.policy.loops import make_loop
from test.policy.loops import numbered


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
