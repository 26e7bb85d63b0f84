"""Keeps DDS on this machine and apart from other ROS programs, for demos, replays and probes.

Imports nothing of ROS, so that it can set the environment before ROS reads it.
"""

import random
import socket
from collections.abc import Mapping

from octo_ros.assets import config_dir
from octo_ros.errors import OctoError

# Beyond it, DDS ports collide with those that Linux gives to clients.
LARGEST_DOMAIN = 101


def isolated(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment for a ROS program of our own.

    Args:
        environment: what the program would get otherwise; a Fast DDS profile in it stays.

    Raises:
        OctoError: no ROS domain is free.
    """
    # Humble knows only the older variable, and its successors warn of it.
    local = ({'ROS_LOCALHOST_ONLY': '1'} if environment.get('ROS_DISTRO') == 'humble' else
             {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'})
    profile = {'FASTDDS_DEFAULT_PROFILES_FILE': str(config_dir() / 'fastdds.xml')}
    return {**profile, **{name: value for name, value in environment.items() if value}, **local,
            'ROS_DOMAIN_ID': str(free_domain())}


def free_domain() -> int:
    """Returns a ROS domain in which nobody on this machine takes part.

    The first participant of a domain listens on UDP port 7410 + 250 * domain (DDSI-RTPS 9.6.1).

    Raises:
        OctoError: all are in use.
    """
    domains = list(range(1, LARGEST_DOMAIN + 1))
    random.shuffle(domains)
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', 7410 + 250 * domain))
            except OSError:
                continue
            return domain
    raise OctoError('a free ROS domain is needed, got none: end other ROS programs')
