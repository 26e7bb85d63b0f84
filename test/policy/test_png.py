"""Tests of PNG pictures, whole and damaged."""

import cv2
import numpy as np
import pytest

from octo_ros.policy import png


@pytest.fixture(scope='module')
def picture():
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return cv2.imencode('.png', noise)[1].tobytes()


def test_a_whole_picture_passes_with_anything_behind_it(picture):
    png.check(picture)
    png.check(picture + bytes(100))
    assert picture.startswith(png.START)


def test_every_changed_byte_is_noticed(picture):
    rng = np.random.default_rng(1)
    for place in rng.integers(len(png.START), len(picture), 200):
        damaged = bytearray(picture)
        damaged[place] ^= 0xff
        with pytest.raises(ValueError, match=r'wrong checksum of the chunk|truncated'):
            png.check(bytes(damaged))


@pytest.mark.parametrize('kept', [8, 20, 1000, -4, -12])
def test_a_truncated_picture_is_told(picture, kept):
    with pytest.raises(ValueError, match=r'truncated, \d+ bytes without an end mark'):
        png.check(picture[:kept])
