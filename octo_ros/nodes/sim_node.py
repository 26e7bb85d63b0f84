"""`octo_sim`: a simulated robot at a table, with the topics of a real one.

The main thread owns the simulator, as OpenGL wants it; callbacks leave commands and calls for it.
"""

if __name__ == '__main__':  # before anything that takes long to import
    from octo_ros.nodes import entry
    entry.end_on_interrupt()

import concurrent.futures
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from std_msgs.msg import String

from octo_ros import params
from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.nodes import parameters
from octo_ros.nodes import qos
from octo_ros.nodes import services
from octo_ros.nodes import spin
from octo_ros.nodes.sim_commands import Motion
from octo_ros.nodes.sim_commands import SimCommands
from octo_ros.nodes.sim_outputs import SimOutputs
from octo_ros.nodes.sim_params import SimParams
from octo_ros.nodes.sim_world import World
from octo_ros.sim.arm import STEP_S
from octo_ros.sim.rollout import solved_images
from octo_ros.sim.simulator import SERVO_PERIOD_S

NAME = 'octo_sim'
_NS = 1_000_000_000
_STEP_NS = round(STEP_S * _NS)
_PERIOD_NS = round(SERVO_PERIOD_S * _NS)
_PERIODS_PER_STEP = round(STEP_S / SERVO_PERIOD_S)
_START_NS = _NS  # a clock that stands at zero counts as none
_IDLE_S = 0.02
_CALL_TIMEOUT_S = 60.0
_MOST_LATE_S = 0.2  # further behind, real time is given up rather than caught up with
# While a stepped world waits, its clock creeps: timers of the controller fire by it. Rare ticks
# after a long wait cost little; a tenth of the time waited is what an answer waits in turn.
_CREEP_NS = 1_000_000
_CREEP_PART = 0.1
_CREEP_LIMITS_S = (0.002, 0.1)


class SimNode(parameters.ParameterNode):
    """The node. `start` runs the simulation until it is told to stop."""

    def __init__(self, **options: Any) -> None:
        """Makes the node; **options are for `rclpy.node.Node`."""
        super().__init__(NAME, **options)
        self._leaves = list(params.leaves(SimParams))
        parameters.declare(self, self._leaves)
        self.add_on_set_parameters_callback(self._on_change)
        self._calls: queue.SimpleQueue[tuple[Callable[[], str], Any]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._now_ns = _START_NS
        self._resets = 0
        self._last: Motion | None = None  # the motion of the tick before, in real time
        self._late = False
        self._refused = ''

    def start(self, stopping: threading.Event) -> None:
        """Runs until `stopping` is set. Raises OctoError."""
        self._stopping = stopping
        given = self._read()
        self._params = given
        self._stepped = given.mode == 'stepped'
        self._own_time = given.clock or self._stepped
        if given.rate != 1.0 and not self._own_time:
            raise ParameterError(f"'rate' must be 1 without 'clock', got {given.rate}; "
                                 'set clock:=true, and use_sim_time on the other nodes')
        self._paused = given.paused
        world = World(given)
        self._world = world
        self._viewer = world.sim.window() if given.viewer else None
        self._commands = SimCommands(self, given.controller, now_ns=self._time_ns,
                                     raw_joints=given.raw_space == 'joint')
        self._outputs = SimOutputs(self, clock=self._own_time, jpeg_quality=given.jpeg_quality)
        self._instruction = self.create_publisher(String, 'instruction', qos.named('latched'))
        self._result = self.create_publisher(String, '~/result', qos.named('latched'))
        self._announce()
        services.offer(
            self, {'reset': self._in_loop(self._reset), 'success': self._in_loop(self._success),
                   'publish_goal': self._in_loop(self._publish_goal)},
            {'pause': lambda pause: self._in_loop(lambda: self._pause(pause))()})
        self.get_logger().info(f"Task '{world.task.name}' in the scene of seed {world.seed}: "
                               f"'{world.instruction}'")
        try:
            while not stopping.is_set():
                (self._run_stepped if self._stepped else self._run_real_time)()
        finally:
            if self._viewer is not None:
                self._viewer.close()
            world.sim.close()

    def stop(self) -> None:
        """Has nothing to bring to rest."""

    def _run_real_time(self) -> None:
        """Follows the clock until paused or reset."""
        begin_s, done, resets = time.monotonic(), 0, self._resets
        period_s = SERVO_PERIOD_S / self._params.rate
        per_frame = max(1, round(1.0 / (self._params.camera_rate_hz * SERVO_PERIOD_S)))
        while not self._waiting() and self._resets == resets:
            late_s = time.monotonic() - begin_s - done * period_s
            if late_s > _MOST_LATE_S:
                self._warn_late()
                return
            if late_s < 0.0:
                self._stopping.wait(-late_s)
            motion = self._commands.newest()
            if motion is not None and self._counts(motion):
                once = motion.kind == 'pose' or self._is_raw_change(motion)
                self._move(motion, STEP_S if once else SERVO_PERIOD_S)
            self._commands.set_gripper(self._world.sim.arm)
            self._last = motion
            self._world.sim.advance(SERVO_PERIOD_S)
            self._now_ns += _PERIOD_NS
            done += 1
            if done % _PERIODS_PER_STEP == 0:
                self._step_done()
            self._publish(self._outputs.cameras if done % per_frame == 0 else [])

    def _run_stepped(self) -> None:
        """Publishes what is seen, and does one policy step when the answer has come."""
        if self._waiting():
            return
        self._publish(self._outputs.cameras)
        motion = self._answer()
        if motion is not None and self._move(motion, STEP_S):
            self._world.sim.advance(STEP_S)
            self._step_done()
        self._now_ns += _STEP_NS

    def _answer(self) -> Motion | None:
        """Waits for a command that answers the present views, while the clock creeps."""
        begin_s, resets = time.monotonic(), self._resets
        creep = 0
        while (waited_s := time.monotonic() - begin_s) < self._params.patience_s:
            motion = self._commands.complete(self._now_ns)
            if motion is not None:
                return motion
            low, high = _CREEP_LIMITS_S
            if not self._commands.arrived.wait(min(max(_CREEP_PART * waited_s, low), high)):
                creep = min(creep + 1, _STEP_NS // _CREEP_NS - 1)
                self._outputs.publish_clock(self._now_ns + creep * _CREEP_NS)
            self._commands.arrived.clear()
            self._serve()
            if self._stopping.is_set() or self._paused or self._resets != resets:
                return None
        return None

    def _waiting(self) -> bool:
        """Serves calls; True while the world must not go on."""
        self._serve()
        if self._paused and not self._stopping.is_set():
            self._commands.arrived.wait(_IDLE_S)
            self._commands.arrived.clear()
        return self._paused or self._stopping.is_set()

    def _counts(self, motion: Motion) -> bool:
        """In real time: velocities end, and a target is set once."""
        last = self._last
        if motion.kind == 'pose':
            return last is None or last.kind != 'pose' or (
                motion.message.pose != last.message.pose)
        age_s = (time.monotonic() - motion.received_s) * self._params.rate
        if self._is_raw_change(motion) and motion is last:
            return False  # it was added to the target as a whole
        return motion.kind == 'joint_trajectory' or age_s < self._params.command_timeout_s

    def _is_raw_change(self, motion: Motion) -> bool:
        return motion.kind == 'multi_array' and self._params.raw_space == 'cartesian'

    def _move(self, motion: Motion, duration_s: float) -> bool:
        try:
            self._commands.move(self._world.sim.arm, motion, duration_s,
                                self._time_ns() + round(duration_s * _NS))
        except OctoError as error:
            if str(error) != self._refused:
                self.get_logger().warning(f'A command is ignored: {error}')
            self._refused = str(error)
            return False
        self._refused = ''
        return True

    def _publish(self, cameras: list[str]) -> None:
        seen = self._world.sim.observe(cameras)
        self._outputs.publish(seen, self._time_ns())
        self._outputs.publish_clock(self._now_ns)
        if self._viewer is not None:
            self._viewer.show()

    def _step_done(self) -> None:
        if self._world.step_done():
            self._result.publish(String(data=self._world.state()))

    def _time_ns(self) -> int:
        return self._now_ns if self._own_time else self.get_clock().now().nanoseconds

    def _in_loop(self, call: Callable[[], str]) -> Callable[[], str]:
        """Returns a call that runs in the main thread, between two steps."""
        def run() -> str:
            done: concurrent.futures.Future[str] = concurrent.futures.Future()
            self._calls.put((call, done))
            self._commands.arrived.set()
            try:
                return done.result(_CALL_TIMEOUT_S)
            except concurrent.futures.TimeoutError as error:
                raise OctoError('the simulator must answer in time, it is busy') from error

        return run

    def _serve(self) -> None:
        while not self._calls.empty():
            call, done = self._calls.get()
            try:
                done.set_result(call())
            except Exception as error:  # goes to the one who asked
                done.set_exception(error)

    def _reset(self) -> str:
        given = self._read()
        state = self._world.reset(given.seed, given.task)
        self._commands.clear()
        self._last = None
        self._resets += 1
        if not self._stepped:
            # Else the last views of the old scene pass for the new one until a frame is due.
            self._now_ns += _PERIOD_NS
            self._publish(self._outputs.cameras)
        self._announce()
        return state

    def _success(self) -> str:
        if not self._world.success:
            raise OctoError(self._world.state())
        return self._world.state()

    def _pause(self, pause: bool) -> str:
        self._paused = pause
        return 'paused' if pause else 'running'

    def _publish_goal(self) -> str:
        views = solved_images(self._world.sim, self._world.task)
        for camera, view in views.items():
            self._outputs.publish_goal(camera, view, self._time_ns())
        return f"goal images of '{self._world.task.name}': {', '.join(views)}"

    def _announce(self) -> None:
        if self._params.announce:
            self._instruction.publish(String(data=self._world.instruction))

    def _warn_late(self) -> None:
        if not self._late:
            self.get_logger().warning(
                'This machine is too slow to simulate at this rate; time runs slower. Lower '
                'camera_rate_hz or rate')
        self._late = True

    def _read(self) -> SimParams:
        return params.from_flat(SimParams, parameters.given(self),
                                source=f'parameters of {self.get_name()}',
                                beside=parameters.FOREIGN_NAMES)

    def _on_change(self, changes: list[Any]) -> SetParametersResult:
        return parameters.check_change(changes, self._leaves, frozen=True, lifecycle=False)


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until it is told to stop; returns the exit code."""
    return spin.run(SimNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
