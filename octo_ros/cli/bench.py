"""`octo-ros bench`: latency by stage, start-up time, memory and the node's own share.

Each model is measured in a process of its own, started twice: cold, with an empty compilation
cache, and warm. The released sizes get random weights, which take as long as trained ones.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octo_ros.assets import SHIPPED
from octo_ros.assets import named_checkpoint
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest

PRESETS = ('octo-small-1.5', 'octo-base-1.5')
STAGES = {
    'inference': 'one inference: window of images in, actions out',
    'decode': 'decode a 640x480 JPEG of every camera',
    'resize': 'resize and crop the image of every camera',
    't5': 'language model (once an instruction)',
    'tokenizers': 'image and language tokens',
    'transformer': 'transformer',
    'head': 'action head (diffusion: 20 steps)',
}
START_UP = ('python_and_imports', 'load', 'compile_and_warm_up', 'first_inference', 'total')


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'bench', help='measure latency by stage, start-up time, memory and node overhead')
    parser.add_argument('models', nargs='*', metavar='MODEL',
                        help=f"{' or '.join(PRESETS)} with random weights, or a checkpoint "
                             '(both presets)')
    parser.add_argument('--repeats', type=int, default=100,
                        help='runs of each stage (%(default)s)')
    parser.add_argument('--limit', type=float, default=60.0, metavar='S',
                        help='stop repeating a stage after so many seconds (%(default)g)')
    parser.add_argument('--statistics-key', default='', metavar='KEY',
                        help='dataset whose statistics to use, where a checkpoint has '
                        'several; its only one if left')
    parser.add_argument('--no-node', action='store_true', help='leave out the node (needs no ROS)')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the figures as JSON')
    parser.add_argument('--json', action='store_true', help='print JSON in place of tables')


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    from octo_ros.nodes.isolation import isolated
    if args.repeats < 1 or not args.limit > 0:  # nor is NaN
        raise ParameterError('--repeats must be >= 1 and --limit > 0, got '
                             f'{args.repeats} and {args.limit}')
    report: dict[str, Any] = {'machine': machine(), 'models': {}}
    for name in args.models or PRESETS:
        say(f'{name}:')
        report['models'][name] = bench_model(
            name, repeats=args.repeats, limit_s=args.limit, statistics_key=args.statistics_key)
    if not args.no_node:
        say('node:')
        report['node'] = _call(['-m', 'octo_ros.nodes.overhead', str(args.repeats)],
                               isolated(os.environ))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + '\n')
    print(json.dumps(report, indent=2) if args.json else as_markdown(report))
    return 0


def bench_model(
    name: str, *, repeats: int, limit_s: float, statistics_key: str = ''
) -> dict[str, Any]:
    """Returns the figures of one model.

    Args:
        name: a preset, a checkpoint folder, `hf://owner/name[@revision]` or `shipped`.
        repeats: runs of each stage.
        limit_s: no more runs of a stage after that time [s].
        statistics_key: dataset of a checkpoint that has several.

    Raises:
        OctoError: there is no such model, or it cannot be measured.
    """
    with tempfile.TemporaryDirectory(prefix='octo_ros_bench_') as folder:
        if name in PRESETS:
            say('  make random weights')
            # On the CPU: drawing them is a program that takes a GPU minutes to compile.
            _call(['-m', 'octo_ros.cli.bench_checkpoint', name, f'{folder}/checkpoint'],
                  {'JAX_PLATFORMS': 'cpu'})
            checkpoint, statistics_key = f'{folder}/checkpoint', ''
        elif name.startswith('hf://') or named_checkpoint(name) or Path(name).is_dir():
            checkpoint = name
        else:
            names = (*PRESETS, SHIPPED)
            raise ParameterError(f"MODEL must be {', '.join(names)}, a checkpoint folder or "
                                 f"hf://owner/name, got '{name}'{closest(name, names)}")
        key = ('--statistics-key', statistics_key)
        say('  cold start')
        cold = _worker(checkpoint, folder, *key)
        say('  warm start, then each stage')
        warm = _worker(
            checkpoint, folder, *key, '--repeats', str(repeats), '--limit', str(limit_s))
    return {'start_up_s': {'cold': cold['start_up_s'], 'warm': warm['start_up_s']},
            'peak_memory_mb': cold['peak_memory_mb'], 'parameters': warm['parameters'],
            'device': warm['device'], 'stages': warm['stages']}


def machine() -> dict[str, Any]:
    """Returns what the figures were taken on; versions come from the installed packages."""
    from importlib.metadata import version
    model = platform.processor() or platform.machine()
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text().splitlines() if 'model name' in line]
        model = lines[0].split(':', 1)[1].strip() if lines else model
    return {'cpu': model, 'cpus': len(os.sched_getaffinity(0)),
            'system': f'{platform.system()} {platform.machine()}',
            'python': platform.python_version(), 'jax': version('jax'), 'flax': version('flax')}


def as_markdown(report: Mapping[str, Any]) -> str:
    """Returns the figures as Markdown tables."""
    about = report['machine']
    lines = [f"CPU: {about['cpu']}, {about['cpus']} used; {about['system']}, Python "
             f"{about['python']}, JAX {about['jax']}, Flax {about['flax']}."]
    for name, figures in report['models'].items():
        lines += ['', f"### {name} ({figures['parameters']:,} parameters) on "
                      f"{figures['device']}", '']
        lines += _latency_table(figures['stages'], STAGES)
        lines += ['', '| start-up [s] | cold | warm cache |', '|---|---:|---:|']
        lines += [f"| {part.replace('_', ' ')} | {figures['start_up_s']['cold'][part]:.2f} | "
                  f"{figures['start_up_s']['warm'][part]:.2f} |" for part in START_UP]
        lines += ['', 'Peak memory: ' + ', '.join(
            f'{what} {peak:,.0f} MB' for what, peak in figures['peak_memory_mb'].items()) + '.']
    if 'node' in report:
        lines += ['', '### The node, with a policy that answers at once', '']
        lines += _latency_table(report['node'], {
            'image_to_chunk': 'stamp of the image to arrival of the chunk',
            'image_to_command': 'stamp of the image to arrival of its first command'})
    return '\n'.join(lines)


def _latency_table(stages: Mapping[str, Mapping[str, float]],
                   meanings: Mapping[str, str]) -> list[str]:
    lines = ['| stage | median [ms] | p95 [ms] | p99 [ms] | runs | what |',
             '|---|---:|---:|---:|---:|---|']
    return lines + [
        f"| {name} | {stages[name]['median_ms']:.1f} | {stages[name]['p95_ms']:.1f} | "
        f"{stages[name]['p99_ms']:.1f} | {stages[name]['runs']} | {meaning} |"
        for name, meaning in meanings.items() if name in stages]


def _worker(checkpoint: str, folder: str, *options: str) -> dict[str, Any]:
    return _call(['-m', 'octo_ros.cli.bench_worker', checkpoint, '--cache', f'{folder}/cache',
                  '--begun', str(time.time()), *options])


def _call(arguments: list[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    result = subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                            check=False, env={**os.environ, **(environment or {})})
    if result.returncode:
        tail = '\n'.join(result.stderr.strip().splitlines()[-3:])
        raise OctoError(f'a measurement must run to its end, got exit code {result.returncode} of '
                        f'{arguments[1]}:\n{tail}')
    return json.loads(result.stdout)


def say(text: str) -> None:
    """Tells how far the benchmark is, without mixing with its figures."""
    width = shutil.get_terminal_size().columns
    print(text[:width], file=sys.stderr, flush=True)
