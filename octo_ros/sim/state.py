"""What is true in the scene at one moment: for success tests and the scripted expert only.

A policy never sees this; it gets an Observation.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8


@dataclasses.dataclass(frozen=True)
class SceneState:
    """Positions in the base frame [m].

    Attributes:
        ee_position: measured frame `ee`.
        target_position: commanded frame `ee`, which relative commands move.
        target_rpy: commanded roll, pitch, yaw [rad].
        opening: gap between the finger pads [m].
        blocks: centre of each block by colour.
        block_speeds: speed of each block [m/s].
        containers: centre of the bottom of plate and bowl.
    """

    ee_position: Float[np.ndarray, '3']
    target_position: Float[np.ndarray, '3']
    target_rpy: Float[np.ndarray, '3']
    opening: float
    blocks: Mapping[str, Float[np.ndarray, '3']]
    block_speeds: Mapping[str, float]
    containers: Mapping[str, Float[np.ndarray, '3']]


@dataclasses.dataclass(frozen=True)
class Observation:
    """What a robot would measure.

    Attributes:
        stamp_ns: simulated time [ns].
        images: `primary` and `wrist` RGB images; empty when nothing is drawn.
        joints: measured joint positions, in the order of viperx.JOINTS [rad].
        ee_position: measured frame `ee` in the base frame [m].
        ee_rpy: its roll, pitch, yaw [rad]; zero with the gripper straight down.
        gripper: measured opening, 1 open, 0 closed.
    """

    stamp_ns: int
    images: Mapping[str, UInt8[np.ndarray, 'ih iw 3']]
    joints: Float[np.ndarray, '6']
    ee_position: Float[np.ndarray, '3']
    ee_rpy: Float[np.ndarray, '3']
    gripper: float

    @property
    def proprio(self) -> Float[np.ndarray, '7']:
        """Position, roll, pitch, yaw and gripper, as Bridge's `state`."""
        return np.array([*self.ee_position, *self.ee_rpy, self.gripper], np.float32)
