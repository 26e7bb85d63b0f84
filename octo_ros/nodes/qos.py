"""Named quality-of-service profiles; a parameter per kind of topic picks one by name."""

from rclpy.qos import DurabilityPolicy
from rclpy.qos import HistoryPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy

from octo_ros.errors import ParameterError
from octo_ros.errors import closest


def _profile(reliable: bool, depth: int, *, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


# `sensor` keeps only the newest message: an old camera frame is worth nothing to a policy, and
# best effort connects to reliable publishers as well.
_PROFILES = {
    'sensor': _profile(False, 1),
    'reliable': _profile(True, 10),
    'newest_reliable': _profile(True, 1),
    'latched': _profile(True, 1, latched=True),
}
NAMES = tuple(_PROFILES)


def named(name: str) -> QoSProfile:
    """Returns the profile of a name in `NAMES`.

    Raises:
        ParameterError: there is no profile of that name.
    """
    if name not in _PROFILES:
        raise ParameterError(
            f"A QoS profile must be one of {', '.join(NAMES)}, got '{name}'"
            f'{closest(name, NAMES)}')
    return _PROFILES[name]
