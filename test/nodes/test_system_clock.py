"""The clock of the machine is set back while the controller runs, as time servers do it."""

import shutil
import subprocess
import sys

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Bool

from octo_ros.assets import shipped_checkpoint

NS = 1_000_000_000
# Stands before ROS's own function of this name: the time of the nodes, and of nothing else here.
CLOCK_C = """
#include <stdint.h>
#include <stdio.h>
#include <time.h>
int rcutils_system_time_now(int64_t *now) {
  struct timespec time;
  long offset_s = 0;
  FILE *file = fopen(OFFSET_FILE, "r");
  if (file != NULL) {
    if (fscanf(file, "%ld", &offset_s) != 1) offset_s = 0;
    fclose(file);
  }
  clock_gettime(CLOCK_REALTIME, &time);
  *now = (time.tv_sec + offset_s) * INT64_C(1000000000) + time.tv_nsec;
  return 0;
}
"""


class MachineClock:
    """The clock that a controller has."""

    def __init__(self, folder) -> None:
        self._file = folder / 'offset'
        self.library = folder / 'clock.so'
        self.offset_s = 0
        subprocess.run(
            ['cc', '-shared', '-fPIC', '-x', 'c', f'-DOFFSET_FILE="{self._file}"', '-',
             '-o', str(self.library)], input=CLOCK_C, text=True, check=True)

    def set_by(self, offset_s: int) -> None:
        new = self._file.with_suffix('.new')
        new.write_text(str(offset_s))
        new.replace(self._file)
        self.offset_s = offset_s


@pytest.fixture
def clock(tmp_path):
    if shutil.which('cc') is None:
        pytest.skip('no C compiler: the clock cannot be moved for one process')
    return MachineClock(tmp_path)


@pytest.fixture
def twists(ros, clock, monkeypatch):
    """Commands of a controller on that clock, whose camera is on it, too."""
    monkeypatch.setenv('LD_PRELOAD', str(clock.library))
    values = {'policy.checkpoint': shipped_checkpoint(), 'instruction': 'go',
              'cameras': '[image_primary]'}
    controller = subprocess.Popen(
        [sys.executable, '-m', 'octo_ros.nodes.controller_node', '--ros-args',
         *(word for name, value in values.items() for word in ('-p', f'{name}:={value}'))],
        stderr=subprocess.DEVNULL)
    monkeypatch.delenv('LD_PRELOAD')
    images = ros.publisher(Image, 'image_primary')

    def publish() -> None:
        now_ns = ros.node.get_clock().now().nanoseconds + clock.offset_s * NS
        image = Image(height=32, width=32, encoding='rgb8', step=96, data=bytes(3072))
        image.header.stamp = Time(sec=now_ns // NS, nanosec=now_ns % NS)
        images.publish(image)

    camera = ros.node.create_timer(0.05, publish)
    yield ros.collect(TwistStamped, '/octo_controller/command/twist')
    ros.node.destroy_timer(camera)
    controller.kill()
    controller.wait()


def moves(twists, begin=0) -> bool:
    return any(twist.twist.linear.x for twist in twists[begin:])


def test_a_clock_that_is_set_back_by_an_hour_does_not_stop_the_robot_for_an_hour(
        ros, clock, twists) -> None:
    ros.wait_until(lambda: moves(twists), 'motion')
    clock.set_by(-3600)
    count = len(twists)
    ros.wait_until(lambda: moves(twists, count + 50), 'motion by the new time')
    sent_ns = twists[-1].header.stamp.sec * NS
    assert abs(sent_ns - ros.node.get_clock().now().nanoseconds + 3600 * NS) < 10 * NS


def test_an_emergency_stop_is_what_is_told_while_the_clock_is_behind(ros, clock, twists) -> None:
    ros.wait_until(lambda: moves(twists), 'motion')
    diagnostics = ros.collect(DiagnosticArray, '/diagnostics')
    ros.publisher(Bool, 'emergency_stop', 'latched').publish(Bool(data=True))
    clock.set_by(-3600)
    count = len(diagnostics)
    ros.wait_until(lambda: len(diagnostics) > count + 3, 'diagnostics')
    assert all('emergency stop' in message.status[0].message
               for message in diagnostics[count + 1:])
