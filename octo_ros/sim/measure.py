"""Measures the expert and the drawing: `python -m octo_ros.sim --seeds 100`."""

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any

from octo_ros.sim import scene
from octo_ros.sim.randomization import sample_layout
from octo_ros.sim.rollout import Job
from octo_ros.sim.rollout import NoiseParams
from octo_ros.sim.rollout import expert_actor
from octo_ros.sim.rollout import jobs
from octo_ros.sim.rollout import run_episode
from octo_ros.sim.rollout import run_many
from octo_ros.sim.rollout import task_for_seed
from octo_ros.sim.simulator import Simulator
from octo_ros.sim.tasks import KINDS
from octo_ros.sim.tasks import all_tasks


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval of a success rate (Wilson 1927)."""
    z = 1.96
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return (centre - half) / (1 + z * z / trials), (centre + half) / (1 + z * z / trials)


def measure_expert(kinds: Sequence[str], seeds: int, processes: int, *, noise: bool) -> None:
    """Prints success and length of the expert's episodes by task, without drawing."""
    results: dict[str, list[tuple[bool, int]]] = {}
    todo = jobs([task for task in all_tasks() if task.kind in kinds], range(seeds))
    begin = time.perf_counter()
    options: dict[str, Any] = {'noise': NoiseParams(), 'max_steps': 60} if noise else {}
    for episode in run_many(todo, processes=processes, cameras=(), **options):
        results.setdefault(episode.task.name, []).append((episode.success, len(episode)))
        if not episode.success:
            print(f'failed: {episode.task.name} seed {episode.seed}')
    wall = time.perf_counter() - begin
    for name, rows in results.items():
        good = sum(success for success, _ in rows)
        low, high = wilson(good, len(rows))
        lengths = [length for _, length in rows]
        print(f'{name:16} {good:4}/{len(rows):<4} {100 * good / len(rows):5.1f} % '
              f'[{100 * low:.1f}, {100 * high:.1f}]  steps mean {sum(lengths) / len(rows):.1f} '
              f'max {max(lengths)}')
    steps = sum(length for rows in results.values() for _, length in rows)
    print(f'{len(todo)} episodes, {steps / wall:.0f} steps/s without drawing, '
          f'{processes} processes')


def measure_drawing(frames: int = 300) -> None:
    """Prints the time of a frame of each camera, and of whole steps."""
    sim = Simulator()
    for camera in scene.CAMERAS:
        sim.render(camera)  # the first picture opens the context
        begin, cpu = time.perf_counter(), time.process_time()
        for _ in range(frames):
            sim.render(camera)
        print(f'{camera}: {(time.perf_counter() - begin) / frames * 1e3:.2f} ms a frame, '
              f'{(time.process_time() - cpu) / frames * 1e3:.2f} ms of CPU')
    begin, steps = time.perf_counter(), 0
    for seed in range(5):
        task = task_for_seed(seed, sample_layout(seed))
        steps += len(run_episode(sim, Job(task, seed), expert_actor(task)))
    print(f'{steps / (time.perf_counter() - begin):.0f} steps/s with both cameras, one process')
    sim.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog='python -m octo_ros.sim', description=__doc__)
    parser.add_argument('--seeds', type=int, default=20, help='scenes for each task')
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=KINDS)
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--noise', action='store_true', help='disturb what is executed')
    options = parser.parse_args(arguments)
    measure_drawing()
    measure_expert(options.kinds, options.seeds, options.processes, noise=options.noise)
