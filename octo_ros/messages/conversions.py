"""ROS messages to numpy: images, joint states, poses and stamps.

Messages are read by their fields only, so rclpy, rosbags and hand-made objects all do. Image
encodings are those of sensor_msgs/image_encodings.hpp; an image becomes 8-bit RGB by these rules:

- `8UC3` and `8UC4` say nothing of colour order and are taken as OpenCV's BGR and BGRA.
- 16-bit grey (`mono16`, `16UC1`) is scaled from its full range: 65535 becomes 255.
- `32FC1` is taken as intensity from 0 to 1; what lies outside is clipped and NaN becomes 0.
- An alpha channel is dropped.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8
from octo_ros.errors import ObservationError
from octo_ros.errors import closest
from octo_ros.policy import jpeg
from octo_ros.policy import png
from octo_ros.policy.poses import Pose

if hasattr(cv2, 'setLogLevel'):  # what it says of a damaged frame, our own error says
    cv2.setLogLevel(0)

_Rgb = UInt8[np.ndarray, 'ih iw 3']
_NS = 1_000_000_000
GREATEST = 1e6  # no position or motion of a robot, in whatever unit


class _Encoding(NamedTuple):
    """How pixels of an encoding lie in memory and become RGB.

    Attributes:
        dtype: numpy type of one value, without byte order.
        channels: values in one pixel as they lie in memory.
        to_rgb: OpenCV's colour code from there to RGB, or None when they are RGB or grey.
        planar: True for 4:2:0 data with half as many rows of chroma below the rows of luma.
    """

    dtype: str
    channels: int
    to_rgb: int | None = None
    planar: bool = False


# OpenCV names a Bayer pattern by its second row, ROS by its first.
_ENCODINGS = {
    'rgb8': _Encoding('u1', 3),
    'bgr8': _Encoding('u1', 3, cv2.COLOR_BGR2RGB),
    'rgba8': _Encoding('u1', 4, cv2.COLOR_RGBA2RGB),
    'bgra8': _Encoding('u1', 4, cv2.COLOR_BGRA2RGB),
    '8UC1': _Encoding('u1', 1),
    '8UC3': _Encoding('u1', 3, cv2.COLOR_BGR2RGB),
    '8UC4': _Encoding('u1', 4, cv2.COLOR_BGRA2RGB),
    'mono8': _Encoding('u1', 1),
    'mono16': _Encoding('u2', 1),
    '16UC1': _Encoding('u2', 1),
    '32FC1': _Encoding('f4', 1),
    'bayer_rggb8': _Encoding('u1', 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': _Encoding('u1', 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': _Encoding('u1', 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': _Encoding('u1', 1, cv2.COLOR_BayerGB2RGB),
    'yuv422': _Encoding('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': _Encoding('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': _Encoding('u1', 2, cv2.COLOR_YUV2RGB_YUYV),
    'yuyv': _Encoding('u1', 2, cv2.COLOR_YUV2RGB_YUYV),
    'nv12': _Encoding('u1', 1, cv2.COLOR_YUV2RGB_NV12, planar=True),
    'nv21': _Encoding('u1', 1, cv2.COLOR_YUV2RGB_NV21, planar=True),
}
ENCODINGS: tuple[str, ...] = tuple(_ENCODINGS)


def stamp_ns(message: Any) -> int:
    """Returns `header.stamp` of a message [ns]; 0 when it was never set."""
    stamp = message.header.stamp
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def decode_image(message: Any, fallback: Callable[[Any], np.ndarray] | None = None) -> _Rgb:
    """Decodes a sensor_msgs Image or CompressedImage.

    Args:
        message: the message; `encoding` tells an Image, `format` a CompressedImage.
        fallback: converts an Image whose encoding is not in `ENCODINGS` to uint8 RGB.

    Returns:
        The image; for `rgb8` it may share memory with the message.

    Raises:
        ObservationError: the image is empty, truncated or of an encoding that nobody knows.
    """
    if hasattr(message, 'encoding'):
        return _decode_raw(message, fallback)
    return _decode_compressed(message)


def _decode_raw(message: Any, fallback: Callable[[Any], np.ndarray] | None) -> _Rgb:
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is not None:
        return _to_rgb(_pixels(message, encoding), encoding)
    if fallback is None:
        raise ObservationError(
            f"image encoding must be one of {', '.join(ENCODINGS)}, got '{message.encoding}'"
            f"{closest(message.encoding, ENCODINGS)}; let the camera driver publish one of these, "
            f'or install cv_bridge of a ROS 2 distribution')
    try:
        image = np.asarray(fallback(message))
    except Exception as error:  # cv_bridge raises its own and OpenCV's types
        raise ObservationError(
            f"image encoding '{message.encoding}' could not be converted: {error}") from error
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ObservationError(
            f"image encoding '{message.encoding}' must become 8-bit RGB, got "
            f'{image.dtype} of shape {image.shape}')
    return image


def _pixels(message: Any, encoding: _Encoding) -> np.ndarray:
    """Returns a view of the pixels that honours row padding and byte order."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    dtype = np.dtype(encoding.dtype).newbyteorder('>' if message.is_bigendian else '<')
    row_bytes = width * encoding.channels * dtype.itemsize
    rows = height * 3 // 2 if encoding.planar else height
    data = np.frombuffer(message.data, np.uint8)
    if not height or not width or not data.size:
        raise ObservationError(
            f'image must hold pixels, got {width}x{height} with {data.size} bytes')
    subsampled = encoding.planar or encoding.channels == 2
    if subsampled and (width % 2 or (encoding.planar and height % 2)):
        raise ObservationError(
            f"image of encoding '{message.encoding}' must have even sides, got {width}x{height}")
    if step < row_bytes:
        raise ObservationError(
            f"image of encoding '{message.encoding}' and width {width} must have a step of at "
            f'least {row_bytes} bytes, got {step}; encoding and channels do not fit')
    needed = (rows - 1) * step + row_bytes
    if data.size < needed:
        raise ObservationError(
            f'image is truncated: {width}x{height} {message.encoding} with step {step} must have '
            f'{needed} bytes, got {data.size}')
    shape: tuple[int, ...] = (rows, width)
    strides: tuple[int, ...] = (step, encoding.channels * dtype.itemsize)
    if encoding.channels > 1:
        shape, strides = (*shape, encoding.channels), (*strides, dtype.itemsize)
    return np.ndarray(shape, dtype, data, strides=strides)


def _to_rgb(pixels: np.ndarray, encoding: _Encoding) -> _Rgb:
    if encoding.to_rgb is not None:
        return cv2.cvtColor(pixels, encoding.to_rgb)
    return pixels if encoding.channels == 3 else _grey_to_rgb(pixels)


def _grey_to_rgb(grey: np.ndarray) -> _Rgb:
    if grey.dtype.kind == 'f':
        scaled = np.nan_to_num(grey.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        grey = np.rint(np.clip(scaled, 0.0, 1.0) * 255.0)
    elif grey.dtype.itemsize == 2:
        grey = np.rint(grey * (255.0 / 65535.0))
    return cv2.cvtColor(grey.astype(np.uint8, copy=False), cv2.COLOR_GRAY2RGB)


def _decode_compressed(message: Any) -> _Rgb:
    if 'compressedDepth' in message.format:
        raise ObservationError(
            f"compressed image format must be jpeg or png, got '{message.format}'; map the "
            'colour topic of the camera')
    data = np.frombuffer(message.data, np.uint8)
    if not data.size:
        raise ObservationError(f"compressed image '{message.format}' must hold data, got 0 bytes")
    encoded = data.tobytes()
    try:
        if encoded.startswith(jpeg.START):
            return jpeg.decode_jpeg(encoded)
        if encoded.startswith(png.START):
            png.check(encoded)
    except ValueError as error:
        raise ObservationError(f"compressed image '{message.format}' is damaged: {error}; a "
                               'cable, a USB port or the bandwidth may be at fault') from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise ObservationError(
            f"compressed image must be jpeg or png, got {data.size} bytes of '{message.format}' "
            'that OpenCV cannot decode')
    if image.ndim == 2:
        return _grey_to_rgb(image)
    if image.dtype == np.uint16:
        image = np.rint(image * (255.0 / 65535.0)).astype(np.uint8)
    code = cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(image, code)


def decode_joint_state(message: Any, names: Sequence[str] = (), *,
                       length: int | None = None) -> Float[np.ndarray, 'p']:
    """Returns the positions of a sensor_msgs/JointState.

    Args:
        message: the message.
        names: joints to take, in this order; all in the message's own order when empty.
        length: number of values that the policy wants, if known.

    Raises:
        ObservationError: a joint is missing, the length is wrong, or a value is not finite or
            beyond `GREATEST`.
    """
    with np.errstate(over='ignore'):  # what is too large becomes infinite, and is told below
        values = np.asarray(message.position, np.float32)
    given = list(message.name)
    if names:
        for name in names:
            if name not in given[:values.size]:
                raise ObservationError(
                    f"joint state must hold the joint '{name}', got "
                    f'{", ".join(given) or "none"}{closest(name, given)}')
        values = values[[given.index(name) for name in names]]
    if length is not None and values.size != length:
        raise ObservationError(
            f'joint state must hold {length} positions, got {values.size}; name the joints to '
            'take, in order')
    bad = np.flatnonzero(~(np.abs(values) <= GREATEST))  # nor is NaN
    if bad.size:
        labels = list(names) or given
        where = ', '.join(labels[i] if i < len(labels) else str(i) for i in bad)
        raise ObservationError(f'joint state must be finite and at most {GREATEST:g}, got '
                               f'{", ".join(f"{values[i]:g}" for i in bad)} in {where}')
    return values


def decode_pose(message: Any, frame_id: str = '') -> Pose:
    """Returns the pose of a geometry_msgs/PoseStamped.

    Args:
        message: the message; without a `header.frame_id` it is taken to be in the wanted frame.
        frame_id: TF frame that it must be in; any when empty.

    Raises:
        ObservationError: it is in another frame, a value is not finite or the quaternion is zero.
    """
    given = message.header.frame_id
    if given and frame_id and given.lstrip('/') != frame_id.lstrip('/'):  # tf1 had a slash
        raise ObservationError(
            f"pose must be in the frame '{frame_id}' of the robot's base, got '{given}'; publish "
            "it in that frame, or set 'action.frame_id' in the robot profile if the base has "
            'another name')
    point, turn = message.pose.position, message.pose.orientation
    return Pose.from_ros(
        np.array([point.x, point.y, point.z]), np.array([turn.x, turn.y, turn.z, turn.w]))
