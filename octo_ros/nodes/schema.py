"""The parameters of the controller node; `settings` puts them on the node."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from octo_ros import params
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.nodes.parameters import FOREIGN_NAMES
from octo_ros.nodes.qos import NAMES
from octo_ros.params import group
from octo_ros.params import param
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.policy import PolicyParams
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.profile import check_profile

# The profile says these for loop and policy too; on the node they have one name only.
FROM_PROFILE = {
    'loop.step_s': 'profile.step_s',
    'policy.statistics_key': 'profile.statistics_key',
    'policy.normalization_type': 'profile.normalization_type',
}


# A name of a parameter, with a value or without: 'limits.per_step', 'command.type: pose'.
_QUOTED = re.compile(r"'([a-z_]+(?:\.[a-z_]+)*)(?:: [^']*)?'")


@dataclasses.dataclass(frozen=True)
class QosParams:
    """Quality of service of each kind of topic, by the names in `qos`."""

    streams: str = param('sensor', 'Of cameras, proprio and measured pose.', one_of=NAMES)
    chunks: str = param('reliable', 'Of the action chunks.', one_of=NAMES)
    commands: str = param('newest_reliable', 'Of the commands.', one_of=NAMES)


@dataclasses.dataclass(frozen=True)
class ControllerParams:
    """Everything that can be set on the controller."""

    robot: str = param('widowx', 'Robot profile: a name in config/robots, or the path of a file.')
    cameras: tuple[str, ...] = param(
        (), 'Observation keys that a camera is mapped to, each the name of a topic; none: all '
        'keys of the checkpoint.')
    transport: str = param(
        'raw', 'Type of camera and goal topics: sensor_msgs/Image or CompressedImage.',
        one_of=('raw', 'compressed'))
    proprio: bool = param(
        False, 'Feed the topic `proprio` to a checkpoint that takes proprioception.')
    proprio_names: tuple[str, ...] = param(
        (), 'Joints to take from it, in this order; none: all, as they come.')
    instruction: str = param(
        '', 'What to do, in words; the topic `instruction` changes it, too.', read_only=False)
    autostart: bool = param(
        True, 'Configure and activate at start; false: leave that to a lifecycle manager.')
    arm_at_start: bool = param(
        True, 'Let commands out once active; false: publish chunks only until ~/arm is called.')
    command_rate_hz: float = param(
        50.0, 'Rate of the control timer, and of commands that are repeated (MoveIt Servo wants '
        '20 or more); at least once in each `profile.step_s`.', unit='Hz', ge=1.0, le=1000.0)
    qos: QosParams = group(QosParams)
    policy: PolicyParams = group(PolicyParams)
    loop: LoopParams = group(LoopParams)
    profile: RobotProfile = group(RobotProfile)


def controller_leaves() -> Iterator[params.Parameter]:
    """Yields the parameters that the node has."""
    return (leaf for leaf in params.leaves(ControllerParams) if leaf.name not in FROM_PROFILE)


def in_full(text: str) -> str:
    """Returns a text with the names of parameters as they are set on the node.

    What is below the node knows `limits.per_step`, as it stands in a profile's file, or `window`;
    on the node these are `profile.limits.per_step` and `loop.window`.
    """
    return _QUOTED.sub(_replaced, text)


@contextlib.contextmanager
def full_names() -> Iterator[None]:
    """Has errors name parameters in full."""
    try:
        yield
    except OctoError as error:
        raise type(error)(in_full(str(error))) from error


def _replaced(quoted: re.Match[str]) -> str:
    name = quoted[1]
    leaves = [leaf.name for leaf in params.leaves(ControllerParams)]
    full = {FROM_PROFILE.get(leaf, leaf) for leaf in leaves if leaf.endswith(f'.{name}')}
    if name in leaves or len(full) != 1:
        return quoted[0]
    return quoted[0].replace(name, full.pop(), 1)


def build(values: Mapping[str, Any], *, source: str) -> ControllerParams:
    """Builds the parameters from values by dotted name; what the profile says goes everywhere.

    Raises:
        ParameterError: a name is unknown, a value breaks its rule, or values do not go together.
    """
    for name in values:
        if name in FROM_PROFILE:
            raise ParameterError(
                f"{source}: '{name}' belongs to the robot profile, set '{FROM_PROFILE[name]}'")
    made = params.from_flat(ControllerParams, values, source=source, beside=FOREIGN_NAMES)
    with full_names():
        check_profile(made.profile, source=source)
    if made.command_rate_hz * made.profile.step_s < 0.99:  # 30 Hz go with 0.0333 s
        raise ParameterError(
            f"{source}: 'command_rate_hz' must be at least {1.0 / made.profile.step_s:g}, once in "
            f"each 'profile.step_s' of {made.profile.step_s:g} s, got {made.command_rate_hz:g}: "
            'policy steps would be missed')
    return dataclasses.replace(
        made,
        loop=dataclasses.replace(made.loop, step_s=made.profile.step_s),
        policy=dataclasses.replace(
            made.policy,
            statistics_key=made.profile.statistics_key,
            normalization_type=made.profile.normalization_type))
