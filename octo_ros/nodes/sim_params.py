"""The parameters of the simulator node."""

import dataclasses

from octo_ros.params import group
from octo_ros.params import param
from octo_ros.sim.randomization import SceneParams


@dataclasses.dataclass(frozen=True)
class SimParams:
    """What is simulated, and how its time passes."""

    seed: int = param(0, 'Scene that `~/reset` sets up; also the one at start.', ge=0,
                      read_only=False)
    task: str = param(
        '', 'What is to be done, such as lift_red; empty: a task chosen by the seed.',
        read_only=False)
    mode: str = param(
        'real_time', 'real_time: the arm follows the clock. stepped: a command moves it by one '
        'policy step, and without commands the world stands still.',
        one_of=('real_time', 'stepped'))
    rate: float = param(
        1.0, 'Speed of real_time; other than 1 wants `clock`.', gt=0.0, le=100.0)
    clock: bool = param(
        False, 'Publish /clock and stamp with simulated time; stepped does so anyway.')
    paused: bool = param(False, 'Start with the time standing still, until `~/pause` is called.')
    camera_rate_hz: float = param(
        10.0, 'Frames of each camera in real_time; stepped gives one a policy step.', unit='Hz',
        ge=0.1, le=50.0)
    jpeg_quality: int = param(95, 'Quality of the compressed images.', ge=1, le=100)
    announce: bool = param(False, 'Publish the instruction of the task on `instruction`.')
    viewer: bool = param(False, "Open a window of MuJoCo's viewer onto the scene.")
    controller: str = param(
        'octo_controller', 'Node whose commands move the arm; relative names below the namespace.')
    raw_space: str = param(
        'cartesian', 'What Float64MultiArray commands hold: changes in a policy step (x, y, z, '
        'roll, pitch, yaw) or joint positions; a seventh number is the gripper.',
        one_of=('cartesian', 'joint'))
    command_timeout_s: float = param(
        0.25, 'In real_time, a velocity counts for this long.', unit='s', gt=0.0, le=10.0)
    patience_s: float = param(
        5.0, 'In stepped, real time to wait for a command before the same views are published '
        'anew.', unit='s', gt=0.0, le=600.0)
    max_steps: int = param(
        0, 'Policy steps after which the task counts as failed; 0: no end.', ge=0, le=100000)
    scene: SceneParams = group(SceneParams)
