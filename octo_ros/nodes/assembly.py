"""Puts policy, runtime and messages together from the parameters; the slow part of configuring."""

import dataclasses
import threading

from rclpy.impl.rcutils_logger import RcutilsLogger

from octo_ros.errors import OctoError
from octo_ros.messages.commands import CommandMessages
from octo_ros.messages.runtime import Runtime
from octo_ros.nodes.image_fallback import ros_image_fallback
from octo_ros.nodes.inputs import described
from octo_ros.nodes.publishers import message_class
from octo_ros.nodes.schema import ControllerParams
from octo_ros.nodes.schema import in_full
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.types import Policy
from octo_ros.policy.types import Task

# MoveIt Servo stops the arm when no command came for 0.1 s; half of that leaves room for a loss.
_SLOWEST_TWISTS_HZ = 20.0


@dataclasses.dataclass(frozen=True)
class Assembly:
    """What a configured controller works with."""

    params: ControllerParams
    policy: Policy
    runtime: Runtime
    messages: CommandMessages


def assemble(params: ControllerParams, policy: Policy | None, logger: RcutilsLogger,
             stopping: threading.Event) -> Assembly:
    """Loads the checkpoint, checks it against cameras and profile, compiles and warms up.

    Args:
        params: the controller's parameters.
        policy: used instead of a checkpoint when given.
        logger: told of the progress.
        stopping: ends the work at the next step of it.

    Raises:
        OctoError: something does not fit, or `stopping` was set.
    """
    def progress(text: str) -> None:
        logger.info(in_full(text))
        if stopping.is_set():
            raise OctoError('configuring must not be interrupted, got a signal to stop')

    if policy is None:
        progress(f"Loading the checkpoint '{params.policy.checkpoint}'")
        policy = OctoPolicy.load(params.policy)
    runtime = Runtime(
        policy, params.loop, params.profile,
        image_keys=params.cameras or tuple(policy.spec.image_sizes),
        proprio=params.proprio, proprio_names=params.proprio_names,
        fallback=ros_image_fallback())
    if params.instruction:
        policy.check_task(Task(params.instruction))  # before the slow part
    logger.info(described(params.instruction))
    if (params.profile.command.type == 'twist'
            and params.command_rate_hz < _SLOWEST_TWISTS_HZ):
        logger.warning(
            f"'command_rate_hz' should be {_SLOWEST_TWISTS_HZ:g} or more with twists, got "
            f'{params.command_rate_hz:g}: MoveIt Servo stops when no twist came for 0.1 s')
    runtime.prepare(progress)
    # Only now is it known which cameras are mapped, and so which goal images lack.
    if params.instruction:
        for note in runtime.set_instruction(params.instruction):
            logger.info(note)
    messages = CommandMessages(message_class, params.profile, step_ns=params.loop.step_ns)
    return Assembly(params, policy, runtime, messages)
