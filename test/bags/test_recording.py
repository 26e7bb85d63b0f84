"""Episodes written as recordings."""

import json

import numpy as np
import pytest

from octo_ros.bags.episodes import map_topics
from octo_ros.bags.reader import BagReader
from octo_ros.bags.recording import ImageFormat
from octo_ros.bags.recording import RecordedEpisode
from octo_ros.bags.recording import write_episode
from octo_ros.errors import BagError
from octo_ros.messages.conversions import decode_image
from octo_ros.messages.conversions import decode_joint_state
from octo_ros.messages.conversions import stamp_ns

START_NS = 1_700_000_000_000_000_000
STEPS = 4


@pytest.fixture
def episode():
    rng = np.random.default_rng(0)
    smooth = np.linspace(0, 255, 24 * 32 * 3).reshape(24, 32, 3).astype(np.uint8)
    return RecordedEpisode(
        instruction='lift the red block', success=True,
        stamps_ns=np.arange(STEPS) * 200_000_000,
        images={'primary': np.stack([smooth] * STEPS), 'wrist': np.stack([smooth[:16]] * STEPS)},
        state=rng.normal(size=(STEPS, 7)), actions=rng.normal(size=(STEPS, 7)),
        joints=rng.normal(size=(STEPS, 2)), joint_names=('shoulder', 'elbow'),
        facts={'seed': 3, 'paraphrases': ['pick it up']})


def read(path):
    with BagReader(path) as bag:
        assert not bag.damage
        return bag, list(bag.messages())


def of(messages, topic):
    return [item.message for item in messages if item.topic == topic]


def test_what_was_written_is_read_back(tmp_path, episode):
    write_episode(tmp_path / 'bag', episode, start_ns=START_NS,
                  image_format=ImageFormat('png'))
    _, messages = read(tmp_path / 'bag')
    assert [message.data for message in of(messages, '/instruction')] == ['lift the red block']
    assert [message.data for message in of(messages, '/success')] == [True]
    facts = json.loads(of(messages, '/episode')[0].data)
    assert facts == {'seed': 3, 'paraphrases': ['pick it up']}
    for camera, frames in episode.images.items():
        seen = of(messages, f'/camera_{camera}/image_raw/compressed')
        np.testing.assert_array_equal([decode_image(message) for message in seen], frames)
        assert [stamp_ns(message) - START_NS for message in seen] == episode.stamps_ns.tolist()
    for topic, values in (('/state', episode.state), ('/expert_action', episode.actions),
                          ('/joint_states', episode.joints)):
        seen = [decode_joint_state(message) for message in of(messages, topic)]
        np.testing.assert_allclose(seen, values, rtol=1e-6)
    assert of(messages, '/joint_states')[0].name == ['shoulder', 'elbow']


def test_jpeg_is_near_and_smaller(tmp_path, episode):
    sizes = {}
    for name in ('jpeg', 'png'):
        write_episode(tmp_path / name, episode, start_ns=START_NS,
                      image_format=ImageFormat(name))
        _, messages = read(tmp_path / name)
        seen = of(messages, '/camera_primary/image_raw/compressed')
        sizes[name] = len(seen[0].data)
        error = np.abs(decode_image(seen[0]) - episode.images['primary'][0].astype(int))
        assert error.mean() < (10 if name == 'jpeg' else 1e-9)
    assert sizes['jpeg'] != sizes['png']


def test_the_same_episode_gives_the_same_bytes(tmp_path, episode):
    for parent in ('a', 'b'):
        write_episode(tmp_path / parent / 'bag', episode, start_ns=START_NS)
    first, second = ((tmp_path / parent / 'bag' / 'bag.mcap').read_bytes() for parent in 'ab')
    assert first == second


def test_a_replay_finds_instruction_and_action_by_itself(tmp_path, episode):
    write_episode(tmp_path / 'bag', episode, start_ns=START_NS)
    with BagReader(tmp_path / 'bag') as bag:
        topics = map_topics(bag, ('image_primary', 'image_wrist'), cameras={
            key: f'/camera_{key}/image_raw/compressed' for key in ('primary', 'wrist')})
        assert topics.instruction == '/instruction'
        assert topics.action == '/expert_action'


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path, episode):
    write_episode(tmp_path / 'bag', episode, start_ns=START_NS)
    with pytest.raises(BagError, match='must be new'):
        write_episode(tmp_path / 'bag', episode, start_ns=START_NS)
    broken = RecordedEpisode(**{**vars(episode), 'state': episode.state[:2]})
    with pytest.raises(IndexError):
        write_episode(tmp_path / 'other', broken, start_ns=START_NS)
    assert [item.name for item in tmp_path.iterdir()] == ['bag']


def test_what_is_not_known_is_left_out(tmp_path, episode):
    plain = RecordedEpisode(**{
        **vars(episode), 'instruction': '', 'success': None, 'joints': None, 'facts': {}})
    write_episode(tmp_path / 'bag', plain, start_ns=START_NS)
    bag, _ = read(tmp_path / 'bag')
    assert sorted(bag.topics) == [
        '/camera_primary/image_raw/compressed', '/camera_wrist/image_raw/compressed',
        '/expert_action', '/state']
