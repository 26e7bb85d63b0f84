"""Videos of trials."""

import numpy as np
import pytest
from PIL import Image
from PIL import ImageSequence

from octo_ros.errors import ParameterError
from octo_ros.sim.video import can_write_mp4
from octo_ros.sim.video import captioned
from octo_ros.sim.video import side_by_side
from octo_ros.sim.video import write_video

RED, GREEN = (230, 20, 20), (20, 200, 30)


def frames(colour, count):
    return [np.full((32, 32, 3), colour, np.uint8)] * count


def test_a_caption_is_below_and_tells_success_by_colour():
    good, = captioned(frames(RED, 1), 'lift the red block', good=True, size=96)
    bad, = captioned(frames(RED, 1), 'lift the red block', good=False, size=96)
    assert good.shape == bad.shape == (114, 96, 3)
    assert (good[:96] == RED).all()
    assert good[-1, -1, 1] > good[-1, -1, 0]
    assert bad[-1, -1, 0] > bad[-1, -1, 1]
    assert good[96:].max() > 200  # the words


def test_videos_of_different_length_share_a_grid():
    grid = side_by_side([frames(RED, 1), frames(GREEN, 3), frames(RED, 2)], 2)
    assert len(grid) == 3
    assert grid[0].shape == (64, 64, 3)
    assert (grid[2][:32, :32] == RED).all()
    assert (grid[2][:32, 32:] == GREEN).all()
    assert not grid[0][32:, 32:].any()


def test_a_written_video_is_read_back(tmp_path):
    path = tmp_path / 'made' / 'video.gif'
    write_video(path, frames(RED, 2) + frames(GREEN, 1), step_s=0.2)
    with Image.open(path) as video:
        shown = [(np.asarray(frame.convert('RGB')).copy(), frame.info['duration'])
                 for frame in ImageSequence.Iterator(video)]
    assert np.abs(shown[0][0].astype(int) - RED).max() < 12
    assert np.abs(shown[-1][0].astype(int) - GREEN).max() < 12
    assert shown[0][1] == 400  # equal frames become one
    assert shown[-1][1] > 200  # the end stays longer


@pytest.mark.skipif(not can_write_mp4(), reason='PyAV is not installed')
def test_a_written_mp4_is_read_back_with_its_rate(tmp_path):
    import av
    path = tmp_path / 'video.mp4'
    odd = [frame[:, :31] for frame in frames(RED, 5) + frames(GREEN, 5)]
    write_video(path, odd, step_s=0.1)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec.name, float(stream.average_rate)) == ('h264', 10.0)
        shown = [frame.to_ndarray(format='rgb24') for frame in file.decode(stream)]
    assert len(shown) == 14  # the end stays longer
    assert shown[0].shape == (32, 30, 3)
    assert np.abs(shown[2].astype(int) - RED).max() < 30
    assert np.abs(shown[-1].astype(int) - GREEN).max() < 30


def test_a_video_of_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"\.gif or \.mp4, got 'video\.avi'"):
        write_video(tmp_path / 'video.avi', frames(RED, 1), step_s=0.1)
