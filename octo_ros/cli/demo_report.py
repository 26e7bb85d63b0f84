"""What the demo in the simulator leaves: a table, a film and a picture."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from octo_ros.array_typing import UInt8

if TYPE_CHECKING:
    from octo_ros.nodes.demo_live import ActResult
    from octo_ros.nodes.demo_live import LiveResult
    from octo_ros.sim.film import Scene

_PRIMARY, _WRIST = 'image_primary', 'image_wrist'
REAL_TIME = 0.9
SLOW = '; this machine is slow or busy, and latencies suffer from it'
_END_FRAMES = 10  # the verdict stays that long in the film


def summary(result: 'LiveResult') -> str:
    """Returns what happened, as text."""
    rows = [('', 'task', 'told by', 'outcome'), *(
        (str(number), _task(act), act.act.told, act.outcome)
        for number, act in enumerate(result.acts, 1))]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    table = ['  ' + '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
             .rstrip() for row in rows]
    return '\n'.join(['', *table, '', *_figures(result), '', _verdict(result.acts)])


def _task(result: 'ActResult') -> str:
    first = result.act.first_words if result.act.first else ''
    return f'{first} -> {result.act.words}' if first else result.act.words


def _verdict(acts: Sequence['ActResult']) -> str:
    good = sum(act.success for act in acts)
    seeds = ', '.join(str(act.act.trial.seed) for act in acts)
    return (f'{good} of {len(acts)} done, one try each (scenes {seeds}). One try is chance: '
            '`octo-ros eval` measures success rates, --seed N shows other scenes.')


def _figures(result: 'LiveResult') -> list[str]:
    acts, seen = result.acts, result.seen
    wall_s = sum(act.wall_s for act in acts)
    robot_s = sum(act.end_s - act.begin_s for act in acts)
    chunk = seen.chunks[0].actions.shape if seen.chunks else (0, 0)
    lines = [
        ('ready after', f'{result.start_s:.1f} s (load, compile, start the simulator)'),
        ('real time', f"x {robot_s / wall_s:.2f} (the robot's time by the clock on the wall"
                      f"{SLOW if robot_s < REAL_TIME * wall_s else ''})"),
        ('chunks', f'{sum(act.chunks for act in acts) / wall_s:.1f} per second, each {chunk[0]} '
                   f'actions of {chunk[1]} numbers'),
        ('commands', f'{sum(act.commands for act in acts) / wall_s:.0f} per second')]
    latencies_ms = [1e3 * value for act in acts for value in act.latencies_s]
    if latencies_ms:
        median, p95 = np.percentile(latencies_ms, (50, 95))
        lines.append(('views to command', f'{median:.0f} ms median, {p95:.0f} ms p95 (over DDS '
                                          'both ways, inference included)'))
    for name, values in sorted(seen.diagnostics.items()):
        lines += [(key.split()[1], f'{value} ms (p50/p95/p99)') for key, value in values.items()
                  if key.startswith(('latency inference', 'latency decode'))]
        if 'rate [Hz]' in values:
            lines.append((name.split(': ')[-1], f"{values['received']} frames to the controller, "
                                                f"{values['dropped']} dropped"))
    for act in acts:
        if act.act.first is not None:
            answer = ('no new command came before the end' if act.reaction_s is None else
                      f'{1e3 * act.reaction_s:.0f} ms from the new instruction to a new command')
            lines.append((
                'change of task', f'{answer}; the gripper had come '
                f'{round(100 * act.approached_m)} cm nearer to the {act.act.first.colour} block'))
    return [f'  {name:17} {text}' for name, text in lines]


def picture(result: 'LiveResult', path: Path, note: str) -> None:
    """Draws the views with captions above the curves of the actions."""
    from octo_ros.bags.picture import Part
    from octo_ros.bags.picture import Picture
    from octo_ros.bags.picture import draw
    from octo_ros.sim.arm import STEP_S

    seen, begin_s = result.seen, result.acts[0].begin_s
    steps = np.diff([chunk.stamp_s for chunk in seen.chunks]) / STEP_S
    draw(Picture(
        title='octo_controller and a simulated ViperX 300, over DDS in real time', note=note,
        names=seen.names, step_s=STEP_S,
        executed_steps=max(1, round(float(np.median(steps)))) if len(steps) else 1,
        frames=[(frame.stamp_s - begin_s, _decoded(frame.jpeg)) for frame in seen.frames
                if frame.camera == _PRIMARY],
        chunks=[(chunk.stamp_s - begin_s, chunk.actions) for chunk in seen.chunks],
        parts=[Part(act.begin_s - begin_s, act.end_s - begin_s, _caption(act), act.success,
                    _decoded(act.goal) if act.goal else None) for act in result.acts]), path)


def _caption(result: 'ActResult') -> str:
    act = result.act
    if act.trial.condition == 'goal':
        told = f'goal image ({act.words})'
    elif act.first:
        told = f'"{act.first_words}", then "{act.words}"'
    else:
        told = f'"{act.words}"'
    return f'{told}\n{result.outcome}'


def film(result: 'LiveResult', path: Path) -> None:
    """Writes all acts as one film: MP4, or GIF with half of the frames."""
    from octo_ros.sim.film import compose
    from octo_ros.sim.video import write_video

    stamps = [frame.stamp_s for frame in result.seen.frames if frame.camera == _PRIMARY]
    step_s = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.1
    frames = []
    for number, act in enumerate(result.acts, 1):
        shown = [compose(scene) for scene in _scenes(result, act, number)]
        frames += shown + shown[-1:] * _END_FRAMES
    every = 2 if path.suffix == '.gif' else 1  # a GIF of all frames would be too much for a README
    write_video(path, frames[::every], step_s=every * step_s)


def _scenes(result: 'LiveResult', act: 'ActResult', number: int) -> list['Scene']:
    """Returns what each frame of an act shows; the last one the verdict."""
    from octo_ros.sim.film import Scene

    frames = [frame for frame in result.seen.frames
              if act.begin_s <= frame.stamp_s <= act.end_s]
    goal = _decoded(act.goal) if act.goal else None
    wrist: UInt8[np.ndarray, 'ih iw 3'] | None = None
    scenes = []
    for frame in frames:
        if frame.camera == _WRIST:
            wrist = _decoded(frame.jpeg)
            continue
        changed = act.changed_s is None or frame.stamp_s >= act.changed_s
        scenes.append(Scene(
            primary=_decoded(frame.jpeg), wrist=wrist, goal=goal,
            title=act.act.words if changed else act.act.first_words,
            text=f'{number} of {len(result.acts)}, told by {act.act.told.split(",")[0]}    '
                 f'{frame.stamp_s - act.begin_s:.1f} s'
                 f'{"    NEW INSTRUCTION" if act.changed_s and changed else ""}',
            state='running'))
    if scenes:
        last = scenes[-1]
        scenes.append(Scene(last.primary, last.wrist, goal, act.act.words,
                            f'{number} of {len(result.acts)}: {act.outcome}',
                            'done' if act.success else 'failed'))
    return scenes


def _decoded(jpeg: bytes) -> UInt8[np.ndarray, 'ih iw 3']:
    from octo_ros.messages.conversions import decode_image

    return decode_image(SimpleNamespace(format='jpeg', data=jpeg))
