"""The measured state of the robot, for profiles whose targets start from it."""

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.errors import ObservationError
from octo_ros.messages.conversions import decode_joint_state
from octo_ros.messages.conversions import decode_pose
from octo_ros.messages.ingest import MEASURED_JOINTS
from octo_ros.messages.ingest import MEASURED_POSE
from octo_ros.messages.ingest import Ingest
from octo_ros.policy.poses import Pose
from octo_ros.policy.profile import RobotProfile


class MeasuredState:
    """Decodes the newest measured pose or joints, if the profile can use them.

    Attributes:
        streams: names of the streams that it reads: `measured_joints` in joint space,
            `measured_pose` for pose targets, else none.
    """

    def __init__(self, profile: RobotProfile) -> None:
        """Sees what the profile can use."""
        self._names = [profile.action.names[i] for i in profile.motion_indices]
        self.streams: tuple[str, ...] = ()
        if profile.action.space == 'joint':
            self.streams = (MEASURED_JOINTS,)
        elif profile.command.type == 'pose':
            self.streams = (MEASURED_POSE,)

    def pose(self, ingest: Ingest, now_ns: int) -> Pose | None:
        """Returns a fresh pose of the end effector in the base frame, or None.

        Raises:
            ObservationError: the message is not a pose.
        """
        if MEASURED_POSE not in self.streams:
            return None
        stamped = ingest.fresh(MEASURED_POSE, now_ns)
        return None if stamped is None else decode_pose(stamped.message)

    def joints(self, ingest: Ingest, now_ns: int) -> Float[np.ndarray, 'j'] | None:
        """Returns fresh positions of the joints that are not grippers, or None.

        Raises:
            ObservationError: a joint is missing or not finite.
        """
        if MEASURED_JOINTS not in self.streams:
            return None
        stamped = ingest.fresh(MEASURED_JOINTS, now_ns)
        return None if stamped is None else decode_joint_state(stamped.message, self._names)

    def joints_if_good(self, ingest: Ingest, now_ns: int) -> Float[np.ndarray, 'j'] | None:
        """Returns `joints`, or None when they cannot be used."""
        try:
            return self.joints(ingest, now_ns)
        except ObservationError:
            return None
