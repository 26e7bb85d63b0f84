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

from octo_ros.nodes import entry

_PR_SET_PDEATHSIG = 1  # prctl(2)


def follow(parent: int) -> None:
    """Has SIGINT sent to this process when its parent ends; at once if that has happened.

    Until the module has a handler of its own, the signal ends the process without a word: as an
    exception it could come up anywhere in what is being imported.
    """
    entry.end_on_interrupt()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))  # processes.start held it back
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
    if os.getppid() != parent:
        os._exit(entry.INTERRUPTED)


def main() -> None:
    """Runs the module that the command line names."""
    parent, module, *arguments = sys.argv[1:]
    follow(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    main()
