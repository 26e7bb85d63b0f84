"""Worker processes end with the process that started them, however that one ends."""

import subprocess
import sys

from octo_ros.workers import worker_pool
from test.processes import alive
from test.processes import children
from test.processes import wait_until

PARENT = """
import time
from octo_ros.workers import worker_pool
if __name__ == '__main__':
    with worker_pool(2) as pool:
        work = pool.map_async(time.sleep, [1000] * 100, chunksize=1)
        print(pool.map(abs, []), flush=True)
        work.wait()
"""


def test_workers_do_what_they_are_given():
    with worker_pool(2) as pool:
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path):
    file = tmp_path / 'parent.py'
    file.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline()
        wait_until(lambda: len(children(parent.pid)) >= 2, 'the workers')
        workers = children(parent.pid)
        parent.kill()
    wait_until(lambda: not any(map(alive, workers)), 'the end of the workers')
