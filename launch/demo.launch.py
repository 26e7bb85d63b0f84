"""Starts the simulated robot and a controller with the shipped policy.

Without an instruction the simulator says its own task, on the topic `instruction`; another can be
published there at any time. All follow the simulator's clock, so a slow machine shows the same,
only slower.

Example:
    ros2 launch octo_ros demo.launch.py seed:=3 viewer:=true
    ros2 topic pub --once /instruction std_msgs/msg/String "data: lift the red block"
"""

from launch.actions import DeclareLaunchArgument
from launch.actions import IncludeLaunchDescription
from launch.actions import LogInfo
from launch.actions import OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext
from launch import LaunchDescription
from octo_ros.assets import is_untrained
from octo_ros.assets import shipped_policy
from octo_ros.nodes.launching import end_together
from octo_ros.nodes.launching import strict
from octo_ros.nodes.sim_setup import CAMERA
from octo_ros.nodes.sim_setup import ROBOT
from octo_ros.nodes.sim_setup import proprio_remaps

UNTRAINED = 'The weights are UNTRAINED: expect the arm to wander.'
HINTS = """In another terminal:
  say what to do    ros2 topic pub --once /instruction std_msgs/msg/String \\
                        "data: lift the red block"
  another scene     ros2 param set /octo_sim seed 7
                    ros2 param set /octo_sim task lift_blue
                    ros2 service call /octo_sim/reset std_srvs/srv/Trigger
  by goal images    ros2 service call /octo_controller/clear_task std_srvs/srv/Trigger
                    ros2 service call /octo_sim/publish_goal std_srvs/srv/Trigger
  is it done?       ros2 service call /octo_sim/success std_srvs/srv/Trigger
  what is going on  ros2 topic echo /octo_controller/action_chunk
                    ros2 topic hz /octo_controller/command/twist
                    ros2 topic echo /diagnostics"""


def generate_launch_description() -> LaunchDescription:
    """Returns the description that `ros2 launch` runs."""
    return strict(LaunchDescription([
        DeclareLaunchArgument('checkpoint', default_value=str(shipped_policy()),
                              description='Folder of the checkpoint; the shipped one if left.'),
        DeclareLaunchArgument('instruction', default_value='',
                              description='What to do, in words; the task of the scene if left.'),
        DeclareLaunchArgument('robot', default_value=ROBOT, description='Robot profile.'),
        DeclareLaunchArgument('seed', default_value='0', description='Scene.'),
        DeclareLaunchArgument('task', default_value='',
                              description='Task of the scene; empty: chosen by the seed.'),
        OpaqueFunction(function=actions),
        end_together('octo_controller', 'octo_sim'),
    ]), includes=('sim', 'octo'))


def actions(context: LaunchContext) -> list:
    """Returns simulator and controller for the arguments as they were given."""
    share = FindPackageShare('octo_ros').perform(context)
    said = LaunchConfiguration('instruction').perform(context)
    checkpoint = LaunchConfiguration('checkpoint').perform(context)
    notes = [UNTRAINED] if is_untrained(checkpoint) else []
    return [
        *(LogInfo(msg=note) for note in (f'Policy: {checkpoint}', *notes, HINTS)),
        _include(share, 'sim', {'announce': 'false' if said else 'true', 'clock': 'true'}),
        _include(share, 'octo', {
            'primary': CAMERA.format('primary'), 'wrist': CAMERA.format('wrist'),
            'use_sim_time': 'true', **proprio_remaps(checkpoint)})]


def _include(share: str, name: str, arguments: dict[str, str]) -> IncludeLaunchDescription:
    """Includes a launch file, which sees the arguments of this one, too."""
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(f'{share}/launch/{name}.launch.py'),
        launch_arguments=arguments.items())
