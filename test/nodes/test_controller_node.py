"""The controller node over real DDS, on a policy that needs no checkpoint."""

import re

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from std_msgs.msg import Float64MultiArray
from std_msgs.msg import String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from octo_ros.errors import ObservationError
from octo_ros.errors import OctoError
from octo_ros.nodes import diagnostics
from octo_ros.nodes import silence
from octo_ros.policy.fakes import FakePolicy
from test.nodes.conftest import twist_values

CHUNK = '/octo_controller/action_chunk'
TWIST = '/octo_controller/command/twist'
GRIPPER = '/octo_controller/command/gripper'
FAST = {'profile.step_s': 0.05, 'cameras': ['image_primary']}


def seconds(stamp) -> float:
    return stamp.sec + stamp.nanosec / 1e9


def test_images_and_an_instruction_become_chunks_with_stamps_and_names(
        ros, make_controller, make_camera) -> None:
    make_controller(**FAST).start()
    chunks = ros.collect(JointTrajectory, CHUNK)
    camera = make_camera('image_primary')
    ros.publisher(String, 'instruction', 'latched', subscribers=2).publish(
        String(data='pick up the cup'))
    ros.wait_until(lambda: len(chunks) >= 3, 'three chunks')
    chunk = chunks[0]
    assert chunk.joint_names == ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper']
    assert len(chunk.points) == 4
    due_s = [seconds(point.time_from_start) for point in chunk.points]
    np.testing.assert_allclose(due_s, [0.0, 0.05, 0.1, 0.15], atol=1e-9)
    assert all(len(point.positions) == 7 for point in chunk.points)
    stamps = [seconds(message.header.stamp) for message in chunks]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == len(stamps)
    assert camera.sent > len(chunks)


def test_commands_are_twists_at_the_control_rate_and_grippers(
        ros, make_controller, make_camera) -> None:
    make_controller(instruction='go', **FAST).start()
    twists = ros.collect(TwistStamped, TWIST)
    grippers = ros.collect(Float64MultiArray, GRIPPER)
    make_camera('image_primary')
    ros.wait_until(lambda: len(twists) >= 60 and grippers, 'commands for a second')
    moving = [message for message in twists if any(twist_values(message))]
    span_s = seconds(moving[-1].header.stamp) - seconds(moving[0].header.stamp)
    assert (len(moving) - 1) / span_s > 20.0
    assert moving[0].header.frame_id == 'wx250s/base_link'
    # The fake's actions lie within 0.01 per step of 0.05 s.
    assert max(abs(value) for message in moving for value in twist_values(message)) < 0.21
    assert {value for message in grippers for value in message.data} <= {0.0, 1.0}


def test_no_task_means_no_chunk_and_a_reason(ros, make_controller, make_camera) -> None:
    make_controller(**FAST).start()
    diagnostics = ros.collect(DiagnosticArray, '/diagnostics')
    chunks = ros.collect(JointTrajectory, CHUNK)
    make_camera('image_primary')
    ros.wait_until(
        lambda: any('no task' in status.message for message in diagnostics
                    for status in message.status), 'the reason in /diagnostics')
    assert not chunks


def test_diagnostics_tell_rates_latencies_and_what_is_missing(
        ros, make_controller, make_camera) -> None:
    make_controller(instruction='go', **{'profile.step_s': 0.05}).start()
    diagnostics = ros.collect(DiagnosticArray, '/diagnostics')
    make_camera('image_primary')

    def newest() -> dict:
        return {status.name: status for message in diagnostics for status in message.status}

    ros.wait_until(
        lambda: newest().get('octo_controller', DiagnosticStatus()).message == 'running',
        'a running controller')
    statuses = newest()
    values = {entry.key: entry.value for entry in statuses['octo_controller'].values}
    assert values['instruction'] == 'go'
    assert int(values['chunks']) > 0
    assert 'latency image to chunk p50/p95/p99 [ms]' in values
    primary = {e.key: e.value for e in statuses['octo_controller: image_primary'].values}
    assert float(primary['rate [Hz]']) > 10.0
    wrist = statuses['octo_controller: image_wrist']
    assert wrist.level == DiagnosticStatus.ERROR
    assert 'nobody publishes' in wrist.message


@pytest.mark.parametrize(('namespace', 'name'), [
    ('', 'octo_controller'), ('/cell/arm_1', 'cell/arm_1/octo_controller')])
def test_diagnostics_tell_controllers_of_two_namespaces_apart(ros, namespace, name) -> None:
    node = rclpy.create_node('octo_controller', namespace=namespace, context=ros.context)
    try:
        entry = diagnostics.status(f'{diagnostics.full_name(node)}: image_primary', b'\0', '', [])
    finally:
        node.destroy_node()
    assert (entry.name, entry.hardware_id) == (f'{name}: image_primary', name)


def test_a_camera_of_another_type_is_warned_of_with_topic_and_type(
        ros, make_controller, capfd, monkeypatch) -> None:
    monkeypatch.setattr(silence, 'GRACE_S', 0.5)
    make_controller(instruction='go').start()
    apart = rclpy.Context()  # a DDS participant takes a topic with one type only
    rclpy.init(context=apart, domain_id=ros.context.get_domain_id())
    driver = rclpy.create_node('driver', context=apart)
    driver.create_publisher(CompressedImage, 'image_primary', 1)
    said = []

    def heard(words: str) -> bool:
        said.append(capfd.readouterr().err)
        return words in ''.join(said)

    ros.wait_until(lambda: heard("Nothing came for 'image_primary' yet"), 'a warning')
    assert ("'/image_primary' is published as sensor_msgs/msg/CompressedImage, and wanted as "
            'sensor_msgs/msg/Image; set the transport') in ''.join(said)
    driver.destroy_node()
    apart.shutdown()


def test_a_camera_that_comes_late_ends_its_warning(
        ros, make_controller, make_camera, capfd, monkeypatch) -> None:
    monkeypatch.setattr(silence, 'GRACE_S', 0.5)
    make_controller(instruction='go').start()
    said = []

    def heard(words: str) -> bool:
        said.append(capfd.readouterr().err)
        return words in ''.join(said)

    ros.wait_until(lambda: heard("nobody publishes on '/image_primary'"), 'a warning')
    make_camera('image_primary')
    ros.wait_until(lambda: heard("'image_primary' comes now"), 'the end of it')
    assert ''.join(said).count('Nothing came for') == 1


def test_a_misspelt_parameter_at_run_time_is_refused_by_name(ros, make_controller) -> None:
    make_controller(**FAST).start()
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value='go')
    response = ros.call(
        SetParameters, '/octo_controller/set_parameters',
        parameters=[ParameterMessage(name='instuction', value=value)])
    assert not response.results[0].successful
    assert "unknown parameter 'instuction' (did you mean 'instruction'" in response.results[
        0].reason


def test_a_slow_twist_is_warned_of_when_configuring(make_controller, capfd) -> None:
    make_controller(command_rate_hz=10.0, **{'profile.step_s': 0.1}).start()
    assert 'MoveIt Servo' in capfd.readouterr().err


@pytest.mark.parametrize('publisher', ['reliable', 'sensor'])
def test_an_emergency_stop_stops_at_once_and_needs_arming_afterwards(
        ros, make_controller, make_camera, publisher) -> None:
    make_controller(instruction='go', **FAST).start()
    twists = ros.collect(TwistStamped, TWIST)
    chunks = ros.collect(JointTrajectory, CHUNK)
    make_camera('image_primary')
    # Plain, and best effort: DDS connects neither to a subscription for latched publishers.
    emergency = ros.publisher(Bool, 'emergency_stop', publisher)
    ros.wait_until(lambda: twists and any(twist_values(twists[-1])), 'motion')
    emergency.publish(Bool(data=True))
    ros.wait_until(lambda: not any(twist_values(twists[-1])), 'a zero twist')
    stopped_at = len(twists)
    refused = ros.call(SetBool, '/octo_controller/arm', data=True)
    assert not refused.success
    assert 'emergency stop' in refused.message
    emergency.publish(Bool(data=False))
    seen = len(chunks)
    ros.wait_until(lambda: len(chunks) > seen + 3, 'chunks while disarmed')
    assert not any(any(twist_values(message)) for message in twists[stopped_at:])
    ros.wait_until(
        lambda: ros.call(SetBool, '/octo_controller/arm', data=True).success, 'arming')
    ros.wait_until(lambda: any(twist_values(twists[-1])), 'motion again')


def test_disarmed_at_start_publishes_chunks_but_no_commands(
        ros, make_controller, make_camera) -> None:
    make_controller(instruction='go', arm_at_start=False, **FAST).start()
    twists = ros.collect(TwistStamped, TWIST)
    chunks = ros.collect(JointTrajectory, CHUNK)
    make_camera('image_primary')
    ros.wait_until(lambda: len(chunks) > 5, 'chunks')
    assert not twists


def test_a_camera_that_stops_ends_in_the_stop_behaviour(
        ros, make_controller, make_camera) -> None:
    controller = make_controller(
        instruction='go', **FAST, **{'loop.max_observation_age_s': 0.2}).start()
    twists = ros.collect(TwistStamped, TWIST)
    camera = make_camera('image_primary')
    ros.wait_until(lambda: twists and any(twist_values(twists[-1])), 'motion')
    camera.stop()
    ros.wait_until(lambda: not any(twist_values(twists[-1])), 'a zero twist')
    ros.wait_until(lambda: 'image_primary' in controller.node._control.hold_reason, 'a reason')


def test_bad_images_do_not_end_the_node_and_it_recovers(
        ros, make_controller, make_camera) -> None:
    controller = make_controller(instruction='go', **FAST).start()
    chunks = ros.collect(JointTrajectory, CHUNK)
    publisher = ros.publisher(Image, 'image_primary', 'reliable')
    bad = [
        Image(height=32, width=32, encoding='no such', step=96, data=bytes(3072)),
        Image(height=32, width=32, encoding='rgb8', step=96, data=bytes(17)),
        Image(height=0, width=0, encoding='rgb8', step=0, data=b''),
        Image(height=32, width=32, encoding='rgb8', step=2, data=bytes(64)),
    ]

    def problem() -> str:
        return controller.node._assembly.runtime.health(0)['image_primary'].problem

    for image in bad:
        before = problem()

        def refused(image=image, before=before) -> bool:
            image.header.stamp = ros.node.get_clock().now().to_msg()
            publisher.publish(image)
            return problem() not in ('', before)

        ros.wait_until(refused, f'{image.encoding} {image.step}')
    assert not chunks
    make_camera('image_primary')
    ros.wait_until(lambda: len(chunks) > 2, 'chunks from good images')
    assert problem() == ''


def test_a_failing_inference_holds_and_the_next_one_goes_on(
        ros, make_controller, make_camera) -> None:
    broken = [True]

    def before_infer(_window) -> None:
        if broken[0]:
            raise ObservationError('the picture must show something, got fog')

    controller = make_controller(
        FakePolicy(before_infer=before_infer), instruction='go', **FAST).start()
    chunks = ros.collect(JointTrajectory, CHUNK)
    make_camera('image_primary')
    ros.wait_until(lambda: 'fog' in controller.node._control.hold_reason, 'the reason to hold')
    assert not chunks
    broken[0] = False
    ros.wait_until(lambda: chunks, 'a chunk')


def test_a_managed_controller_waits_for_each_transition(
        ros, make_controller, make_camera) -> None:
    from lifecycle_msgs.srv import ChangeState
    from lifecycle_msgs.srv import GetState

    make_controller(autostart=False, instruction='go', **FAST).start()

    def state() -> str:
        return ros.call(GetState, '/octo_controller/get_state').current_state.label

    def change(transition: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return ros.call(ChangeState, '/octo_controller/change_state',
                        transition=request.transition).success

    assert state() == 'unconfigured'
    assert change(1)
    assert state() == 'inactive'
    chunks = ros.collect(JointTrajectory, CHUNK)
    twists = ros.collect(TwistStamped, TWIST)
    make_camera('image_primary')
    assert change(3)
    assert state() == 'active'
    ros.wait_until(lambda: chunks and twists, 'chunks and commands')
    assert change(4)
    assert state() == 'inactive'
    ros.wait_until(lambda: not any(twist_values(twists[-1])), 'a zero twist')
    seen = len(chunks)
    assert change(3)
    ros.wait_until(lambda: len(chunks) > seen, 'chunks again')
    assert change(4)
    assert change(2)
    assert state() == 'unconfigured'
    assert change(1)


@pytest.mark.parametrize(('values', 'words'), [
    ({'loop.windo': 1}, "unknown parameter 'loop.windo' \\(did you mean 'loop.window'"),
    ({'transport': 'jpeg'}, "'transport' must be one of 'raw', 'compressed'"),
    ({'command_rate_hz': 0.0}, "'command_rate_hz' must be >= 1.0, got 0.0"),
    ({'command_rate_hz': 4.0}, "'command_rate_hz' must be at least 5, once in each 'profile"),
    ({'loop.window': 'two'}, "'loop.window' must be a whole number"),
    ({'robot': 'widowy'}, "got 'widowy' \\(did you mean 'widowx'"),
    ({'cameras': ['image_prim']}, "did you mean 'image_primary'"),
    ({'profile.gripper.treshold': 0.1}, "did you mean 'profile.gripper.threshold'"),
    ({'loop.step_s': 0.1}, "belongs to the robot profile, set 'profile.step_s'"),
    ({'loop.window': 50}, "'loop.window' must be at most"),
    ({'use_sim_tim': True}, "did you mean 'use_sim_time'"),
    ({'profile.limits.per_step': [0.1]}, "'profile.limits.per_step' must hold one number"),
    ({'profile.command.type': 'joint_trajectory'}, "'profile.command.type' must be one of"),
    ({'proprio': True}, 'proprio'),
    ({'instruction': '  '}, 'instruction'),
])
def test_wrong_parameters_fail_to_configure_with_the_fix(
        make_controller, capfd, values, words) -> None:
    controller = make_controller(**values)
    with pytest.raises(OctoError, match='must be configured'):
        controller.start()
    assert re.search(words, capfd.readouterr().err)


def test_a_whole_number_does_for_a_number(make_controller) -> None:
    controller = make_controller(**{'profile.step_s': 1}).start()
    assert controller.node._assembly.params.loop.step_s == 1.0
