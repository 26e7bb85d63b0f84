"""A node that is deep in compiled code, where no handler of Python's runs; for tests of its end.

    python run_slow_node.py start|callback|leave
"""

import hashlib
import sys
import time

from rclpy.node import Node

from octo_ros.nodes import spin

_MINUTES = 10**9


def work():
    """Says so, and then stays away for minutes."""
    print('working', flush=True)
    hashlib.pbkdf2_hmac('sha256', b'', b'', _MINUTES)


class SlowNode(Node):
    """Is slow to start, in a callback, or to go."""

    def __init__(self):
        super().__init__('slow')

    def start(self, stopping):
        """Starts."""
        if sys.argv[1] == 'start':
            work()
        elif sys.argv[1] == 'leave':
            print('working', flush=True)
        else:
            self.create_timer(0.01, work)

    def stop(self):
        """Has nothing to stop."""


if __name__ == '__main__':
    code = spin.run(SlowNode, [])
    print('leaving', flush=True)
    time.sleep(1.0)  # as long as Python and its libraries may take to end
    sys.exit(code)
