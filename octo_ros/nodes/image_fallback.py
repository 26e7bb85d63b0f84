"""ROS 2's cv_bridge, where it is installed, for encodings that the package does not know."""

import importlib
import importlib.metadata
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from octo_ros.errors import ObservationError

_LOG = logging.getLogger('octo_ros.nodes')
# Releases for ROS 2 count from 2 on; 1.x is ROS 1 code, which PyPI carries and which decodes
# 16-bit and padded images wrongly without an error.
_FIRST_ROS2_RELEASE = 2


def ros_image_fallback() -> Callable[[Any], np.ndarray] | None:
    """Returns a converter of sensor_msgs/Image to uint8 RGB, or None where there is none."""
    try:
        major = int(importlib.metadata.version('cv_bridge').split('.')[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    if major < _FIRST_ROS2_RELEASE:
        return None
    try:
        bridge = importlib.import_module('cv_bridge').CvBridge()
    except Exception as error:  # built for another numpy, say: the node works without it
        _LOG.warning('cv_bridge cannot be used: %s: %s', type(error).__name__, error)
        return None

    def convert(message: Any) -> np.ndarray:
        try:
            return bridge.imgmsg_to_cv2(message, 'rgb8')
        except Exception as error:  # cv_bridge raises its own error, and OpenCV's
            raise ObservationError(
                f"encoding must be one that cv_bridge converts to rgb8, got "
                f"'{message.encoding}': {error}") from error

    return convert
