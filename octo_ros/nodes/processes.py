"""Nodes in processes of their own: their command lines, their logs, and an end in good order."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_END_TIMEOUT_S = 15.0
_TAIL_LINES = 6
_TAIL_CHARACTERS = 2000


def node_command(module: str, values: Mapping[str, Any], remaps: Mapping[str, str]) -> list[str]:
    """Returns the command line of a node, which ends when the calling thread does.

    Args:
        module: of the node.
        values: parameters by name.
        remaps: names in the node to names outside.
    """
    words = [sys.executable, '-m', 'octo_ros.nodes.lifeline', str(os.getpid()), module,
             '--ros-args']
    for name, value in values.items():
        words += ['-p', f'{name}:={_yaml(value)}']
    for name, topic in remaps.items():
        words += ['-r', f'{name}:={topic}']
    return words


def start(command: list[str], **options: Any) -> 'subprocess.Popen[bytes]':
    """Starts a process that `node_command` describes.

    Until it can tell what an interruption is, it holds SIGINT back: a node that is stopped while
    Python is still starting up would leave a traceback behind.

    Args:
        command: the command line.
        **options: of subprocess.Popen.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        return subprocess.Popen(command, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def running(command: list[str], log: Path, environment: Mapping[str, str] | None = None,
            ) -> Iterator['subprocess.Popen[bytes]']:
    """Runs a process inside a `with` statement.

    It has a process group of its own, so that Ctrl-C leaves it to us to end it in good order.

    Args:
        command: of `node_command`.
        log: file for all that it says.
        environment: that of this process when None.
    """
    with log.open('w') as output:
        process = start(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment), start_new_session=True)
        try:
            yield process
        finally:
            end(process)


def end(process: 'subprocess.Popen[bytes]') -> None:
    """Ends a process as Ctrl-C would, harder if it does not listen or we are interrupted."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def last_words(log: Path) -> str:
    """Returns the last lines of a log; empty when there is none."""
    lines = log.read_text(errors='replace').splitlines() if log.is_file() else []
    return '\n'.join(lines[-_TAIL_LINES:])[-_TAIL_CHARACTERS:]


def _yaml(value: Any) -> str:
    """Returns a value as JSON, which is YAML with its strings quoted, but for its escapes.

    YAML knows no surrogate pairs, and would fold some characters or refuse them as they are.
    """
    return re.sub(r'[^ -~]', lambda found: f'\\U{ord(found[0]):08x}',
                  json.dumps(value, ensure_ascii=False))
