"""`octo-ros demo --recording`: the controller on the shipped recording, over real DDS."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (pip install octo_ros[ros])')

COMMAND = Path(sys.executable).parent / 'octo-ros'


@pytest.fixture(scope='module')
def demo(tmp_path_factory) -> tuple[subprocess.CompletedProcess, Path]:
    """One run on a machine that cannot draw, and the folder that it left."""
    folder = tmp_path_factory.mktemp('demo')
    return subprocess.run(
        [COMMAND, 'demo', '--out', folder], capture_output=True, text=True, check=False,
        env=os.environ | {'JAX_PLATFORMS': 'cpu', 'MUJOCO_GL': 'disable'}), folder


def test_without_rendering_the_reason_is_told_and_the_recording_is_shown(demo):
    result, _ = demo
    assert result.returncode == 0, result.stderr
    assert 'apt-get install' in result.stderr
    assert 'The shipped recording is shown instead' in result.stderr


def test_demo_prints_chunks_rates_and_latency(demo):
    result, _ = demo
    figures = dict(line.strip().split(maxsplit=1) for line in result.stdout.splitlines()
                   if line.startswith('  '))
    assert int(figures['chunks'].split()[0]) > 10
    assert 'of 4 actions of 7 numbers' in figures['chunks']
    assert 'ms median' in result.stdout
    assert 'untrained' in result.stdout


def test_demo_loses_no_camera_frame(demo):
    result, _ = demo
    assert '0 dropped, 0 bad' in result.stdout


def test_demo_leaves_a_picture(demo):
    _, folder = demo
    image = cv2.imread(str(folder / 'demo.png'))
    assert image.shape[1] > 1000
    strip = image[40:200]
    assert strip.std() > 20


def test_processes_of_the_demo_end_in_good_order(demo):
    _, folder = demo
    log = (folder / 'controller.log').read_text()
    assert 'Traceback' not in log
    assert 'Traceback' not in (folder / 'cameras.log').read_text()


def test_checkpoint_that_is_not_there_ends_the_demo_with_the_reason(tmp_path):
    result = subprocess.run(
        [COMMAND, 'demo', '--recording', '--checkpoint', tmp_path / 'nowhere', '--out', tmp_path],
        capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert 'nowhere' in result.stderr
