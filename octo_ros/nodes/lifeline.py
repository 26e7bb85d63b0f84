"""Runs a module that ends when the process that started it does, however that one ends.

`python -m octo_ros.nodes.lifeline PARENT MODULE ARGUMENT...` is `python -m MODULE ARGUMENT...`,
only that Linux sends SIGINT once PARENT, a process id, is gone: after SIGKILL, or when its
terminal was closed, a controller must not go on alone.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)
_INTERRUPTED = 130


def follow(parent: int) -> None:
    """Has SIGINT sent to this process when its parent ends; at once if that has happened."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
    if os.getppid() != parent:
        raise KeyboardInterrupt


def main() -> None:
    """Runs the module that the command line names."""
    parent, module, *arguments = sys.argv[1:]
    try:
        follow(int(parent))
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name='__main__', alter_sys=True)
    except KeyboardInterrupt:  # while it was still importing; later, a node takes the signal
        sys.exit(_INTERRUPTED)


if __name__ == '__main__':
    main()
