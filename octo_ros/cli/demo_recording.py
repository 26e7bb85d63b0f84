"""`octo-ros demo --recording`: the real controller on the shipped recording, over DDS."""

import argparse
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from octo_ros.nodes.demo_watch import Seen

INSTRUCTION = 'put the red block on the plate'
CAMERAS = {'image_primary': '/camera_primary/image_raw/compressed',
           'image_wrist': '/camera_wrist/image_raw/compressed'}
ACTIONS = '/expert_action'
ROBOT = 'widowx'
UNTRAINED = ('The weights are untrained: the curves show that the parts work together, '
             'not that the policy can do the task.')


def run(args: argparse.Namespace) -> int:
    """Plays the recording, prints what happened and leaves a picture."""
    from octo_ros.assets import shipped_recording
    from octo_ros.cli import named_checkpoint
    from octo_ros.nodes import demo_session
    begin_s = time.monotonic()
    instruction = args.instruction or INSTRUCTION
    options = demo_session.DemoOptions(
        checkpoint=named_checkpoint.checkpoint_path(args.checkpoint or named_checkpoint.UNTRAINED),
        recording=shipped_recording(), cameras=CAMERAS, robot=ROBOT, instruction=instruction,
        folder=args.out)
    print(f"Instruction: '{instruction}' (ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}, "
          'this machine only)')
    seen, start_s = demo_session.run(options, lambda text: print(f'  {text}', flush=True))
    picture = args.out / 'demo.png'
    note = '' if args.checkpoint else UNTRAINED
    draw(seen, picture, recording=options.recording, note=note,
         title=f'octo_controller: "{instruction}"')
    print(summary(seen, start_s))
    if note:
        print(note)
    print(f'Picture: {picture}\nDone in {time.monotonic() - begin_s:.0f} s.')
    return 0


def summary(seen: 'Seen', start_s: float) -> str:
    """Returns what happened as text."""
    import numpy as np

    from octo_ros.nodes.demo_watch import rate_hz
    chunks = seen.chunks
    horizon, dims = chunks[0].actions.shape
    latency_ms = 1e3 * np.array([chunk.arrival_s - chunk.stamp_s for chunk in chunks])
    lines = [
        f'  ready after       {start_s:.1f} s',
        f'  chunks            {len(chunks)} of {horizon} actions of {dims} numbers, '
        f'{rate_hz([chunk.arrival_s for chunk in chunks]):.1f} per second',
        f'  image to chunk    {np.median(latency_ms):.0f} ms median, '
        f'{np.percentile(latency_ms, 95):.0f} ms p95 (over DDS, inference included)',
        f'  commands          {len(seen.commands)} twists, '
        f'{rate_hz(seen.commands):.0f} per second']
    for name, values in sorted(seen.diagnostics.items()):
        if 'rate [Hz]' in values:
            lines.append(f"  {name.split(': ')[-1]:17} {values['received']} frames, "
                         f"{values['dropped']} dropped, {values['bad']} bad")
        stages = [(key, value) for key, value in values.items() if key.startswith('latency')]
        lines += [f"  {key.split()[1] if 'image' not in key else 'in the node':17} "
                  f'{value} ms (p50/p95/p99)' for key, value in stages]
    return '\n'.join(lines)


def draw(seen: 'Seen', path: Path, *, recording: Path, title: str, note: str) -> None:
    """Draws camera strip, predicted curves and the actions of the recording."""
    import numpy as np

    from octo_ros.bags.picture import Picture
    from octo_ros.bags.picture import draw as draw_picture
    from octo_ros.bags.reader import BagReader
    from octo_ros.messages.conversions import decode_image
    from octo_ros.policy.profile import load_profile
    camera = next(iter(CAMERAS))
    shown = [frame for frame in seen.frames if frame.camera == camera]
    start_s = min(frame.stamp_s for frame in shown)
    step_s = load_profile(ROBOT).step_s
    steps = np.diff([chunk.stamp_s for chunk in seen.chunks]) / step_s
    frames = [(frame.stamp_s - start_s,
               decode_image(SimpleNamespace(format='jpeg', data=frame.jpeg)))
              for frame in shown]
    with BagReader(recording) as bag:
        recorded = [(item.log_ns * 1e-9, item.message.position)
                    for item in bag.messages([ACTIONS])]
    begin_s = recorded[0][0]
    draw_picture(Picture(
        title=title, note=note, names=seen.names, step_s=step_s,
        executed_steps=round(float(np.median(steps))) if len(steps) else 1, frames=frames,
        chunks=[(chunk.stamp_s - start_s, chunk.actions) for chunk in seen.chunks],
        recorded=([time_s - begin_s for time_s, _ in recorded],
                  np.array([action for _, action in recorded]))), path)
