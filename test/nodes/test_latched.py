"""Latched and plain publishers on one topic."""

import pytest
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import DurabilityPolicy
from std_msgs.msg import String

from octo_ros.nodes import qos
from octo_ros.nodes.latched import LatchedSubscription


def subscribe(ros) -> list[str]:
    heard: list[str] = []
    LatchedSubscription(ros.node, String, 'topic', lambda message: heard.append(message.data),
                        MutuallyExclusiveCallbackGroup())
    return heard


def test_a_message_latched_before_arrives(ros) -> None:
    publisher = ros.node.create_publisher(String, 'topic', qos.named('latched'))
    publisher.publish(String(data='early'))
    heard = subscribe(ros)
    ros.wait_until(lambda: heard, 'the latched message')
    assert heard == ['early']


@pytest.mark.parametrize('profile', ['latched', 'reliable'])
def test_each_message_is_heard_once_from_latched_and_plain_publishers(ros, profile) -> None:
    heard = subscribe(ros)
    matched = 2 if qos.named(profile).durability == DurabilityPolicy.TRANSIENT_LOCAL else 1
    publisher = ros.publisher(String, 'topic', profile, subscribers=matched)
    for text in ('one', 'two', 'two', 'three'):
        publisher.publish(String(data=text))
        ros.wait_until(lambda text=text: text in heard, text)
    ros.wait_until(lambda: heard[-1] == 'three', 'the last message')
    # Whatever came twice has arrived by the time that a later one has, twice.
    publisher.publish(String(data='end'))
    ros.wait_until(lambda: 'end' in heard, 'the end')
    assert heard[:3] == ['one', 'two', 'two']
    assert heard.count('three') == 1
