"""What the launch files have in common: checked arguments, an end for all together.

Only launch files import this, since `launch` comes with a ROS 2 install alone.
"""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.action import Action
from launch.actions import OpaqueFunction
from launch.actions import RegisterEventHandler
from launch.actions import Shutdown
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest

# launch itself refuses others without the name of the argument, and rcl without the levels.
SWITCH = ('true', 'false', 'True', 'False')
LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
# What a remapping takes: `rcl` has no more in names than this.
_NAME = re.compile(r'(~?/)?[a-z_]\w*(/[a-z_]\w*)*', re.ASCII | re.IGNORECASE)
# Read by launch itself, for any process.
_OF_LAUNCH = ('launch-prefix', 'launch-prefix-filter', 'emulate_tty', 'sigterm_timeout',
              'sigkill_timeout')


def strict(description: LaunchDescription, *, includes: tuple[str, ...] = (),
           alone: Sequence[Action] = ()) -> LaunchDescription:
    """Returns a description that refuses arguments which it does not know.

    `ros2 launch` itself takes any argument, so a misspelt topic would silently be another topic.
    Where a launch file of the user's includes ours, the arguments are for that one to judge.

    Args:
        description: of a launch file.
        includes: names of further launch files beside it that are started with its arguments.
        alone: what else to do where no other launch file includes it.
    """
    return LaunchDescription([
        OpaqueFunction(function=_begin, args=[description, includes, alone]),
        *description.entities])


def _begin(context: LaunchContext, description: LaunchDescription, includes: tuple[str, ...],
           alone: Sequence[Action]) -> list[Action]:
    file = Path(getattr(context.locals, 'current_launch_file_path', ''))
    if file.name not in {os.path.basename(word) for word in sys.argv}:
        return []
    typed = [word.partition(':=')[0] for word in context.argv]
    if set(context.launch_configurations) - set(typed):
        return []  # a file of the same name, with arguments of its own, includes this one
    known = _names(description)
    for name in includes:
        source = PythonLaunchDescriptionSource(str(file.with_name(f'{name}.launch.py')))
        known |= _names(source.get_launch_description(context))
    for name in typed:
        if name not in known and name not in _OF_LAUNCH:
            raise ParameterError(
                f"launch argument '{name}' must be one that {file.name} knows"
                f'{closest(name, known)}; --show-args lists them')
    return list(alone)


def _names(description: LaunchDescription) -> set[str]:
    return {argument.name for argument in description.get_launch_arguments()}


def require_name(argument: str, name: str) -> None:
    """Raises ParameterError for the name of a topic that cannot be.

    Args:
        argument: launch argument that it came by.
        name: as it was given.
    """
    if _NAME.fullmatch(name):
        return
    bad = re.search(r'[^\w/~]', name, re.ASCII)
    where = f"'{bad[0]}' in " if bad else ''
    raise ParameterError(
        f"'{argument}' must hold words of letters, digits and _ that begin with no digit, with / "
        f"between them, got {where}'{name}'")


def end_together(*executables: str) -> RegisterEventHandler:
    """Ends the launch when one of these programs ends; with an error when it failed."""
    def ended(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
        name = getattr(event.action, 'node_executable', '')
        if name not in executables or context.is_shutdown:
            return []
        if event.returncode:
            raise OctoError(f'{name} must run to its end, it ended with exit code '
                            f'{event.returncode}; see its messages above')
        return [Shutdown(reason=f'{name} ended')]

    return RegisterEventHandler(OnProcessExit(on_exit=ended))
