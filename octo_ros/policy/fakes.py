"""A policy that needs no checkpoint: instant, deterministic, and it remembers what it was asked.

Meant for tests of what lies around a policy and for trying a robot's wiring without a model.
"""

import collections
import dataclasses
import math
import zlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import UInt8
from octo_ros.errors import TaskError
from octo_ros.errors import closest
from octo_ros.policy import images
from octo_ros.policy.types import Inference
from octo_ros.policy.types import PolicySpec
from octo_ros.policy.types import Task
from octo_ros.policy.types import Window

_REMEMBERED = 64
DEFAULT_SPEC = PolicySpec(
    image_sizes={'image_primary': (32, 32), 'image_wrist': (16, 16)},
    goal_keys=('image_primary', 'image_wrist'),
    uses_language=True,
    proprio_dim=0,
    window=2,
    max_window=10,
    action_horizon=4,
    action_dim=7,
    action_low=(-math.inf,) * 7,
    action_high=(math.inf,) * 7,
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a policy was prepared for."""

    image_keys: tuple[str, ...]
    window: int
    proprio: bool


class FakePolicy:
    """Actions that depend on seed, number of the inference, task and images, and on nothing else.

    All numbers lie within -scale..scale. Inputs are checked as a real policy checks them.
    """

    def __init__(
        self,
        spec: PolicySpec = DEFAULT_SPEC,
        *,
        scale: float = 0.01,
        seed: int = 0,
        before_infer: Callable[[Window], Any] | None = None,
    ) -> None:
        """Makes the policy.

        Args:
            spec: what it claims to want and give.
            scale: size of the actions.
            seed: of the stream of actions.
            before_infer: called first in every inference; may wait, or raise an OctoError.
        """
        self.spec = spec
        self.scale = scale
        self.prepared: Prepared | None = None
        self.inferences = 0
        self.windows: collections.deque[Window] = collections.deque(maxlen=_REMEMBERED)
        self.tasks: collections.deque[Task] = collections.deque(maxlen=_REMEMBERED)
        self._seed = seed
        self._before_infer = before_infer

    def prepare(
        self,
        image_keys: Sequence[str],
        *,
        window: int,
        proprio: bool = False,
        progress: Callable[[str], Any] | None = None,
    ) -> None:
        """Notes what it is prepared for; see `types.Policy`."""
        if progress is not None:
            progress('Preparing the fake policy.')
        self.prepared = Prepared(tuple(image_keys), window, proprio)

    def preprocess(
        self, key: str, image: UInt8[np.ndarray, 'ih iw 3']
    ) -> UInt8[np.ndarray, 'oh ow 3']:
        """Resizes an image to the size of its key."""
        if key not in self.spec.image_sizes:
            self._check_goal(key)
        return images.preprocess(image, self.spec.image_sizes[key])

    def check_task(self, task: Task) -> list[str]:
        """Refuses goals of unknown keys and text without a language input."""
        for key in task.goals:
            self._check_goal(key)
        if task.text is not None and not self.spec.uses_language:
            raise TaskError('This policy takes no instruction; give a goal image')
        mapped = self.prepared.image_keys if self.prepared else tuple(self.spec.image_sizes)
        missing = [key for key in self.spec.goals_in_effect(mapped) if key not in task.goals]
        if not missing:
            return []
        return [f'No goal image for {", ".join(missing)}: zeros take its place.']

    def _check_goal(self, key: str) -> None:
        if key not in self.spec.goal_keys:
            raise TaskError(
                f'The goal must be for one of {", ".join(self.spec.goal_keys) or "no key"}, '
                f"got '{key}'{closest(key, self.spec.goal_keys)}")

    def encode_task(self, task: Task) -> Mapping[str, Any]:
        """Returns a checksum of the task."""
        self.check_task(task)
        self.tasks.append(task)
        checksum = zlib.crc32((task.text or '').encode())
        for key in sorted(task.goals):
            checksum = zlib.crc32(np.ascontiguousarray(task.goals[key]).tobytes(), checksum)
        return {'checksum': checksum}

    def infer(self, window: Window, task: Any) -> Inference:
        """Returns the next chunk."""
        if self._before_infer is not None:
            self._before_infer(window)
        checksum = task['checksum']
        for frame in window.frames:
            for key in sorted(frame.images):
                checksum = zlib.crc32(np.ascontiguousarray(frame.images[key]).tobytes(), checksum)
        rng = np.random.default_rng((self._seed, self.inferences, checksum))
        self.inferences += 1
        self.windows.append(window)
        shape = (self.spec.action_horizon, self.spec.action_dim)
        actions = rng.uniform(-self.scale, self.scale, shape).astype(np.float32)
        return Inference(actions, {'preprocess': 0.0, 'model': 0.0})

    def reset(self, seed: int | None = None) -> None:
        """Starts the stream of actions anew."""
        self._seed = self._seed if seed is None else seed
        self.inferences = 0
        self.windows.clear()
