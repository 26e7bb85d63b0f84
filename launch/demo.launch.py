"""Starts the simulated robot and a controller with the shipped policy.

Without an instruction the simulator says its own task, on the topic `instruction`; another can be
published there at any time.

Example:
    ros2 launch octo_ros demo.launch.py seed:=3
    ros2 topic pub --once /instruction std_msgs/msg/String "data: lift the red block"
"""

from launch.actions import DeclareLaunchArgument
from launch.actions import IncludeLaunchDescription
from launch.actions import OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext
from launch import LaunchDescription
from octo_ros.assets import shipped_checkpoint


def generate_launch_description() -> LaunchDescription:
    """Returns the description that `ros2 launch` runs."""
    return LaunchDescription([
        DeclareLaunchArgument('checkpoint', default_value=str(shipped_checkpoint()),
                              description='Folder of the checkpoint; the shipped one if left.'),
        DeclareLaunchArgument('instruction', default_value='',
                              description='What to do, in words; the task of the scene if left.'),
        DeclareLaunchArgument('robot', default_value='viperx_sim', description='Robot profile.'),
        DeclareLaunchArgument('seed', default_value='0', description='Scene.'),
        DeclareLaunchArgument('task', default_value='',
                              description='Task of the scene; empty: chosen by the seed.'),
        OpaqueFunction(function=actions),
    ])


def actions(context: LaunchContext) -> list:
    """Returns simulator and controller for the arguments as they were given."""
    share = FindPackageShare('octo_ros').perform(context)
    said = LaunchConfiguration('instruction').perform(context)
    return [
        _include(share, 'sim', {'announce': 'false' if said else 'true'}),
        _include(share, 'octo', {'primary': '/camera_primary/image_raw',
                                 'wrist': '/camera_wrist/image_raw'})]


def _include(share: str, name: str, arguments: dict[str, str]) -> IncludeLaunchDescription:
    """Includes a launch file, which sees the arguments of this one, too."""
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(f'{share}/launch/{name}.launch.py'),
        launch_arguments=arguments.items())
