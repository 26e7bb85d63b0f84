"""Commands of a controller, as `ros2 bag record` keeps them, to actions."""

import dataclasses

import numpy as np
import pytest

from octo_ros.bags.demonstrations import SamplingParams
from octo_ros.bags.demonstrations import read_demonstration
from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.reader import BagReader
from octo_ros.bags.replay import OfflineReplay
from octo_ros.cli.main import main
from octo_ros.data.store import EpisodeSet
from octo_ros.errors import BagError
from octo_ros.messages.runtime import Runtime
from octo_ros.policy.poses import Pose
from octo_ros.policy.poses import PoseTarget
from octo_ros.policy.poses import twist
from octo_ros.policy.profile import GripperParams
from octo_ros.policy.profile import LimitParams
from octo_ros.policy.profile import load_profile

WIDOWX = load_profile('widowx')  # steps of 0.2 s
COMMAND = '/octo_controller/command/any'
GRIPPER = '/octo_controller/command/gripper'
CAMERA = '/camera_primary/image_raw'
TOPICS = TopicMap({'image_primary': CAMERA}, '/instruction', COMMAND, gripper=GRIPPER)
STEPS = 20
START = Pose.from_euler(np.array([0.3, 0.0, 0.2]), np.array([0.2, 0.1, 1.0]), 'sxyz')


def profile_of(**action):
    return dataclasses.replace(
        WIDOWX, action=dataclasses.replace(WIDOWX.action, **action),
        limits=LimitParams(max_speed=10.0, max_rotation_speed=20.0))


@pytest.fixture
def actions():
    """Deltas, and a gripper that closes in the middle."""
    found = np.random.default_rng(0).uniform(-0.04, 0.04, (STEPS, 7))
    found[:, 6] = np.arange(STEPS) < STEPS // 2
    return found


@pytest.fixture
def commanded(record):
    """Records commands, several in each step, with a camera and the gripper."""
    def write(add, actions, rate_hz=20, *, gripper=True, first_gripper=0, name='bag'):
        recording = record(name)
        jitter = np.random.default_rng(1)
        recording.text('/instruction', 0.0, 'pick it up')
        for number in range(round(len(actions) * rate_hz / 5)):
            time_s = number / rate_hz
            step = int(time_s * 5 + 1e-6)
            recording.image(CAMERA, time_s, step)
            if gripper and step >= first_gripper:
                recording.numbers(GRIPPER, time_s, [actions[step, 6]])
            # The gripper's commands have no stamps, so they are put first without a doubt.
            add(recording, time_s + 0.002 + 0.001 * jitter.uniform(), step)
        recording.close()
        return recording.path
    return write


def twists_of(actions, frame_id='', profile=WIDOWX):
    def add(recording, time_s, step):
        speed = np.concatenate(twist(actions[step], profile.action.euler_order, profile.step_s))
        name = frame_id(step) if callable(frame_id) else frame_id
        recording.twist(COMMAND, time_s, speed, name)
    return add


def poses_of(actions, profile, frame_id=''):
    target = PoseTarget(profile)
    targets = [target.step(action, START) for action in actions]
    return lambda recording, time_s, step: recording.pose(COMMAND, time_s, targets[step], frame_id)


def read(path, profile=WIDOWX, topics=TOPICS):
    return read_demonstration(path, topics, profile.action.names, SamplingParams(), robot=profile,
                              deltas=profile.motion_indices if profile.action.delta else ())


@pytest.mark.parametrize('rate_hz', [5, 10, 20, 50])
def test_twists_of_a_recorded_controller_are_its_actions(commanded, actions, rate_hz):
    found = read(commanded(twists_of(actions, 'wx250s/base_link'), actions, rate_hz))
    assert found.findings == ()
    assert len(found.episode) == STEPS
    # Jitter moves a little of one step's motion into the next.
    np.testing.assert_allclose(found.episode.actions, actions, atol=1e-3)
    np.testing.assert_array_equal(found.episode.actions[:, 6], actions[:, 6])


@pytest.mark.parametrize('rate_hz', [5, 10, 20, 50])
@pytest.mark.parametrize('meaning', [
    {}, {'frame': 'tool'}, {'euler_order': 'rzyx'}, {'delta': False}])
def test_pose_targets_of_a_recorded_controller_are_its_actions(
        commanded, actions, rate_hz, meaning):
    profile = profile_of(**meaning)
    found = read(commanded(poses_of(actions, profile, 'wx250s/base_link'), actions, rate_hz),
                 profile)
    assert found.findings == ()
    # The first change is not known: there is no target before it.
    wanted = actions[1:] if profile.action.delta else actions
    np.testing.assert_allclose(found.episode.actions, wanted, atol=1e-6)


@pytest.mark.parametrize('delta', [True, False])
@pytest.mark.parametrize('copies', [2, 5])
def test_a_target_that_is_published_again_with_its_stamp_is_one_target(
        record, actions, delta, copies):
    profile = profile_of(delta=delta)
    target = PoseTarget(profile)
    recording = record()
    recording.text('/instruction', 0.0, 'pick it up')
    for step, action in enumerate(actions):
        pose = target.step(action, START)
        for copy in range(copies):
            log_s = 0.2 * step + 0.2 * copy / copies
            recording.image(CAMERA, log_s, step)
            recording.numbers(GRIPPER, log_s, [action[6]])
            recording.pose(COMMAND, 0.2 * step + 0.002, pose, log_s=log_s + 0.002)
    recording.close()
    found = read(recording.path, profile)
    assert found.findings == ()
    wanted = actions[1:] if delta else actions
    np.testing.assert_allclose(found.episode.actions, wanted, atol=1e-6)


@pytest.mark.parametrize('kind', ['twist', 'pose'])
def test_commands_of_another_frame_are_told_and_not_used(commanded, actions, kind):
    def frame_id(step):
        return 'ee_link' if 4 <= step < 6 else ''

    if kind == 'twist':
        add = twists_of(actions, frame_id)
    else:
        inside = poses_of(actions, profile_of())
        outside = poses_of(actions, profile_of(), 'ee_link')

        def add(recording, time_s, step):
            (outside if frame_id(step) else inside)(recording, time_s, step)
    found = read(commanded(add, actions))
    told = found.findings[0]
    assert (told.topic, round(told.time_s, 1), told.count) == (COMMAND, 0.8, 8)
    assert "'wx250s/base_link'" in told.text
    assert "got 'ee_link'" in told.text
    rest = actions[7:]  # of the step before, the beginning is not known for sure
    np.testing.assert_allclose(found.episode.actions[-len(rest):], rest, atol=2e-3)
    assert len(found.episode) in (len(rest), len(rest) + 1)
    with pytest.raises(BagError, match=f"'{COMMAND}': .*wx250s/base_link.*got 'ee_link'"):
        read(commanded(twists_of(actions, 'ee_link'), actions, name='all'))


@pytest.mark.parametrize('kind', ['twist', 'pose'])
def test_a_pause_of_the_commands_is_a_gap(commanded, actions, kind):
    send = twists_of(actions) if kind == 'twist' else poses_of(actions, profile_of())

    def add(recording, time_s, step):
        if not 5 <= step < 8:
            send(recording, time_s, step)

    found = read(commanded(add, actions))
    gap = found.findings[0]
    assert (gap.kind, gap.topic) == ('gap', COMMAND)
    first = 8 if kind == 'twist' else 9  # a change needs a target before it
    np.testing.assert_allclose(found.episode.actions, actions[first:], atol=2e-3)


@pytest.mark.parametrize('speed', [np.nan, np.inf])
def test_a_twist_that_is_not_finite_spoils_its_step_alone(commanded, actions, speed):
    send = twists_of(actions)

    def add(recording, time_s, step):
        if step == 3:
            recording.twist(COMMAND, time_s, [speed] * 6)
        else:
            send(recording, time_s, step)

    found = read(commanded(add, actions))
    assert [item.kind for item in found.findings] == ['nan']
    assert len(found.episode) == STEPS - 4


def test_twists_that_are_too_rare_for_a_step_say_so(commanded, actions):
    found = read(commanded(twists_of(actions), actions, rate_hz=3))
    assert found.episode is None
    text = next(item.text for item in found.findings if item.kind == 'rate')
    assert 'commands come every 0.33' in text
    assert 'the policy step is 0.200 s: no step is known as a whole' in text


def test_a_gripper_that_is_told_late_is_taken_as_open_and_this_is_said(commanded, actions):
    found = read(commanded(twists_of(actions), actions, first_gripper=12))
    assert [(item.kind, item.topic) for item in found.findings] == [('missing', GRIPPER)]
    assert int(found.episode.actions[:, 6].argmin()) in (11, 12)  # as jitter has it


def test_a_robot_without_a_gripper_needs_none(commanded, actions):
    profile = dataclasses.replace(
        profile_of(names=WIDOWX.action.names[:6]), gripper=GripperParams(indices=()))
    found = read(commanded(twists_of(actions), actions, gripper=False), profile,
                 dataclasses.replace(TOPICS, gripper=None))
    assert found.findings == ()
    np.testing.assert_allclose(found.episode.actions, actions[:, :6], atol=1e-3)


def test_data_build_takes_the_twists_of_ros2_bag_record(commanded, actions, tmp_path):
    bag = commanded(twists_of(actions), actions)
    command = ['data', 'build', str(bag), '--action-topic', COMMAND, '--gripper', GRIPPER]
    assert main([*command, '--out', str(tmp_path / 'set')]) == 0
    np.testing.assert_allclose(EpisodeSet(tmp_path / 'set').actions, actions, atol=1e-3)


@pytest.mark.parametrize(('options', 'words'), [
    (['--action-topic', COMMAND], 'twists must come with --gripper'),
    (['--action-topic', COMMAND, '--gripper', CAMERA], 'must have the type std_msgs/msg/Float64M'),
    (['--action-topic', GRIPPER, '--gripper', GRIPPER], '--gripper must go with an action of'),
    (['--action-topic', COMMAND, '--gripper', GRIPPER, '--robot', 'aloha'],
     'choose another --action-topic or --robot'),
    (['--action-topic', COMMAND, '--gripper', GRIPPER, '--robot', 'google_robot'],
     'must go with a gripper of mode absolute'),
])
def test_options_that_do_not_fit_the_commands_are_refused(
        commanded, actions, capsys, options, words):
    bag = commanded(twists_of(actions), actions)
    assert main(['data', 'check', str(bag), *options]) == 2
    assert words in ' '.join(capsys.readouterr().err.split())


@pytest.mark.parametrize('kind', ['twist', 'pose'])
def test_a_replay_compares_with_recorded_commands(commanded, actions, policy, loop, kind):
    send = twists_of(actions) if kind == 'twist' else poses_of(actions, profile_of())
    runtime = Runtime(policy, loop, WIDOWX, image_keys=('image_primary',), proprio=False)
    runtime.prepare()
    replay = OfflineReplay(runtime, TOPICS, names=WIDOWX.action.names, step_ns=loop.step_ns,
                           robot=WIDOWX)
    with BagReader(commanded(send, actions)) as bag:
        steps = replay.run(bag.messages(TOPICS.topics)).steps
    compared = [step.recorded for step in steps if step.recorded is not None]
    assert len(compared) >= STEPS - 4
    np.testing.assert_allclose(compared, actions[-len(compared):], atol=2e-3)
