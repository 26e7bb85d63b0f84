"""Named QoS profiles."""

import pytest
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSCompatibility
from rclpy.qos import ReliabilityPolicy
from rclpy.qos import qos_check_compatible
from rclpy.qos import qos_profile_sensor_data

from octo_ros.errors import ParameterError
from octo_ros.nodes import qos


def test_sensor_keeps_only_the_newest_and_hears_every_camera() -> None:
    profile = qos.named('sensor')
    assert profile.depth == 1
    assert profile.reliability == ReliabilityPolicy.BEST_EFFORT
    for publisher in (qos_profile_sensor_data, qos.named('reliable'), qos.named('latched')):
        assert qos_check_compatible(publisher, profile)[0] != QoSCompatibility.ERROR


def test_latched_is_transient_local() -> None:
    assert qos.named('latched').durability == DurabilityPolicy.TRANSIENT_LOCAL


def test_every_name_has_a_profile() -> None:
    assert all(qos.named(name) is not None for name in qos.NAMES)


def test_an_unknown_name_gets_the_closest() -> None:
    with pytest.raises(ParameterError, match="got 'sensr' \\(did you mean 'sensor'\\?\\)"):
        qos.named('sensr')
