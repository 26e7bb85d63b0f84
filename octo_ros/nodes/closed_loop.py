"""Closed loop over ROS: the controller and the simulator in processes of their own, on real DDS.

A session drives both by what any user has: topics, services and parameters. In lockstep the
simulator waits for the controller, so the load of the machine does not matter; in real time it
does not.
"""

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

from octo_ros.bags.recording import STATE_TOPIC
from octo_ros.errors import OctoError
from octo_ros.errors import TaskError
from octo_ros.messages.conversions import stamp_ns
from octo_ros.nodes import isolation
from octo_ros.nodes import processes
from octo_ros.nodes import qos
from octo_ros.nodes.controller_node import NAME as CONTROLLER
from octo_ros.nodes.processes import node_command
from octo_ros.nodes.sim_node import NAME as SIM
from octo_ros.nodes.sim_setup import CAMERA
from octo_ros.nodes.sim_setup import ROBOT
from octo_ros.nodes.sim_setup import camera_remaps
from octo_ros.nodes.sim_setup import proprio_remaps
from octo_ros.sim import scene
from octo_ros.sim.arm import STEP_S
from octo_ros.sim.renderer import DEFAULT_SIZES
from octo_ros.sim.rollout import MAX_STEPS
from octo_ros.sim.trials import CHANGED_AFTER
from octo_ros.sim.trials import GOAL_CONDITIONS
from octo_ros.sim.trials import Outcome
from octo_ros.sim.trials import Trial

_START_TIMEOUT_S = 300.0
_CALL_TIMEOUT_S = 60.0
_STEP_TIMEOUT_S = 20.0
_SPIN_S = 0.05
_domains = threading.Lock()


@dataclasses.dataclass(frozen=True)
class LoopOptions:
    """How a session runs.

    Attributes:
        checkpoint: folder or hf:// name.
        robot: robot profile.
        folder: where the logs of both processes go.
        real_time: 5 steps a second instead of lockstep.
        max_steps: a trial without success ends here.
        seed: of the policy's random numbers; each trial starts from this and its own.
        parameters: further parameters of the controller by name.
        scene: further parameters of the simulator by name.
    """

    checkpoint: str
    folder: Path
    robot: str = ROBOT
    real_time: bool = False
    max_steps: int = MAX_STEPS
    seed: int = 0
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scene: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class ClosedLoop:
    """Controller and simulator at work together; close it, or use it in a `with` statement.

    Attributes:
        domain_id: the ROS domain that all of it lives in.
    """

    def __init__(self, options: LoopOptions, *, name: str = '',
                 watch: Callable[[bytes], Any] | None = None,
                 stopping: threading.Event | None = None) -> None:
        """Starts both and waits until they are ready.

        Args:
            options: how to run.
            name: tells the logs of several sessions apart.
            watch: is given each JPEG of the first camera.
            stopping: ends every wait with an OctoError once it is set.

        Raises:
            OctoError: a process ended, or was not ready in time.
        """
        self._options = options
        self._stopping = stopping or threading.Event()
        self._ended = contextlib.ExitStack()
        options.folder.mkdir(parents=True, exist_ok=True)
        try:
            environment = self._join()
            self._logs = {part: options.folder / f'{part}{name}.log'
                          for part in ('controller', 'simulator')}
            commands = {'controller': controller_command(options),
                        'simulator': sim_command(options)}
            self._processes = {
                part: self._ended.enter_context(processes.running(
                    commands[part], log, environment)) for part, log in self._logs.items()}
            self._prepare(watch)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> 'ClosedLoop':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def node(self) -> Node:
        """The session's own node; its callbacks run inside the session's calls."""
        return self._node

    def close(self) -> None:
        """Ends both processes."""
        self._ended.close()

    def run(self, trial: Trial) -> Outcome:
        """Runs one trial.

        Raises:
            TaskError: there is no goal image to be had.
            OctoError: a process ended or did not answer.
        """
        begin_s = time.perf_counter()
        first_told = trial.first_told
        self.begin(trial, first_told=first_told)
        if first_told:
            self._wait_for_step(CHANGED_AFTER[trial.condition])
            self.instruct(trial.instruction)
        result = self.finish(trial)
        return Outcome(trial, result['success'], result['chosen'], result['steps'],
                       time.perf_counter() - begin_s)

    def begin(self, trial: Trial, *, first_told: str = '') -> None:
        """Sets up the scene, says what to do, and lets the simulator go.

        Args:
            trial: what is to be done.
            first_told: another instruction to begin with; `instruct` then tells the trial's.

        Raises:
            TaskError: there is no goal image to be had.
            OctoError: a process ended or did not answer.
        """
        self.pause(True)
        self.call(Trigger, f'{CONTROLLER}/clear_task')
        self._set(SIM, seed=trial.seed, task=trial.task.name)
        self._set(CONTROLLER, **{'policy.seed': trial.policy_seed(self._options.seed)})
        self.call(Trigger, f'{SIM}/reset')
        self.call(Trigger, f'{CONTROLLER}/reset')
        self._results.clear()
        if trial.condition == 'goal':
            self._publish_goals()
        elif trial.condition in GOAL_CONDITIONS:
            self._publish_black_goals()
        else:
            self.instruct(first_told or trial.instruction)
        self.pause(False)

    def finish(self, trial: Trial) -> dict[str, Any]:
        """Waits until a trial is decided and halts the simulator; returns its result.

        Raises:
            OctoError: a process ended, or there was no result in time.
        """
        result = self._wait_for_result(trial)
        self.pause(True)
        return result

    def instruct(self, text: str) -> None:
        """Publishes an instruction."""
        self._instruction.publish(String(data=text))

    def pause(self, pause: bool) -> None:
        """Halts the simulator, or lets it go on."""
        self.call(SetBool, f'{SIM}/pause', data=pause)

    def _set(self, node: str, **values: Any) -> None:
        """Sets parameters of a node. Raises OctoError when it refuses."""
        request = [Parameter(name, value=value).to_parameter_msg()
                   for name, value in values.items()]
        answer = self._ask(SetParameters, f'{node}/set_parameters', parameters=request)
        for result in answer.results:
            if not result.successful:
                raise OctoError(f'{node} refuses: {result.reason}')

    def call(self, service: type, name: str, **fields: Any) -> str:
        """Calls a std_srvs service; returns its message. Raises OctoError when it refuses."""
        answer = self._ask(service, name, **fields)
        if not answer.success:
            raise OctoError(f'{name}: {answer.message}')
        return answer.message

    def spin_until(self, done: Callable[[], Any], timeout_s: float, what: str) -> None:
        """Handles messages until `done`. Raises OctoError at the deadline or if a process ends."""
        deadline_s = time.monotonic() + timeout_s
        while not done():
            self._executor.spin_once(timeout_sec=_SPIN_S)
            for part, process in self._processes.items():
                if process.poll() is not None:
                    raise OctoError(f'the {part} must run, it ended with exit code '
                                    f'{process.returncode}; its last words:\n'
                                    f'{processes.last_words(self._logs[part])}')
            if self._stopping.is_set():
                raise OctoError('the session must not be interrupted, it was told to stop')
            if time.monotonic() > deadline_s:
                raise OctoError(f'{what} must come within {timeout_s:.0f} s, it did not; the '
                                f"controller's last words:\n"
                                f"{processes.last_words(self._logs['controller'])}")

    def _join(self) -> dict[str, str]:
        """Takes part in a domain of its own; returns the environment for the processes."""
        with _domains:  # a domain is taken once somebody takes part in it
            environment = {**os.environ, **isolation.isolated(os.environ)}
            os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
            context = Context()
            self.domain_id = int(environment['ROS_DOMAIN_ID'])
            rclpy.init(context=context, domain_id=self.domain_id)
            self._ended.callback(rclpy.try_shutdown, context=context)
            # Several sessions of one process would share the name's logger on /rosout.
            self._node = Node('octo_ros_eval', context=context, enable_rosout=False)
            self._ended.callback(self._node.destroy_node)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._ended.callback(self._executor.shutdown)
        return environment

    def _prepare(self, watch: Callable[[bytes], Any] | None) -> None:
        node = self._node
        self._clients: dict[str, Any] = {}
        self._results: list[dict[str, Any]] = []
        self._seen_ns: tuple[int, ...] = ()
        self._instruction = node.create_publisher(String, 'instruction', qos.named('latched'))
        self._goals = {camera: node.create_publisher(
            Image, f'goal/image_{camera}', qos.named('latched')) for camera in scene.CAMERAS}
        node.create_subscription(
            String, f'{SIM}/result',
            lambda message: self._results.append(json.loads(message.data)), qos.named('latched'))
        node.create_subscription(
            JointState, STATE_TOPIC, self._note_state, qos.named('reliable'))
        if watch is not None:
            node.create_subscription(
                CompressedImage, CAMERA.format(scene.CAMERAS[0]) + '/compressed',
                lambda message: watch(bytes(message.data)), qos.named('reliable'))
        self.spin_until(
            lambda: any(node.count_subscribers(CAMERA.format(camera))
                        for camera in scene.CAMERAS),
            _START_TIMEOUT_S, 'a subscription of a camera by the controller')
        self.spin_until(lambda: node.count_publishers(f'{SIM}/result'), _START_TIMEOUT_S,
                        'the simulator')

    def _note_state(self, state: JointState) -> None:
        self._seen_ns = (*self._seen_ns[:1], stamp_ns(state))  # the first and the newest

    def _wait_for_step(self, number: int) -> None:
        """Waits until the state of a policy step was seen, counted from 1 at the next state.

        It goes by stamps, since in real time there are many states to a step.
        """
        self._seen_ns = ()
        span_ns = (number - 1) * round(STEP_S * 1e9)
        self.spin_until(
            lambda: self._seen_ns and self._seen_ns[-1] - self._seen_ns[0] >= span_ns,
            number * _STEP_TIMEOUT_S, f'step {number}')

    def _wait_for_result(self, trial: Trial) -> dict[str, Any]:
        key = {'seed': trial.seed, 'task': trial.task.name}
        found: list[dict[str, Any]] = []

        def decided() -> bool:
            found.extend(result for result in self._results if key.items() <= result.items())
            return bool(found)

        self.spin_until(decided, _STEP_TIMEOUT_S + self._options.max_steps * _STEP_TIMEOUT_S,
                        f'the end of {trial.task.name} in the scene of seed {trial.seed}')
        return found[0]

    def _publish_goals(self) -> None:
        try:
            self.call(Trigger, f'{SIM}/publish_goal')
        except OctoError as error:
            raise TaskError(str(error)) from error

    def _publish_black_goals(self) -> None:
        for camera, publisher in self._goals.items():
            size = DEFAULT_SIZES[camera]
            publisher.publish(Image(height=size, width=size, encoding='rgb8', step=3 * size,
                                    data=np.zeros(3 * size * size, np.uint8).tobytes()))

    def _ask(self, service: type, name: str, **fields: Any) -> Any:
        if name not in self._clients:
            self._clients[name] = self._node.create_client(service, name)
        client = self._clients[name]
        self.spin_until(client.service_is_ready, _START_TIMEOUT_S, f'the service {name}')
        future = client.call_async(service.Request(**fields))  # type: ignore[attr-defined]
        self.spin_until(future.done, _CALL_TIMEOUT_S, f'the answer of {name}')
        return future.result()


def controller_command(options: LoopOptions) -> list[str]:
    """Returns the command line of the controller: the same node that a robot runs."""
    values = {
        'policy.checkpoint': options.checkpoint, 'policy.seed': options.seed,
        'robot': options.robot, 'transport': 'raw', 'use_sim_time': True,
        'qos.streams': 'reliable', 'qos.commands': 'reliable'}
    if not options.real_time:
        # The finest timer, so that an answer goes out soon after the inference; and no stop
        # behaviour, which the simulator would take for an answer.
        values |= {'command_rate_hz': 1000.0, 'loop.wait_for_inference': True,
                   'profile.command.stop': 'none'}
    proprio = proprio_remaps(options.checkpoint)
    values['proprio'] = bool(proprio)
    return node_command('octo_ros.nodes.controller_node', values | dict(options.parameters),
                        camera_remaps() | proprio)


def sim_command(options: LoopOptions) -> list[str]:
    """Returns the command line of the simulator."""
    values = {'mode': 'real_time' if options.real_time else 'stepped', 'clock': True,
              'paused': True, 'max_steps': options.max_steps}
    return node_command('octo_ros.nodes.sim_node', values | dict(options.scene), {})
