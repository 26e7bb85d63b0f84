"""What to take of a data set of another format, and what its numbers mean."""

import dataclasses
import re
from collections.abc import Mapping
from collections.abc import Sequence

from octo_ros.data.grippers import Grippers
from octo_ros.errors import DataError
from octo_ros.errors import closest

_KNOWN_CAMERAS = {
    'image_primary': ('primary', 'image_0', 'image'), 'image_secondary': ('secondary',),
    'image_wrist': ('wrist', 'wrist_image', 'image_wrist')}


@dataclasses.dataclass(frozen=True)
class ImportSpec:
    """What to take, in the words of the data set, and how the robot's profile reads it.

    Attributes:
        cameras: observation key (`image_primary`) to the feature with its frames; guessed from
            the features' names when empty.
        action: feature with the action; the usual one when None.
        state: feature with the proprio; the usual one, if it is there, when None.
        state_names: which of its numbers to take, by name, in this order; all when empty.
        instruction: feature with the instruction; the usual ones when None.
        split: part of the data set; `train` if there is one, else everything, when None.
        image_sizes: observation key to height and width, to resize frames as they are read; as
            recorded for keys that are absent.
        default_size: size for those keys instead.
        action_names: names of the action's numbers, in the order wanted.
        grippers: which of them are grippers.
        gripper: their units, to scale and check them; taken as they are when None.
        delta: whether the others are changes per step.
        angles: which of them are rotations [rad].
        step_s: duration of a policy step [s].
        reached: take the motion from the states that were reached, and a binary gripper, as Octo
            did for BridgeData.
        shortest: least number of steps of an episode.
    """

    cameras: Mapping[str, str] = dataclasses.field(default_factory=dict)
    action: str | None = None
    state: str | None = None
    state_names: tuple[str, ...] = ()
    instruction: str | None = None
    split: str | None = None
    image_sizes: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    default_size: tuple[int, int] | None = None
    action_names: tuple[str, ...] = ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper')
    grippers: tuple[int, ...] = (6,)
    gripper: Grippers | None = None
    delta: bool = True
    angles: tuple[int, ...] = (3, 4, 5)
    step_s: float = 0.2
    reached: bool = False
    shortest: int = 3

    def columns(self, where: str, size: int, names: Sequence[str] | None) -> list[int]:
        """Returns which numbers of a feature are the action's, in the order of `action_names`.

        Args:
            where: data set and feature, for the message.
            size: how many numbers the feature has.
            names: what the data set calls them, if it says.

        Raises:
            DataError: they are neither named alike nor of the same number.
        """
        if names is not None and len(names) == size and set(self.action_names) <= set(names):
            return [list(names).index(name) for name in self.action_names]
        if size == len(self.action_names):
            return list(range(size))
        told = f' ({", ".join(names)})' if names else ''
        raise DataError(
            f'{where} must have the {len(self.action_names)} numbers of the robot profile '
            f"({', '.join(self.action_names)}), got {size}{told}; name a profile that fits with "
            '--robot')

    def state_columns(self, where: str, size: int, names: Sequence[str] | None) -> list[int]:
        """Returns which numbers of a feature are the state's, in the order of `state_names`.

        Args:
            where: data set and feature, for the message.
            size: how many numbers the feature has.
            names: what the data set calls them, if it says.

        Raises:
            DataError: one that was asked for is not there.
        """
        known = list(names or ())
        for name in self.state_names:
            if name not in known:
                raise DataError(f"{where} must have the name '{name}', got "
                                f"{', '.join(known) or 'no names'}{closest(name, known)}; choose "
                                'others with --state-names, or leave it out')
        return [known.index(name) for name in self.state_names] or list(range(size))


def find_feature(where: str, name: str, known: Sequence[str], prefixes: Sequence[str] = ()) -> str:
    """Returns the feature of that name, which may lack a usual prefix.

    Raises:
        DataError: there is none; the message names the closest.
    """
    for prefix in ('', *prefixes):
        if prefix + name in known:
            return prefix + name
    ends = {feature.removeprefix(prefix): feature for prefix in ('', *prefixes)
            for feature in known}
    hint = closest(name, ends)
    raise DataError(f"{where} must have the feature '{name}', got {', '.join(known)}{hint}")


def guess_cameras(where: str, features: Sequence[str]) -> dict[str, str]:
    """Returns observation keys for features whose last word is a usual name of that camera.

    Raises:
        DataError: no name is a usual one, or there are no cameras at all.
    """
    last = {re.split(r'[./]', feature)[-1]: feature for feature in reversed(features)}
    found = {key: last[name] for key, names in _KNOWN_CAMERAS.items()
             for name in reversed(names) if name in last}
    if found:
        return found
    if not features:
        raise DataError(f'{where} must have at least one camera, got none')
    raise DataError(f'{where}: --camera must say which camera is which, such as '
                    f"--camera primary={features[0]}; there are {', '.join(features)}")
