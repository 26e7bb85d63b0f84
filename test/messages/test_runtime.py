"""The runtime as node and replay use it: messages in, chunks and commands out."""

import dataclasses
import logging
import threading

import numpy as np
import pytest

from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError
from octo_ros.messages.runtime import NO_TASK
from octo_ros.messages.runtime import Runtime
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.fakes import FakePolicy
from octo_ros.policy.profile import ActionParams
from octo_ros.policy.profile import CommandParams
from octo_ros.policy.profile import LimitParams
from octo_ros.policy.profile import RobotProfile

_MS = 1_000_000
_START = 1_700_000_000_000_000_000
STEP_MS = 200


class Rig:
    """A runtime with a policy without a model, and a camera that takes a picture on demand."""

    def __init__(self, messages, policy=None, **options):
        self.messages = messages
        self.policy = policy or FakePolicy()
        options = {'image_keys': ['image_wrist', 'image_primary'], **options}
        profile = options.pop('profile', RobotProfile())
        self.runtime = Runtime(self.policy, LoopParams(), profile, **options)
        self.runtime.prepare()

    def look(self, time_ms, key='image_primary', encoding='rgb8'):
        shade = np.full((24, 32, 3), time_ms % 251, np.uint8)
        stamp_ns = _START + time_ms * _MS
        self.runtime.store(
            key, self.messages.image(shade, encoding, stamp_ns=stamp_ns), stamp_ns)

    def work(self, time_ms):
        """Does what timer and worker do at a time; returns the chunk and the output."""
        job = self.runtime.poll(_START + time_ms * _MS)
        chunk = None if job is None else self.runtime.accept(self.runtime.run(job))
        return chunk, self.runtime.tick(_START + time_ms * _MS)


@pytest.fixture
def rig(messages):
    return Rig(messages)


def test_reference_camera_is_the_first_of_the_checkpoint(rig):
    assert rig.runtime.image_keys == ('image_primary', 'image_wrist')
    assert rig.policy.prepared.image_keys == ('image_primary', 'image_wrist')
    assert rig.runtime.streams == ('image_primary', 'image_wrist')


def test_camera_for_an_unknown_key_lists_those_there_are(messages):
    with pytest.raises(ParameterError, match=r"got 'image_wist' .did you mean 'image_wrist'"):
        Rig(messages, image_keys=['image_wist'])


def test_proprio_without_a_place_in_the_checkpoint_is_refused(messages):
    with pytest.raises(ParameterError, match='proprio must be off'):
        Rig(messages, proprio=True)


def test_nothing_happens_without_a_task(rig):
    rig.look(0)
    chunk, output = rig.work(0)
    assert chunk is None
    assert (output.command, output.reason) == (None, NO_TASK)
    assert rig.policy.inferences == 0


def test_chunk_and_command_carry_the_stamp_of_the_observation(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    chunk, output = rig.work(30)
    assert chunk.observed_ns == _START
    assert chunk.actions.shape == (4, 7)
    assert set(chunk.timings_s) == {'decode', 'task', 'preprocess', 'model'}
    command = output.command
    assert (command.observed_ns, command.due_ns) == (_START, _START)
    assert command.stamp_ns == _START + 30 * _MS
    assert command.new_step
    assert command.chunk_id == chunk.chunk_id
    np.testing.assert_allclose(command.linear, chunk.actions[0, :3] / 0.2, rtol=1e-6)
    assert output.reason == ''


def test_command_is_repeated_within_a_step_and_advances_with_the_next(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    first = rig.work(0)[1].command
    again = rig.work(50)[1].command
    assert (again.step_index, again.new_step) == (first.step_index, False)
    np.testing.assert_array_equal(again.linear, first.linear)
    following = rig.work(200)[1].command
    assert (following.step_index, following.new_step) == (1, True)


def test_window_is_padded_until_two_steps_have_passed(rig):
    rig.runtime.set_instruction('pick up the cup')
    for time_ms in (0, 200, 400):
        rig.look(time_ms)
        rig.work(time_ms)
    first, second = rig.policy.windows
    assert first.timestep_pad_mask.tolist() == [False, True]
    assert second.timestep_pad_mask.tolist() == [True, True]
    assert [frame.stamp_ns for frame in second.frames] == [
        _START + 200 * _MS, _START + 400 * _MS]
    assert second.frames[1].images['image_primary'].shape == (32, 32, 3)


def test_camera_without_a_picture_is_absent_from_the_frame(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    rig.work(0)
    assert set(rig.policy.windows[-1].frames[-1].images) == {'image_primary'}
    for time_ms in (200, 400):
        rig.look(time_ms)
        rig.look(time_ms, 'image_wrist')
        rig.work(time_ms)
    assert set(rig.policy.windows[-1].frames[-1].images) == {'image_primary', 'image_wrist'}


def test_silent_camera_is_the_reason_to_hold(rig):
    rig.runtime.set_instruction('pick up the cup')
    assert rig.work(0)[1].reason == "no message on 'image_primary' yet"
    rig.look(0)
    rig.work(0)
    reason = rig.work(5000)[1].reason
    assert reason == "newest message on 'image_primary' is 5.00 s old, the limit is 0.5 s"


def test_bad_picture_costs_one_inference_and_is_told_once(messages, caplog):
    rig = Rig(messages, image_keys=['image_primary'])
    rig.runtime.set_instruction('pick up the cup')
    with caplog.at_level(logging.INFO):
        rig.look(0, encoding='odd')
        chunk, output = rig.work(0)
        assert chunk is None
        assert output.reason == "the newest message on 'image_primary' cannot be used"
        rig.look(200, encoding='odd')
        assert rig.work(200)[0] is None
        rig.look(400)
        assert rig.work(400)[0] is not None
        assert rig.policy.windows[-1].timestep_pad_mask.tolist() == [False, True]
        for time_ms in range(600, 2000, 200):
            rig.look(time_ms)
            rig.work(time_ms)
    warnings = [record for record in caplog.records if record.levelname == 'WARNING']
    assert len(warnings) == 1
    assert "got 'odd'" in caplog.text
    assert 'image_primary: recovered' in caplog.text
    assert rig.runtime.health(_START)['image_primary'].bad == 2


def test_camera_that_sends_only_bad_pictures_is_told_once(messages, caplog):
    rig = Rig(messages, image_keys=['image_primary'])
    rig.runtime.set_instruction('pick up the cup')
    with caplog.at_level(logging.INFO):
        rig.look(0)
        for time_ms in range(200, 20_000, 200):
            rig.work(time_ms - 200)
            rig.look(time_ms, encoding='odd')
    assert [record.levelname for record in caplog.records] == ['WARNING']


def test_pictures_that_are_bad_every_other_time_are_told_once(messages, caplog):
    rig = Rig(messages, image_keys=['image_primary'])
    rig.runtime.set_instruction('pick up the cup')
    with caplog.at_level(logging.INFO):
        for step in range(60):
            rig.look(step * STEP_MS, encoding='odd' if step % 2 else 'rgb8')
            rig.work(step * STEP_MS)
    assert [record.levelname for record in caplog.records] == ['WARNING']


def test_bad_old_picture_is_replaced_by_padding(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    rig.work(0)
    rig.look(200, encoding='odd')
    rig.work(200)
    rig.look(400)
    assert rig.work(400)[0] is not None
    window = rig.policy.windows[-1]
    assert window.timestep_pad_mask.tolist() == [False, True]
    assert window.frames[0] is window.frames[1]


def test_nan_in_proprio_makes_the_sample_unusable(messages):
    policy = FakePolicy(dataclasses.replace(DEFAULT_SPEC, proprio_dim=2))
    rig = Rig(messages, policy, proprio=True, proprio_names=['b', 'a'])
    rig.runtime.set_instruction('pick up the cup')
    for time_ms, value in ((0, np.nan), (200, 0.5)):
        rig.look(time_ms)
        stamp_ns = _START + time_ms * _MS
        rig.runtime.store('proprio', messages.joints(
            ['a', 'b'], [1.0, value], stamp_ns=stamp_ns), stamp_ns)
        chunk, _ = rig.work(time_ms)
        assert (chunk is None) == np.isnan(value)
    assert policy.windows[-1].frames[-1].proprio.tolist() == [0.5, 1.0]
    assert rig.runtime.health(_START)['proprio'].bad == 1


def test_new_instruction_takes_effect_within_one_step(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    rig.work(0)
    rig.runtime.set_instruction('open the drawer')
    rig.look(200)
    chunk, output = rig.work(200)
    assert rig.policy.tasks[-1].text == 'open the drawer'
    assert output.command.chunk_id == chunk.chunk_id == 1


def test_answer_for_an_old_task_is_dropped(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    job = rig.runtime.poll(_START)
    result = rig.runtime.run(job)
    rig.runtime.set_instruction('open the drawer')
    assert rig.runtime.accept(result) is None
    assert rig.runtime.tick(_START).command is None


def test_clearing_the_task_holds_at_once(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    assert rig.work(0)[1].command is not None
    rig.runtime.clear_task()
    assert rig.work(10)[1].reason == NO_TASK


def test_instruction_of_spaces_is_refused_and_the_task_stays(rig):
    rig.runtime.set_instruction('pick up the cup')
    with pytest.raises(TaskError, match='must hold words'):
        rig.runtime.set_instruction('  \n')
    assert rig.runtime.task.text == 'pick up the cup'


def test_empty_instruction_takes_the_text_away_and_the_robot_holds(rig, messages):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    assert rig.work(0)[1].command is not None
    rig.runtime.set_instruction('')
    assert rig.work(10)[1].reason == NO_TASK
    rig.runtime.set_instruction('pick up the cup')
    rig.runtime.set_goal('image_wrist', messages.image(np.zeros((5, 9, 3), np.uint8)))
    rig.runtime.set_instruction('')
    assert rig.runtime.task.text is None
    assert set(rig.runtime.task.goals) == {'image_wrist'}


def test_goal_of_any_size_joins_the_text(rig, messages):
    rig.runtime.set_instruction('pick up the cup')
    rig.runtime.set_goal('image_wrist', messages.image(np.zeros((5, 9, 3), np.uint8)))
    assert rig.runtime.task.text == 'pick up the cup'
    assert rig.runtime.task.goals['image_wrist'].shape == (5, 9, 3)


def test_unusable_goals_are_refused_and_the_task_stays(rig, messages):
    image = np.zeros((5, 9, 3), np.uint8)
    with pytest.raises(TaskError, match=r"got 'image_wist' .did you mean 'image_wrist'"):
        rig.runtime.set_goal('image_wist', messages.image(image))
    with pytest.raises(ObservationError, match='odd'):
        rig.runtime.set_goal('image_wrist', messages.image(image, 'odd'))
    assert rig.runtime.task.empty


def test_captured_goal_is_the_present_view(rig):
    with pytest.raises(TaskError, match="no message on 'image_primary' yet"):
        rig.runtime.capture_goal(_START)
    rig.look(100)
    assert rig.runtime.capture_goal(_START + 120 * _MS) == ('image_primary',)
    assert rig.runtime.task.goals['image_primary'][0, 0].tolist() == [100, 100, 100]


def test_goal_cannot_be_captured_where_none_is_taken(messages):
    rig = Rig(messages, FakePolicy(dataclasses.replace(DEFAULT_SPEC, goal_keys=())))
    rig.look(0)
    with pytest.raises(TaskError, match='give an instruction instead'):
        rig.runtime.capture_goal(_START)


def test_failing_inference_is_a_reason_and_the_next_step_asks_again(messages):
    failures = iter([RuntimeError('out of memory'), ObservationError('too dark')])

    def before_infer(window):
        error = next(failures, None)
        if error is not None:
            raise error

    rig = Rig(messages, FakePolicy(before_infer=before_infer))
    rig.runtime.set_instruction('pick up the cup')
    reasons = []
    for time_ms in (0, 200, 400):
        rig.look(time_ms)
        reasons.append(rig.work(time_ms)[1].reason)
    assert reasons == ['RuntimeError: out of memory', 'too dark', '']


def test_clock_that_jumps_back_starts_over(rig):
    rig.runtime.set_instruction('pick up the cup')
    for time_ms in (5000, 5200):
        rig.look(time_ms)
        rig.work(time_ms)
    chunk, output = rig.work(0)
    assert (chunk, output.command) == (None, None)
    assert 'jumped back' in output.reason
    rig.look(20)
    chunk, output = rig.work(20)
    assert chunk.observed_ns == _START + 20 * _MS
    assert output.command is not None
    assert rig.policy.windows[-1].timestep_pad_mask.tolist() == [False, True]


def test_reset_keeps_the_task(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    rig.work(0)
    rig.runtime.reset()
    rig.look(1000)
    _, output = rig.work(1000)
    assert output.command.observed_ns == _START + 1000 * _MS
    assert rig.policy.windows[-1].timestep_pad_mask.tolist() == [False, True]


def test_storing_and_ticking_do_not_wait_for_the_inference(messages):
    entered, leave = threading.Event(), threading.Event()

    def before_infer(window):
        entered.set()
        leave.wait(10)

    rig = Rig(messages, FakePolicy(before_infer=before_infer))
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    job = rig.runtime.poll(_START)
    results = []
    worker = threading.Thread(target=lambda: results.append(rig.runtime.run(job)))
    worker.start()
    assert entered.wait(10)
    rig.look(200)
    assert rig.runtime.poll(_START + 200 * _MS) is None
    assert rig.runtime.tick(_START + 200 * _MS).command is None
    rig.runtime.set_goal('image_wrist', messages.image(np.zeros((5, 9, 3), np.uint8)))
    leave.set()
    worker.join(10)
    assert len(results) == 1


def test_targets_do_not_advance_while_no_command_may_go_out(messages):
    profile = RobotProfile(
        action=ActionParams(start_pose=(0.3, 0.0, 0.2, 0.0, 0.0, 0.0)),
        limits=LimitParams(envelope='none'), command=CommandParams(type='pose'))
    outputs = []
    for held_steps in (0, 3):
        rig = Rig(messages, profile=profile)
        rig.runtime.set_instruction('pick up the cup')
        rig.look(0)
        job = rig.runtime.poll(_START)
        rig.runtime.accept(rig.runtime.run(job))
        for step in range(held_steps):
            held = rig.runtime.tick(_START + step * STEP_MS * _MS, 'disarmed')
            assert (held.command, held.reason) == (None, 'disarmed')
        outputs.append(rig.runtime.tick(_START + 3 * STEP_MS * _MS).command.pose.position)
    np.testing.assert_allclose(outputs[1], outputs[0])


def test_limits_are_counted(messages):
    spec = dataclasses.replace(DEFAULT_SPEC, action_low=(-1e-6,) * 7, action_high=(1e-6,) * 7)
    rig = Rig(messages, FakePolicy(spec))
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    for time_ms in (0, 50, 200):
        command = rig.work(time_ms)[1].command
    assert rig.runtime.clipped_steps == 2
    assert np.abs(command.action[:6]).max() <= 1e-6
    assert command.clipped[:6].all()
    assert not command.clipped[6]
