"""The ViperX 300s arm as MJCF: taken from gym-aloha, made ready for servo control and a CPU.

Only the asset files of gym-aloha (Apache-2.0) are read; the package is never imported. Changes
to its model: meshes are simplified and only seen, never touched; gravity is compensated and dry
friction removed, as a good servo does both; the fingers get box pads, one motor drives both; a
frame `ee` marks the pinch point; a camera `wrist` looks at it.

The frame `ee` has its origin between the finger tips. With the gripper pointing straight down
it is aligned with the base frame (x forward, y left, z up), so that roll, pitch and yaw are all
zero there.
"""

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.sim import meshes
from octo_ros.sim.gl import NO_MUJOCO

PREFIX = 'vx300s_left/'
JOINTS = ('waist', 'shoulder', 'elbow', 'forearm_roll', 'wrist_angle', 'wrist_rotate')
FINGER_OPEN = 0.057  # joint position with the gripper open [m]
FINGER_CLOSED = 0.0225  # joint position where the pads meet [m]
TIP_BELOW_EE = 0.014  # distance from the frame `ee` to the finger tips [m]

_CELL_MM = 14.0  # cell of the simplification: three pixels of the primary camera
_GRIPPER_CELL_MM = 9.0  # the wrist camera is near
_PAD_Y = 0.0346  # inner face of a pad at FINGER_OPEN, from gripper_link [m]
_SERVO_KP = (900.0, 1600.0, 900.0, 200.0, 250.0, 120.0)  # [N m / rad]
_GRIPPER_KP = 1500.0  # [N / m]
_GRIPPER_FORCE = 24.0  # [N], shared by the two fingers
_DARK = '0.16 0.16 0.18 1'
_PAD = '0.95 0.80 0.20 1'


def asset_folder() -> Path:
    """Returns the folder of gym-aloha's MJCF and STL files. Raises ParameterError if absent."""
    spec = importlib.util.find_spec('gym_aloha')
    if spec is None or spec.origin is None:
        raise ParameterError(NO_MUJOCO.format(missing='gym-aloha'))
    folder = Path(spec.origin).parent / 'assets'
    if not (folder / 'vx300s_left.xml').is_file():
        raise ParameterError(
            f'{folder} must hold vx300s_left.xml, but it does not; reinstall gym-aloha')
    return folder


def add_arm(root: ET.Element) -> None:
    """Adds meshes, bodies, actuators and constraints of the arm to an MJCF tree.

    Args:
        root: the `mujoco` element, which has `asset`, `worldbody`, `actuator`, `equality` and
            `contact` children.
    """
    folder = asset_folder()
    _add_meshes(_child(root, 'asset'), folder)
    arm = _parse(folder / 'vx300s_left.xml').find('body')
    if arm is None:
        raise ParameterError(f'{folder}/vx300s_left.xml must hold a body, but it does not')
    arm.set('pos', '0 0 0')
    _make_servo_arm(arm)
    bodies = {body.get('name', '').removeprefix(PREFIX): body for body in arm.iter('body')}
    _add_tool(bodies['gripper_link'])
    _add_pad(bodies['left_finger_link'], 'left', 1.0)
    _add_pad(bodies['right_finger_link'], 'right', -1.0)
    _child(root, 'worldbody').append(arm)
    _add_actuators(root)


def _make_servo_arm(arm: ET.Element) -> None:
    for body in arm.iter('body'):
        body.set('gravcomp', '1')
        for child in list(body):
            if child.tag in ('site', 'camera') or 'camera_focus' in child.get('name', ''):
                body.remove(child)
    for joint in arm.iter('joint'):
        del joint.attrib['frictionloss']
        slide = joint.get('type') == 'slide'
        joint.set('armature', '0.02' if slide else '0.05')
        joint.set('damping', '10' if slide else '1')
    for geom in arm.iter('geom'):
        _make_visual(geom)


def _parse(path: Path) -> ET.Element:
    return ET.parse(path).getroot()


def _child(root: ET.Element, tag: str) -> ET.Element:
    found = root.find(tag)
    return ET.SubElement(root, tag) if found is None else found


def add_mesh(asset: ET.Element, name: str, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Adds a mesh given by its vertices [m] and triangles to the `asset` element."""
    ET.SubElement(
        asset, 'mesh', name=name, inertia='shell',
        vertex=' '.join(f'{value:.5f}' for value in vertices.ravel()),
        face=' '.join(str(value) for value in faces.ravel()))


def _add_meshes(asset: ET.Element, folder: Path) -> None:
    for mesh in _parse(folder / 'vx300s_dependencies.xml').iter('mesh'):
        triangles = meshes.read_stl((folder / mesh.get('file', '')).read_bytes())
        near = 'gripper' in mesh.get('name', '')
        vertices, faces = meshes.simplify(triangles, _GRIPPER_CELL_MM if near else _CELL_MM)
        add_mesh(asset, mesh.get('name', ''), vertices * 0.001, faces)


def _make_visual(geom: ET.Element) -> None:
    for key in ('condim', 'solimp', 'solref', 'friction'):
        geom.attrib.pop(key, None)
    geom.set('contype', '0')
    geom.set('conaffinity', '0')
    geom.set('rgba', _DARK)


def _add_tool(link: ET.Element) -> None:
    # The link's x axis runs along the gripper; the frame `ee` turns by -90 degrees about y.
    ET.SubElement(link, 'site', name='ee', pos='0.14 0 0', quat='0.70710678 0 -0.70710678 0',
                  size='0.004', rgba='0 0 0 0')
    # The picture's right is +y and its top points back to the base, as in the primary camera.
    ET.SubElement(link, 'camera', name='wrist', pos='0.005 0 0.085',
                  xyaxes='0 1 0 -0.5 0 -0.866', fovy='70')


def _add_pad(finger: ET.Element, side: str, sign: float) -> None:
    thickness = 0.004
    y = sign * (_PAD_Y - FINGER_OPEN + thickness)
    # Body origin lies 0.0687 m along the link; pads reach from 0.105 m to the tip at 0.154 m.
    ET.SubElement(
        finger, 'geom', name=f'{side}_pad', type='box', pos=f'0.0608 {y:.5f} 0',
        size=f'0.0245 {thickness} 0.009', rgba=_PAD, friction='1.6 0.02 0.001', condim='4',
        solref='0.006 1', solimp='0.95 0.99 0.001', mass='0')


def _add_actuators(root: ET.Element) -> None:
    actuator = _child(root, 'actuator')
    for name, kp in zip(JOINTS, _SERVO_KP, strict=True):
        ET.SubElement(actuator, 'position', name=name, joint=PREFIX + name, kp=str(kp),
                      dampratio='1', inheritrange='1')
    ET.SubElement(actuator, 'position', name='gripper', joint=PREFIX + 'left_finger',
                  kp=str(_GRIPPER_KP), dampratio='1', inheritrange='1',
                  forcelimited='true', forcerange=f'{-_GRIPPER_FORCE} {_GRIPPER_FORCE}')
    ET.SubElement(_child(root, 'equality'), 'joint', joint1=PREFIX + 'right_finger',
                  joint2=PREFIX + 'left_finger', polycoef='0 -1 0 0 0', solref='0.005 1')
    ET.SubElement(_child(root, 'contact'), 'exclude',
                  body1=PREFIX + 'left_finger_link', body2=PREFIX + 'right_finger_link')
