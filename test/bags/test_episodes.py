"""Which topic of a recording is which camera, and what the recorded action says."""

import types

import numpy as np
import pytest

from octo_ros.bags.episodes import decode_action
from octo_ros.bags.episodes import map_topics
from octo_ros.bags.reader import BagReader
from octo_ros.errors import BagError
from octo_ros.errors import ParameterError

KEYS = ('image_primary', 'image_wrist')
NAMES = ('x', 'y', 'grip')


@pytest.fixture
def bag(ten_steps):
    with BagReader(ten_steps()) as reader:
        yield reader


@pytest.mark.parametrize('key', ['primary', 'image_primary'])
def test_cameras_are_mapped_by_key_with_or_without_prefix(bag, key):
    topics = map_topics(bag, KEYS, cameras={key: '/cam/front'})
    assert topics.streams == {'image_primary': '/cam/front'}
    assert topics.image_keys == ('image_primary',)
    assert (topics.instruction, topics.action) == ('/instruction', '/expert_action')
    assert topics.action_guessed
    assert set(topics.topics) == {'/cam/front', '/instruction', '/expert_action'}


def test_one_topic_may_be_several_states_and_the_action(bag):
    topics = map_topics(bag, KEYS, cameras={'primary': '/cam/front'}, action='/expert_action',
                        others={'proprio': '/expert_action', 'measured_joints': '/expert_action'})
    assert topics.streams == {
        'image_primary': '/cam/front', 'proprio': '/expert_action',
        'measured_joints': '/expert_action'}
    assert topics.topics == ('/cam/front', '/expert_action', '/instruction')


def test_cameras_are_guessed_from_the_names_of_topics(record):
    recording = record()
    recording.image('/robot/image_wrist/compressed', 0, 0, compressed=True)
    recording.image('/image_primary', 0, 0)
    recording.close()
    with BagReader(recording.path) as bag:
        topics = map_topics(bag, KEYS, cameras={})
    assert topics.streams == {
        'image_primary': '/image_primary', 'image_wrist': '/robot/image_wrist/compressed'}


def test_cameras_are_guessed_from_words_in_the_names_of_topics(record):
    recording = record()
    for topic in ('/camera_wrist/image_raw', '/primary/left', '/primary/right'):
        recording.image(topic, 0, 0)
    recording.close()
    with BagReader(recording.path) as bag:
        topics = map_topics(bag, KEYS, cameras={})
    assert topics.streams == {'image_wrist': '/camera_wrist/image_raw'}  # primary is unclear


def test_only_camera_is_the_first_key(record):
    recording = record()
    recording.image('/cam', 0, 0)
    recording.close()
    with BagReader(recording.path) as bag:
        assert map_topics(bag, KEYS, cameras={}).streams == {'image_primary': '/cam'}


def test_unclear_cameras_are_listed_with_the_option(bag):
    with pytest.raises(BagError, match=r'/cam/front, /cam/hand.*--camera primary=/cam/front'):
        map_topics(bag, KEYS, cameras={})


@pytest.mark.parametrize(('options', 'error', 'match'), [
    ({'cameras': {'wirst': '/cam/front'}}, ParameterError, "'wirst' .did you mean 'image_wrist'"),
    ({'cameras': {'wrist': '/cam/frnt'}}, BagError, "did you mean '/cam/front'"),
    ({'cameras': {'wrist': '/instruction'}}, BagError, 'must have the type sensor_msgs/msg/Imag'),
    ({'cameras': {'wrist': '/cam/hand', 'primary': '/cam/hand'}}, ParameterError, 'of its own'),
    ({'cameras': {'primary': '/cam/hand', 'image_primary': '/cam/front'}}, ParameterError,
     "'image_primary' must be given once, got /cam/hand and /cam/front"),
    ({'cameras': {'wrist': '/cam/hand'}, 'action': '/cam/hand'}, BagError, 'must have the type'),
    ({'cameras': {'wrist': '/cam/hand'}, 'others': {'proprio': '/state'}}, BagError, '/state'),
])
def test_topics_that_do_not_fit_are_refused(bag, options, error, match):
    with pytest.raises(error, match=match):
        map_topics(bag, KEYS, **options)


@pytest.mark.parametrize(('name', 'topic', 'words'), [
    ('measured_pose', '/expert_action',
     'geometry_msgs/msg/PoseStamped, got sensor_msgs/msg/JointState'),
    ('measured_joints', '/instruction', 'sensor_msgs/msg/JointState, got std_msgs/msg/String'),
    ('proprio', '/cam/hand', 'sensor_msgs/msg/JointState, got sensor_msgs/msg/Image'),
])
def test_a_state_of_another_type_is_refused_like_a_camera(bag, name, topic, words):
    with pytest.raises(BagError, match=f"topic '{topic}' must have the type {words}"):
        map_topics(bag, KEYS, cameras={'wrist': '/cam/hand'}, others={name: topic})


def test_action_is_ordered_by_name_where_names_are_given():
    message = types.SimpleNamespace(name=['grip', 'y', 'x'], position=np.array([1.0, 2.0, 3.0]))
    assert decode_action(message, NAMES).tolist() == [3.0, 2.0, 1.0]
    message.name = ['j1', 'j2', 'j3']
    assert decode_action(message, NAMES).tolist() == [1.0, 2.0, 3.0]


def test_action_may_be_an_array_or_the_start_of_a_trajectory():
    array = types.SimpleNamespace(data=[1.0, 2.0, 3.0])
    assert decode_action(array, NAMES).tolist() == [1.0, 2.0, 3.0]
    points = [types.SimpleNamespace(positions=[1.0, 2.0, 3.0]),
              types.SimpleNamespace(positions=[9.0, 9.0, 9.0])]
    trajectory = types.SimpleNamespace(points=points, joint_names=['y', 'x', 'grip'])
    assert decode_action(trajectory, NAMES).tolist() == [2.0, 1.0, 3.0]


def test_action_of_another_length_is_refused():
    with pytest.raises(BagError, match='the 3 numbers x, y, grip, got 2'):
        decode_action(types.SimpleNamespace(data=[1.0, 2.0]), NAMES)
