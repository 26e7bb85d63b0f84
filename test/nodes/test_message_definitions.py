"""Definitions of installed message types: what they are, and that recordings hold them."""

import importlib

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_msgs.msg import KeyValue
from rosbags.typesys import Stores
from rosbags.typesys import get_types_from_msg
from rosbags.typesys import get_typestore
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState

from octo_ros.bags import recording
from octo_ros.bags.reader import BagReader
from octo_ros.errors import BagError
from octo_ros.nodes import qos
from octo_ros.nodes.live_recorder import LiveRecorder
from octo_ros.nodes.live_recorder import LiveTopics
from octo_ros.nodes.message_definitions import _field_type
from octo_ros.nodes.message_definitions import definitions_of
from octo_ros.policy.profile import load_profile

PACKAGES = ('std_msgs', 'geometry_msgs', 'sensor_msgs', 'trajectory_msgs', 'diagnostic_msgs',
            'rcl_interfaces', 'lifecycle_msgs')


@pytest.mark.parametrize('package', PACKAGES)
def test_the_class_of_a_type_tells_the_fields_of_its_message_file(package):
    known = get_typestore(Stores.ROS2_KILTED).fielddefs
    module = importlib.import_module(f'{package}.msg')
    names = [name for name in dir(module)
             if hasattr(getattr(module, name), 'get_fields_and_field_types')]
    assert names
    for name in names:
        for kind, text in definitions_of(f'{package}/msg/{name}').items():
            wanted = str(known[kind][1]).replace("'char'", "'uint8'")  # which is the same
            assert str(get_types_from_msg(text, kind)[kind][1]) == wanted, (kind, text)


@pytest.mark.parametrize(('given', 'wanted'), [
    ('sequence<double, 5>', 'float64[<=5]'), ('string<10>', 'string<=10'),
    ('sequence<string<10>, 3>', 'string<=10[<=3]'), ('sequence<string<10>>', 'string<=10[]'),
    ('boolean[4]', 'bool[4]'), ('string<10>[2]', 'string<=10[2]'),
    ('sequence<std_msgs/Header>', 'std_msgs/Header[]'),
])
def test_bounds_are_kept(given, wanted):
    assert _field_type(given) == wanted


def test_a_definition_that_cannot_be_read_is_refused():
    with pytest.raises(BagError, match='own_msgs/msg/Odd'):
        recording.register_types({'own_msgs/msg/Odd': 'own_msgs/Missing part'})


def test_messages_of_a_package_that_rosbags_does_not_know_are_recorded(
        ros, tmp_path, monkeypatch):
    store = get_typestore(Stores.ROS2_KILTED)  # less what plays the part of an own package
    for name in ('DiagnosticArray', 'DiagnosticStatus', 'KeyValue'):
        del store.fielddefs[f'diagnostic_msgs/msg/{name}']
    monkeypatch.setattr(recording, '_types', lambda: store)
    make = ros.node.create_publisher
    publishers = {
        topic: make(kind, topic, qos.named('reliable'))
        for topic, kind in (('/cam', Image), ('/action', JointState), ('/own', DiagnosticArray))}
    status = DiagnosticStatus(level=b'\x01', name='arm', values=[KeyValue(key='a', value='b')])
    messages = {'/cam': Image(height=2, width=2, step=6, encoding='rgb8', data=bytes(12)),
                '/action': JointState(position=[0.0] * 7),
                '/own': DiagnosticArray(status=[status])}

    def publish():
        for topic, publisher in publishers.items():
            publisher.publish(messages[topic])

    ros.node.create_timer(0.02, publish)
    topics = LiveTopics(('/cam',), '/action', others=('/own',))
    with LiveRecorder(topics, load_profile('widowx')) as recorder:
        recorder.start(tmp_path / 'one', 'go', {})
        ros.wait_until(lambda: min(recorder.counts.values()) > 5, 'messages')
        counts = recorder.stop(True)
    with BagReader(tmp_path / 'one') as bag:
        assert {topic: bag.counts[topic] for topic in counts} == counts
        seen = [item.message.status[0] for item in bag.messages(['/own'])]
    assert (seen[0].name, seen[0].level, seen[0].values[0].value) == ('arm', 1, 'b')
