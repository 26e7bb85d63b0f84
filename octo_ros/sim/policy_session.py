"""Closed loop without ROS: policy and simulator in one process, for checks during training.

The runtime between them is the node's own, so history, chunks, limits and gripper are those of a
robot; an inference takes no simulated time.
"""

import time
import types
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import numpy as np

from octo_ros.array_typing import UInt8
from octo_ros.errors import ObservationError
from octo_ros.messages.runtime import Runtime
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.profile import RobotProfile
from octo_ros.policy.proprio import PROPRIO
from octo_ros.policy.types import Policy
from octo_ros.sim import scene
from octo_ros.sim.arm import STEP_S
from octo_ros.sim.drive import drive_twist
from octo_ros.sim.renderer import DEFAULT_SIZES
from octo_ros.sim.rollout import MAX_STEPS
from octo_ros.sim.rollout import SuccessTest
from octo_ros.sim.rollout import solved_images
from octo_ros.sim.simulator import Simulator
from octo_ros.sim.tasks import chosen_block
from octo_ros.sim.trials import CHANGED_AFTER
from octo_ros.sim.trials import GOAL_CONDITIONS
from octo_ros.sim.trials import Outcome
from octo_ros.sim.trials import Trial

_STEP_NS = round(STEP_S * 1e9)


class PolicySession:
    """Runs trials one after another; use it in one thread."""

    def __init__(self, policy: Policy, profile: RobotProfile, *, loop: LoopParams | None = None,
                 max_steps: int = MAX_STEPS, seed: int = 0, sim: Simulator | None = None,
                 watch: Callable[[Mapping[str, np.ndarray]], Any] | None = None) -> None:
        """Prepares the policy for the simulator's cameras.

        Args:
            policy: what is tested.
            profile: of the simulated robot; it must command twists.
            loop: execution of chunks.
            max_steps: a trial without success ends here.
            seed: of the policy's random numbers; each trial starts from this and its own.
            sim: the simulator; a new one when None.
            watch: is given the views of each step.

        Raises:
            ParameterError: the policy does not fit the robot.
        """
        known = {f'image_{camera}': camera for camera in scene.CAMERAS}
        keys = [key for key in policy.spec.image_sizes if key in known]
        self._cameras = {known[key]: key for key in keys}
        self._proprio = policy.spec.proprio_dim > 0
        self._runtime = Runtime(
            policy, loop or LoopParams(), profile, image_keys=keys, proprio=self._proprio)
        self._runtime.prepare()
        self._policy = policy
        self._max_steps = max_steps
        self._seed = seed
        self._sim = sim or Simulator()
        self._watch = watch
        self._now_ns = 0

    def run(self, trial: Trial) -> Outcome:
        """Runs one trial; what came before it does not matter.

        Raises:
            ObservationError: the policy gave no action.
        """
        begin_s = time.perf_counter()
        sim, runtime = self._sim, self._runtime
        sim.reset(trial.seed)
        runtime.clear_task()
        runtime.reset()
        self._policy.reset(trial.policy_seed(self._seed))
        first_told = trial.first_told
        self._set_task(trial, first_told)
        test, start = SuccessTest(trial.task), sim.state()
        steps, success = 0, False
        for steps in range(self._max_steps + 1):
            success = test.update(sim.state())
            if success or steps == self._max_steps:
                break
            if first_told and steps == CHANGED_AFTER[trial.condition]:
                runtime.set_instruction(trial.instruction)
            self._step()
        return Outcome(trial, success, chosen_block(start, sim.state()) or '', steps,
                       time.perf_counter() - begin_s)

    def close(self) -> None:
        """Frees what drawing needs."""
        self._sim.close()

    def _set_task(self, trial: Trial, first_told: str) -> None:
        if trial.condition not in GOAL_CONDITIONS:
            self._runtime.set_instruction(first_told or trial.instruction)
            return
        views = goal_views(self._sim, trial)
        for camera, key in self._cameras.items():
            if key in self._policy.spec.goal_keys:
                self._runtime.set_goal(key, _message(views[camera], self._now_ns))

    def _step(self) -> None:
        sim, runtime = self._sim, self._runtime
        seen = sim.observe(tuple(self._cameras))
        if self._watch is not None:
            self._watch(seen.images)
        self._now_ns += _STEP_NS
        for camera, key in self._cameras.items():
            runtime.store(key, _message(seen.images[camera], self._now_ns), self._now_ns)
        if self._proprio:
            runtime.store(PROPRIO, _joint_state(seen.proprio, self._now_ns), self._now_ns)
        job = runtime.poll(self._now_ns)
        error = ''
        if job is not None:
            result = runtime.run(job)
            runtime.accept(result)
            error = result.error
        output = runtime.tick(self._now_ns)
        command = output.command
        if command is None or command.linear is None or command.angular is None:
            raise ObservationError(
                f'the policy must give an action in every step, got none: '
                f'{error or output.reason or "the robot profile commands no twist"}')
        gripper = command.grippers[0] if command.grippers else sim.arm.target.gripper
        drive_twist(sim.arm, command.linear, command.angular, gripper, STEP_S)
        sim.advance(STEP_S)


def goal_views(sim: Simulator, trial: Trial) -> dict[str, UInt8[np.ndarray, 'ih iw 3']]:
    """Returns the goal images of a trial by camera: of the solved scene, or black."""
    if trial.condition == 'black':
        return {camera: np.zeros((size, size, 3), np.uint8)
                for camera, size in DEFAULT_SIZES.items()}
    return solved_images(sim, trial.task)


def _message(image: np.ndarray, stamp_ns: int) -> Any:
    """Returns an image as the runtime takes it: with the fields of a sensor_msgs/Image."""
    height, width, _ = image.shape
    return types.SimpleNamespace(
        header=_header(stamp_ns), height=height, width=width, encoding='rgb8', is_bigendian=0,
        step=3 * width, data=image.reshape(-1))


def _joint_state(values: np.ndarray, stamp_ns: int) -> Any:
    """Returns proprio as the runtime takes it: with the fields of a sensor_msgs/JointState."""
    return types.SimpleNamespace(header=_header(stamp_ns), name=(), position=values)


def _header(stamp_ns: int) -> Any:
    stamp = types.SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return types.SimpleNamespace(stamp=stamp, frame_id='')
