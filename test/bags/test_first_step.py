"""Where the grid of policy steps begins."""

import numpy as np
import pytest

from octo_ros.bags import recording
from octo_ros.bags.demonstrations import SamplingParams
from octo_ros.bags.demonstrations import read_demonstration
from octo_ros.bags.episodes import TopicMap

CAMERA = '/cam/front'
TOPICS = TopicMap({'image_primary': CAMERA}, '/instruction', '/expert_action')
ACTIONS = 30


@pytest.fixture
def started_late(record):
    """Reads a recording of actions at 5 Hz whose camera starts so long after the first of them."""
    def read(late_s, *, jitter_s=0.002, deltas=(), actions=ACTIONS):
        bag, rng = record(f'{late_s:g}'), np.random.default_rng(0)
        bag.text('/instruction', 0.0, 'pick up the cup')
        for step in range(actions):
            shift_s = rng.uniform(-jitter_s, jitter_s) if step else 0.0
            bag.action('/expert_action', 0.2 * step + shift_s, [float(step)] * 7,
                       recording.NAMES)
        for frame in range(2 * ACTIONS):
            bag.image(CAMERA, late_s + 0.1 * frame, frame, size=(8, 8))
        bag.close()
        return read_demonstration(
            bag.path, TOPICS, recording.NAMES, SamplingParams(), deltas=deltas)
    return read


@pytest.mark.parametrize('deltas', [(), range(6)])
@pytest.mark.parametrize('late_s', [0.02, 0.06, 0.08, 0.1, 0.12, 0.14, 0.18])
def test_a_camera_that_starts_between_two_actions_cuts_no_action_off(
        started_late, late_s, deltas):
    found = started_late(late_s, deltas=deltas)
    assert not found.findings
    np.testing.assert_array_equal(found.episode.actions[:, 0], np.arange(1, ACTIONS))


@pytest.mark.parametrize('late_s', [0.001, 0.401])
def test_a_camera_that_starts_with_an_action_loses_none(started_late, late_s):
    found = started_late(late_s, jitter_s=0.0)
    assert not found.findings
    np.testing.assert_array_equal(
        found.episode.actions[:, 0], np.arange(round(5 * late_s), ACTIONS))


def test_a_camera_that_starts_after_the_last_action_gives_no_episode(started_late):
    found = started_late(0.9, actions=4)
    assert found.episode is None
    assert {item.kind for item in found.findings} == {'gap'}
