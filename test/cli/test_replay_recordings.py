"""`octo-ros replay` of recordings that are not quite what one would wish for."""

import os
import subprocess
import sys

import pytest
from rosbags.rosbag2 import Reader
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore

from octo_ros.assets import shipped_recording

STORE = get_typestore(Stores.ROS2_KILTED)
_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keeps compiled programs out of the user's cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.getbasetemp() / 'cache'))


@pytest.fixture
def altered(tmp_path):
    """Writes the beginning of the shipped recording anew, with changes; returns its folder."""
    def write(*, copies=None, later_s=0.0, length_s=1.5):
        with Reader(shipped_recording()) as reader, Writer(
                tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            topics = {
                topic: writer.add_connection(topic, item.msgtype, typestore=STORE)
                for item in reader.connections
                for topic in (item.topic, (copies or {}).get(item.topic)) if topic}
            end_ns = reader.start_time + round(length_s * _NS)
            for item, log_ns, data in reader.messages(stop=end_ns):
                for topic in (item.topic, (copies or {}).get(item.topic)):
                    if topic:
                        writer.write(topics[topic], log_ns + round(later_s * _NS), data)
        return tmp_path / 'bag'
    return write


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
                          '/camera_secondary/image_raw/compressed'})
    done = live(bag)
    assert done.returncode == 0, done.stderr
    assert 'chunks' in done.stdout
