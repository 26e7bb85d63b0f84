"""Whether the cameras that are mapped fit the policy."""

from collections.abc import Sequence

from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.policy.types import PolicySpec


def checked_image_keys(image_keys: Sequence[str], spec: PolicySpec) -> tuple[str, ...]:
    """Returns the mapped keys in the checkpoint's order. Raises ParameterError."""
    for key in image_keys:
        if key not in spec.image_sizes:
            raise ParameterError(
                f"camera must be mapped to one of the checkpoint's image keys "
                f"({', '.join(spec.image_sizes)}), got '{key}'{closest(key, spec.image_sizes)}")
    return tuple(key for key in spec.image_sizes if key in image_keys)
