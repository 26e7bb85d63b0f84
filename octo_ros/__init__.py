"""Octo policies on ROS 2: released checkpoints in, time-stamped action chunks out.

`from octo_ros import OctoModel` is the Python interface. JAX is imported only when that name is
used, so that tools which merely read files or parameters start at once.
"""

from typing import Any

__version__ = '0.1.0'
__all__ = ['OctoModel']


def __getattr__(name: str) -> Any:
    if name == 'OctoModel':
        from octo_ros.policy.octo_model import OctoModel
        return OctoModel
    raise AttributeError(f"module 'octo_ros' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, '__version__']
