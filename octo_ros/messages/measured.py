"""The measured state of the robot, for profiles whose targets start from it.

Joint states may come in parts from several publishers, and with joints that nobody asked for: the
newest good value of every joint counts until it is too old. So does the newest good pose.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.errors import ObservationError
from octo_ros.errors import closest
from octo_ros.messages.conversions import decode_pose
from octo_ros.messages.ingest import MEASURED_JOINTS
from octo_ros.messages.ingest import MEASURED_POSE
from octo_ros.messages.ingest import Ingest
from octo_ros.messages.stream import Stamped
from octo_ros.policy.poses import Pose
from octo_ros.policy.profile import RobotProfile


def measured_streams(profile: RobotProfile) -> tuple[str, ...]:
    """Returns the stream that a profile can use: joints in joint space, the pose for poses."""
    if profile.action.space == 'joint':
        return (MEASURED_JOINTS,)
    return (MEASURED_POSE,) if profile.command.type == 'pose' else ()


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What is known of the robot at one moment.

    Attributes:
        pose: of the end effector in the base frame, or None.
        joints: positions of all joints that are not grippers, or None.
        problem: why neither is known although messages come, or ''.
    """

    pose: Pose | None = None
    joints: Float[np.ndarray, 'j'] | None = None
    problem: str = ''


class MeasuredState:
    """The newest good value of every measured joint, or of the pose, with its age."""

    def __init__(self, profile: RobotProfile, ingest: Ingest) -> None:
        """Keeps the streams to read; values get too old by their measure."""
        self._ingest = ingest
        self._frame_id = profile.action.frame_id
        self._streams = measured_streams(profile)
        self._wanted: tuple[str, ...] = self._streams
        if MEASURED_JOINTS in self._streams:
            self._wanted = tuple(profile.action.names[i] for i in profile.motion_indices)
        self._known: dict[str, tuple[Any, Stamped]] = {}
        self._given: list[str] = []
        self._bad = ''
        self._lacks_since_ns: int | None = None

    def take(self, name: str) -> None:
        """Reads what has just been stored in a stream; nothing if the profile has no use for it.

        A bad value is told by the stream at once, one that does not come once that has lasted.
        """
        newest = self._ingest.stream(name).newest
        if name not in self._streams or newest is None:
            return
        good = self._pose(newest) if name == MEASURED_POSE else self._joints(newest)
        self._known.update((key, (value, newest)) for key, value in good.items())
        now_ns = newest.received_ns
        lacking = self._lacking(now_ns)
        if not lacking:
            self._lacks_since_ns = None
        elif self._lacks_since_ns is None:
            self._lacks_since_ns = now_ns
        lasts = lacking and self._ingest.too_old(self._lacks_since_ns or now_ns, now_ns)
        if self._bad or lasts:
            self._ingest.stream(name).report_bad(self._why(lacking))
        elif good and not lacking:
            self._ingest.stream(name).report_good()

    def at(self, now_ns: int) -> Measured:
        """Returns what is known at a time."""
        if not self._streams:
            return Measured()
        lacking = self._lacking(now_ns)
        if lacking:
            comes = self._ingest.fresh(self._streams[0], now_ns) is not None
            return Measured(problem=self._why(lacking) if comes else '')
        values = [self._known[key][0] for key in self._wanted]
        if MEASURED_POSE in self._streams:
            return Measured(pose=values[0])
        return Measured(joints=np.array(values, np.float64))

    def drop_later_than(self, now_ns: int) -> None:
        """Forgets what was received later than now: the clock was set back."""
        self._known = {key: known for key, known in self._known.items()
                       if known[1].received_ns <= now_ns}
        self._lacks_since_ns = None

    def _pose(self, newest: Stamped) -> dict[str, Pose]:
        self._bad = ''
        try:
            return {MEASURED_POSE: decode_pose(newest.message, self._frame_id)}
        except ObservationError as error:
            self._bad = str(error)
            return {}

    def _joints(self, newest: Stamped) -> dict[str, float]:
        self._given = list(newest.message.name)
        # A joint state may lack positions, and then its lists differ in length.
        given = {joint: float(value) for joint, value in zip(
            self._given, newest.message.position, strict=False) if joint in self._wanted}
        bad = [joint for joint, value in given.items() if not math.isfinite(value)]
        self._bad = ''
        if bad:
            self._bad = f"joint state must be finite, got NaN or infinity in {', '.join(bad)}"
        return {joint: value for joint, value in given.items() if joint not in bad}

    def _lacking(self, now_ns: int) -> list[str]:
        return [key for key in self._wanted if key not in self._known
                or self._ingest.too_old(self._known[key][1].stamp_ns, now_ns)]

    def _why(self, lacking: list[str]) -> str:
        if self._bad or not lacking:
            return self._bad
        return (f"joint states must hold the joint '{lacking[0]}', got "
                f"{', '.join(self._given) or 'none'}{closest(lacking[0], self._given)}; publish "
                "every joint of the profile that is no gripper on 'measured_joints'")
