"""From an action of the policy to what a robot may be told: limits, gripper, twist, pose."""

import dataclasses

import numpy as np

from octo_ros.array_typing import Float


@dataclasses.dataclass(frozen=True)
class Command:
    """What the robot is told at one tick.

    Attributes:
        action: the limited action in the units of the profile, by `names`.
        names: names of the action dimensions.
        linear: linear velocity [m/s] by frame axes, or None for a profile without a twist.
        angular: angular velocity [rad/s], or None likewise.
        position: target position [m], or None unless the profile commands poses.
        orientation: target orientation as a quaternion x y z w (REP 103), or None likewise.
        gripper: command for the gripper in the robot's own sense, or None when it has none.
        chunk_id: number of the chunk the action comes from, counted from 0 since `reset`.
        step_index: index of the action in that chunk.
        observed_ns: stamp of the observation that the chunk was computed from [ns].
        stamp_ns: the time of this tick [ns].
        new_step: True on the first tick of a policy step, False when the command is repeated.
    """

    action: Float[np.ndarray, 'ad']
    names: tuple[str, ...]
    linear: Float[np.ndarray, '3'] | None
    angular: Float[np.ndarray, '3'] | None
    position: Float[np.ndarray, '3'] | None
    orientation: Float[np.ndarray, '4'] | None
    gripper: float | None
    chunk_id: int
    step_index: int
    observed_ns: int
    stamp_ns: int
    new_step: bool
