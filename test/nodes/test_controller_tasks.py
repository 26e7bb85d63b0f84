"""The task of the controller over real DDS: instruction and goals."""

from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from octo_ros.policy.fakes import FakePolicy
from test.nodes.conftest import twist_values

CHUNK = '/octo_controller/action_chunk'
TWIST = '/octo_controller/command/twist'
FAST = {'profile.step_s': 0.05, 'cameras': ['image_primary']}


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
    assert policy.tasks[-1].goals['image_primary'].shape == (4, 5, 3)
    assert policy.tasks[-1].text == 'go'


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
