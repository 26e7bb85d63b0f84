"""`octo-ros replay` says what of a recording and of its options the policy does not get."""

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import Reader
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore

from octo_ros.assets import shipped_recording
from octo_ros.cli.main import main
from test.tiny_models import image_tokenizer
from test.tiny_models import make_model

STORE = get_typestore(Stores.ROS2_KILTED)
PRIMARY = 'primary=/camera_primary/image_raw/compressed'
_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keeps compiled programs out of the user's cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.getbasetemp() / 'cache'))


@pytest.fixture
def altered(tmp_path):
    """Writes the beginning of the shipped recording anew, with changes; returns its folder."""
    def write(*, copies=None, later_s=0.0, length_s=1.5, damaged_from_s=None):
        bag = tmp_path / f'bag_{len(list(tmp_path.iterdir()))}'
        with Reader(shipped_recording()) as reader, Writer(
                bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            topics = {
                topic: writer.add_connection(topic, item.msgtype, typestore=STORE)
                for item in reader.connections
                for topic in (item.topic, (copies or {}).get(item.topic)) if topic}
            end_ns = reader.start_time + round(length_s * _NS)
            for item, log_ns, raw in reader.messages(stop=end_ns):
                data, time_s = raw, (log_ns - reader.start_time) / _NS
                if damaged_from_s is not None and time_s > damaged_from_s and (
                        'Image' in item.msgtype):
                    image = STORE.deserialize_cdr(data, item.msgtype)
                    image.data = image.data[:50]
                    data = STORE.serialize_cdr(image, item.msgtype)
                for topic in (item.topic, (copies or {}).get(item.topic)):
                    if topic:
                        writer.write(topics[topic], log_ns + round(later_s * _NS), data)
        return bag
    return write


@pytest.fixture
def goal(tmp_path):
    """A file of a goal image."""
    cv2.imwrite(str(tmp_path / 'goal.png'), np.zeros((48, 64, 3), np.uint8))
    return tmp_path / 'goal.png'


@pytest.fixture
def offline(tmp_path, capsys):
    """Runs an offline replay; returns its exit code and what it says on standard error."""
    def run(bag, *options):
        code = main(['replay', str(bag), '--checkpoint', 'untrained', '--out',
                     str(tmp_path / 'out'), *options])
        return code, capsys.readouterr().err
    return run


@pytest.fixture
def live(tmp_path):
    """Runs a live replay in a process of its own."""
    def run(bag, *options):
        return subprocess.run(
            [sys.executable, '-m', 'octo_ros.cli.main', 'replay', str(bag), '--checkpoint',
             'untrained', '--live', '--out', str(tmp_path / 'out'), *options],
            capture_output=True, text=True, timeout=200, check=False,
            env={**os.environ, 'JAX_PLATFORMS': 'cpu'})
    return run


def test_a_live_replay_leaves_out_a_camera_that_the_checkpoint_lacks(altered, live):
    bag = altered(copies={'/camera_primary/image_raw/compressed':
                          '/camera_secondary/image_raw/compressed'}, later_s=2.0)
    done = live(bag, '--clock-offset', '2')
    assert done.returncode == 0, done.stderr
    assert 'chunks' in done.stdout


def test_what_the_policy_does_not_get_is_told_once_each(altered, offline, goal):
    code, said = offline(altered(), '--camera', PRIMARY)
    assert code == 0
    assert said.count('No camera is mapped to image_wrist: the policy works without.') == 1
    assert said.count('No goal image for image_primary: zero pixels take its place.') == 1
    assert 'is not used' not in said
    code, said = offline(altered(), '--camera', PRIMARY, '--goal', f'wrist={goal}', '--goal',
                         f'primary={goal}')
    assert code == 0
    for note in (
            'No camera is mapped to image_wrist: the policy works without.',
            'The instruction on /instruction is not used, --goal is the task',
            'The goal for image_wrist has no effect: no camera is mapped to image_wrist.',
            'No instruction: the language input is masked.'):
        assert said.count(note) == 1, said
    assert 'No goal image' not in said
    code, said = offline(altered(), '--camera', PRIMARY, '--goal', f'wrist={goal}',
                         '--instruction', 'put the red block on the plate')
    assert code == 0
    assert said.count('The goal for image_wrist has no effect') == 1
    assert 'No instruction' not in said
    assert 'is not used' not in said


@pytest.mark.parametrize('options', [(), ('--live',)])
def test_a_goal_without_effect_is_refused_as_the_whole_task(altered, offline, goal, options):
    code, said = offline(altered(), '--camera', PRIMARY, '--goal', f'wrist={goal}', *options)
    assert code == 2
    assert said.splitlines()[-1] == (
        "octo-ros replay: '--goal' must be one that the mapped cameras (image_primary) use where "
        "it is the whole task, got image_wrist: it would have no effect; give --camera for "
        "image_wrist, or --instruction")


def test_a_goal_that_is_encoded_apart_is_a_task_without_its_camera(
        altered, offline, live, tmp_path, goal):
    make_model({'p': image_tokenizer(['image_primary']), 'w': image_tokenizer(['image_wrist'])},
               {'g': image_tokenizer([], ['image_primary'])}
               ).save_pretrained(1, tmp_path / 'apart')
    options = ('--checkpoint', str(tmp_path / 'apart'), '--goal', f'primary={goal}',
               '--camera', 'wrist=/camera_wrist/image_raw/compressed')
    code, said = offline(altered(), *options)
    assert code == 0, said
    assert 'no effect' not in said
    done = live(altered(), *options)
    assert done.returncode == 0, done.stderr
    assert 'no effect' not in done.stderr


def test_a_recording_of_another_clock_names_the_offset_and_replays_with_it(
        altered, offline, tmp_path):
    assert offline(altered())[0] == 0
    expected = (tmp_path / 'out' / 'actions.csv').read_bytes()
    bag = altered(later_s=2.0)
    fix = '--clock-offset 2.00'
    for tried in ((), ('--clock-offset', '-2')):
        code, said = offline(bag, *tried)
        assert code == 2
        assert said.strip().endswith('the times of recording are 2.00 s ahead of the stamps of '
                                     f'the images; if the clocks differed, give {fix}')
    code, said = offline(altered(), '--clock-offset', '100')
    assert code == 2
    assert said.strip().endswith('the stamps of the images; leave --clock-offset out')
    code, said = offline(bag, *fix.split())
    assert code == 0, said
    assert (tmp_path / 'out' / 'actions.csv').read_bytes() == expected


def test_a_test_does_not_pass_where_the_policy_was_silent_for_most_of_the_recording(
        altered, offline, tmp_path, capsys):
    bag = altered(length_s=6.0, damaged_from_s=1.0)
    options = ('--action-topic', '/expert_action', '--max-error', '100')
    assert main(['replay', str(bag), '--checkpoint', 'untrained', '--out', str(tmp_path / 'out'),
                 *options]) == 1
    said = capsys.readouterr().out
    assert 'at least 50% of the recorded steps must be compared (--min-compared), got' in said
    assert re.search(r'^no action for \d\.\d s of \d\.\d s: .*image_', said, re.MULTILINE), said
    assert offline(bag, *options, '--min-compared', '0.1')[0] == 0
    code, said = offline(bag, '--min-compared', '2')
    assert code == 2
    assert said.splitlines()[-1] == (
        "octo-ros replay: '--min-compared' must be from 0 to 1, got 2.0")


@pytest.mark.parametrize('value', ['nan', '-0.1'])
def test_a_greatest_error_that_nothing_can_keep_is_refused_before_the_replay(
        altered, offline, tmp_path, value):
    code, said = offline(altered(), f'--max-error={value}')
    assert code == 2
    assert said.splitlines()[-1] == (
        f"octo-ros replay: '--max-error' must be at least 0, got {float(value)}")
    assert not (tmp_path / 'out').exists()


def test_a_clock_offset_that_is_no_number_is_refused(altered, offline):
    code, said = offline(altered(), '--clock-offset', 'nan')
    assert code == 2
    assert said.splitlines()[-1] == (
        "octo-ros replay: '--clock-offset' must be finite, got nan")


@pytest.mark.parametrize('value', ['5000000000', '-5e9'])
def test_a_clock_offset_in_nanoseconds_is_refused_at_once(altered, offline, value):
    code, said = offline(altered(), f'--clock-offset={value}')
    assert code == 2
    assert said.splitlines()[-1].startswith(
        'octo-ros replay: the clock offset must be the seconds between two clocks, got '
        f'{float(value):g} s for a recording that ends at 1700000001.40 s: ')


def test_recordings_that_differ_behind_a_dot_are_written_to_folders_of_their_own(
        altered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('rec_v1.0', 'rec_v1.1'):
        bag = altered().rename(name)
        assert main(['replay', str(bag), '--checkpoint', 'untrained']) == 0
    monkeypatch.chdir(bag)
    assert main(['replay', '.', '--checkpoint', 'untrained']) == 0
    written = sorted(file.relative_to(tmp_path) for file in tmp_path.rglob('actions.csv'))
    assert [str(file.parent) for file in written] == [
        'octo_replay/rec_v1.0', 'octo_replay/rec_v1.1', 'rec_v1.1/octo_replay/rec_v1.1']
