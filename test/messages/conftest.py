"""Messages as rosbags makes them, and a runtime over a policy without a model."""

import types

import numpy as np
import pytest
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore

_NS = 1_000_000_000


class Messages:
    """Builds messages of the classes of a type store."""

    def __init__(self):
        self._store = get_typestore(Stores.ROS2_KILTED)

    def types(self, name):
        return self._store.types[name]

    def round_trip(self, message, name):
        """Returns the message as a reader of its bytes sees it."""
        return self._store.deserialize_cdr(self._store.serialize_cdr(message, name), name)

    def header(self, stamp_ns, frame_id=''):
        stamp = self.types('builtin_interfaces/msg/Time')(
            sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)
        return self.types('std_msgs/msg/Header')(stamp=stamp, frame_id=frame_id)

    def image(self, pixels, encoding='rgb8', *, stamp_ns=1, step=None, size=None, bigendian=0):
        """Returns an Image of an array of rows, or of rows with padding."""
        rows = np.ascontiguousarray(pixels)
        row_bytes = rows.nbytes // rows.shape[0]
        height, width = size or rows.shape[:2]
        return self.types('sensor_msgs/msg/Image')(
            header=self.header(stamp_ns), height=height, width=width, encoding=encoding,
            is_bigendian=bigendian, step=row_bytes if step is None else step,
            data=rows.reshape(-1).view(np.uint8))

    def compressed(self, data, encoding='jpeg', *, stamp_ns=1):
        return self.types('sensor_msgs/msg/CompressedImage')(
            header=self.header(stamp_ns), format=encoding, data=np.frombuffer(data, np.uint8))

    def joints(self, names, positions, *, stamp_ns=1):
        empty = np.zeros(0)
        return self.types('sensor_msgs/msg/JointState')(
            header=self.header(stamp_ns), name=list(names),
            position=np.asarray(positions, np.float64), velocity=empty, effort=empty)

    def pose(self, position, quaternion, *, stamp_ns=1, frame_id=''):
        return types.SimpleNamespace(
            header=self.header(stamp_ns, frame_id),
            pose=types.SimpleNamespace(
                position=types.SimpleNamespace(**dict(zip('xyz', position, strict=True))),
                orientation=types.SimpleNamespace(**dict(zip('xyzw', quaternion, strict=True)))))


@pytest.fixture(scope='session')
def messages():
    return Messages()
