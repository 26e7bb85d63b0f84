"""What tests ask about processes that they did not start themselves."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f'not in time: {what}'
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """False also for one that has ended and that nobody asked about yet."""
    try:
        os.kill(pid, 0)
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (ProcessLookupError, FileNotFoundError):
        return False


def children(pid: int) -> list[int]:
    return [int(child) for file in Path(f'/proc/{pid}/task').glob('*/children')
            for child in file.read_text().split()]
