"""Tests of JPEG pictures, whole and damaged."""

import cv2
import numpy as np
import pytest

from octo_ros.policy.jpeg import decode_jpeg

RESTART = b'\xff\xd1'  # a marker between the parts of a picture


def picture(height=96, width=128):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def encode(image, *options):
    return cv2.imencode('.jpg', image, [*options])[1].tobytes()


@pytest.mark.parametrize('options', [
    (), (cv2.IMWRITE_JPEG_QUALITY, 60), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)])
@pytest.mark.parametrize('shape', [(96, 128), (101, 77)])
def test_pixels_equal_those_of_opencv(options, shape):
    data = encode(picture(*shape), *options)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_jpeg(data), expected[..., ::-1])


@pytest.mark.parametrize('lost', [20, 200, 1000])
def test_a_picture_that_lost_bytes_in_its_middle_is_refused(lost):
    data = encode(picture())
    middle = len(data) // 2
    with pytest.raises(ValueError, match='Corrupt JPEG data'):
        decode_jpeg(data[:middle] + data[middle + lost:])


def test_bytes_too_many_before_a_marker_cost_nothing():
    data = encode(picture(), cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    place = data.index(RESTART)
    np.testing.assert_array_equal(
        decode_jpeg(data[:place] + b'\x12\x34' + data[place:]), decode_jpeg(data))


@pytest.mark.parametrize('zeros', [0, 4096])
def test_a_truncated_picture_is_told(zeros):
    data = encode(picture())
    with pytest.raises(ValueError, match=r'truncated, \d+ bytes without an end mark'):
        decode_jpeg(data[:len(data) // 2] + bytes(zeros))


@pytest.mark.parametrize('trailing', [b'\xff' * 2000, bytes(5000), b'stale' * 1000])
def test_whatever_lies_behind_a_picture_in_its_buffer_costs_nothing(trailing):
    data = encode(picture())
    np.testing.assert_array_equal(decode_jpeg(data + trailing), decode_jpeg(data))


def test_a_picture_with_a_hole_is_refused_wherever_that_is():
    whole = encode(picture(200, 300))
    for place in np.random.default_rng(0).integers(700, len(whole) - 300, 200):
        with pytest.raises(ValueError, match='Corrupt JPEG data'):
            decode_jpeg(whole[:place] + bytes(200) + whole[place + 200:])


@pytest.mark.parametrize('data', [b'', b'\xff\xd8', b'\xff\xd8junk', b'no picture'])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(ValueError, match=r'\w'):
        decode_jpeg(data)
