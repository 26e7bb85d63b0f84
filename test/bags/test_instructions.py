"""The instruction of a recording in which there were several, or in which it was taken away."""

import numpy as np
import pytest

from octo_ros.bags import recording
from octo_ros.bags.demonstrations import SamplingParams
from octo_ros.bags.demonstrations import read_demonstration
from octo_ros.bags.episodes import TopicMap

STEPS = 10
STEP_NS = 200_000_000
START_NS = 1_700_000_000_000_000_000
TOPICS = TopicMap({'proprio': '/state'}, '/instruction', '/expert_action')
LIFT, PUT = 'lift the red block', 'put the green block in the bowl'


def read(path, texts, log_ahead_ns=0):
    """Reads a recording of some steps with texts by the step that they come before."""
    bag = recording.EpisodeBag(path)
    for step in range(STEPS):
        stamp_ns = START_NS + step * STEP_NS
        for topic in ('/state', '/expert_action'):
            bag.add(topic, recording._JOINTS, stamp_ns + log_ahead_ns,
                    bag.types.types[recording._JOINTS](
                        bag._header(stamp_ns, 'base_link'), list(recording.NAMES),
                        np.full(7, 0.01 * step), np.zeros(0), np.zeros(0)))
    for step, text in texts.items():
        bag.add_text('/instruction', START_NS + round((step - 0.5) * STEP_NS) + log_ahead_ns, text)
    bag.finish()
    found = read_demonstration(path, TOPICS, recording.NAMES, SamplingParams())
    return found.episode.instructions, [
        item for item in found.findings if item.kind == 'instruction']


@pytest.mark.parametrize('texts', [
    {0: LIFT}, {4: LIFT}, {0: '', 1: LIFT}, {0: LIFT, 3: LIFT}, {0: LIFT, STEPS: PUT},
    {0: LIFT, STEPS: ''}, {-3: PUT, 0: LIFT}])
def test_one_task_for_all_steps_is_no_fault(tmp_path, texts):
    assert read(tmp_path / 'bag', texts) == ((LIFT,), [])


@pytest.mark.parametrize('hours', [0, 5])
@pytest.mark.parametrize(('texts', 'at_s', 'count', 'words'), [
    ({0: LIFT, 8: ''}, 1.6, 2, 'the instruction was taken away'),
    ({0: LIFT, 6: PUT}, 1.2, 4, f"'{PUT}' is in force, the episode is given '{LIFT}'"),
    ({0: PUT, 3: LIFT}, 0.0, 3, f"'{PUT}' is in force, the episode is given '{LIFT}'")])
def test_a_task_that_changes_on_the_way_is_told_and_the_longest_is_taken(
        tmp_path, texts, at_s, count, words, hours):
    taken, [fault] = read(tmp_path / 'bag', texts, log_ahead_ns=hours * 3600 * 1_000_000_000)
    assert taken == (LIFT,)
    assert (fault.topic, fault.time_s, fault.count) == ('/instruction', at_s, count)
    assert words in fault.text


@pytest.mark.parametrize('texts', [{}, {0: ' '}, {0: '', 5: ''}])
def test_no_task_is_told(tmp_path, texts):
    assert [item.text for item in read(tmp_path / 'bag', texts)[1]] == ['no instruction']
