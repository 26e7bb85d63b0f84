"""Messages for controllers, built from plain values with whichever message classes are at hand."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from octo_ros.messages.postprocess import Command


class CommandMessages:
    """Builds the output messages of one robot profile.

    Attributes:
        topics: topic name below the node's own name to message type, such as `action_chunk` to
            `trajectory_msgs/msg/JointTrajectory`: what `chunk`, `command` and `stop` can return.
    """

    def __init__(self, types: Callable[[str], type], profile: Any, *, step_ns: int) -> None:
        """Takes `types('geometry_msgs/msg/TwistStamped')` as the source of message classes."""
        self.topics: Mapping[str, str] = {}

    def chunk(self, chunk: Any) -> dict[str, Any]:
        """Returns messages by topic for a chunk that was accepted (published once)."""

    def command(self, command: Command) -> dict[str, Any]:
        """Returns messages by topic for one tick."""

    def stop(self, stamp_ns: int) -> dict[str, Any]:
        """Returns the profile's stop behaviour as messages by topic (may be none)."""
