"""`octo-ros demo`: the real controller on a shipped recording, over DDS, with a picture."""

import argparse
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError

if TYPE_CHECKING:
    from octo_ros.nodes.demo_session import DemoResult

INSTRUCTION = 'put the red block on the plate'
CAMERAS = {'image_primary': '/camera_primary/image_raw/compressed',
           'image_wrist': '/camera_wrist/image_raw/compressed'}
ACTIONS = '/expert_action'
ROBOT = 'widowx'
UNTRAINED = ('The weights are untrained: the curves show that the parts work together, '
             'not that the policy can do the task.')


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'demo', help='run the real controller on a shipped recording, over real DDS')
    parser.add_argument('--checkpoint', help='folder or hf:// name (the shipped, untrained one)')
    parser.add_argument('--instruction', default=INSTRUCTION, metavar='TEXT')
    parser.add_argument('--out', type=Path, default=Path('demo_out'), metavar='DIR',
                        help='where picture and logs go (demo_out)')


def run(args: argparse.Namespace) -> int:
    """Runs the demo, prints what happened and leaves a picture."""
    from octo_ros.assets import shipped_checkpoint
    from octo_ros.assets import shipped_recording
    from octo_ros.nodes.isolation import isolated
    begin_s = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    os.environ.update(isolated({
        'ROS_LOG_DIR': str(args.out.resolve() / 'log'), **os.environ}))
    try:
        from octo_ros.nodes import demo_session
    except ImportError as error:
        raise OctoError(f"the demo must have ROS 2's Python packages, got: {error}; source a ROS "
                        "installation or pip install 'octo_ros[ros]'") from error
    if not args.instruction.strip():
        raise ParameterError("--instruction must say something, got ''")
    options = demo_session.DemoOptions(
        checkpoint=args.checkpoint or str(shipped_checkpoint()), recording=shipped_recording(),
        cameras=CAMERAS, robot=ROBOT, instruction=args.instruction, folder=args.out)
    print(f"Instruction: '{args.instruction}' (ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}, "
          'this machine only)')
    result = demo_session.run(options, lambda text: print(f'  {text}', flush=True))
    picture = args.out / 'demo.png'
    note = '' if args.checkpoint else UNTRAINED
    draw(result, picture, recording=options.recording, note=note,
         title=f'octo_controller: "{args.instruction}"')
    print(summary(result))
    if note:
        print(note)
    print(f'Picture: {picture}\nDone in {time.monotonic() - begin_s:.0f} s.')
    return 0


def summary(result: 'DemoResult') -> str:
    """Returns what happened as text."""
    import numpy as np
    chunks = result.chunks
    horizon, dims = chunks[0].actions.shape
    latency_ms = 1e3 * np.array([chunk.arrival_s - chunk.stamp_s for chunk in chunks])
    lines = [
        f'  ready after       {result.start_s:.1f} s',
        f'  chunks            {len(chunks)} of {horizon} actions of {dims} numbers, '
        f'{_rate_hz([chunk.arrival_s for chunk in chunks]):.1f} per second',
        f'  image to chunk    {np.median(latency_ms):.0f} ms median, '
        f'{np.percentile(latency_ms, 95):.0f} ms p95 (over DDS, inference included)',
        f'  commands          {len(result.commands)} twists, '
        f'{_rate_hz(result.commands):.0f} per second']
    for name, values in sorted(result.diagnostics.items()):
        if 'rate [Hz]' in values:
            lines.append(f"  {name.split(': ')[-1]:17} {values['received']} frames, "
                         f"{values['dropped']} dropped, {values['bad']} bad")
        stages = [(key, value) for key, value in values.items() if key.startswith('latency')]
        lines += [f"  {key.split()[1] if 'image' not in key else 'in the node':17} "
                  f'{value} ms (p50/p95/p99)' for key, value in stages]
    return '\n'.join(lines)


def draw(result: 'DemoResult', path: Path, *, recording: Path, title: str, note: str) -> None:
    """Draws camera strip, predicted curves and the actions of the recording."""
    import numpy as np

    from octo_ros.bags.picture import Picture
    from octo_ros.bags.picture import draw as draw_picture
    from octo_ros.bags.reader import BagReader
    from octo_ros.messages.conversions import decode_image
    from octo_ros.policy.profile import load_profile
    start_s = min(stamp_s for stamp_s, _ in result.frames)
    step_s = load_profile(ROBOT).step_s
    steps = np.diff([chunk.stamp_s for chunk in result.chunks]) / step_s
    frames = [(stamp_s - start_s, decode_image(SimpleNamespace(format='jpeg', data=jpeg)))
              for stamp_s, jpeg in result.frames]
    with BagReader(recording) as bag:
        recorded = [(item.log_ns * 1e-9, item.message.position)
                    for item in bag.messages([ACTIONS])]
    begin_s = recorded[0][0]
    draw_picture(Picture(
        title=title, note=note, names=result.names, step_s=step_s,
        executed_steps=round(float(np.median(steps))) if len(steps) else 1, frames=frames,
        chunks=[(chunk.stamp_s - start_s, chunk.actions) for chunk in result.chunks],
        recorded=([time_s - begin_s for time_s, _ in recorded],
                  np.array([action for _, action in recorded]))), path)


def _rate_hz(arrivals_s: list[float]) -> float:
    span_s = arrivals_s[-1] - arrivals_s[0] if len(arrivals_s) > 1 else 0.0
    return (len(arrivals_s) - 1) / span_s if span_s else 0.0
