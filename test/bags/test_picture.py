"""The picture of a run: that it is drawn for every kind of run."""

import dataclasses

import cv2
import numpy as np
import pytest

from octo_ros.bags.picture import Part
from octo_ros.bags.picture import Picture
from octo_ros.bags.picture import draw


def _picture(dimensions: int, frames: int, chunks: int, recorded: bool) -> Picture:
    rng = np.random.default_rng(0)
    times = np.arange(5) * 0.2
    return Picture(
        'title', 'note', [f'joint_{index}' for index in range(dimensions)], 0.2, 2,
        [(0.1 * index, rng.integers(0, 255, (24, 32, 3), np.uint8)) for index in range(frames)],
        [(0.4 * index, rng.normal(size=(4, dimensions))) for index in range(chunks)],
        (times, rng.normal(size=(5, dimensions))) if recorded else None)


@pytest.mark.parametrize(('dimensions', 'frames', 'chunks', 'recorded'), [
    (7, 20, 6, True), (14, 3, 2, False), (2, 1, 1, False), (7, 0, 0, True)])
def test_picture_is_drawn(tmp_path, dimensions, frames, chunks, recorded):
    path = tmp_path / 'new' / 'run.png'
    draw(_picture(dimensions, frames, chunks, recorded), path)
    image = cv2.imread(str(path))
    assert image.shape[1] == 1320
    assert image.std() > 5


@pytest.mark.parametrize('count', [1, 2, 3])
def test_parts_have_captions_and_goal_images(tmp_path, count):
    path = tmp_path / 'run.png'
    goal = np.full((24, 32, 3), (10, 240, 20), np.uint8)
    parts = [Part(index, index + 1.0, f'part {index}\ndone', index == 0, goal if index else None)
             for index in range(count)]
    draw(dataclasses.replace(_picture(7, 30, 6, False), parts=parts), path)
    image = cv2.imread(str(path)).astype(int)
    shown = (np.abs(image[60:300] - (20, 240, 10)).max(axis=2) < 8).sum()
    assert (shown > 2000) == (count > 1)


def test_a_part_without_frames_is_drawn(tmp_path):
    picture = dataclasses.replace(
        _picture(7, 0, 0, False), parts=[Part(0.0, 1.0, 'nothing came', False)])
    draw(picture, tmp_path / 'run.png')
    assert (tmp_path / 'run.png').is_file()
