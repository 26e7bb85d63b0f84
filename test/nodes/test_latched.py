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
def test_messages_are_heard_once_and_in_order_from_both_kinds_of_publisher(ros, profile) -> None:
    heard = subscribe(ros)
    matched = 2 if qos.named(profile).durability == DurabilityPolicy.TRANSIENT_LOCAL else 1
    publisher = ros.publisher(String, 'topic', profile, subscribers=matched)
    sent = ['one', 'two', 'two', 'three']
    for text in sent:
        publisher.publish(String(data=text))
    ros.wait_until(lambda: len(heard) >= len(sent), 'all messages')
    # Whatever came on the slower subscription has arrived when a later message is through.
    publisher.publish(String(data='end'))
    ros.wait_until(lambda: 'end' in heard, 'the end')
    assert heard == [*sent, 'end']
