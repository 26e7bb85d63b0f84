"""An episode of robot data in memory: what was seen, what was done, what was asked for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8
from octo_ros.errors import DataError


@dataclasses.dataclass(frozen=True)
class Episode:
    """One demonstration on the grid of policy steps: entry i of every array is step i.

    Attributes:
        name: where it comes from, for reports.
        images: observation key (`image_primary`) to RGB frames, all of one size per key.
        actions: the action taken after each observation, in the robot's units.
        instructions: the instruction and its paraphrases, the recorded one first; may be empty.
        proprio: raw proprio vectors, or None.
        present: observation key to True where the camera gave a frame; a key that is absent was
            always there. Frames that were not there are zero and masked in training.
        step_s: duration of a step [s].
        success: whether the episode reached its aim; None when nobody said.
        metadata: further values that JSON can hold (seed, robot, ...).
    """

    name: str
    images: Mapping[str, UInt8[np.ndarray, 't ih iw 3']]
    actions: Float[np.ndarray, 't ad']
    instructions: tuple[str, ...] = ()
    proprio: Float[np.ndarray, 't p'] | None = None
    present: Mapping[str, Bool[np.ndarray, 't']] = dataclasses.field(default_factory=dict)
    step_s: float = 0.2
    success: bool | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """Returns the number of steps."""
        return len(self.actions)

    def check(self) -> None:
        """Holds the arrays to each other.

        Raises:
            DataError: lengths differ, a type is wrong, or a number is not finite.
        """
        if self.actions.ndim != 2 or not len(self.actions):
            raise DataError(
                f'{self.name}: actions must have the shape (t, ad) with at least one step, got '
                f'{self.actions.shape}')
        lengths = {'actions': len(self.actions)}
        lengths |= {key: len(frames) for key, frames in self.images.items()}
        lengths |= {f'present {key}': len(mask) for key, mask in self.present.items()}
        if self.proprio is not None:
            lengths['proprio'] = len(self.proprio)
        if len(set(lengths.values())) > 1:
            listed = ', '.join(f'{key} {length}' for key, length in lengths.items())
            raise DataError(f'{self.name}: all arrays must have one length, got {listed}')
        for key, frames in self.images.items():
            if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
                raise DataError(
                    f'{self.name}: {key} must be uint8 with the shape (t, ih, iw, 3), got '
                    f'{frames.dtype} {frames.shape}')
        self._check_finite()

    def _check_finite(self) -> None:
        for key, values in (('actions', self.actions), ('proprio', self.proprio)):
            if values is None:
                continue
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                step, dimension = bad[0]
                raise DataError(
                    f'{self.name}: {key} must be finite, got {values[step, dimension]} at step '
                    f'{step} ({step * self.step_s:.2f} s), dimension {dimension}; leave the '
                    'episode out or mend it')
