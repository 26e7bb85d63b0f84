"""The task of the controller over real DDS: instruction and goals."""

import re

import numpy as np
from geometry_msgs.msg import TwistStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from octo_ros.policy.fakes import FakePolicy
from test.nodes.conftest import twist_values

CHUNK = '/octo_controller/action_chunk'
TWIST = '/octo_controller/command/twist'
FAST = {'profile.step_s': 0.05, 'cameras': ['image_primary']}
# Sends a new subscription its earlier messages, too, before those to come.
LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def configure_anew(ros) -> None:
    for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
                   Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert ros.call(ChangeState, '/octo_controller/change_state',
                        transition=Transition(id=number)).success


def test_a_new_instruction_counts_within_one_policy_step(
        ros, make_controller, make_camera) -> None:
    policy = FakePolicy()
    make_controller(policy, instruction='first', **FAST).start()
    chunks = ros.collect(JointTrajectory, CHUNK)
    make_camera('image_primary')
    publisher = ros.publisher(String, 'instruction', 'reliable')
    ros.wait_until(lambda: chunks, 'a chunk of the first task')
    publisher.publish(String(data='second'))
    ros.wait_until(lambda: policy.tasks[-1].text == 'second', 'the second task')
    publisher.publish(String(data='  '))  # refused: the task stays
    seen = len(chunks)
    ros.wait_until(lambda: len(chunks) > seen + 2, 'further chunks')
    assert policy.tasks[-1].text == 'second'


def test_an_empty_instruction_stops_the_robot(ros, make_controller, make_camera) -> None:
    controller = make_controller(instruction='go', **FAST).start()
    twists = ros.collect(TwistStamped, TWIST)
    make_camera('image_primary')
    publisher = ros.publisher(String, 'instruction')
    ros.wait_until(lambda: twists and any(twist_values(twists[-1])), 'motion')
    publisher.publish(String(data=''))
    ros.wait_until(lambda: not any(twist_values(twists[-1])), 'a zero twist')
    assert 'no task' in controller.node._control.hold_reason
    kind = type(controller.node.get_parameter('instruction'))
    for text, moves in (('again', True), ('', False)):
        [result] = controller.node.set_parameters([kind('instruction', value=text)])
        assert result.successful
        ros.wait_until(lambda moves=moves: any(twist_values(twists[-1])) == moves, f'{moves}')


def test_the_instruction_is_a_parameter_that_can_be_changed(
        ros, make_controller, make_camera) -> None:
    policy = FakePolicy()
    controller = make_controller(policy, instruction='first', **FAST).start()
    make_camera('image_primary')
    ros.wait_until(lambda: policy.tasks, 'the first task')
    [result] = controller.node.set_parameters(
        [type(controller.node.get_parameter('instruction'))('instruction', value='other')])
    assert result.successful
    ros.wait_until(lambda: policy.tasks[-1].text == 'other', 'the other task')
    [refused] = controller.node.set_parameters(
        [type(controller.node.get_parameter('instruction'))('instruction', value='   ')])
    assert not refused.successful


def test_goal_images_are_taken_while_running_and_bad_ones_leave_the_task(
        ros, make_controller, make_camera) -> None:
    policy = FakePolicy()
    make_controller(policy, instruction='go', **FAST).start()
    make_camera('image_primary')
    goals = ros.publisher(Image, 'goal/image_primary', 'latched', subscribers=2)
    image = Image(height=4, width=5, encoding='rgb8', step=15, data=bytes([9]) * 60)
    goals.publish(Image(height=4, width=5, encoding='rgb8', step=15, data=b'short'))
    goals.publish(image)
    ros.wait_until(lambda: policy.tasks and policy.tasks[-1].goals, 'a task with a goal')
    size = policy.spec.image_sizes['image_primary']
    assert policy.tasks[-1].goals['image_primary'].shape == (*size, 3)
    assert policy.tasks[-1].text == 'go'


def test_goal_images_that_lack_are_told_once_and_only_of_mapped_cameras(
        ros, make_controller, capfd) -> None:
    policy = FakePolicy()
    assert set(policy.spec.goal_keys) == {'image_primary', 'image_wrist'}
    make_controller(policy, instruction='go', **FAST).start()
    ros.publisher(String, 'instruction').publish(String(data='go on'))
    said = ''

    def told() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "Instruction: 'go on'" in said

    ros.wait_until(told, 'the new instruction')
    assert re.findall('No goal image for (.*):', said) == ['image_primary']


def test_capture_goal_takes_the_present_views(ros, make_controller, make_camera) -> None:
    policy = FakePolicy()
    controller = make_controller(policy, **FAST).start()
    refused = ros.call(Trigger, '/octo_controller/capture_goal')
    assert not refused.success
    assert 'image_primary' in refused.message
    make_camera('image_primary', level=7)
    ros.wait_until(
        lambda: ros.call(Trigger, '/octo_controller/capture_goal').success, 'a captured goal')
    ros.wait_until(lambda: policy.tasks, 'a task')
    assert policy.tasks[-1].goals['image_primary'].max() == 7
    assert ros.call(Trigger, '/octo_controller/clear_task').success
    ros.wait_until(lambda: 'no task' in controller.node._control.hold_reason, 'no task')


def test_a_blank_instruction_that_is_repeated_is_told_once_and_so_is_its_end(
        ros, make_controller, capfd) -> None:
    controller = make_controller(instruction='first', **FAST).start()
    publisher = ros.publisher(String, 'instruction')
    heard = []
    ros.node.create_subscription(String, 'instruction', heard.append, 50)
    ros.wait_until(lambda: publisher.get_subscription_count() > 1, 'the listener')
    for count, text in enumerate(('  ',) * 10 + ('first',) + ('\t',) * 5 + ('second',), start=1):
        publisher.publish(String(data=text))
        ros.wait_until(lambda count=count: len(heard) >= count, 'the message')
    ros.wait_until(lambda: controller.node._assembly.runtime.task.text == 'second', 'the task')
    said = capfd.readouterr().err
    assert said.count('must hold words') == 2
    assert said.count('instruction: it can be used again') == 2


def test_a_cleared_task_stays_away_when_the_controller_is_configured_anew(
        ros, make_controller, capfd) -> None:
    controller = make_controller(instruction='task A', **FAST).start()
    publisher = ros.node.create_publisher(String, 'instruction', LATCHED)
    publisher.publish(String(data='task B'))

    def shown() -> str:
        return controller.node.get_parameter('instruction').value

    ros.wait_until(lambda: shown() == 'task B', 'the parameter to follow the topic')
    assert ros.call(Trigger, '/octo_controller/clear_task').success
    assert shown() == ''
    configure_anew(ros)
    assert controller.node._assembly.runtime.task.empty
    publisher.publish(String(data='task C'))
    ros.wait_until(lambda: shown() == 'task C', 'a new task')
    configure_anew(ros)
    assert controller.node._assembly.runtime.task.text == 'task C'
    said = re.findall('Instruction: .*|No instruction yet', capfd.readouterr().err)
    assert said == ["Instruction: 'task A'", "Instruction: 'task B'", 'No instruction yet',
                    "Instruction: 'task C'", "Instruction: 'task C'"]


def test_only_goals_that_were_not_cleared_come_back_when_it_is_configured_anew(
        ros, make_controller, capfd) -> None:
    controller = make_controller(**FAST).start()
    publisher = ros.node.create_publisher(Image, 'goal/image_primary', LATCHED)

    def publish(level: int) -> None:
        publisher.publish(
            Image(height=2, width=2, encoding='mono8', step=2, data=bytes([level]) * 4))

    def wait_for(level: int) -> None:
        ros.wait_until(
            lambda: np.max(controller.node._assembly.runtime.task.goals.get(
                'image_primary', 0)) == level, f'the goal {level}')

    publish(1)
    wait_for(1)
    configure_anew(ros)
    wait_for(1)
    assert ros.call(Trigger, '/octo_controller/clear_task').success
    configure_anew(ros)
    publish(2)
    wait_for(2)
    said = ''

    def told_thrice() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return said.count('New goal image for image_primary') >= 3

    ros.wait_until(told_thrice, 'three lines in the log')
    assert said.count('New goal image for image_primary') == 3


def test_a_reset_begins_the_random_numbers_anew_from_the_seed_in_force(
        ros, make_controller, make_camera) -> None:
    make_controller(instruction='go', **FAST).start()
    chunks = ros.collect(JointTrajectory, CHUNK)
    make_camera('image_primary')

    def reset(seed: int) -> int:
        [result] = ros.call(SetParameters, '/octo_controller/set_parameters', parameters=[
            Parameter('policy.seed', value=seed).to_parameter_msg()]).results
        assert result.successful
        assert f'seed {seed}' in ros.call(Trigger, '/octo_controller/reset').message
        return len(chunks)

    def positions(first: int) -> set[tuple[float, ...]]:
        return {tuple(chunk.points[0].positions) for chunk in chunks[first:]}

    first = reset(7)
    ros.wait_until(lambda: len(chunks) > first + 3, 'chunks from seed 7')
    seen = positions(first)
    other = reset(8) + 1  # one may have been on its way
    ros.wait_until(lambda: len(chunks) > other + 3, 'chunks from seed 8')
    assert not positions(other) & seen
    again = reset(7)
    ros.wait_until(lambda: positions(again) & seen, 'a chunk of seed 7 again')
