"""Where the nodes' programs begin: quiet under Ctrl-C while their libraries are imported.

That takes seconds, and an interruption there would end in a traceback of whatever was being
imported; under `ros2 launch` it would bury what another node had to say. So this module imports
next to nothing, and the nodes only once it has seen to the signal. SIGTERM ends a process
silently by itself.
"""

import os
import signal

INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT


def end_on_interrupt() -> None:
    """Has SIGINT end this process without a word, until the node has a handler of its own."""
    signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(INTERRUPTED))


def controller() -> int:
    """Runs `octo_controller`; returns the exit code."""
    end_on_interrupt()
    from octo_ros.nodes.controller_node import main
    return main()


def player() -> int:
    """Runs `image_player`; returns the exit code."""
    end_on_interrupt()
    from octo_ros.nodes.image_player import main
    return main()


def simulator() -> int:
    """Runs `octo_sim`; returns the exit code."""
    end_on_interrupt()
    from octo_ros.nodes.sim_node import main
    return main()
