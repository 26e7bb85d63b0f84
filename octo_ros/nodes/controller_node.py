"""`octo_controller`: cameras and an instruction in, action chunks and commands out.

A thin shell. What happens when is decided in `policy.control_loop`; messages are read and made in
`messages`; this file says which transition builds and ends what.
"""

if __name__ == '__main__':  # before anything that takes long to import
    from octo_ros.nodes import entry
    entry.end_on_interrupt()

import gc
import sys
import threading
import traceback
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.timer import Timer
from std_msgs.msg import Bool

from octo_ros.errors import OctoError
from octo_ros.errors import TaskError
from octo_ros.nodes import diagnostics
from octo_ros.nodes import schema
from octo_ros.nodes import services
from octo_ros.nodes import spin
from octo_ros.nodes.arming import Arming
from octo_ros.nodes.assembly import Assembly
from octo_ros.nodes.assembly import assemble
from octo_ros.nodes.control import Control
from octo_ros.nodes.inputs import Inputs
from octo_ros.nodes.latched import LatchedSubscription
from octo_ros.nodes.logging_bridge import LoggingBridge
from octo_ros.nodes.parameters import ParameterNode
from octo_ros.nodes.publishers import Outputs
from octo_ros.nodes.settings import Settings
from octo_ros.policy.types import Policy

NAME = 'octo_controller'
# Looks that often whether the timer of the control, which follows /clock, still runs.
_WATCH_S = 0.1
_SUCCESS = TransitionCallbackReturn.SUCCESS


class ControllerNode(ParameterNode, LifecycleNode):
    """The lifecycle node. Unless `autostart` is false, `start` configures and activates it."""

    def __init__(self, policy: Policy | None = None, **options: Any) -> None:
        """Makes the node, not configured yet.

        Args:
            policy: used instead of a checkpoint when given.
            **options: for `rclpy.node.Node`, such as `context` or `parameter_overrides`.
        """
        # Undeclared ones are allowed only so that `Settings` hears of them: it refuses them by
        # name, where rclpy's own refusal leaves the name out.
        super().__init__(NAME, allow_undeclared_parameters=True, **options)
        self._given_policy = policy
        self._stopping = threading.Event()
        self._bridge = LoggingBridge(self.get_logger())
        self._bridge.attach()
        self._arming = Arming()
        self._assembly: Assembly | None = None
        self._inputs: Inputs | None = None
        self._outputs: Outputs | None = None
        self._control: Control | None = None
        self._clocked: list[Timer] = []
        self._past: dict[str, tuple[int, ...]] = {}
        self._settings = Settings(self, self._change_instruction)
        self._emergency = LatchedSubscription(
            self, Bool, 'emergency_stop', self._on_emergency, MutuallyExclusiveCallbackGroup())
        services.offer(
            self,
            {'clear_task': self._clear_task, 'reset': self._reset},
            {'arm': self._arm})
        services.offer_slow(self, 'capture_goal', self._capture_goal)
        self._reporter = diagnostics.Reporter(self, self._statuses)

    def start(self, stopping: threading.Event) -> None:
        """Configures and activates the node if `autostart` is set. Raises OctoError."""
        self._stopping = stopping
        if not self.get_parameter('autostart').value:
            return
        if self.trigger_configure() != _SUCCESS:
            if stopping.is_set():
                return
            raise OctoError('the controller must be configured to start, that failed; see above')
        self.trigger_activate()

    def stop(self) -> None:
        """Stops the robot and frees what was built."""
        self._tear_down()
        self._bridge.detach()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Reads the parameters, loads and compiles the policy, makes topics."""
        try:
            params = self._settings.read()
            with schema.full_names():
                assembly = assemble(
                    params, self._given_policy, self.get_logger(), self._stopping)
            self._build(assembly)
        except Exception as error:  # lifecycle nodes swallow exceptions without a word
            self._log_failure(error)
            self._tear_down()
            return TransitionCallbackReturn.FAILURE
        self._arming.start(params.arm_at_start)
        self._settings.frozen = True
        spec = assembly.policy.spec
        self.get_logger().info(
            f"Configured for '{params.robot}': {', '.join(assembly.runtime.image_keys)}; window "
            f'{assembly.runtime.window}, chunks of {spec.action_horizon} actions of '
            f'{spec.action_dim} numbers')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Starts to infer and to command, with an empty history."""
        if self._assembly is None or self._control is None:
            return TransitionCallbackReturn.FAILURE
        self._control.activate()
        self._clocked = [
            self.create_timer(1.0 / self._assembly.params.command_rate_hz, self._control.tick,
                              callback_group=MutuallyExclusiveCallbackGroup()),
            self.create_timer(_WATCH_S, self._watch,
                              clock=Clock(clock_type=ClockType.STEADY_TIME),
                              callback_group=MutuallyExclusiveCallbackGroup())]
        return super().on_activate(state)

    def _watch(self) -> None:
        if self._control is not None and self._control.watch() and self._clocked:
            self._clocked[0].reset()

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publishes the stop behaviour and stops."""
        self._stop_timers()
        if self._control is not None:
            self._control.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees topics, policy and device memory; parameters may be changed again."""
        self._tear_down()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Does what deactivate and cleanup do."""
        self._tear_down()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends unconfigured after a transition that failed in the middle."""
        self._tear_down()
        return super().on_error(state)

    def _build(self, assembly: Assembly) -> None:
        params = assembly.params
        self._assembly = assembly
        self._outputs = Outputs(self, assembly.messages.topics, chunk_qos=params.qos.chunks,
                                command_qos=params.qos.commands)
        self._control = Control(
            assembly.runtime, assembly.messages, self._outputs, self._arming,
            lambda: self.get_clock().now().nanoseconds, self.get_logger())
        self._inputs = Inputs(self, assembly.runtime, transport=params.transport,
                              stream_qos=params.qos.streams, past=self._past,
                              on_instruction=self._settings.show_instruction)

    def _stop_timers(self) -> None:
        for timer in self._clocked:
            self.destroy_timer(timer)
        self._clocked = []

    def _tear_down(self) -> None:
        self._stop_timers()
        if self._control is not None:
            self._control.close()
        for part in (self._inputs, self._outputs):
            if part is not None:
                part.destroy()
        self._inputs = self._outputs = self._control = self._assembly = None
        self._settings.frozen = False
        gc.collect()  # device arrays go with their last reference, cycles included

    def _log_failure(self, error: Exception) -> None:
        expected = isinstance(error, OctoError)
        text = str(error) if expected else f'{type(error).__name__}: {error}'
        self.get_logger().error(f'Cannot be configured: {text}')
        if not expected:
            self.get_logger().debug(traceback.format_exc())

    def _built(self) -> Assembly:
        if self._assembly is None:
            raise OctoError('the controller must be configured for that, it is not yet')
        return self._assembly

    def _change_instruction(self, text: str) -> str:
        """Applies the parameter `instruction` at run time; before, configuring reads it."""
        if self._inputs is None:
            return ''
        try:
            self._inputs.set_instruction(text)
        except TaskError as error:
            return str(error)
        return ''

    def _on_emergency(self, message: Bool) -> None:
        if not self._arming.set_emergency(message.data):
            return
        if message.data:
            self.get_logger().error('Emergency stop')
            if self._control is not None:
                self._control.stop_now()
        else:
            self.get_logger().warning('Emergency stop cleared; call ~/arm to go on')

    def _arm(self, arm: bool) -> str:
        if not arm:
            self._arming.disarm()
            if self._control is not None:
                self._control.stop_now()
            return 'disarmed'
        self._built()
        if self._control is not None:
            self._control.restart()  # targets moved on while no command went out
        self._arming.arm()
        return 'armed'

    def _reset(self) -> str:
        self._built()
        seed = self.get_parameter('policy.seed').value
        if self._control is not None:
            self._control.restart(seed)
        return f'history, chunks and targets are forgotten; random numbers start from seed {seed}'

    def _clear_task(self) -> str:
        self._built()
        if self._inputs is not None:
            self._inputs.clear_task()
        return 'there is no task now'

    def _capture_goal(self) -> str:
        keys = self._built().runtime.capture_goal(self.get_clock().now().nanoseconds)
        return f"goal images set: {', '.join(keys)}"

    def _statuses(self) -> list[DiagnosticStatus]:
        if self._assembly is None or self._control is None or self._inputs is None:
            return [diagnostics.status(
                diagnostics.full_name(self), DiagnosticStatus.STALE, 'not configured', [])]
        self._inputs.warn_of_strays()
        self._inputs.warn_of_silence()
        return diagnostics.statuses(self, self._assembly, self._control, self._inputs.topics)


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until it is told to stop; returns the exit code."""
    return spin.run(ControllerNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
