"""Goal images do not hold up the thread that commands the robot."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

from octo_ros.messages.runtime import Runtime
from octo_ros.nodes import services
from octo_ros.nodes.goals import Goals
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.fakes import FakePolicy
from octo_ros.policy.profile import RobotProfile

TIMEOUT_S = 10.0


class SlowDecoder:
    """Decodes the encoding `odd`, as slowly as the test wants."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self, message: Image) -> np.ndarray:
        self.entered.set()
        assert self.leave.wait(TIMEOUT_S)
        if message.width == 0:
            raise MemoryError('too large')
        return np.full((message.height, message.width, 3), message.width, np.uint8)


@pytest.fixture
def decoder():
    slow = SlowDecoder()
    yield slow
    slow.leave.set()


@pytest.fixture
def runtime(decoder) -> Runtime:
    return Runtime(FakePolicy(), LoopParams(), RobotProfile(), image_keys=['image_primary'],
                   fallback=decoder)


@pytest.fixture
def goals(ros, runtime):
    made = Goals(ros.node, runtime, Image, MutuallyExclusiveCallbackGroup())
    yield made
    made.destroy()


def image(width: int = 4) -> Image:
    return Image(height=2, width=width, encoding='odd', step=3 * width, data=bytes(6 * width))


def publish(ros, key: str) -> Callable[[Image], None]:
    return ros.publisher(Image, f'goal/{key}', 'latched', subscribers=2).publish


def test_an_emergency_stop_is_heard_while_a_goal_is_decoded(
        ros, goals, runtime, decoder) -> None:
    stops = ros.collect(Bool, 'emergency_stop', publishers=0)
    stop = ros.publisher(Bool, 'emergency_stop')
    publish(ros, 'image_primary')(image())
    assert decoder.entered.wait(TIMEOUT_S)
    stop.publish(Bool(data=True))
    ros.wait_until(lambda: stops, 'the emergency stop')
    assert not runtime.task.goals
    decoder.leave.set()
    ros.wait_until(lambda: runtime.task.goals, 'the goal')


def test_goals_of_two_keys_wait_for_each_other_and_the_newest_of_each_counts(
        ros, goals, runtime, decoder) -> None:
    primary, wrist = publish(ros, 'image_primary'), publish(ros, 'image_wrist')
    primary(image(1))
    assert decoder.entered.wait(TIMEOUT_S)
    primary(image(2))
    wrist(image(3))
    ros.wait_until(lambda: len(goals._pending) == 2, 'both goals to wait')
    primary(image(5))
    ros.wait_until(lambda: goals._pending['image_primary'].width == 5, 'the newest goal')
    decoder.leave.set()
    ros.wait_until(lambda: {key: goal[0, 0, 0] for key, goal in runtime.task.goals.items()}
                   == {'image_primary': 5, 'image_wrist': 3}, 'both goals')


def test_a_goal_that_fails_to_decode_does_not_end_the_next_one(
        ros, goals, runtime, decoder, capfd) -> None:
    decoder.leave.set()
    goal = publish(ros, 'image_primary')
    goal(Image(height=2, width=0, encoding='odd'))
    goal(image())
    ros.wait_until(lambda: runtime.task.goals, 'the goal')


def test_a_task_cleared_while_a_goal_is_decoded_stays_cleared(
        ros, goals, runtime, decoder) -> None:
    goal = publish(ros, 'image_primary')
    goal(image())
    assert decoder.entered.wait(TIMEOUT_S)
    goal(image())
    ros.wait_until(lambda: goals._pending, 'a second goal')
    goals.forget()
    runtime.clear_task()
    decoder.leave.set()
    goals.destroy()
    assert runtime.task.empty


def test_a_goal_is_captured_while_other_services_answer(ros, goals, runtime, decoder) -> None:
    services.offer_slow(ros.node, 'capture_goal', lambda: str(runtime.capture_goal(1)))
    services.offer(ros.node, {}, {'arm': lambda on: 'armed'})
    runtime.store('image_primary', image(), 1)
    capture = ros.node.create_client(Trigger, '/tester/capture_goal')
    assert capture.wait_for_service(TIMEOUT_S)
    answer = capture.call_async(Trigger.Request())
    assert decoder.entered.wait(TIMEOUT_S)
    assert ros.call(SetBool, '/tester/arm', data=True).success
    assert not answer.done()
    decoder.leave.set()
    ros.wait_until(answer.done, 'the answer')
    assert answer.result().success
    assert 'image_primary' in runtime.task.goals


def test_a_goal_for_an_unknown_key_is_warned_of_once(ros, goals, capfd) -> None:
    ros.publisher(Image, 'goal/image_primry', subscribers=0)
    ros.publisher(Image, 'goal/image_primary/compressed', subscribers=0)
    ros.wait_until(lambda: ros.node.count_publishers('goal/image_primary/compressed'), 'discovery')
    ros.wait_until(lambda: ros.node.count_publishers('goal/image_primry'), 'discovery')
    goals.warn_of_strays()
    goals.warn_of_strays()
    said = capfd.readouterr().err
    assert said.count('Nobody listens') == 1
    assert "got 'image_primry' (did you mean 'image_primary'?)" in said


def test_a_goal_of_the_other_transport_is_warned_of_once(ros, goals, capfd) -> None:
    context = Context()
    context.init(domain_id=ros.context.get_domain_id())
    other = Node('other', context=context)  # one process cannot have both types on a topic
    other.create_publisher(CompressedImage, 'goal/image_primary', 1)
    ros.publisher(Image, 'goal/image_wrist', 'latched', subscribers=2)
    ros.wait_until(lambda: ros.node.count_publishers('goal/image_primary'), 'discovery')
    goals.warn_of_strays()
    goals.warn_of_strays()
    other.destroy_node()
    context.shutdown()
    said = capfd.readouterr().err
    assert said.count('is not taken') == 1
    assert "'goal/image_primary' is not taken: it is published as sensor_msgs/msg/Comp" in said
    assert 'and wanted as sensor_msgs/msg/Image' in said
