"""Starts the controller and maps cameras to the image keys of a checkpoint.

Example:
    ros2 launch octo_ros octo.launch.py checkpoint:=hf://rail-berkeley/octo-small-1.5 \
        robot:=widowx primary:=/camera/image_raw instruction:="pick up the spoon"
"""

import pathlib

from launch.actions import DeclareLaunchArgument
from launch.actions import OpaqueFunction
from launch.actions import SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext
from launch import LaunchDescription
from octo_ros.errors import ParameterError
from octo_ros.nodes.launching import LOG_LEVELS
from octo_ros.nodes.launching import SWITCH
from octo_ros.nodes.launching import end_together
from octo_ros.nodes.launching import require_name
from octo_ros.nodes.launching import strict

CAMERAS = ('primary', 'secondary', 'wrist')
PROFILES_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
# Launch argument to parameter of the node. An empty argument leaves the parameter alone, so that
# what the parameter file says of it counts.
TEXTS = {
    'checkpoint': 'policy.checkpoint',
    'vocabulary': 'policy.vocabulary',
    'robot': 'robot',
    'instruction': 'instruction',
    'transport': 'transport',
}
SWITCHES = {
    'autostart': 'autostart',
    'arm_at_start': 'arm_at_start',
    'use_sim_time': 'use_sim_time',
}
REMAPS = {
    'instruction_topic': 'instruction',
    'emergency_stop': 'emergency_stop',
    'measured_pose': 'measured_pose',
    'measured_joints': 'measured_joints',
    'proprio': 'proprio',
}


def generate_launch_description() -> LaunchDescription:
    """Returns the description that `ros2 launch` runs."""
    return strict(LaunchDescription([*arguments(), OpaqueFunction(function=actions)]),
                  alone=[end_together('octo_controller')])


def arguments() -> list[DeclareLaunchArgument]:
    """Returns all launch arguments."""
    described = {
        'checkpoint': 'Folder of the checkpoint, hf://owner/name[@revision], or shipped.',
        'robot': 'Robot profile: a name in config/robots (widowx if nothing says otherwise), or '
                 'the path of a YAML file.',
        'primary': 'Topic of the camera for image_primary.',
        'secondary': 'Topic of the camera for image_secondary.',
        'wrist': 'Topic of the camera for image_wrist.',
        'cameras': 'Further cameras as KEY=TOPIC, separated by spaces: "instruction=/sketch".',
        'transport': "'raw' or 'compressed'; this then adds /compressed to topics that lack it.",
        'instruction': 'What to do, in words.',
        'instruction_topic': "Topic of the instruction, if not 'instruction'.",
        'emergency_stop': "Topic of the emergency stop, if not 'emergency_stop'.",
        'proprio': 'JointState topic for a checkpoint that takes proprioception.',
        'measured_pose': 'PoseStamped topic of the measured end-effector pose.',
        'measured_joints': 'JointState topic of the measured joints.',
        'vocabulary': 'Sentencepiece file of the language model.',
        'namespace': 'Namespace of the node.',
        'params_file': 'File of further parameters, overruled by the arguments that are given; '
                       'config/controller.yaml if left.',
        'autostart': 'true or false: configure and activate at start.',
        'arm_at_start': 'false: publish chunks but no commands until ~/arm is called.',
        'use_sim_time': 'true or false: follow /clock.',
        'log_level': 'How much the node says.',
    }
    defaults = {'log_level': 'info'}
    choices = {'transport': ['', 'raw', 'compressed'], 'log_level': LOG_LEVELS,
               **{name: ['', *SWITCH] for name in SWITCHES}}
    return [
        DeclareLaunchArgument(name, default_value=defaults.get(name, ''), description=text,
                              choices=choices.get(name))
        for name, text in described.items()]


def actions(context: LaunchContext) -> list:
    """Returns the node for the arguments as they were given."""
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    share = FindPackageShare('octo_ros').perform(context)
    remaps = camera_topics({name: value(name) for name in CAMERAS}, value('cameras'),
                           compressed=value('transport') == 'compressed')
    parameters = {
        **{name: ParameterValue(value(argument), value_type=str)
           for argument, name in TEXTS.items() if value(argument)},
        **{name: ParameterValue(LaunchConfiguration(argument), value_type=bool)
           for argument, name in SWITCHES.items() if value(argument)},
    }
    if remaps:
        parameters['cameras'] = ParameterValue(list(remaps), value_type=list[str])
    if value('proprio'):
        parameters['proprio'] = True
    for argument, name in REMAPS.items():
        if value(argument):
            require_name(argument, value(argument))
            remaps[name] = value(argument)
    # A node's logger has the names of its namespace in front.
    logger = '.'.join([*filter(None, value('namespace').split('/')), 'octo_controller'])
    environment = [] if context.environment.get(PROFILES_VARIABLE) else [
        SetEnvironmentVariable(PROFILES_VARIABLE, f'{share}/config/fastdds.xml')]
    return [*environment, Node(
        package='octo_ros', executable='octo_controller', name='octo_controller',
        namespace=value('namespace'), output='screen', emulate_tty=True,
        parameters=[params_file(value('params_file')) or f'{share}/config/controller.yaml',
                    parameters],
        remappings=list(remaps.items()),
        ros_arguments=['--log-level', f"{logger}:={value('log_level')}"])]


def params_file(given: str) -> str:
    """Returns the path of a parameter file; empty for none. launch_ros would go on without it."""
    path = pathlib.Path(given).expanduser()
    if given and not path.is_file():
        raise ParameterError(f"'params_file' must be a file that exists, got '{given}'")
    return given and str(path)


def camera_topics(named: dict[str, str], further: str, *, compressed: bool) -> dict[str, str]:
    """Returns observation key to topic.

    Args:
        named: short key (`primary`) to topic, empty where there is no such camera.
        further: KEY=TOPIC pairs separated by spaces or commas.
        compressed: True when the cameras publish compressed images.

    Raises:
        ParameterError: the form or a name cannot be, or a key has two topics.
    """
    pairs = [(key, key, topic) for key, topic in named.items() if topic]
    for entry in further.replace(',', ' ').split():
        key, separator, topic = entry.partition('=')
        if not (key and separator and topic):
            raise ParameterError(f"'cameras' must hold KEY=TOPIC, got '{entry}'")
        pairs.append(('cameras', key, topic))
    topics: dict[str, str] = {}
    for argument, short, topic in pairs:
        key = short if short.startswith('image_') else f'image_{short}'
        require_name(argument, key)
        require_name(argument, topic)
        if key in topics:
            raise ParameterError(f"'{key}' must have one topic, got '{topics[key]}' and '{topic}'")
        topics[key] = topic
    suffix = '/compressed' if compressed else ''
    return {key: topic if topic.endswith(suffix) else topic + suffix
            for key, topic in topics.items()}
