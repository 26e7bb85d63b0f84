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


@pytest.mark.parametrize('first', ['publisher', 'subscription'])
def test_a_best_effort_publisher_is_heard(ros, first) -> None:
    if first == 'publisher':
        ros.publisher(String, 'topic', 'sensor', subscribers=0)
        heard = subscribe(ros)
    else:
        heard = subscribe(ros)
    publisher = ros.publisher(String, 'topic', 'sensor')
    publisher.publish(String(data='stop'))
    ros.wait_until(lambda: heard, 'the message')
    assert heard == ['stop']


def test_a_reliable_publisher_beside_a_best_effort_one_is_heard_once(ros) -> None:
    heard = subscribe(ros)
    loose = ros.publisher(String, 'topic', 'sensor')
    reliable = ros.publisher(String, 'topic', 'reliable', subscribers=2)
    latched = ros.publisher(String, 'topic', 'latched', subscribers=3)
    sent = [f'{turn} {name}' for turn in range(5) for name in ('loose', 'reliable', 'latched')]
    publishers = {'loose': loose, 'reliable': reliable, 'latched': latched}
    for text in [*sent, 'end latched']:
        publishers[text.split()[1]].publish(String(data=text))
        ros.wait_until(lambda text=text: text in heard, text)
    assert heard == [*sent, 'end latched']
