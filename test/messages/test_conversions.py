"""Images, joint states and poses from messages, against rosbags-image and by hand."""

import array
import types

import cv2
import numpy as np
import pytest
from rosbags.image import message_to_cvimage

from octo_ros.errors import ObservationError
from octo_ros.messages.conversions import ENCODINGS
from octo_ros.messages.conversions import decode_image
from octo_ros.messages.conversions import decode_joint_state
from octo_ros.messages.conversions import decode_pose
from octo_ros.messages.conversions import stamp_ns

EIGHT_BIT = {
    'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1, 'bayer_rggb8': 1, 'bayer_bggr8': 1,
    'bayer_gbrg8': 1, 'bayer_grbg8': 1, 'yuv422': 2, 'uyvy': 2, 'yuv422_yuy2': 2, 'yuyv': 2}


def _noise(height, width, channels, dtype=np.uint8):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(height * width).integers(
        0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def _padded(pixels, extra):
    rows = pixels.reshape(pixels.shape[0], -1).view(np.uint8)
    noise = np.random.default_rng(7).integers(0, 256, (len(rows), extra), np.uint8)
    return np.hstack([rows, noise])


@pytest.mark.parametrize(('encoding', 'channels'), EIGHT_BIT.items())
@pytest.mark.parametrize('size', [(12, 16), (6, 10)])
def test_eight_bit_encodings_equal_rosbags_image(messages, encoding, channels, size):
    message = messages.image(_noise(*size, channels), encoding)
    decoded = decode_image(message)
    np.testing.assert_array_equal(decoded, message_to_cvimage(message, 'rgb8'))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (*size, 3)


@pytest.mark.parametrize(('encoding', 'channels'), EIGHT_BIT.items())
def test_row_padding_is_left_out(messages, encoding, channels):
    pixels = _noise(12, 16, channels)
    padded = _padded(pixels, 5)
    message = messages.image(padded, encoding, size=(12, 16))
    np.testing.assert_array_equal(
        decode_image(message), decode_image(messages.image(pixels, encoding)))


@pytest.mark.parametrize('encoding', ['nv12', 'nv21'])
@pytest.mark.parametrize('padding', [0, 6])
def test_planar_encodings_equal_rosbags_image(messages, encoding, padding):
    planes = _noise(18, 16, 1)  # 12 rows of luma, 6 of chroma
    expected = message_to_cvimage(messages.image(planes, encoding), 'rgb8')
    decoded = decode_image(messages.image(_padded(planes, padding), encoding, size=(12, 16)))
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
@pytest.mark.parametrize('bigendian', [0, 1])
@pytest.mark.parametrize('padding', [0, 3])
def test_16_bit_grey_is_scaled_from_its_full_range(messages, encoding, bigendian, padding):
    values = np.array([[0, 257, 65535], [128, 129, 32768]], np.uint16)
    stored = values.astype('>u2' if bigendian else '<u2')
    message = messages.image(
        _padded(stored, padding), encoding, size=(2, 3), bigendian=bigendian)
    expected = np.array([[0, 1, 255], [0, 1, 128]], np.uint8)
    np.testing.assert_array_equal(decode_image(message), np.repeat(expected[..., None], 3, 2))


def test_mono16_is_within_one_of_rosbags_image(messages):
    message = messages.image(_noise(8, 8, 1, np.uint16), 'mono16')
    expected = message_to_cvimage(message, 'mono8').astype(int)
    assert np.abs(decode_image(message)[..., 0] - expected).max() <= 1


@pytest.mark.parametrize('bigendian', [0, 1])
def test_float_grey_is_intensity_from_0_to_1(messages, bigendian):
    values = np.array([[0.0, 0.5, 1.0], [-3.0, np.nan, np.inf]], '>f4' if bigendian else '<f4')
    message = messages.image(values, '32FC1', bigendian=bigendian)
    expected = np.array([[0, 128, 255], [0, 0, 255]], np.uint8)
    np.testing.assert_array_equal(decode_image(message)[..., 1], expected)


def test_generic_8_bit_encodings_have_opencv_order(messages):
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    np.testing.assert_array_equal(
        decode_image(messages.image(pixels, '8UC3')), pixels[..., ::-1])
    with_alpha = np.dstack([pixels, np.full((1, 2), 9, np.uint8)])
    np.testing.assert_array_equal(
        decode_image(messages.image(with_alpha, '8UC4')), pixels[..., ::-1])
    np.testing.assert_array_equal(
        decode_image(messages.image(pixels[..., 0], '8UC1'))[0], [[1, 1, 1], [4, 4, 4]])


def test_data_may_be_an_array_as_rclpy_gives_it(messages):
    image = messages.image(_noise(4, 4, 3))
    fields = {name: getattr(image, name) for name in
              ('height', 'width', 'step', 'encoding', 'is_bigendian')}
    like_rclpy = types.SimpleNamespace(data=array.array('B', image.data.tobytes()), **fields)
    np.testing.assert_array_equal(decode_image(like_rclpy), decode_image(image))


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_image_that_lacks_bytes_is_refused(messages, encoding):
    image = messages.image(np.zeros((6, 64), np.uint8), encoding, size=(4, 4))
    image.data = image.data[:20]
    with pytest.raises(ObservationError, match='truncated'):
        decode_image(image)


@pytest.mark.parametrize(('height', 'width', 'data'), [(0, 4, 12), (4, 0, 12), (4, 4, 0)])
def test_empty_image_is_refused(messages, height, width, data):
    image = messages.image(np.zeros((1, max(data, 1)), np.uint8), size=(height, width))
    image.data = image.data[:data]
    with pytest.raises(ObservationError, match='must hold pixels'):
        decode_image(image)


def test_step_that_does_not_hold_the_channels_is_refused(messages):
    image = messages.image(_noise(4, 4, 1), 'rgb8', size=(4, 4))
    with pytest.raises(ObservationError, match='step of at least 12 bytes, got 4'):
        decode_image(image)


def test_odd_width_of_subsampled_colour_is_refused(messages):
    with pytest.raises(ObservationError, match='even sides'):
        decode_image(messages.image(_noise(4, 5, 2), 'yuv422'))


def test_unknown_encoding_names_the_closest(messages):
    with pytest.raises(ObservationError, match="did you mean 'rgb8'"):
        decode_image(messages.image(_noise(4, 4, 3), 'rgb88'))


def test_unknown_encoding_goes_to_the_fallback(messages):
    image = messages.image(_noise(4, 4, 3), 'odd')
    given = np.ones((4, 4, 3), np.uint8)
    assert decode_image(image, lambda message: given) is given
    with pytest.raises(ObservationError, match='8-bit RGB'):
        decode_image(image, lambda message: given[..., 0])

    def broken(message):
        raise RuntimeError('no such conversion')

    with pytest.raises(ObservationError, match='no such conversion'):
        decode_image(image, broken)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('channels', [1, 3])
def test_compressed_images_equal_rosbags_image(messages, suffix, channels):
    data = cv2.imencode(suffix, _noise(16, 16, channels))[1].tobytes()
    message = messages.compressed(data, 'rgb8; jpeg compressed bgr8')
    expected = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), 1), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(decode_image(message), expected)
    if channels == 3:
        np.testing.assert_array_equal(expected, message_to_cvimage(message, 'rgb8'))


def test_compressed_png_of_16_bit_and_with_alpha(messages):
    grey = np.array([[0, 65535]], np.uint16)
    decoded = decode_image(messages.compressed(cv2.imencode('.png', grey)[1].tobytes(), 'png'))
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 255])
    bgra = np.array([[[1, 2, 3, 4]]], np.uint8)
    decoded = decode_image(messages.compressed(cv2.imencode('.png', bgra)[1].tobytes(), 'png'))
    np.testing.assert_array_equal(decoded, [[[3, 2, 1]]])
    deep = np.array([[[65535, 0, 257]]], np.uint16)
    decoded = decode_image(messages.compressed(cv2.imencode('.png', deep)[1].tobytes(), 'png'))
    np.testing.assert_array_equal(decoded, [[[1, 0, 255]]])


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_truncated_compressed_image_is_refused(messages, suffix):
    data = cv2.imencode(suffix, _noise(64, 64, 3))[1].tobytes()
    with pytest.raises(ObservationError, match='truncated'):
        decode_image(messages.compressed(data[:len(data) // 2]))


def test_a_jpeg_that_lost_bytes_in_its_middle_is_refused(messages):
    picture = cv2.GaussianBlur(_noise(96, 128, 3), (0, 0), 3)
    data = cv2.imencode('.jpg', picture)[1].tobytes()
    middle = len(data) // 2
    with pytest.raises(ObservationError, match='is damaged: Corrupt JPEG data'):
        decode_image(messages.compressed(data[:middle] + data[middle + 100:]))


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('zeros', [64, 1100, 4096, 200_000])
def test_a_buffer_larger_than_its_compressed_image_is_not_truncated(messages, suffix, zeros):
    data = cv2.imencode(suffix, _noise(16, 16, 3))[1].tobytes()
    padded = decode_image(messages.compressed(data + bytes(zeros)))
    np.testing.assert_array_equal(padded, decode_image(messages.compressed(data)))


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_truncated_image_in_a_larger_buffer_is_refused(messages, suffix):
    data = cv2.imencode(suffix, _noise(64, 64, 3))[1].tobytes()
    with pytest.raises(ObservationError, match=r'is damaged: (truncated|wrong checksum)'):
        decode_image(messages.compressed(data[:len(data) // 2] + bytes(4096)))


@pytest.mark.parametrize(('data', 'encoding', 'match'), [
    (b'', 'jpeg', 'got 0 bytes'),
    (b'not an image', 'jpeg', 'cannot decode'),
    (b'x', '16UC1; compressedDepth png', 'jpeg or png'),
])
def test_unusable_compressed_image_is_refused(messages, data, encoding, match):
    with pytest.raises(ObservationError, match=match):
        decode_image(messages.compressed(data, encoding))


def test_real_jpeg_frames_equal_rosbags_image(shared):
    from octo_ros.bags.reader import BagReader

    with BagReader(shared / 'data' / 'bridge' / 'episode_00') as bag:
        frames = list(bag.messages(['/camera_0/image_raw/compressed']))
    assert len(frames) == 10
    for frame in frames:
        np.testing.assert_array_equal(
            decode_image(frame.message), message_to_cvimage(frame.message, 'rgb8'))


def test_stamp_is_nanoseconds(messages):
    assert stamp_ns(messages.joints([], [], stamp_ns=3_000_000_007)) == 3_000_000_007


def test_joint_state_is_ordered_by_the_names_asked_for(messages):
    state = messages.joints(['a', 'b', 'c'], [1, 2, 3])
    np.testing.assert_array_equal(decode_joint_state(state, ['c', 'a']), [3, 1])
    np.testing.assert_array_equal(decode_joint_state(state), [1, 2, 3])


@pytest.mark.parametrize(('names', 'length', 'match'), [
    (['shouldr'], None, "the joint 'shouldr', got shoulder, elbow.*did you mean 'shoulder'"),
    ([], 7, 'must hold 7 positions, got 2'),
])
def test_joint_state_that_does_not_fit_is_refused(messages, names, length, match):
    with pytest.raises(ObservationError, match=match):
        decode_joint_state(messages.joints(['shoulder', 'elbow'], [0, 1]), names, length=length)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf, 1e39, -1e30, 1e7])
def test_joint_state_with_nan_names_the_joint(messages, bad):
    with pytest.raises(ObservationError, match='in elbow'):
        decode_joint_state(messages.joints(['shoulder', 'elbow'], [0, bad]))


def test_pose_has_ros_order_of_the_quaternion(messages):
    pose = decode_pose(messages.pose([1, 2, 3], [0, 0, 1, 0]))
    np.testing.assert_array_equal(pose.position, [1, 2, 3])
    np.testing.assert_array_equal(pose.quaternion_xyzw, [0, 0, 1, 0])
    with pytest.raises(ObservationError, match='finite'):
        decode_pose(messages.pose([1, np.nan, 3], [0, 0, 1, 0]))
