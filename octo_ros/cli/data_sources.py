"""What `octo-ros data` and `octo-ros finetune` read: recordings, and data sets."""

import argparse
import dataclasses
import functools
import itertools
import logging
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import TypeVar

from octo_ros.cli.source_options import by_camera
from octo_ros.errors import BagError
from octo_ros.errors import DataError
from octo_ros.errors import ObservationError
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.workers import worker_pool

if TYPE_CHECKING:
    from octo_ros.bags.episodes import TopicMap
    from octo_ros.bags.joint_names import JointNames
    from octo_ros.data.findings import Demonstration
    from octo_ros.data.grippers import Grippers
    from octo_ros.policy.profile import RobotProfile

_LOG = logging.getLogger('octo_ros.data')
Found = tuple[str, 'Demonstration']
_T = TypeVar('_T')
_LOOKED_AT = 64  # recordings that are opened to learn which cameras there are
_LOOK = (32, 32)  # checking needs to decode frames, not to keep them


def read_all(args: argparse.Namespace, wanted: Mapping[str, tuple[int, int]], *,
             look: bool = False) -> Iterable[Found]:
    """Yields every recording and episode, by name, with what was found in it.

    Args:
        args: the options of `source_options`.
        wanted: observation key to size, to resize frames as they are read.
        look: whether the frames of data sets are wanted for their faults only.
    """
    from rich.progress import track

    from octo_ros.data.datasets import is_dataset
    from octo_ros.policy.profile import load_profile

    if args.readers < 1:
        raise ParameterError(f'--readers must be at least 1, got {args.readers}')
    if len(set(args.state_names)) < len(args.state_names):
        raise ParameterError('--state-names must name each joint once, got '
                             + ' '.join(args.state_names))
    profile = load_profile(args.robot)
    _grippers(args, profile)  # a wrong option is no recording's fault
    parts: list[Iterator[Found]] = []
    total: int | None = 0
    for of_sets, paths in itertools.groupby(find_recordings(args.source), is_dataset):
        if of_sets:
            opened = [_open(path, args, profile, wanted, _LOOK if look else None)
                      for path in paths]
        else:
            opened = [_open_bags(list(paths), args, profile, wanted)]
        for part, count in opened:
            parts.append(part)
            total = None if total is None or count is None else total + count
    return track(itertools.chain(*parts), 'Reading recordings', total=total)


def find_recordings(sources: Sequence[Path]) -> list[Path]:
    """Returns the recordings in files and folders, in alphabetical order, and the data sets.

    Raises:
        BagError: there is none in one of them, or it is an episode set.
    """
    from octo_ros.data.datasets import is_dataset
    from octo_ros.data.store import is_episode_set

    found: list[Path] = []
    for source in sources:
        if _is_recording(source) or is_dataset(source) or source.is_file():
            found.append(source)
            continue
        inside = sorted(path for path in source.glob('*') if _is_recording(path) or is_dataset(
            path)) if source.is_dir() else []
        if not inside and is_episode_set(source):
            raise BagError(f'{source} is an episode set, which was checked when it was built; '
                           'fine-tune with it as it is, or name what it was built from')
        if not inside:
            raise BagError(f'{source} must be a rosbag2 recording, a LeRobot or RLDS data set, or '
                           'a folder of some, got none')
        found += inside
    return found


def _cameras(args: argparse.Namespace) -> dict[str, str]:
    return by_camera('--camera', args.camera)


def _open(path: Path, args: argparse.Namespace, profile: 'RobotProfile',
          wanted: Mapping[str, tuple[int, int]], default_size: tuple[int, int] | None
          ) -> tuple[Iterator[Found], int | None]:
    """Opens a data set, and says what it is."""
    from octo_ros.data.datasets import open_dataset
    from octo_ros.data.import_spec import ImportSpec

    if args.gripper:
        raise ParameterError(f'--gripper must go with recordings, got the data set {path}')
    dataset = open_dataset(path, ImportSpec(
        cameras=_cameras(args), action=args.action_topic, state=args.state,
        state_names=tuple(args.state_names),
        instruction=args.instruction_topic, split=args.split, image_sizes=wanted,
        default_size=default_size, action_names=profile.action.names,
        grippers=profile.gripper.indices, gripper=_grippers(args, profile),
        delta=profile.action.delta, angles=profile.angle_indices, step_s=profile.step_s,
        reached=args.actions == 'reached'))
    print(dataset.summary)
    return ((str(path), item) for item in dataset), dataset.total


def _open_bags(paths: Sequence[Path], args: argparse.Namespace, profile: 'RobotProfile',
               wanted: Mapping[str, tuple[int, int]]) -> tuple[Iterator[Found], int]:
    if args.split:
        raise ParameterError(f'--split must go with RLDS data sets, got the recording {paths[0]}')
    if args.state_names and not args.state:
        raise ParameterError('--state-names must go with --state, the topic that has them, got '
                             'no --state')
    cameras = _cameras(args) or _cameras_of(paths)
    read = functools.partial(_read_bag, args=args, profile=profile, wanted=wanted,
                             cameras=cameras, joints=_joints_of(paths, args, profile, cameras))
    processes = min(args.readers, len(paths))
    results = map(read, paths) if processes == 1 else _in_processes(read, paths, processes)
    return _with_faults(results), len(paths)


def _with_faults(results: Iterable[tuple[str, 'Demonstration | OctoError']]) -> Iterator[Found]:
    """Makes findings of recordings that cannot be read, if others can: else it was the options."""
    from octo_ros.data.findings import Demonstration
    from octo_ros.data.findings import Finding

    def told(path: str, error: OctoError) -> Found:
        return path, Demonstration(None, (Finding(path, 'unusable', '', None, str(error)),))

    waiting: list[tuple[str, OctoError]] = []
    fits = False
    for path, item in results:
        if not isinstance(item, OctoError):
            fits = True
            yield from itertools.starmap(told, waiting)
            waiting = []
            yield path, item
        elif fits:
            yield told(path, item)
        else:
            waiting.append((path, item))
    if waiting:
        raise waiting[0][1]


def _in_processes(read: Callable[[Path], _T], paths: Sequence[Path], processes: int
                  ) -> Iterator[_T]:
    with worker_pool(processes) as pool:
        yield from pool.imap(read, paths)


def _read_bag(path: Path, args: argparse.Namespace, profile: 'RobotProfile',
              wanted: Mapping[str, tuple[int, int]], cameras: Mapping[str, str],
              joints: 'JointNames') -> tuple[str, 'Demonstration | OctoError']:
    from octo_ros.bags.demonstrations import SamplingParams
    from octo_ros.bags.demonstrations import read_demonstration
    from octo_ros.data.grippers import with_grippers
    from octo_ros.data.relabel import reached_episode

    params = SamplingParams(step_s=profile.step_s, max_age_s=1.5 * profile.step_s)
    grippers = _grippers(args, profile)
    try:
        topics = _topics(path, args, cameras, profile)
        found = read_demonstration(
            path, topics, profile.action.names, params, wanted,
            deltas=profile.motion_indices if profile.action.delta else (),
            robot=grippers.robot(profile), joints=joints)
        found = with_grippers(found, grippers, topics.gripper or str(topics.action))
        if args.actions == 'reached' and found.episode is not None:
            found = dataclasses.replace(found, episode=reached_episode(
                found.episode, profile.gripper.indices, delta=profile.action.delta,
                angles=profile.angle_indices))
        return str(path), found
    except ParameterError:  # of an option: no recording is at fault
        raise
    except (BagError, DataError, ObservationError) as error:
        return str(path), error
    except Exception as error:  # of one recording: the others are still to be told of
        _LOG.debug('recording %s', path, exc_info=True)
        return str(path), BagError(
            f'recording {path} must be one that can be read, got {type(error).__name__}: {error}; '
            'this is an error of octo_ros, please report it')


def _grippers(args: argparse.Namespace, profile: 'RobotProfile') -> 'Grippers':
    from octo_ros.data.grippers import Grippers

    return Grippers.of(profile, args.gripper_range, reached=args.actions == 'reached',
                       commanded=bool(args.gripper))


def _cameras_of(paths: Sequence[Path]) -> dict[str, str]:
    """Returns the cameras that any of these recordings has, of some of them if they are many."""
    from octo_ros.bags.reader import IMAGE_TYPES
    from octo_ros.bags.reader import BagReader

    topics: dict[str, None] = {}
    errors = []
    for path in paths[::-(-len(paths) // _LOOKED_AT)]:
        try:
            with BagReader(path, log=False) as bag:
                topics |= dict.fromkeys(bag.topics_of(IMAGE_TYPES))
        except BagError as error:
            errors.append(error)
    if errors and not topics:
        raise errors[0]
    return _guess(list(topics))


def _joints_of(paths: Sequence[Path], args: argparse.Namespace, profile: 'RobotProfile',
               cameras: Mapping[str, str]) -> 'JointNames':
    """Returns how the first recordings that name their states and actions do so."""
    from octo_ros.bags.joint_names import JointNames
    from octo_ros.bags.joint_names import find_names
    from octo_ros.bags.reader import BagReader

    state, action = tuple(args.state_names), tuple[str, ...]()
    for path in paths:
        if action and (state or not args.state):
            break
        try:
            topics = _topics(path, args, cameras, profile)
            with BagReader(path, log=False) as bag:
                found = find_names(bag, topics, profile.action.names)
        except BagError:  # is told when it is read
            continue
        state, action = state or found.state, action or found.action
    return JointNames(state, action, chosen=bool(args.state_names))


def _topics(path: Path, args: argparse.Namespace, cameras: Mapping[str, str],
            profile: 'RobotProfile') -> 'TopicMap':
    from octo_ros.bags.command_actions import require_commands_to_fit
    from octo_ros.bags.episodes import map_topics
    from octo_ros.bags.reader import BagReader

    with BagReader(path, log=False) as bag:
        others = {'proprio': args.state} if args.state else {}
        try:
            topics = map_topics(bag, tuple(cameras), cameras=cameras, others=others,
                                instruction=args.instruction_topic, action=args.action_topic,
                                gripper=args.gripper)
            require_commands_to_fit(bag, topics, profile)
            return topics
        except OctoError as error:
            raise type(error)('; '.join([str(error), *bag.damage])) from error


def _guess(topics: Sequence[str]) -> dict[str, str]:
    """Takes `/camera_wrist/...` for `image_wrist`, and so on for the usual names."""
    found = {}
    for name in ('primary', 'secondary', 'wrist'):
        named = [topic for topic in topics if re.search(rf'(^|[/_]){name}([/_]|$)', topic)]
        if named:
            found[f'image_{name}'] = named[0]
    if not found:
        raise ParameterError(
            f"--camera must say which topic is which camera; there are {', '.join(topics)}")
    return found


def _is_recording(path: Path) -> bool:
    return path.suffix in ('.mcap', '.db3') or (path / 'metadata.yaml').is_file()
