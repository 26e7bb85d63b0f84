"""`octo-ros data`: checks recordings and data sets, makes episode sets of them, exports sets."""

import argparse
import contextlib
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from octo_ros.cli.data_sources import read_all
from octo_ros.cli.source_options import add_source_options
from octo_ros.cli.source_options import by_camera
from octo_ros.errors import BagError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest

if TYPE_CHECKING:
    from octo_ros.data.episode import Episode
    from octo_ros.data.findings import Finding
    from octo_ros.data.store import EpisodeSet

FAILED = 1
_MOST_LINES = 200


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'data', help='check recordings and data sets, make training sets of them, export these',
        description='Reads rosbag2 recordings (one episode each), LeRobot and RLDS data sets, as '
        'training does.')
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    check = actions.add_parser(
        'check', help='report gaps, wrong rates, missing cameras, NaN, odd stamps and grippers')
    add_source_options(check)
    build = actions.add_parser(
        'build', aliases=['import'], help='write an episode set of recordings and data sets')
    build.set_defaults(action='build')
    add_source_options(build)
    build.add_argument('--out', type=Path, required=True, help='folder to make')
    build.add_argument('--overwrite', action='store_true', help='replace a set that is there')
    build.add_argument('--size', action='append', default=[], metavar='KEY=HEIGHTxWIDTH',
                       help='size of a camera, primary=256x256; as recorded if left')
    export = actions.add_parser('export', help='write an episode set in another format')
    export.add_argument('set', type=Path, help='an episode set, as `data build` makes')
    export.add_argument('out', type=Path, help='folder to make')
    export.add_argument('--format', choices=('lerobot',), default='lerobot', help='(lerobot)')
    export.add_argument('--version', default='v3.0', help='of the format: v3.0 or v2.1 (v3.0)')
    export.add_argument('--codec', default='h264', help='of the videos: h264 or av1 (h264)')
    export.add_argument('--robot', default='widowx',
                        help='robot profile that names the actions: a name, or a YAML file')
    export.add_argument('--overwrite', action='store_true',
                        help='replace a data set that is there')


def run(args: argparse.Namespace) -> int:
    """Checks, builds or exports; returns 1 when a check found faults."""
    if args.action == 'export':
        return _export(args)
    if args.action == 'build':
        from octo_ros.data.replacing import check_apart
        check_apart(args.out, args.source)
        episodes = build(args, args.out, sizes(args.size), overwrite=args.overwrite)
        print(f'{len(episodes)} episodes with {episodes.steps} steps in {args.out}')
        return 0
    found = [demonstration for _, demonstration in read_all(args, {}, look=True)]
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

    findings: list[Finding] = []
    with contextlib.ExitStack() as stack:
        writer: EpisodeWriter | None = None
        for episode in _chosen(args, wanted, findings):
            if writer is None:
                check_cameras(sizes(args.size), episode.images)
                found = {key: wanted.get(key, (frames.shape[1], frames.shape[2]))
                         for key, frames in episode.images.items()}
                writer = stack.enter_context(EpisodeWriter(folder, found, overwrite=overwrite))
            writer.add(episode)
        report(findings)
        if writer is None:
            raise BagError('at least one recording must be usable, got none; see above')
    return EpisodeSet(folder)


def _chosen(args: argparse.Namespace, wanted: Mapping[str, tuple[int, int]],
            findings: list['Finding']) -> Iterator['Episode']:
    """Yields the episodes to take, collects the faults, and says how many were left out."""
    faulty = failed = 0
    for path, item in read_all(args, wanted):
        findings += item.findings
        if item.findings and args.faults == 'stop':
            report(item.findings)
            raise BagError(f'recording {path} has faults; mend it, or use --faults skip|mend')
        if item.episode is None or (item.findings and args.faults == 'skip'):
            faulty += 1
        elif item.episode.success is False and not args.keep_failures:
            failed += 1
        else:
            yield item.episode
    if faulty:
        print(f'{faulty} recordings left out')
    if failed:
        print(f'{failed} episodes that did not succeed left out; --keep-failures takes them')


def _export(args: argparse.Namespace) -> int:
    from rich.progress import track

    from octo_ros.data.datasets import needed_packages
    from octo_ros.data.store import EpisodeSet
    from octo_ros.policy.profile import load_profile

    with needed_packages('LeRobot data sets'):
        from octo_ros.data.lerobot_writer import export_lerobot
    episodes = EpisodeSet(args.set)
    export_lerobot(
        episodes, args.out, version=args.version, codec=args.codec,
        action_names=load_profile(args.robot).action.names, robot=Path(args.robot).stem,
        overwrite=args.overwrite, track=lambda numbers: track(
            numbers, 'Writing episodes', total=len(episodes)))
    print(f'{len(episodes)} episodes with {episodes.steps} steps in {args.out}, LeRobot '
          f'{args.version}')
    return 0


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


def sizes(values: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Reads `primary=256x256` options.

    Raises:
        ParameterError: another form, no pixel, or two sizes for one camera.
    """
    found = {}
    for key, text in by_camera('--size', values).items():
        match = re.fullmatch(r'(\d+)x(\d+)', text)
        size = (int(match[1]), int(match[2])) if match else (0, 0)
        if min(size) < 1:
            raise ParameterError('--size must be like primary=256x256, of at least 1x1 pixel, got '
                                 f"'{key.removeprefix('image_')}={text}'")
        found[key] = size
    return found


def check_cameras(keys: Iterable[str], cameras: Iterable[str]) -> None:
    """Raises ParameterError for a size of a camera that there is not; takes observation keys."""
    known = [camera.removeprefix('image_') for camera in cameras]
    for name in (key.removeprefix('image_') for key in keys):
        if name not in known:
            raise ParameterError(f"--size must name one of {', '.join(known)}, got '{name}'"
                                 f'{closest(name, known)}')
