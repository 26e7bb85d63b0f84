"""`octo-ros doctor`: looks at this machine and says what is missing, with the fix."""

import argparse
import dataclasses
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

OK, WARNING, FAILURE = 'ok', 'warning', 'failure'
OLDEST_PYTHON = (3, 10)
PROBE_TIMEOUT_S = 40

# module, distribution, what it is for
PACKAGES = (
    ('jax', 'jax', 'runs the model'),
    ('flax', 'flax', 'runs the model'),
    ('jaxtyping', 'jaxtyping', 'shapes of arrays'),
    ('orbax.checkpoint', 'orbax-checkpoint', 'reads newer checkpoints'),
    ('msgpack', 'msgpack', 'reads checkpoints'),
    ('numpy', 'numpy', 'arrays'),
    ('cv2', 'opencv-python-headless', 'decodes images'),
    ('simplejpeg', 'simplejpeg', 'decodes JPEG, and tells what is damaged'),
    ('yaml', 'pyyaml', 'reads robot profiles'),
    ('transforms3d', 'transforms3d', 'rotations of poses'),
    ('sentencepiece', 'sentencepiece', 'reads instructions'),
    ('huggingface_hub', 'huggingface_hub', 'fetches hf:// checkpoints'),
    ('rosbags', 'rosbags', 'reads recordings'),
    ('rich', 'rich', 'tables and progress'),
    ('matplotlib', 'matplotlib', 'pictures'),
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, how it stands, and what to do about it."""

    subject: str
    state: str
    detail: str
    fix: str = ''


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        'doctor', help='check this machine: packages, accelerator, ROS, DDS')
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')


def run(args: argparse.Namespace) -> int:
    """Prints the findings; returns 1 when one of them keeps octo_ros from working."""
    findings = list(examine())
    if args.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f'{finding.state:8} {finding.subject}: {finding.detail}')
            if finding.fix:
                print(f'{"":8}   fix: {finding.fix}')
    return int(any(finding.state == FAILURE for finding in findings))


def examine() -> Iterator[Finding]:
    """Yields what was found, cheap checks first."""
    yield python_version()
    for module, distribution, purpose in PACKAGES:
        yield package(module, distribution, purpose)
    probes: tuple[Callable[[], Finding], ...] = (accelerator, compilation_cache, ros, cameras)
    for probe in probes:
        yield probe()


def python_version() -> Finding:
    """Checks the version of the interpreter."""
    fine = sys.version_info >= OLDEST_PYTHON
    return Finding('Python', OK if fine else FAILURE,
                   f'{platform.python_version()} at {sys.executable}',
                   '' if fine else 'install Python 3.10 or newer')


def package(module: str, distribution: str, purpose: str) -> Finding:
    """Checks that one package imports."""
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        return Finding(distribution, FAILURE, f'{error} ({purpose})',
                       f"{sys.executable} -m pip install '{distribution}'")
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # from apt: pip does not know it
        version = str(getattr(loaded, '__version__', 'of unknown version'))
    return Finding(distribution, OK, version)


def accelerator() -> Finding:
    """Says on which device JAX runs."""
    fix = 'set JAX_PLATFORMS=cpu, or install the jaxlib of your CUDA version'
    try:
        from octo_ros.policy import device
    except ImportError as error:
        return Finding('device', FAILURE, str(error), fix)
    try:
        devices = importlib.import_module('jax').devices()
    except device.UNUSABLE as error:
        return Finding('device', FAILURE, device.why_unusable(error), fix)
    names = ', '.join(f'{device.platform} {device.device_kind}' for device in devices)
    if devices[0].platform == 'cpu':
        return Finding('device', WARNING, f'{names} (no accelerator: a full-size Octo is slow)',
                       "with an NVIDIA GPU: pip install 'jax[cuda12]'")
    return Finding('device', OK, names)


def compilation_cache() -> Finding:
    """Checks that compiled programs can be kept, so that the second start is fast."""
    base = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    existing = next(folder for folder in (base, *base.parents) if folder.exists())
    fine = existing.is_dir() and os.access(existing, os.W_OK)
    return Finding('compilation cache', OK if fine else WARNING, str(base / 'octo_ros'),
                   '' if fine else f'make {existing} writable or set XDG_CACHE_HOME')


def ros() -> Finding:
    """Checks that rclpy imports, and says where it comes from."""
    code = ('import os, rclpy, rclpy.utilities as u; print(u.get_rmw_implementation_identifier(), '
            '"from", os.path.dirname(rclpy.__file__))')
    result = _python('-c', code)
    if result.returncode:
        return Finding('rclpy', FAILURE, _last_line(result.stderr),
                       "source /opt/ros/<distro>/setup.bash, or pip install 'octo_ros[ros]' "
                       'into a virtual environment')
    return Finding('rclpy', OK, result.stdout.strip())


def cameras() -> Finding:
    """Sends camera frames through DDS on this machine and counts what arrives."""
    result = _python('-m', 'octo_ros.nodes.dds_probe')
    if result.returncode:
        return Finding('DDS', FAILURE, _last_line(result.stderr),
                       'see the troubleshooting section of the README')
    report = json.loads(result.stdout)
    detail = (f"{report['received']} of {report['sent']} frames of 640x480 rgb8 at 30 Hz arrived, "
              f"latency {report['latency_ms']:.1f} ms")
    if report['received'] < 0.95 * report['sent']:
        return Finding('DDS', WARNING, detail,
                       'export FASTDDS_DEFAULT_PROFILES_FILE=' + report['profile'])
    return Finding('DDS', OK, detail)


def _python(*arguments: str) -> subprocess.CompletedProcess:
    try:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                              timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(arguments, 1, '', f'no end after {PROBE_TIMEOUT_S} s')


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else 'it ended without a word'
