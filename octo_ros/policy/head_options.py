"""What a caller asks of an action head, held to what that head can do."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import Array
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.model.heads.base import ActionHead
from octo_ros.model.heads.discrete import DiscreteActionHead
from octo_ros.model.octo import OctoModule
from octo_ros.policy.normalization import action_size


def find_head(module: OctoModule, name: str) -> ActionHead:
    """Returns the head of that name. Raises ParameterError when there is none."""
    if name not in module.heads:
        raise ParameterError(
            f"'head' must be one of {', '.join(module.heads)}, got '{name}'"
            f'{closest(name, module.heads)}')
    return module.heads[name]


def active_dimensions(
    head: ActionHead, statistics: Mapping[str, Any] | None, kind: str,
) -> int | None:
    """Returns how many dimensions the robot has, or None when it has all of the head's.

    None in the common case, so that raw and un-normalised actions share one compilation.

    Raises:
        ParameterError: the statistics are not those of actions, or the kind is unknown.
    """
    if statistics is None:
        return None
    count = action_size(statistics, kind)
    return count if count < head.action_dim else None


def check_options(
    head: ActionHead, *, argmax: bool | None, temperature: float | None,
) -> dict[str, Any]:
    """Returns the options that were given.

    Raises:
        ParameterError: the head has no use for them, or the temperature is not positive.
    """
    given = {'argmax': argmax, 'temperature': temperature}
    options = {name: value for name, value in given.items() if value is not None}
    if options and not isinstance(head, DiscreteActionHead):
        raise ParameterError(
            f"{' and '.join(options)} must go with a discrete action head, got "
            f'{type(head).__name__}, which has no use for it; leave it out')
    if temperature is not None and not temperature > 0:
        raise ParameterError(
            f'temperature must be > 0, got {temperature}; set argmax for the most likely actions')
    return options


def check_noise(noise: Sequence[Array] | Array | None, sample_shape: Sequence[int]) -> None:
    """Raises ParameterError for diffusion noise that was drawn for another `sample_shape`."""
    if not isinstance(noise, tuple | list) or not sample_shape:
        return
    leading = tuple(np.shape(noise[0])[:-3])
    if leading != tuple(sample_shape):
        raise ParameterError(
            f'noise must begin with sample_shape {tuple(sample_shape)}, got {leading}; '
            'give noise of the shape (*sample_shape, b, t, ah*ad)')
