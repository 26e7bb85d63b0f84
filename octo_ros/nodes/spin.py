"""Runs a node to its end: threads, signals, and an orderly goodbye.

The main thread waits for the end and does the slow parts of a node's life; a second thread spins
the executor. Signals are taken here, not by rclpy: rclpy's own handler shuts the context down at
once, and then nothing could tell the robot to stop any more.
"""

import sys
import threading
import traceback
from collections.abc import Callable
from collections.abc import Sequence
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.executors import ShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.nodes.signals import StopSignals
from octo_ros.nodes.signals import end_now

_FAILED = 1
_CALLBACK_S = 3.0


class Runnable(Protocol):
    """What `run` wants of a node, beside being one."""

    def start(self, stopping: threading.Event) -> None:
        """Does the slow start; returns early when `stopping` is set. Raises OctoError."""

    def stop(self) -> None:
        """Brings the node to rest while it can still publish."""


class Spinner:
    """Spins a node in a thread of its own; an exception in a callback is logged, not fatal.

    One thread: no callback takes long, and rclpy's executor with several costs twice the
    processor time for the same three cameras and loses more of their frames.
    """

    def __init__(self, node: Node) -> None:
        """Starts to spin."""
        self._node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._stopped = False
        self._thread = threading.Thread(target=self._spin, name='executor', daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stopped and self._node.context.ok():
            try:
                self._executor.spin()
            except (ExternalShutdownException, ShutdownException):
                return
            except Exception as error:  # a bad message must not end the node
                self._node.get_logger().error(
                    f'A callback failed, the node goes on: {type(error).__name__}: {error}',
                    throttle_duration_sec=5.0)

    def stop(self) -> bool:
        """Ends spinning; returns False when a callback does not come to its end."""
        self._stopped = True
        self._executor.shutdown(timeout_sec=_CALLBACK_S)
        self._thread.join(_CALLBACK_S)
        return not self._thread.is_alive()


def run(factory: Callable[[], Node], arguments: Sequence[str] | None = None, *,
        done: threading.Event | None = None) -> int:
    """Makes a node and runs it until SIGINT, SIGTERM or `done`.

    Args:
        factory: makes the node; it must be a `Runnable` as well.
        arguments: the command line, `sys.argv` when None.
        done: set by the node when it has nothing more to do.

    Returns:
        The exit code of the process.
    """
    ending = done or threading.Event()
    logger = rclpy.logging.get_logger('octo_ros')
    try:
        _initialize(list(arguments) if arguments is not None else sys.argv)
        with StopSignals(ending, logger.warning) as signals:
            return _run(factory, ending, signals)
    except OctoError as error:
        logger.fatal(str(error))
        return _FAILED
    finally:
        rclpy.try_shutdown()


def _initialize(arguments: list[str]) -> None:
    """Starts rclpy. Raises ParameterError for arguments or a parameter file that it refuses."""
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # rclpy's own have no common public base
        [reason] = str(error).removeprefix('failed to initialize rcl: ').splitlines()[:1] or ['']
        place = reason.rpartition(', at /')  # in the sources of rcl
        raise ParameterError(
            f'the ROS arguments must be such as rcl can read: {place[0] or reason}; write '
            '-p NAME:=VALUE, with quotes inside quotes for a text that may be empty '
            '(-p "instruction:=\'\'"), or correct the parameter file') from error


def _run(factory: Callable[[], Node], ending: threading.Event, signals: StopSignals) -> int:
    node = factory()
    spinner = Spinner(node)
    code = _until_end(node, ending, signals)
    node.stop()  # type: ignore[attr-defined]
    if not spinner.stop():
        node.get_logger().warning('A callback does not end: ends without it')
        end_now(code)
    node.destroy_node()
    return code


def _until_end(node: Node, ending: threading.Event, signals: StopSignals) -> int:
    """Starts a node and waits for its end; returns the exit code, with the reason logged."""
    try:
        node.start(ending)  # type: ignore[attr-defined]
        signals.started()
        while not ending.wait(1.0):
            pass
        return 0
    except OctoError as error:
        node.get_logger().fatal(str(error))
    except Exception:  # said now, for a callback that does not end may leave no other chance
        node.get_logger().fatal(traceback.format_exc())
    finally:
        signals.started()
    return _FAILED
