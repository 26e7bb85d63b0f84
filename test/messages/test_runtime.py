"""The runtime as node and replay use it: messages in, chunks and commands out."""

import dataclasses
import logging
import threading

import numpy as np
import pytest

from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.messages.runtime import NO_TASK
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.fakes import FakePolicy
from octo_ros.policy.profile import ActionParams
from octo_ros.policy.profile import CommandParams
from octo_ros.policy.profile import LimitParams
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.types import Inference
from test.messages.rigs import MS
from test.messages.rigs import START
from test.messages.rigs import STEP_MS
from test.messages.rigs import Rig


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
    assert chunk.observed_ns == START
    assert chunk.actions.shape == (4, 7)
    assert set(chunk.timings_s) == {'decode', 'task', 'preprocess', 'model'}
    command = output.command
    assert (command.observed_ns, command.due_ns) == (START, START)
    assert command.stamp_ns == START + 30 * MS
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
        START + 200 * MS, START + 400 * MS]
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
    assert rig.runtime.health(START)['image_primary'].bad == 2


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
        stamp_ns = START + time_ms * MS
        rig.runtime.store('proprio', messages.joints(
            ['a', 'b'], [1.0, value], stamp_ns=stamp_ns), stamp_ns)
        chunk, _ = rig.work(time_ms)
        assert (chunk is None) == np.isnan(value)
    assert policy.windows[-1].frames[-1].proprio.tolist() == [0.5, 1.0]
    assert rig.runtime.health(START)['proprio'].bad == 1


def test_frames_before_the_window_bring_proprio_and_are_not_decoded(messages):
    policy = FakePolicy(dataclasses.replace(DEFAULT_SPEC, proprio_dim=1, frames_before=1))
    rig = Rig(messages, policy, proprio=True)
    rig.runtime.set_instruction('pick up the cup')
    for time_ms in range(0, 1200, STEP_MS):
        rig.look(time_ms)
        stamp_ns = START + time_ms * MS
        rig.runtime.store(
            'proprio', messages.joints(['a'], [time_ms], stamp_ns=stamp_ns), stamp_ns)
        rig.work(time_ms)
    found = [[(int(frame.proprio[0]), bool(frame.images)) for frame in window.frames]
             for window in policy.windows]
    assert found == [
        [(0, True), (0, True), (0, True)],
        [(0, False), (200, True), (400, True)],
        [(400, False), (600, True), (800, True)]]
    assert [window.timestep_pad_mask[1:].tolist() for window in policy.windows] == [
        [False, True], [True, True], [True, True]]
    assert rig.runtime.window == 2


def test_frames_keep_the_stamp_of_the_proprio_that_they_hold(messages):
    policy = FakePolicy(dataclasses.replace(DEFAULT_SPEC, proprio_dim=1, window=1))
    rig = Rig(messages, policy, proprio=True)
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    rig.runtime.store('proprio', messages.joints(['a'], [1.0], stamp_ns=START + 7), START + MS)
    rig.work(1)
    [frame] = policy.windows[-1].frames
    assert (frame.stamp_ns, frame.proprio_ns) == (START, START + 7)


def test_bad_camera_of_a_frame_before_the_window_does_not_matter(messages):
    policy = FakePolicy(dataclasses.replace(
        DEFAULT_SPEC, proprio_dim=1, frames_before=1, window=1))
    rig = Rig(messages, policy, proprio=True)
    rig.runtime.set_instruction('pick up the cup')
    for time_ms in range(0, 600, STEP_MS):
        rig.look(time_ms, encoding='rgb8' if time_ms != STEP_MS else 'nonsense')
        stamp_ns = START + time_ms * MS
        rig.runtime.store(
            'proprio', messages.joints(['a'], [time_ms], stamp_ns=stamp_ns), stamp_ns)
        rig.work(time_ms)
    assert [int(frame.proprio[0]) for frame in policy.windows[-1].frames] == [200, 400]


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
    assert chunk.observed_ns == START + 20 * MS
    assert output.command is not None
    assert rig.policy.windows[-1].timestep_pad_mask.tolist() == [False, True]


def test_reset_keeps_the_task(rig):
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    rig.work(0)
    rig.runtime.reset()
    rig.look(1000)
    _, output = rig.work(1000)
    assert output.command.observed_ns == START + 1000 * MS
    assert rig.policy.windows[-1].timestep_pad_mask.tolist() == [False, True]


def test_storing_and_ticking_do_not_wait_for_the_inference(messages):
    entered, leave = threading.Event(), threading.Event()

    def before_infer(window):
        entered.set()
        leave.wait(10)

    rig = Rig(messages, FakePolicy(before_infer=before_infer))
    rig.runtime.set_instruction('pick up the cup')
    rig.look(0)
    job = rig.runtime.poll(START)
    results = []
    worker = threading.Thread(target=lambda: results.append(rig.runtime.run(job)))
    worker.start()
    assert entered.wait(10)
    rig.look(200)
    assert rig.runtime.poll(START + 200 * MS) is None
    assert rig.runtime.tick(START + 200 * MS).command is None
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
        job = rig.runtime.poll(START)
        rig.runtime.accept(rig.runtime.run(job))
        for step in range(held_steps):
            held = rig.runtime.tick(START + step * STEP_MS * MS, 'disarmed')
            assert (held.command, held.reason) == (None, 'disarmed')
        outputs.append(rig.runtime.tick(START + 3 * STEP_MS * MS).command.pose.position)
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


class _UpsideDown(FakePolicy):
    """Wants one attitude, whose roll it writes as nearly pi and as nearly -pi by turns."""

    def infer(self, window, task):
        self.inferences += 1
        roll = 3.13 * (-1) ** self.inferences
        return Inference(np.tile(np.float32([0.4, 0.0, 0.3, roll, 0.0, 0.0, 1.0]), (4, 1)), {})


def test_ensemble_of_poses_keeps_a_gripper_that_points_down(messages):
    profile = RobotProfile(
        action=ActionParams(delta=False, start_pose=(0.4, 0.0, 0.3, 3.14, 0.0, 0.0)),
        command=CommandParams(type='pose'), limits=LimitParams(envelope='none'))
    rig = Rig(messages, _UpsideDown(), profile=profile, image_keys=['image_primary'],
              loop=LoopParams(execution='temporal_ensemble'))
    rig.runtime.set_instruction('stay')
    for step in range(6):
        rig.look(step * STEP_MS)
        output = rig.work(step * STEP_MS)[1]
        assert abs(output.command.pose.quaternion_xyzw[0]) > 0.9999
    assert rig.policy.inferences == 6
