"""`octo-ros data`: checks recordings, and makes the episode sets that training reads."""

import argparse
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from octo_ros.errors import BagError
from octo_ros.errors import ParameterError

if TYPE_CHECKING:
    from octo_ros.bags.episodes import TopicMap
    from octo_ros.data.findings import Demonstration
    from octo_ros.data.findings import Finding
    from octo_ros.data.store import EpisodeSet

FAILED = 1
_MOST_LINES = 200


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'data', help='check recordings and make training sets of them',
        description='Reads rosbag2 recordings, one episode each, as training does.')
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    check = actions.add_parser(
        'check', help='report gaps, wrong rates, missing cameras, NaN and odd stamps')
    add_source_options(check)
    build = actions.add_parser('build', help='write an episode set')
    add_source_options(build)
    build.add_argument('--out', type=Path, required=True, help='folder to make')
    build.add_argument('--overwrite', action='store_true', help='replace a set that is there')
    build.add_argument('--size', action='append', default=[], metavar='KEY=HEIGHTxWIDTH',
                       help='size of a camera, primary=256x256; as recorded if left')


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what recordings hold."""
    parser.add_argument('source', nargs='+', type=Path,
                        help='recordings, or folders that hold recordings')
    parser.add_argument('--robot', default='widowx', help='robot profile: a name, or a YAML file')
    parser.add_argument('--camera', action='append', default=[], metavar='KEY=TOPIC',
                        help='topic of a camera, primary=/camera/image_raw; once for each')
    parser.add_argument('--state', metavar='TOPIC', help='JointState topic for proprio')
    parser.add_argument('--action-topic', metavar='TOPIC',
                        help='the action; /expert_action or /action if there')
    parser.add_argument('--instruction-topic', metavar='TOPIC', help='/instruction if there')
    parser.add_argument('--faults', choices=('skip', 'mend', 'stop'), default='mend',
                        help='recordings with faults: leave them out, take what is left after '
                        'mending, or stop (mend)')


def run(args: argparse.Namespace) -> int:
    """Checks or builds; returns 1 when a check found faults."""
    if args.action == 'build':
        episodes = build(args, args.out, sizes(args.size), overwrite=args.overwrite)
        print(f'{len(episodes)} episodes with {episodes.steps} steps in {args.out}')
        return 0
    found = [demonstration for _, demonstration in read_all(args, {})]
    findings = [finding for item in found for finding in item.findings]
    report(findings)
    sound = sum(not item.findings for item in found)
    usable = sum(item.episode is not None for item in found)
    print(f'{len(found)} recordings: {sound} sound, {usable} usable, {len(findings)} faults')
    return FAILED if findings else 0


def build(args: argparse.Namespace, folder: Path, wanted: Mapping[str, tuple[int, int]], *,
          overwrite: bool = False) -> 'EpisodeSet':
    """Writes the recordings into a set; sizes that are not given are those of the first one."""
    from octo_ros.data.store import EpisodeSet
    from octo_ros.data.store import EpisodeWriter

    writer: EpisodeWriter | None = None
    findings: list[Finding] = []
    left_out = 0
    try:
        for path, item in read_all(args, wanted):
            findings += item.findings
            episode = item.episode
            if item.findings and args.faults == 'stop':
                report(item.findings)
                raise BagError(f'recording {path} has faults; mend it, or use --faults skip|mend')
            if episode is None or (item.findings and args.faults == 'skip'):
                left_out += 1
                continue
            if writer is None:
                found = {key: wanted.get(key, (frames.shape[1], frames.shape[2]))
                         for key, frames in episode.images.items()}
                writer = EpisodeWriter(folder, found, overwrite=overwrite)
            writer.add(episode)
    except BaseException as error:
        if writer is not None:
            writer.__exit__(type(error), error, None)
        raise
    report(findings)
    if left_out:
        print(f'{left_out} recordings left out')
    if writer is None:
        raise BagError('at least one recording must be usable, got none; see the faults above')
    writer.__exit__(None, None, None)
    return EpisodeSet(folder)


def read_all(args: argparse.Namespace, wanted: Mapping[str, tuple[int, int]]
             ) -> Iterable[tuple[Path, 'Demonstration']]:
    """Yields every recording with what was found in it."""
    from rich.progress import track

    from octo_ros.bags.demonstrations import SamplingParams
    from octo_ros.bags.demonstrations import read_demonstration
    from octo_ros.policy.profile import load_profile

    profile = load_profile(args.robot)
    params = SamplingParams(step_s=profile.step_s, max_age_s=1.5 * profile.step_s)
    for path in track(find_recordings(args.source), 'Reading recordings'):
        topics = _topics(path, args)
        yield path, read_demonstration(path, topics, profile.action.names, params, wanted)


def find_recordings(sources: Sequence[Path]) -> list[Path]:
    """Returns the recordings in files and folders, in alphabetical order.

    Raises:
        BagError: there is none in one of them.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_file() or _is_recording(source):
            found.append(source)
            continue
        inside = sorted(path for path in source.glob('*') if _is_recording(path)) if (
            source.is_dir()) else []
        if not inside:
            raise BagError(f'{source} must be a rosbag2 recording or a folder of some, got none')
        found += inside
    return found


def report(findings: Sequence['Finding']) -> None:
    """Prints the faults as a table."""
    from rich.console import Console
    from rich.table import Table

    if not findings:
        return
    table = Table('recording', 'time [s]', 'topic', 'fault', 'what', title='Faults')
    for item in findings[:_MOST_LINES]:
        time_s = '' if item.time_s is None else f'{item.time_s:.2f}'
        table.add_row(Path(item.source).name, time_s, item.topic, item.kind, item.text)
    Console(width=160).print(table)
    if len(findings) > _MOST_LINES:
        print(f'… and {len(findings) - _MOST_LINES} more')


def pairs(option: str, values: Sequence[str]) -> dict[str, str]:
    """Splits KEY=VALUE options. Raises ParameterError for another form."""
    found = {}
    for value in values:
        key, equals, rest = value.partition('=')
        if not (key and equals and rest):
            raise ParameterError(f"{option} must have the form KEY=VALUE, got '{value}'")
        found[key] = rest
    return found


def full_key(key: str) -> str:
    """Returns the observation key of a camera: `primary` is `image_primary`."""
    return key if key.startswith('image_') else f'image_{key}'


def _topics(path: Path, args: argparse.Namespace) -> 'TopicMap':
    from octo_ros.bags.episodes import map_topics
    from octo_ros.bags.reader import IMAGE_TYPES
    from octo_ros.bags.reader import BagReader

    cameras = {full_key(key): topic for key, topic in pairs('--camera', args.camera).items()}
    with BagReader(path) as bag:
        if not cameras:
            cameras = _guess(bag.topics_of(IMAGE_TYPES))
        others = {'proprio': args.state} if args.state else {}
        return map_topics(bag, tuple(cameras), cameras=cameras, others=others,
                          instruction=args.instruction_topic, action=args.action_topic)


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


def sizes(values: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Reads `primary=256x256` options. Raises ParameterError for another form."""
    found = {}
    for key, text in pairs('--size', values).items():
        match = re.fullmatch(r'(\d+)x(\d+)', text)
        if not match:
            raise ParameterError(f"--size must be like primary=256x256, got '{key}={text}'")
        found[full_key(key)] = (int(match[1]), int(match[2]))
    return found


def _is_recording(path: Path) -> bool:
    return path.suffix in ('.mcap', '.db3') or (path / 'metadata.yaml').is_file()
