"""Numbers of states and actions are taken by name: in a recording, and in all of a set."""

import dataclasses

import numpy as np
import pytest

from octo_ros.bags import recording
from octo_ros.bags.demonstrations import SamplingParams
from octo_ros.bags.demonstrations import read_demonstration
from octo_ros.bags.episodes import TopicMap
from octo_ros.bags.gathering import Gathering
from octo_ros.bags.joint_names import AS_RECORDED
from octo_ros.bags.joint_names import JointNames
from octo_ros.bags.joint_names import find_names
from octo_ros.bags.reader import BagReader
from octo_ros.errors import BagError

TOPICS = TopicMap({'image_primary': '/cam', 'proprio': '/js'}, '/instruction', '/action')
MOTORS = ('m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7')
ABC = {'a': 1.0, 'b': 2.0, 'c': 3.0}
STEPS = 10


@pytest.fixture
def written(record):
    """Writes a recording; `state` and `action` give names and numbers of each step."""
    def write(name='bag', *, state=lambda step: [tuple(ABC.items())], action=None):
        bag = record(name)
        bag.text('/instruction', 0.0, 'pick up the cup')
        for step in range(STEPS):
            time_s = 0.2 * step
            bag.image('/cam', time_s, step, size=(8, 8))
            for place, items in enumerate(state(step)):
                bag.action('/js', time_s + 0.02 * place, [value for _, value in items],
                           [name for name, _ in items if name])
            names, values = action(step) if action else (recording.NAMES, np.zeros(7))
            bag.action('/action', time_s, values, names)
        bag.close()
        return bag.path
    return write


def read(path, joints=AS_RECORDED):
    return read_demonstration(path, TOPICS, recording.NAMES, SamplingParams(), joints=joints)


def turned(step):
    items = tuple(ABC.items())
    return [items if step < 5 else items[::-1]]


def two_drivers(step):
    left = (('l1', 1.0), ('l2', 2.0))
    return [left, (('r1', -1.0), ('r2', -2.0))][::1 if step % 2 == 0 else -1]


def test_joints_that_change_their_order_are_taken_by_name(written):
    found = read(written(state=turned))
    assert not found.findings
    np.testing.assert_array_equal(found.episode.proprio, [[1.0, 2.0, 3.0]] * STEPS)


def test_a_second_driver_on_the_topic_is_told_once_and_left_out(written):
    found = read(written(state=two_drivers))
    [finding] = found.findings
    assert (finding.kind, finding.topic, finding.time_s, finding.count) == (
        'state', '/js', pytest.approx(0.02), STEPS)
    assert 'must name the joints l1, l2, got r1, r2: left out, for 10 messages' in finding.text
    np.testing.assert_array_equal(found.episode.proprio, [[1.0, 2.0]] * STEPS)


def test_joints_that_were_asked_for_are_taken_of_more(written):
    joints = JointNames(('c', 'a'), chosen=True)
    found = read(written(state=turned), joints)
    assert not found.findings
    np.testing.assert_array_equal(found.episode.proprio, [[3.0, 1.0]] * STEPS)
    with pytest.raises(BagError, match=r"'/js' must name the joints x, got a, b, c; .*--state-n"):
        read(written('other'), JointNames(('a', 'x'), chosen=True))


def test_states_without_names_are_taken_as_they_come(written):
    found = read(written(state=lambda step: [(('', 1.0), ('', 2.0))]))
    assert not found.findings
    np.testing.assert_array_equal(found.episode.proprio, [[1.0, 2.0]] * STEPS)


def test_a_recording_of_the_set_in_another_order_is_put_in_its_order(written):
    found = read(written(state=lambda step: [tuple(ABC.items())[::-1]]), JointNames(tuple(ABC)))
    assert not found.findings
    np.testing.assert_array_equal(found.episode.proprio, [[1.0, 2.0, 3.0]] * STEPS)


def test_a_recording_of_the_set_with_other_joints_is_refused(written):
    with pytest.raises(BagError, match=r"state on '/js' must have the names a, b, d .* got a, b"):
        read(written(), JointNames(('a', 'b', 'd')))
    with pytest.raises(BagError, match="action on '/action' must have the names m1, m2"):
        read(written('action'), JointNames(action=MOTORS))


def test_a_recording_without_names_in_a_set_with_some_is_told(written):
    found = read(written(state=lambda step: [(('', 1.0), ('', 2.0), ('', 3.0))]),
                 JointNames(tuple(ABC)))
    assert [(item.kind, item.topic) for item in found.findings] == [('state', '/js')]
    np.testing.assert_array_equal(found.episode.proprio, [[1.0, 2.0, 3.0]] * STEPS)


def motors(step):
    order = np.arange(7) if step < 5 else np.arange(7)[::-1]
    return [MOTORS[place] for place in order], order * 0.01


def test_actions_with_names_of_their_own_keep_the_order_of_the_first(written):
    found = read(written(action=motors))
    assert not found.findings
    np.testing.assert_allclose(found.episode.actions, [np.arange(7) * 0.01] * STEPS, rtol=1e-6)
    other = read(written('other', action=motors), JointNames(action=MOTORS[::-1]))
    np.testing.assert_allclose(other.episode.actions[0], np.arange(7)[::-1] * 0.01, rtol=1e-6)


def test_an_action_that_lacks_a_name_of_the_first_is_told_and_left_out(written):
    def action(step):
        return ((*MOTORS[:6], 'm8') if step > 6 else MOTORS), np.zeros(7)

    found = read(written(action=action))
    [finding] = found.findings
    assert (finding.kind, finding.topic, finding.time_s, finding.count) == (
        'action', '/action', pytest.approx(1.4), 3)
    assert 'must name m7 as the first message with names does, got m1, m2' in finding.text
    assert len(found.episode) == 7


def test_replay_compares_with_actions_by_name_too(written):
    path = written(action=motors)
    with BagReader(path) as bag:
        gathering = Gathering(dataclasses.replace(TOPICS, streams={'image_primary': '/cam'}),
                              recording.NAMES, 'image_primary', 200_000_000)
        for message in bag.messages():
            gathering.take(message)
    for _, action in gathering.result.recorded:
        np.testing.assert_allclose(action, np.arange(7) * 0.01)


def test_a_recording_says_its_names_by_its_first_messages(written):
    with BagReader(written(state=turned, action=motors)) as bag:
        assert find_names(bag, TOPICS, recording.NAMES) == JointNames(tuple(ABC), MOTORS)
    with BagReader(written('profile')) as bag:
        assert find_names(bag, TOPICS, recording.NAMES).action == recording.NAMES


def test_another_driver_on_the_topic_is_no_fault_where_joints_are_chosen(written):
    found = read(written(state=two_drivers), JointNames(('l2', 'l1'), chosen=True))
    assert not found.findings
    np.testing.assert_array_equal(found.episode.proprio, [[2.0, 1.0]] * STEPS)
