"""Robot profiles: what the numbers of an action mean on one embodiment, and its limits.

A profile is a YAML file in config/robots with values only; these dataclasses are its schema. The
same names work as overrides in the controller's parameters.
"""

import dataclasses
import os
import pathlib

import yaml

from octo_ros import assets
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.params import from_nested
from octo_ros.params import group
from octo_ros.params import param


@dataclasses.dataclass(frozen=True)
class ActionParams:
    """Meaning of the numbers of one action."""

    names: tuple[str, ...] = param(
        ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'),
        'Name of every action dimension, in order; joint names in joint space.')
    space: str = param(
        'cartesian', 'Whether the numbers are an end-effector motion (x, y, z, roll, pitch, yaw '
        'first) or joint positions.', one_of=('cartesian', 'joint'))
    delta: bool = param(
        True, 'True: changes per policy step; false: absolute values.')
    frame: str = param(
        'base', 'Axes of a Cartesian delta: those of the base, with the rotation about the end '
        'effector, or those of the tool.', one_of=('base', 'tool'))
    frame_id: str = param(
        'base_link', 'TF frame of the robot base: of commands, and of the measured pose.')
    ee_frame_id: str = param('ee_link', 'TF frame of the end effector.')
    integration: str = param(
        'target', 'Deltas are added to the previous target, or to the measured state.',
        one_of=('target', 'measured'))
    euler_order: str = param(
        'sxyz', 'Axes of roll, pitch, yaw in the notation of transforms3d (s: about fixed axes, '
        'r: about moving ones).', one_of=(
            'sxyz', 'sxzy', 'syxz', 'syzx', 'szxy', 'szyx', 'rxyz', 'rxzy', 'ryxz', 'ryzx',
            'rzxy', 'rzyx'))
    start_pose: tuple[float, ...] = param(
        (), 'Pose x, y, z, roll, pitch, yaw from which targets start when no pose is measured; '
        'none: wait for a measured one.', unit='m, rad', length=6)

    @property
    def delta_frame_id(self) -> str:
        """TF frame whose axes Cartesian deltas, and so twists, are written in."""
        return self.ee_frame_id if self.frame == 'tool' else self.frame_id


@dataclasses.dataclass(frozen=True)
class GripperParams:
    """Meaning of the gripper's numbers."""

    indices: tuple[int, ...] = param(
        (6,), 'Which action dimensions are grippers; none: there is no gripper.', ge=0)
    mode: str = param(
        'absolute', 'absolute: the number is the opening. relative: its change opens or closes, '
        'and the command is held (policies trained on relative gripper actions, as the Google '
        'robot).', one_of=('absolute', 'relative'))
    open_is_one: bool = param(
        True, 'True: 1 in the action means open, 0 closed; false: the other way round.')
    binarize: bool = param(
        True, 'Publish fully open or fully closed only; false: the opening in between, too.')
    threshold: float = param(
        0.5, 'Opening (absolute), or change (relative), above which the gripper opens.',
        ge=0.0, le=1.0)
    sticky_count: int = param(
        1, 'Absolute: successive opposite readings before the gripper flips.', ge=1, le=100)
    hold_steps: int = param(
        15, 'Relative: policy steps for which a change is held.', ge=1, le=1000)
    open_value: float = param(1.0, 'Number published for fully open.')
    closed_value: float = param(0.0, 'Number published for fully closed.')


@dataclasses.dataclass(frozen=True)
class LimitParams:
    """Envelope of the commands. What lies outside is clipped and counted."""

    envelope: str = param(
        'statistics', 'Range of each action dimension: p01..p99 of the training data, or no '
        'range.', one_of=('statistics', 'none'))
    per_step: tuple[float, ...] = param(
        (), 'Greatest magnitude of each action dimension per step, grippers included (unused '
        'there); none: no such limit.', unit='m, rad', gt=0.0)
    workspace_min: tuple[float, ...] = param(
        (), 'Lower corner of the box for pose targets.', unit='m', length=3)
    workspace_max: tuple[float, ...] = param(
        (), 'Upper corner of the box for pose targets.', unit='m', length=3)
    max_speed: float = param(
        0.5, 'Greatest speed of the end effector.', unit='m/s', gt=0.0, le=10.0)
    max_rotation_speed: float = param(
        1.5, 'Greatest rotation speed of the end effector.', unit='rad/s', gt=0.0, le=20.0)


@dataclasses.dataclass(frozen=True)
class CommandParams:
    """What is published for the robot's controller."""

    type: str = param(
        'twist', 'TwistStamped (MoveIt Servo), PoseStamped (Cartesian controllers), whole chunks '
        'as JointTrajectory, Float64MultiArray (forward controllers; Cartesian deltas go out once '
        'a policy step, to be added up), or nothing but the chunk.',
        one_of=('twist', 'pose', 'joint_trajectory', 'multi_array', 'none'))
    stop: str = param(
        'hold', 'What is published when there is no action: hold the state (zero twist, the last '
        'target again, the present joints) or nothing.', one_of=('hold', 'none'))


@dataclasses.dataclass(frozen=True)
class RobotProfile:
    """One embodiment."""

    statistics_key: str = param(
        '', 'Dataset of the checkpoint whose statistics un-normalise the actions; empty: its '
        'only one.')
    normalization_type: str = param(
        '', 'How the actions were normalised in training: by mean and deviation, or p01..p99 to '
        '-1..1; empty: as the checkpoint says, normal if it says nothing.',
        one_of=('', 'normal', 'bounds'))
    step_s: float = param(
        0.2, 'Duration of a policy step of the training data.', unit='s', ge=0.001, le=10.0)
    action: ActionParams = group(ActionParams)
    gripper: GripperParams = group(GripperParams)
    limits: LimitParams = group(LimitParams)
    command: CommandParams = group(CommandParams)

    @property
    def motion_indices(self) -> tuple[int, ...]:
        """Action dimensions that are not grippers."""
        return tuple(
            i for i in range(len(self.action.names)) if i not in self.gripper.indices)

    @property
    def pose_angles(self) -> str:
        """Axes of the angles in numbers 3 to 5 of actions that are poses; '' for other actions."""
        poses = self.action.space == 'cartesian' and not self.action.delta
        return self.action.euler_order if poses else ''

    @property
    def angle_indices(self) -> tuple[int, ...]:
        """Action dimensions that are roll, pitch and yaw; none in joint space."""
        return (3, 4, 5) if self.action.space == 'cartesian' else ()


def load_profile(name_or_path: str) -> RobotProfile:
    """Reads a profile by the name of its file in config/robots, or by path.

    Raises:
        ParameterError: no such profile, or a value of it is wrong.
    """
    folder = assets.config_dir() / 'robots'
    # Unlike Path.expanduser, this leaves the home of a user that there is not as it is.
    path = pathlib.Path(os.path.expanduser(name_or_path))
    if path.suffix not in ('.yaml', '.yml'):
        path = folder / f'{name_or_path}.yaml'
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob('*.yaml'))
        raise ParameterError(
            f"The robot profile must be one of {', '.join(known)} or a YAML file, got "
            f"'{name_or_path}'{closest(name_or_path, known)}")
    try:
        tree = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except OSError as error:
        raise ParameterError(
            f'The robot profile {path} cannot be read ({error.strerror}); give another file'
        ) from error
    except UnicodeDecodeError as error:
        raise ParameterError(
            f'The robot profile {path} must be UTF-8 text, got byte '
            f'{error.object[error.start]:#04x} at {error.start}; save it in that encoding'
        ) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that cannot be
        raise ParameterError(f'The robot profile {path} must be valid YAML: {error}') from error
    if not isinstance(tree, dict):
        raise ParameterError(
            f'The robot profile {path} must map names to values, got {type(tree).__name__}')
    profile = from_nested(RobotProfile, tree, source=str(path))
    check_profile(profile, source=str(path))
    return profile


def check_profile(profile: RobotProfile, *, source: str = 'profile') -> None:
    """Checks what involves several values of a profile.

    Raises:
        ParameterError: two values do not go together.
    """
    count = len(profile.action.names)
    outside = [index for index in profile.gripper.indices if index >= count]
    if outside:
        raise ParameterError(
            f"{source}: 'gripper.indices' must be below {count}, the number of 'action.names', "
            f'got {outside[0]}')
    if len(set(profile.gripper.indices)) < len(profile.gripper.indices):
        raise ParameterError(
            f"{source}: 'gripper.indices' must name each gripper once, got "
            f'{list(profile.gripper.indices)}')
    cartesian = profile.action.space == 'cartesian'
    if cartesian and profile.motion_indices[:6] != tuple(range(6)):
        raise ParameterError(
            f"{source}: 'action.names' must begin with x, y, z, roll, pitch, yaw in Cartesian "
            f"space, got {', '.join(profile.action.names)}; set 'action.space: joint' for joints")
    fitting = ('twist', 'pose', 'multi_array', 'none') if cartesian else (
        'joint_trajectory', 'multi_array', 'none')
    if profile.command.type not in fitting:
        raise ParameterError(
            f"{source}: 'command.type' must be one of {', '.join(fitting)} for actions in "
            f"{profile.action.space} space, got '{profile.command.type}'")
    absolute = cartesian and not profile.action.delta
    if absolute and profile.command.type not in ('pose', 'none'):
        raise ParameterError(
            f"{source}: 'command.type: {profile.command.type}' must go with 'action.delta: true' "
            'in Cartesian space, got absolute actions, whose speed only targets can limit; use '
            "'command.type: pose'")
    limits = profile.limits
    if absolute and limits.per_step:
        raise ParameterError(
            f"{source}: 'limits.per_step' must be empty for absolute Cartesian actions, got "
            f"{list(limits.per_step)}; 'limits.max_speed' and 'limits.max_rotation_speed' limit "
            'how far they move in a step')
    if limits.per_step and len(limits.per_step) != count:
        raise ParameterError(
            f"{source}: 'limits.per_step' must hold one number for each of the {count} "
            f"'action.names' or none, got {len(limits.per_step)}")
    if bool(limits.workspace_min) != bool(limits.workspace_max) or any(
            low >= high for low, high in zip(
                limits.workspace_min, limits.workspace_max, strict=False)):
        raise ParameterError(
            f"{source}: 'limits.workspace_min' must be below 'limits.workspace_max' in x, y and "
            f'z, got {limits.workspace_min} and {limits.workspace_max}')
