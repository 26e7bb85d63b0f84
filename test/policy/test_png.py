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


def test_every_changed_byte_of_the_pixels_is_noticed(picture):
    rng = np.random.default_rng(1)
    begin = picture.index(b'IDAT') + 4
    for place in rng.integers(begin, len(picture) - 12, 200):
        damaged = bytearray(picture)
        damaged[place] ^= 0xff
        with pytest.raises(ValueError, match=r'wrong checksum of the chunk|truncated'):
            png.check(bytes(damaged))


def test_a_damaged_remark_costs_no_picture(picture):
    end = picture.index(b'IEND') - 4
    png.check(picture[:end] + b'\0\0\0\2tEXthi\0\0\0\0' + picture[end:])


@pytest.mark.parametrize('kept', [8, 20, 1000, -4, -12])
def test_a_truncated_picture_is_told(picture, kept):
    with pytest.raises(ValueError, match=r'truncated, \d+ bytes without an end mark'):
        png.check(picture[:kept])
