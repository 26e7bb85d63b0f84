"""Starts the simulated robot at its table; commands of octo_controller move it.

Example:
    ros2 launch octo_ros sim.launch.py seed:=7 task:=lift_red
"""

from launch.actions import DeclareLaunchArgument
from launch.actions import OpaqueFunction
from launch.actions import SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext
from launch import LaunchDescription
from octo_ros.nodes.launching import LOG_LEVELS
from octo_ros.nodes.launching import SWITCH
from octo_ros.nodes.launching import end_together
from octo_ros.nodes.launching import strict

PROFILES_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
# Launch argument, which is a parameter of the node, to its type, default and meaning.
ARGUMENTS = {
    'seed': (int, '0', 'Scene.'),
    'task': (str, '', 'What is to be done, such as lift_red; empty: chosen by the seed.'),
    'mode': (str, 'real_time', "'real_time', or 'stepped' by commands."),
    'rate': (float, '1.0', 'Speed of real_time; other than 1 wants clock:=true.'),
    'clock': (bool, 'false', 'Publish /clock, for nodes with use_sim_time.'),
    'camera_rate_hz': (float, '10.0', 'Frames of each camera.'),
    'announce': (bool, 'false', "Publish the task in words on 'instruction'."),
    'viewer': (bool, 'false', "Open a window of MuJoCo's viewer onto the scene."),
    'controller': (str, 'octo_controller', 'Node whose commands move the arm.'),
}


def generate_launch_description() -> LaunchDescription:
    """Returns the description that `ros2 launch` runs."""
    return strict(LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text,
                                choices=SWITCH if kind is bool else None)
          for name, (kind, default, text) in ARGUMENTS.items()),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace.'),
        DeclareLaunchArgument('log_level', default_value='info', choices=LOG_LEVELS,
                              description='How much the node says.'),
        OpaqueFunction(function=actions),
    ]), alone=[end_together('octo_sim')])


def actions(context: LaunchContext) -> list:
    """Returns the node for the arguments as they were given."""
    share = FindPackageShare('octo_ros').perform(context)
    environment = [] if context.environment.get(PROFILES_VARIABLE) else [
        SetEnvironmentVariable(PROFILES_VARIABLE, f'{share}/config/fastdds.xml')]
    return [*environment, Node(
        package='octo_ros', executable='octo_sim', name='octo_sim', output='screen',
        emulate_tty=True, namespace=LaunchConfiguration('namespace'),
        parameters=[{name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                     for name, (kind, _, _) in ARGUMENTS.items()}],
        ros_arguments=['--log-level', ['octo_sim:=', LaunchConfiguration('log_level')]])]
