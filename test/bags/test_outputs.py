"""What a replay leaves behind can be read back."""

import csv

import cv2
import numpy as np
import pytest

from octo_ros.bags.outputs import write_bag
from octo_ros.bags.outputs import write_csv
from octo_ros.bags.outputs import write_picture
from octo_ros.bags.reader import BagReader
from octo_ros.bags.results import ReplayResult
from octo_ros.bags.results import Step
from octo_ros.errors import BagError
from octo_ros.messages.inference import AcceptedChunk
from octo_ros.messages.postprocess import Command
from octo_ros.policy.profile import RobotProfile

STAMP_NS = 1_700_000_000_000_000_000
STEP_NS = 200_000_000
NAMES = RobotProfile().action.names


@pytest.fixture
def result(ten_steps):
    actions = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    chunks = [AcceptedChunk(k, actions, STAMP_NS + 2 * k * STEP_NS, {}) for k in range(2)]
    steps = [Step(STAMP_NS + k * STEP_NS, k // 2, k % 2, actions[k],
                  None if k == 3 else actions[k].astype(np.float64)) for k in range(4)]
    commands = [Command(
        actions[k], np.zeros(7, bool), actions[k, :3], actions[k, 3:6], None, None, False, (1.0,),
        0, k, STAMP_NS, STAMP_NS, STAMP_NS + k, True) for k in range(3)]
    with BagReader(ten_steps()) as bag:
        views = [(message.log_ns, message.message) for message in bag.messages(['/cam/front'])]
    views[3][1].encoding = 'odd'
    recorded = [(STAMP_NS + k * STEP_NS, actions[k].astype(np.float64)) for k in range(4)]
    return ReplayResult(steps, chunks, commands, views, recorded, STAMP_NS, 'wave')


def test_table_keeps_float32_to_the_bit(result, tmp_path):
    write_csv(tmp_path / 'actions.csv', result.steps, NAMES)
    with (tmp_path / 'actions.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == [
        'stamp_ns', 'chunk_id', 'step_index', 'predicted_x', 'predicted_y']
    for row, step in zip(rows, result.steps, strict=True):
        assert int(row['stamp_ns']) == step.stamp_ns
        values = np.array([row[f'predicted_{name}'] for name in NAMES], np.float32)
        np.testing.assert_array_equal(values, step.predicted)
    assert rows[3]['recorded_x'] == ''
    assert float(rows[0]['recorded_x']) == pytest.approx(result.steps[0].recorded[0])


@pytest.mark.parametrize('recorded', [True, False])
def test_picture_is_drawn_without_what_cannot_be_decoded(result, tmp_path, recorded):
    if not recorded:
        result.recorded.clear()
    write_picture(tmp_path / 'actions.png', result, title='wave', note='', names=NAMES, step_s=0.2)
    assert cv2.imread(str(tmp_path / 'actions.png')).std() > 5


def test_bag_holds_chunks_and_commands_of_the_node(result, tmp_path):
    with BagReader(_written(result, tmp_path)) as bag:
        assert bag.damage == []
        messages = list(bag.messages())
    assert bag.topics == {
        '/octo_controller/action_chunk': 'trajectory_msgs/msg/JointTrajectory',
        '/octo_controller/command/twist': 'geometry_msgs/msg/TwistStamped',
        '/octo_controller/command/gripper': 'std_msgs/msg/Float64MultiArray'}
    chunks = [message for message in messages if message.topic.endswith('action_chunk')]
    assert [message.log_ns for message in chunks] == [STAMP_NS, STAMP_NS + 2 * STEP_NS]
    np.testing.assert_array_equal(
        [point.positions for point in chunks[0].message.points], result.chunks[0].actions)
    assert len(messages) == 2 + 2 * 3


def test_bag_names_no_topic_that_nothing_came_on(result, tmp_path):
    result.commands.clear()  # as over DDS, where commands are not part of the result
    with BagReader(_written(result, tmp_path)) as bag:
        assert [*bag.topics] == ['/octo_controller/action_chunk']


def test_bag_of_an_earlier_replay_is_replaced(result, tmp_path):
    folder = _written(result, tmp_path)
    result.chunks.pop()
    with BagReader(_written(result, tmp_path)) as bag:
        assert len(list(bag.messages(['/octo_controller/action_chunk']))) == 1
    (folder / 'precious.txt').write_text('mine')
    with pytest.raises(BagError, match=r'precious\.txt.*choose another --out'):
        _written(result, tmp_path)
    assert (folder / 'precious.txt').exists()


def _written(result, tmp_path):
    folder = tmp_path / 'out' / 'chunks'
    folder.parent.mkdir(exist_ok=True)
    with BagReader(next(tmp_path.glob('bag'))) as bag:
        write_bag(folder, result, RobotProfile(), step_ns=STEP_NS, types=bag.types)
    return folder
