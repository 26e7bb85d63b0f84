"""What varies from seed to seed: places, colours, light, camera and the arm's start.

Sampling is plain numpy, so a layout can be made, stored and compared without MuJoCo.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from octo_ros.params import param
from octo_ros.sim import scene
from octo_ros.sim.scene import COLOURS
from octo_ros.sim.scene import CONTAINERS
from octo_ros.sim.scene import DISTRACTORS

Place = tuple[float, float, float]  # x, y [m], yaw [rad] in the base frame
Colour = tuple[float, float, float]

BLOCK_ZONE = ((0.24, 0.35), (-0.13, 0.13))  # x and y ranges of block centres [m]
CONTAINER_X = (0.46, 0.485)  # clear of a block that is pushed along y
CONTAINER_Y = (0.09, 0.13)
HOME = (0.30, 0.0, 0.20)  # frame `ee` at the start, before jitter [m]
_SEPARATION = (0.065, 0.095)  # two blocks are apart by this in x or in y: room for a finger
_DISTRACTOR_ZONES = (((0.08, 0.16), (0.17, 0.28)), ((0.08, 0.16), (-0.28, -0.17)),
                     ((0.40, 0.48), (0.235, 0.265)), ((0.40, 0.48), (-0.265, -0.235)))
_BASE_COLOURS: Mapping[str, Colour] = {
    'red': (0.85, 0.10, 0.10), 'green': (0.10, 0.65, 0.15), 'blue': (0.10, 0.22, 0.85),
    'plate': (0.92, 0.92, 0.90), 'bowl': (0.52, 0.30, 0.62), 'table': (0.62, 0.50, 0.38),
    'can': (0.55, 0.57, 0.60), 'ball': (0.85, 0.80, 0.70), 'book': (0.22, 0.20, 0.20)}


@dataclasses.dataclass(frozen=True)
class SceneParams:
    """How much the scene varies. Zero of a jitter switches it off."""

    block_yaw: float = param(
        0.17, 'Blocks are turned by up to this.', unit='rad', ge=0.0, le=0.6)
    arm_jitter: float = param(
        0.03, 'The gripper starts up to this far from home, each axis.', unit='m', ge=0.0, le=0.05)
    camera_jitter: float = param(
        0.01, 'The primary camera and the point it looks at move by up to this, each axis.',
        unit='m', ge=0.0, le=0.1)
    colour_jitter: float = param(
        0.05, 'Colours vary by up to this, each channel.', ge=0.0, le=0.2)
    light_jitter: float = param(
        0.15, 'The brightness of the lamp varies by up to this part.', ge=0.0, le=0.9)
    max_distractors: int = param(
        2, 'Up to this many other objects lie about the working area.', ge=0,
        le=len(DISTRACTORS))


@dataclasses.dataclass(frozen=True)
class Layout:
    """One sampled scene.

    Attributes:
        blocks: place of each block by colour.
        containers: place of `plate` and `bowl`.
        distractors: place of each one that is there.
        colours: RGB in 0..1 by geom name; a block's by its colour.
        lamp_direction: the way the light goes, base frame.
        lamp_brightness: diffuse part of the lamp, 0..1.
        camera_position: primary camera [m].
        camera_target: the point it looks at [m].
        ee_position: frame `ee` at the start [m].
    """

    blocks: Mapping[str, Place]
    containers: Mapping[str, Place]
    distractors: Mapping[str, Place]
    colours: Mapping[str, Colour]
    lamp_direction: tuple[float, float, float]
    lamp_brightness: float
    camera_position: tuple[float, float, float]
    camera_target: tuple[float, float, float]
    ee_position: tuple[float, float, float]


def sample_layout(seed: int, params: SceneParams | None = None) -> Layout:
    """Returns the scene of a seed: the same seed and parameters give the same scene."""
    params = params or SceneParams()
    rng = np.random.default_rng([seed, 0x5CE4E])
    sides = (1.0, -1.0) if rng.random() < 0.5 else (-1.0, 1.0)
    containers = {
        name: (float(rng.uniform(*CONTAINER_X)), side * float(rng.uniform(*CONTAINER_Y)), 0.0)
        for name, side in zip(CONTAINERS, sides, strict=True)}
    return Layout(
        blocks=_blocks(rng, params.block_yaw), containers=containers,
        distractors=_distractors(rng, params.max_distractors),
        colours={name: _near(rng, base, params.colour_jitter, 0.0, 1.0)
                 for name, base in _BASE_COLOURS.items()},
        lamp_direction=_near(rng, (0.0, 0.0, -1.0), 0.4 * min(1.0, params.light_jitter / 0.15)),
        lamp_brightness=0.6 * (1.0 + params.light_jitter * float(rng.uniform(-1.0, 1.0))),
        camera_position=_near(rng, scene.PRIMARY_POSITION, params.camera_jitter),
        camera_target=_near(rng, scene.PRIMARY_TARGET, params.camera_jitter),
        ee_position=_near(rng, HOME, params.arm_jitter))


def _near(rng: np.random.Generator, centre: Colour, jitter: float,
          low: float = -np.inf, high: float = np.inf) -> tuple[float, float, float]:
    x, y, z = np.clip(np.asarray(centre) + rng.uniform(-1.0, 1.0, 3) * jitter, low, high)
    return float(x), float(y), float(z)


def _blocks(rng: np.random.Generator, yaw: float) -> dict[str, Place]:
    # Rejection keeps the distribution even; about one draw in four is taken.
    while True:
        xs = rng.uniform(*BLOCK_ZONE[0], len(COLOURS))
        ys = rng.uniform(*BLOCK_ZONE[1], len(COLOURS))
        yaws = rng.uniform(-1.0, 1.0, len(COLOURS)) * yaw
        pairs = ((0, 1), (0, 2), (1, 2))
        if all(abs(xs[a] - xs[b]) > _SEPARATION[0] or abs(ys[a] - ys[b]) > _SEPARATION[1]
               for a, b in pairs):
            return {colour: (float(x), float(y), float(angle))
                    for colour, x, y, angle in zip(COLOURS, xs, ys, yaws, strict=True)}


def _distractors(rng: np.random.Generator, most: int) -> dict[str, Place]:
    names = rng.permutation(DISTRACTORS)[:rng.integers(0, most + 1)]
    zones = rng.permutation(len(_DISTRACTOR_ZONES))
    return {
        str(name): (float(rng.uniform(*_DISTRACTOR_ZONES[zone][0])),
                    float(rng.uniform(*_DISTRACTOR_ZONES[zone][1])),
                    float(rng.uniform(-np.pi, np.pi)))
        for name, zone in zip(names, zones, strict=False)}


def apply_layout(model: Any, data: Any, layout: Layout) -> None:
    """Writes a layout into a MuJoCo model and its data (all but the arm)."""
    for colour, (x, y, yaw) in layout.blocks.items():
        data.joint(f'{colour}_block').qpos = [
            x, y, scene.BLOCK_HALF, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
    for name in (*CONTAINERS, *DISTRACTORS):
        place = layout.containers.get(name) or layout.distractors.get(name)
        x, y, yaw = place or (0.0, 0.0, 0.0)
        body = model.body(name)
        body.pos = [x, y, 0.0 if place else -1.0]  # what is not there waits under the table
        body.quat = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
    for name, rgb in layout.colours.items():
        model.geom(f'{name}_block' if name in COLOURS else name).rgba[:3] = rgb
    lamp = model.light('lamp')
    lamp.dir = np.asarray(layout.lamp_direction) / np.linalg.norm(layout.lamp_direction)
    lamp.diffuse = [layout.lamp_brightness] * 3
    camera = model.camera('primary')
    camera.pos = layout.camera_position
    camera.quat = looking_at(layout.camera_position, layout.camera_target)


def looking_at(position: Place, target: Place) -> np.ndarray:
    """Returns the quaternion (w, x, y, z) of a camera at a place that looks at a point, z up."""
    back = np.subtract(position, target)
    back /= np.linalg.norm(back)
    right = np.cross((0.0, 0.0, 1.0), back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    return _quaternion(np.stack([right, up, back], axis=1))


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """Shepperd's method, enough for cameras: their trace is above -1."""
    w = np.sqrt(max(0.0, 1.0 + np.trace(rotation))) / 2.0
    if w > 1e-6:
        return np.array([w, rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0],
                         rotation[1, 0] - rotation[0, 1]]) / np.array([1.0, 4 * w, 4 * w, 4 * w])
    values, vectors = np.linalg.eigh(rotation + rotation.T)
    axis = vectors[:, np.argmax(values)]
    return np.array([0.0, *axis])
