"""The tables of the documents: what each node listens to, publishes, offers and can be told.

`python -m octo_ros.nodes.tables README.md doc/simulator.md` writes them into these files between
their markers. The parameters come from the schema; that the topics are those of the running nodes
is tested.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

from octo_ros.nodes import parameters
from octo_ros.nodes import schema
from octo_ros.nodes.sim_params import SimParams


class Row(NamedTuple):
    """One topic or service.

    `KEY` stands for each observation key of the checkpoint, `CAMERA` for primary and wrist,
    `CONTROLLER` for the parameter `controller`.
    """

    name: str
    type: str
    meaning: str


INPUTS = (
    Row('image_KEY', 'sensor_msgs/msg/Image or CompressedImage',
        'Camera of the observation `image_KEY`; the parameter `transport` says which type.'),
    Row('instruction', 'std_msgs/msg/String',
        'The task in words, latched; can change at any time, an empty text takes it away.'),
    Row('goal/image_KEY', 'sensor_msgs/msg/Image or CompressedImage',
        'Goal image of that key, any size; can change at any time.'),
    Row('proprio', 'sensor_msgs/msg/JointState',
        'Proprioception, where the checkpoint takes it and the parameter `proprio` is set.'),
    Row('measured_pose', 'geometry_msgs/msg/PoseStamped',
        'Pose of the end effector, for profiles that command poses; in the frame '
        '`profile.action.frame_id`, or without a frame_id.'),
    Row('measured_joints', 'sensor_msgs/msg/JointState',
        'Positions of the joints, for joint-space profiles; may come in parts, as arm by arm.'),
    Row('emergency_stop', 'std_msgs/msg/Bool',
        'Latched. True: stop now, and stay stopped until it is false and `~/arm` was called.'),
)
OUTPUTS = (
    Row('~/action_chunk', 'trajectory_msgs/msg/JointTrajectory',
        'Every chunk, un-normalised: header.stamp is the stamp of the observation, joint_names '
        'the names of the action dimensions, time_from_start k steps.'),
    Row('~/command/twist', 'geometry_msgs/msg/TwistStamped',
        'Profile `twist`: speed = delta / step, repeated at `command_rate_hz`.'),
    Row('~/command/pose', 'geometry_msgs/msg/PoseStamped',
        'Profile `pose`: deltas added to the previous target or to the measured pose.'),
    Row('~/command/joint_trajectory', 'trajectory_msgs/msg/JointTrajectory',
        'Profile `joint_trajectory`: the joints of the whole chunk.'),
    Row('~/command/multi_array', 'std_msgs/msg/Float64MultiArray',
        'Profile `multi_array`: the numbers of the step, for forward controllers.'),
    Row('~/command/gripper', 'std_msgs/msg/Float64MultiArray',
        'Opening of each gripper, 1 open and 0 closed unless the profile says otherwise.'),
    Row('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray',
        'State, reason for holding, rate, age and losses of each stream, latency by stage.'),
)
SERVICES = (
    Row('~/arm', 'std_srvs/srv/SetBool', 'Lets commands out, or holds them back.'),
    Row('~/capture_goal', 'std_srvs/srv/Trigger', "Takes this moment's views as goal images."),
    Row('~/clear_task', 'std_srvs/srv/Trigger',
        'Takes instruction and goals away; neither the parameter `instruction` nor a latched '
        'publisher brings them back when the node is configured anew.'),
    Row('~/reset', 'std_srvs/srv/Trigger',
        'Forgets history, chunks and targets; random numbers start from `policy.seed` again.'),
)
SIM_INPUTS = (
    Row('CONTROLLER/command/twist', 'geometry_msgs/msg/TwistStamped',
        'Velocity of the end effector in the base frame, or its own (`ee_link`, `tool`).'),
    Row('CONTROLLER/command/pose', 'geometry_msgs/msg/PoseStamped',
        'Pose of the end effector in the base frame.'),
    Row('CONTROLLER/command/joint_trajectory', 'trajectory_msgs/msg/JointTrajectory',
        'Positions of some or all joints.'),
    Row('CONTROLLER/command/multi_array', 'std_msgs/msg/Float64MultiArray',
        'As `raw_space` says: changes in a policy step, added to the target, or joint positions. '
        'The newest counts: of those that come within one tick, only the last.'),
    Row('CONTROLLER/command/gripper', 'std_msgs/msg/Float64MultiArray', '1 open, 0 closed.'),
)
SIM_OUTPUTS = (
    Row('camera_CAMERA/image_raw', 'sensor_msgs/msg/Image',
        'Of `primary`, 256x256, and `wrist`, 128x128, rgb8; drawn while somebody listens.'),
    Row('camera_CAMERA/image_raw/compressed', 'sensor_msgs/msg/CompressedImage',
        'The same as JPEG.'),
    Row('state', 'sensor_msgs/msg/JointState',
        'x, y, z [m], roll, pitch, yaw [rad] and gripper, for the policy: its proprio.'),
    Row('joint_states', 'sensor_msgs/msg/JointState', 'The joints of the arm [rad].'),
    Row('ee_pose', 'geometry_msgs/msg/PoseStamped', 'Pose of the end effector.'),
    Row('instruction', 'std_msgs/msg/String', 'The task in words, latched, with `announce`.'),
    Row('goal/image_CAMERA', 'sensor_msgs/msg/Image', 'From `~/publish_goal`, latched.'),
    Row('goal/image_CAMERA/compressed', 'sensor_msgs/msg/CompressedImage', 'The same as JPEG.'),
    Row('~/result', 'std_msgs/msg/String',
        'Seed, task, steps, success and the block that the arm went for as JSON, once the task '
        'is done or `max_steps` are over; latched.'),
    Row('/clock', 'rosgraph_msgs/msg/Clock', 'Simulated time, with `clock` or stepped.'),
)
SIM_SERVICES = (
    Row('~/reset', 'std_srvs/srv/Trigger',
        'Sets up the scene of the parameters `seed` and `task`; answers with it as JSON.'),
    Row('~/success', 'std_srvs/srv/Trigger',
        'True once the task is done; the message is that of `~/result`.'),
    Row('~/publish_goal', 'std_srvs/srv/Trigger',
        'Publishes goal images of the solved scene, which the arm is not moved for.'),
    Row('~/pause', 'std_srvs/srv/SetBool', 'Stops the time, or lets it run.'),
)


def tables() -> dict[str, str]:
    """Returns the Markdown of each table by the name of its marker."""
    rows = {'inputs': INPUTS, 'outputs': OUTPUTS, 'services': SERVICES,
            'sim_inputs': SIM_INPUTS, 'sim_outputs': SIM_OUTPUTS, 'sim_services': SIM_SERVICES}
    made = {name: _table('service' if name.endswith('services') else 'topic', entries)
            for name, entries in rows.items()}
    made['sim_parameters'] = parameters.table(SimParams)
    lines = parameters.table(schema.ControllerParams).splitlines()
    hidden = tuple(f'| `{name}` |' for name in schema.FROM_PROFILE)
    shown = [line for line in lines if not line.startswith(hidden)]
    profile = [line for line in shown if line.startswith('| `profile.')]
    made['parameters'] = '\n'.join(line for line in shown if line not in profile) + '\n'
    made['profile'] = '\n'.join([*shown[:2], *profile]) + '\n'
    return made


def fill(text: str) -> str:
    """Returns a Markdown text with the tables between their markers brought up to date."""
    for name, table in tables().items():
        begin, end = f'<!-- {name} -->', f'<!-- end of {name} -->'
        text = re.sub(f'{begin}.*?{end}', lambda _, t=f'{begin}\n{table}{end}': t,  # type: ignore
                      text, flags=re.DOTALL)
    return text


def _table(head: str, rows: tuple[Row, ...]) -> str:
    lines = [f'| {head} | type | meaning |', '|---|---|---|']
    lines += [f'| `{row.name}` | {row.type} | {row.meaning} |' for row in rows]
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    for name in sys.argv[1:]:
        document = Path(name)
        document.write_text(fill(document.read_text()))
