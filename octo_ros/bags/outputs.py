"""What a replay leaves behind: a table, a picture and a recording."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys.store import Typestore

from octo_ros.bags.picture import Picture
from octo_ros.bags.picture import draw
from octo_ros.bags.results import ReplayResult
from octo_ros.bags.results import Step
from octo_ros.errors import BagError
from octo_ros.errors import ObservationError
from octo_ros.messages.commands import CommandMessages
from octo_ros.messages.conversions import decode_image
from octo_ros.policy.profile import RobotProfile

NODE = '/octo_controller'
_BAG_VERSION: Literal[9] = 9


def write_csv(path: Path, steps: Sequence[Step], names: Sequence[str]) -> None:
    """Writes one row for each executed policy step; nine digits keep float32 to the bit."""
    with path.open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(['stamp_ns', 'chunk_id', 'step_index',
                        *(f'predicted_{name}' for name in names),
                        *(f'recorded_{name}' for name in names)])
        for step in steps:
            recorded = [''] * len(names) if step.recorded is None else _digits(step.recorded)
            table.writerow([step.stamp_ns, step.chunk_id, step.step_index,
                            *_digits(step.predicted), *recorded])


def write_picture(path: Path, result: ReplayResult, *, title: str, note: str,
                  names: Sequence[str], step_s: float) -> None:
    """Draws the views above predicted and recorded actions."""
    frames = []
    for log_ns, message in result.views:
        try:
            frames.append((_seconds(log_ns, result), decode_image(message)))
        except ObservationError:  # the replay has said so
            continue
    recorded = None
    if result.recorded:
        recorded = ([_seconds(stamp_ns, result) for stamp_ns, _ in result.recorded],
                    np.stack([action for _, action in result.recorded]))
    executed = max((step.step_index for step in result.steps), default=0) + 1
    draw(Picture(
        title=title, note=note, names=list(names), step_s=step_s, executed_steps=executed,
        frames=frames, recorded=recorded,
        chunks=[(_seconds(chunk.observed_ns, result), chunk.actions)
                for chunk in result.chunks]), path)


def write_bag(path: Path, result: ReplayResult, profile: RobotProfile, *, step_ns: int,
              types: Typestore) -> None:
    """Records chunks and commands as the node would have published them, into an MCAP bag.

    A bag that an earlier replay left there is replaced.

    Raises:
        BagError: something else is there.
    """
    require_room(path)
    if path.exists():
        shutil.rmtree(path)
    messages = CommandMessages(lambda name: types.types[name], profile, step_ns=step_ns)
    events = [(chunk.observed_ns, messages.chunk(chunk)) for chunk in result.chunks]
    events += [(command.stamp_ns, messages.command(command)) for command in result.commands]
    used = {topic for _, made in events for topic in made}  # commands are not told live
    with Writer(path, version=_BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            topic: writer.add_connection(f'{NODE}/{topic}', kind, typestore=types)
            for topic, kind in messages.topics.items() if topic in used}
        for stamp_ns, made in sorted(events, key=lambda event: event[0]):
            for topic, message in made.items():
                data = types.serialize_cdr(message, messages.topics[topic])
                writer.write(connections[topic], stamp_ns, data)


def require_room(path: Path) -> None:
    """Raises BagError where there is something that no earlier replay left."""
    if not path.exists():
        return
    ours = {'metadata.yaml', f'{path.name}.mcap'}
    found = {item.name for item in path.iterdir()} if path.is_dir() else {path.name}
    if not found <= ours or not path.is_dir():
        raise BagError(f'output bag {path} must be new or left by an earlier replay, got '
                       f"{', '.join(sorted(found))} there; choose another --out")


def _seconds(stamp_ns: int, result: ReplayResult) -> float:
    return (stamp_ns - result.start_ns) / 1e9


def _digits(values: Sequence[float] | np.ndarray) -> list[str]:
    return [f'{float(value):.9g}' for value in values]
