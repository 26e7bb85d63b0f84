"""Videos of LeRobot data sets."""

import os
from fractions import Fraction

import numpy as np
import pytest

from octo_ros.data.lerobot_encoder import CODECS
from octo_ros.data.lerobot_encoder import VideoFile


@pytest.mark.parametrize('codec', CODECS)
def test_writing_a_video_leaves_the_scheduling_of_the_process_alone(tmp_path, codec):
    before = os.sched_getscheduler(0)
    with VideoFile(tmp_path / 'film.mp4', Fraction(5), (64, 64), codec) as video:
        video.add(np.zeros((3, 64, 64, 3), np.uint8))
    assert os.sched_getscheduler(0) == before
