"""A node that is deep in compiled code, where no handler of Python's runs; for tests of its end.

    python run_slow_node.py start|callback|stop|leave|error|fault
"""

import hashlib
import sys
import threading
import time

from rclpy.node import Node

from octo_ros.errors import ParameterError
from octo_ros.nodes import spin

_MINUTES = 10**9
FAILURES = {'error': ParameterError('the knob must be turned'), 'fault': IndexError('no item 7')}


def work():
    """Says so, and then stays away for minutes."""
    print('working', flush=True)
    hashlib.pbkdf2_hmac('sha256', b'', b'', _MINUTES)


class SlowNode(Node):
    """Is slow to start, in a callback, to stop or to go, or fails while a callback hangs."""

    def __init__(self):
        super().__init__('slow')
        self._working = threading.Event()

    def start(self, stopping):
        """Starts."""
        if sys.argv[1] == 'start':
            work()
        elif sys.argv[1] in ('stop', 'leave'):
            print('working', flush=True)
        else:
            self.create_timer(0.01, self._work)
        if sys.argv[1] in FAILURES:
            self._working.wait()
            raise FAILURES[sys.argv[1]]

    def _work(self):
        self._working.set()
        work()

    def stop(self):
        """Stops, once the standard input has ended."""
        if sys.argv[1] == 'stop':
            print('stopping', flush=True)
            sys.stdin.read()


if __name__ == '__main__':
    code = spin.run(SlowNode, [])
    print('leaving', flush=True)
    time.sleep(1.0)  # as long as Python and its libraries may take to end
    sys.exit(code)
