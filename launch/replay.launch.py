"""Plays a recording into the controller; takes the arguments of octo.launch.py, too.

An instruction that is given counts, and not the one on /instruction of the recording.

Example:
    ros2 launch octo_ros replay.launch.py bag:=/data/episode_00 checkpoint:=/data/octo \
        robot:=widowx transport:=compressed primary:=/camera_0/image_raw/compressed
"""

from launch.actions import DeclareLaunchArgument
from launch.actions import IncludeLaunchDescription
from launch.actions import OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext
from launch import LaunchDescription
from octo_ros.nodes.launching import SWITCH
from octo_ros.nodes.launching import end_together
from octo_ros.nodes.launching import strict

RECORDED = '/instruction'


def generate_launch_description() -> LaunchDescription:
    """Returns the description that `ros2 launch` runs."""
    return strict(LaunchDescription([
        DeclareLaunchArgument('bag', description='Recording: a rosbag2 folder or file.'),
        DeclareLaunchArgument('rate', default_value='1.0', description='Speed of the replay.'),
        DeclareLaunchArgument('loop', default_value='false', choices=SWITCH,
                              description='Start over at the end.'),
        DeclareLaunchArgument(
            'topics', default_value='',
            description='Topics of the recording to play, separated by spaces; all if left, but '
                        'for /clock and the like.'),
        DeclareLaunchArgument(
            'clock', default_value='true', choices=SWITCH,
            description='Keep the recorded stamps and publish /clock; false: present stamps.'),
        # The recording's instruction, wherever the namespace of the controller is.
        DeclareLaunchArgument('instruction_topic', default_value=RECORDED,
                              description="Topic of the recording's instruction; where "
                                          f"'instruction' is given, not that of {RECORDED}."),
        DeclareLaunchArgument('namespace', default_value='',
                              description='Namespace of the controller.'),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(PathJoinSubstitution(
                [FindPackageShare('octo_ros'), 'launch', 'octo.launch.py'])),
            launch_arguments={'use_sim_time': LaunchConfiguration('clock')}.items()),
        OpaqueFunction(function=player),
        end_together('octo_controller', 'image_player'),
    ]))


def player(context: LaunchContext) -> list:
    """Returns the player, which waits for the controller."""
    namespace = LaunchConfiguration('namespace').perform(context).strip('/')
    controller = f'/{namespace}/octo_controller'.replace('//', '/')
    topics = LaunchConfiguration('topics').perform(context).replace(',', ' ').split()
    # Played under another name, and not left out: what somebody says meanwhile is still heard.
    instruction = LaunchConfiguration('instruction', default='').perform(context)
    remaps = [(RECORDED, f'/image_player{RECORDED}')] if instruction else []
    return [Node(
        package='octo_ros', executable='image_player', name='image_player', output='screen',
        emulate_tty=True, remappings=remaps,
        parameters=[{
            'bag': ParameterValue(LaunchConfiguration('bag'), value_type=str),
            'rate': ParameterValue(LaunchConfiguration('rate'), value_type=float),
            'loop': ParameterValue(LaunchConfiguration('loop'), value_type=bool),
            'clock': ParameterValue(LaunchConfiguration('clock'), value_type=bool),
            'wait_for': controller,
            'expect': f'{controller}/action_chunk',
            'tail_s': 2.0,
            **({'topics': ParameterValue(topics, value_type=list[str])} if topics else {}),
        }])]
