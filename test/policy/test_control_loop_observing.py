"""The control loop: what it samples, keeps as history and asks inferences for."""

import pytest

from octo_ros.policy.control_loop import HoldReason
from test.policy.loops import MS
from test.policy.loops import START
from test.policy.loops import STEP
from test.policy.loops import answer
from test.policy.loops import ask
from test.policy.loops import make_loop


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
