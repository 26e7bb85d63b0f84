"""The table with the arm, three blocks, a plate, a bowl and distractors, as a MuJoCo model.

Base frame: origin at the arm's base on the table top, x forward over the table, y left, z up.
The primary camera stands opposite the arm, so that the arm never hides the blocks; it sees +y
on the right. "Left" and "right" in tasks are those of its picture.
"""

import functools
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from octo_ros.sim import meshes
from octo_ros.sim import viperx
from octo_ros.sim.gl import load_mujoco

COLOURS = ('red', 'green', 'blue')
CONTAINERS = ('plate', 'bowl')
DISTRACTORS = ('can', 'ball', 'book')
BLOCK_HALF = 0.018  # half the edge of a block [m]
PLATE_RADIUS = 0.075
BOWL_RADIUS = 0.065  # inner
BOWL_WALL = 0.025  # height of the rim [m]
TIMESTEP_S = 0.005
CAMERAS = ('primary', 'wrist')
PRIMARY_POSITION = (0.98, 0.0, 0.62)
PRIMARY_TARGET = (0.33, 0.0, 0.07)
PRIMARY_FOVY = 33.0

_SEGMENTS = 20
_BOWL_BOXES = 12
_BLOCK_MASS = 0.04
_PLATE_PROFILE = ((0.050, 0.0), (PLATE_RADIUS, 0.008), (PLATE_RADIUS - 0.006, 0.010),
                  (0.052, 0.004), (0.0, 0.004))
_BOWL_PROFILE = ((0.050, 0.0), (BOWL_RADIUS + 0.007, BOWL_WALL), (BOWL_RADIUS, BOWL_WALL),
                 (0.050, 0.004), (0.0, 0.004))


@functools.cache
def scene_xml() -> str:
    """Returns the scene as one self-contained MJCF text."""
    root = ET.Element('mujoco', model='octo_ros_tabletop')
    ET.SubElement(root, 'compiler', angle='radian', autolimits='true')
    ET.SubElement(root, 'option', timestep=str(TIMESTEP_S), integrator='implicitfast',
                  cone='elliptic', impratio='10', iterations='20', tolerance='1e-7')
    visual = ET.SubElement(root, 'visual')
    ET.SubElement(visual, 'quality', shadowsize='0', offsamples='0')
    ET.SubElement(visual, 'global', offwidth='640', offheight='640')
    ET.SubElement(visual, 'map', znear='0.02', zfar='10')
    ET.SubElement(visual, 'headlight', active='0')  # each light costs time for every vertex
    asset = ET.SubElement(root, 'asset')
    viperx.add_mesh(asset, 'plate', *meshes.lathe(np.array(_PLATE_PROFILE), _SEGMENTS))
    viperx.add_mesh(asset, 'bowl', *meshes.lathe(np.array(_BOWL_PROFILE), _SEGMENTS))
    world = ET.SubElement(root, 'worldbody')
    ET.SubElement(world, 'light', name='lamp', directional='true', castshadow='false',
                  pos='0 0 2', dir='0 0 -1', ambient='0.4 0.4 0.4', specular='0 0 0')
    ET.SubElement(world, 'camera', name='primary', pos='1 0 1', fovy=str(PRIMARY_FOVY))
    ET.SubElement(world, 'geom', name='table', type='box', pos='0.2 0 -0.05',
                  size='1.5 1.5 0.05', friction='0.7 0.005 0.0001')
    for colour in COLOURS:
        _add_block(world, colour)
    _add_plate(world)
    _add_bowl(world)
    _add_distractors(world)
    viperx.add_arm(root)
    return ET.tostring(root, encoding='unicode')


def load_model() -> Any:
    """Compiles the scene. Returns a new mujoco.MjModel, which randomisation changes in place."""
    return load_mujoco().MjModel.from_xml_string(scene_xml())


def _add_block(world: ET.Element, colour: str) -> None:
    body = ET.SubElement(world, 'body', name=f'{colour}_block', pos=f'0 0 {BLOCK_HALF}')
    ET.SubElement(body, 'freejoint', name=f'{colour}_block')
    ET.SubElement(body, 'geom', name=f'{colour}_block', type='box', mass=str(_BLOCK_MASS),
                  size=f'{BLOCK_HALF} {BLOCK_HALF} {BLOCK_HALF}', condim='4',
                  friction='0.7 0.01 0.001', solref='0.008 1', solimp='0.95 0.99 0.001')


def _add_plate(world: ET.Element) -> None:
    body = ET.SubElement(world, 'body', name='plate')
    _add_visual_mesh(body, 'plate')
    ET.SubElement(body, 'geom', name='plate_disc', type='cylinder', pos='0 0 0.003',
                  size=f'{PLATE_RADIUS - 0.01} 0.003', group='3', friction='0.9 0.01 0.001')


def _add_bowl(world: ET.Element) -> None:
    body = ET.SubElement(world, 'body', name='bowl')
    _add_visual_mesh(body, 'bowl')
    ET.SubElement(body, 'geom', name='bowl_disc', type='cylinder', pos='0 0 0.003',
                  size=f'{BOWL_RADIUS} 0.003', group='3', friction='0.9 0.01 0.001')
    radius = BOWL_RADIUS + 0.004
    half_width = radius * np.tan(np.pi / _BOWL_BOXES)
    for k in range(_BOWL_BOXES):
        angle = 2.0 * np.pi * k / _BOWL_BOXES
        ET.SubElement(
            body, 'geom', name=f'bowl_wall_{k}', type='box', group='3',
            pos=f'{radius * np.cos(angle):.5f} {radius * np.sin(angle):.5f} {BOWL_WALL / 2}',
            size=f'0.004 {half_width:.5f} {BOWL_WALL / 2}', euler=f'0 0 {angle:.5f}')


def _add_visual_mesh(body: ET.Element, name: str) -> None:
    ET.SubElement(body, 'geom', name=name, type='mesh', mesh=name, contype='0', conaffinity='0')


def _add_distractors(world: ET.Element) -> None:
    shapes = {'can': ('cylinder', '0.022 0.035', 0.035), 'ball': ('sphere', '0.024', 0.024),
              'book': ('box', '0.05 0.035 0.01', 0.01)}
    for name, (shape, size, z) in shapes.items():
        body = ET.SubElement(world, 'body', name=name)
        ET.SubElement(body, 'geom', name=name, type=shape, size=size, pos=f'0 0 {z}')
