"""The options that say what recordings and data sets hold."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from octo_ros.errors import ParameterError


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what recordings and data sets hold."""
    parser.add_argument('source', nargs='+', type=Path,
                        help='recordings, folders of recordings, LeRobot or RLDS data sets, '
                        'hf://datasets/owner/name')
    parser.add_argument('--robot', default='widowx', help='robot profile: a name, or a YAML file')
    parser.add_argument('--camera', action='append', default=[], metavar='KEY=TOPIC',
                        help='topic or feature of a camera, primary=/camera/image_raw, '
                        'primary=observation.images.top; once for each')
    parser.add_argument('--state', metavar='TOPIC',
                        help='JointState topic, or feature, for proprio')
    parser.add_argument('--state-names', nargs='+', default=[], metavar='JOINT',
                        help="joints to take from it, in the order of the node's proprio_names; "
                        'all if left, in the order of the first recording')
    parser.add_argument('--action-topic', metavar='TOPIC',
                        help='topic or feature of the action; the usual one if there')
    parser.add_argument('--gripper', metavar='TOPIC',
                        help='Float64MultiArray of the gripper, for a topic of TwistStamped or '
                        "PoseStamped actions; from the profile's gripper.closed_value to "
                        'gripper.open_value, or as --gripper-range says')
    parser.add_argument('--instruction-topic', metavar='TOPIC',
                        help='topic or feature of the instruction; the usual one if there')
    parser.add_argument('--faults', choices=('skip', 'mend', 'stop'), default='mend',
                        help='recordings with faults: leave them out, take what is left after '
                        'mending, or stop (mend)')
    parser.add_argument('--keep-failures', action='store_true',
                        help='take episodes that did not succeed, too; they are left out else, '
                        'where a recording says so')
    parser.add_argument('--readers', type=int, default=1, metavar='N',
                        help='processes that read recordings (1)')
    parser.add_argument('--actions', choices=('recorded', 'reached'), default='recorded',
                        help='take motions as recorded, or from the states that were reached, '
                        'with a binary gripper, as Octo was trained on BridgeData (recorded)')
    parser.add_argument('--gripper-range', nargs=2, type=float, metavar=('CLOSED', 'OPEN'),
                        help='recorded numbers of a closed and an open gripper, which are scaled '
                        "to the policy's 0 to 1; left: these already")
    parser.add_argument('--split', help='part of an RLDS data set (train)')


def options_of_recordings(args: argparse.Namespace) -> list[str]:
    """Returns the given options of `add_source_options` that say how recordings are read."""
    parser = argparse.ArgumentParser()
    add_source_options(parser)
    left = vars(parser.parse_args(['any']))
    return ['--' + name.replace('_', '-') for name, value in left.items()
            if name not in ('source', 'robot', 'readers') and getattr(args, name) != value]


def pairs(option: str, values: Sequence[str]) -> dict[str, str]:
    """Splits KEY=VALUE options. Raises ParameterError for another form."""
    return dict(_split(option, value) for value in values)


def by_camera(option: str, values: Sequence[str]) -> dict[str, str]:
    """Splits KEY=VALUE options, with the observation keys of cameras for keys.

    Raises:
        ParameterError: another form, or two values for one camera.
    """
    found: dict[str, str] = {}
    for value in values:
        key, rest = _split(option, value)
        name = full_key(key)
        if name in found:
            raise ParameterError(
                f"'{option}' must name '{name}' once, got {found[name]} and {rest}")
        found[name] = rest
    return found


def _split(option: str, value: str) -> tuple[str, str]:
    key, _, rest = value.partition('=')
    if not (key and rest):
        raise ParameterError(f"'{option}' must be KEY=VALUE, got '{value}'")
    return key, rest


def full_key(key: str) -> str:
    """Returns the observation key of a camera: `primary` is `image_primary`."""
    return key if key.startswith('image_') else f'image_{key}'
