"""The controller on simulated time: it stands still, runs, jumps back."""

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from rcl_interfaces.msg import Log
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory

NS = 1_000_000_000
CHUNK = '/octo_controller/action_chunk'
TWIST = '/octo_controller/command/twist'


class SimulatedTime:
    """Moves /clock in steps of 20 ms of simulated time, with an image at every fifth."""

    STEP_NS = 20_000_000

    def __init__(self, ros, start_s: int) -> None:
        self.now_ns = start_s * NS
        self._clock = ros.publisher(Clock, '/clock', 'newest_reliable')
        self._images = ros.publisher(Image, 'image_primary')
        self._count = 0
        self.timer = ros.node.create_timer(0.005, self.step)

    def step(self) -> None:
        self.now_ns += self.STEP_NS
        stamp = Time(sec=self.now_ns // NS, nanosec=self.now_ns % NS)
        self._clock.publish(Clock(clock=stamp))
        self._count += 1
        if self._count % 5 == 0:
            image = Image(height=32, width=32, encoding='rgb8', step=96, data=bytes(3072))
            image.header.stamp = stamp
            self._images.publish(image)


@pytest.fixture
def controller(make_controller):
    return make_controller(
        use_sim_time=True, instruction='go', cameras=['image_primary'],
        **{'profile.step_s': 0.1}).start()


def stamp_ns(message) -> int:
    return message.header.stamp.sec * NS + message.header.stamp.nanosec


def test_without_a_clock_it_holds_and_says_so(ros, controller) -> None:
    diagnostics = ros.collect(DiagnosticArray, '/diagnostics')
    ros.wait_until(
        lambda: any('/clock' in status.message for message in diagnostics
                    for status in message.status), 'the reason in /diagnostics')


def test_a_clock_that_stops_stops_the_robot_and_is_logged(ros, controller) -> None:
    logs = ros.collect(Log, '/rosout', 'latched')
    twists = ros.collect(TwistStamped, TWIST)
    time = SimulatedTime(ros, 1000)
    ros.wait_until(lambda: twists and twists[-1].twist.linear.x, 'motion')
    ros.node.destroy_timer(time.timer)
    ros.wait_until(lambda: not any((twists[-1].twist.linear.x, twists[-1].twist.linear.y,
                                    twists[-1].twist.angular.z)), 'a zero twist')
    ros.wait_until(lambda: any('Holding: the time stands still' in log.msg
                               and log.level == Log.WARN for log in logs), 'the warning')


def test_stamps_are_simulated_time(ros, controller) -> None:
    chunks = ros.collect(JointTrajectory, CHUNK)
    twists = ros.collect(TwistStamped, TWIST)
    time = SimulatedTime(ros, 1000)
    ros.wait_until(lambda: len(chunks) > 3 and len(twists) > 3, 'chunks and commands')
    for message in [*chunks, *twists]:
        assert 1000 * NS <= stamp_ns(message) <= time.now_ns


def test_it_survives_the_clock_jumping_back(ros, controller) -> None:
    chunks = ros.collect(JointTrajectory, CHUNK)
    twists = ros.collect(TwistStamped, TWIST)
    time = SimulatedTime(ros, 1000)
    for _ in range(2):
        ros.wait_until(lambda: len(chunks) > 3, 'chunks before the jump')
        time.now_ns = 500 * NS
        ros.wait_until(
            lambda: chunks and stamp_ns(chunks[-1]) < 900 * NS, 'chunks after the jump')
        ros.wait_until(
            lambda: twists and stamp_ns(twists[-1]) < 900 * NS
            and any((twists[-1].twist.linear.x, twists[-1].twist.linear.y)),
            'commands after the jump')
        time.now_ns = 1000 * NS
        chunks.clear()
        twists.clear()
        ros.wait_until(
            lambda: chunks and stamp_ns(chunks[-1]) > 900 * NS, 'chunks after the way back')
