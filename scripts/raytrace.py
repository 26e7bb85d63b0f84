"""A small ray caster in NumPy: boxes, cylinders and spheres, one sun with hard shadows.

Lengths are metres, z is up. It exists to render the recording that ships with the package, so it
has what a tabletop needs and no more.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

SUN = np.array([0.35, -0.30, 0.89], np.float32) / np.linalg.norm([0.35, -0.30, 0.89])
SKY = np.array([0.80, 0.82, 0.84], np.float32)
FAR = 1e6
SKIN = 1e-4  # a shadow ray starts this far off the surface [m], or it hits where it starts


@dataclasses.dataclass(frozen=True)
class Solid:
    """One body of a scene.

    Attributes:
        kind: `box` (size = half extents), `cylinder` (radius, radius, half height; axis z) or
            `sphere` (radius three times).
        size: as said under kind [m].
        position: centre in the world [m].
        colour: linear RGB, 0..1.
        rotation: body axes in the world, as columns.
        gloss: strength of the highlight, 0..1.
        wood: True paints grain along the body's x axis.
    """

    kind: str
    size: tuple[float, float, float]
    position: Sequence[float]
    colour: tuple[float, float, float]
    rotation: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(3))
    gloss: float = 0.15
    wood: bool = False

    def hit(self, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns distance (n,) and normal (n, 3) of the first hit of each ray; FAR is a miss."""
        turn = self.rotation.astype(np.float32)
        start = (origin - np.asarray(self.position, np.float32)) @ turn
        direction = ray @ turn
        direction = np.where(np.abs(direction) < 1e-9, np.float32(1e-9), direction)
        near, normal = _HIT[self.kind](start, direction, np.asarray(self.size, np.float32))
        return near, normal @ turn.T


def _hit_box(start: np.ndarray, ray: np.ndarray, half: np.ndarray) -> tuple:
    enter = (-np.sign(ray) * half - start) / ray
    leave = (np.sign(ray) * half - start) / ray
    near = enter.max(axis=-1)
    hit = (near < leave.min(axis=-1)) & (near > SKIN)
    axis = np.eye(3, dtype=np.float32)[enter.argmax(axis=-1)]
    return np.where(hit, near, FAR), -axis * np.sign(ray)


def _hit_sphere(start: np.ndarray, ray: np.ndarray, size: np.ndarray) -> tuple:
    middle = -(start * ray).sum(-1)
    below = middle ** 2 - (start ** 2).sum(-1) + size[0] ** 2
    near = middle - np.sqrt(np.maximum(below, 0))
    hit = (below > 0) & (near > SKIN)
    near = np.where(hit, near, FAR)
    return near, (start + np.where(hit, near, 0)[:, None] * ray) / size[0]


def _hit_cylinder(start: np.ndarray, ray: np.ndarray, size: np.ndarray) -> tuple:
    radius, half = size[0], size[2]
    a = (ray[:, :2] ** 2).sum(-1)
    b = (start[:, :2] * ray[:, :2]).sum(-1)
    below = b ** 2 - a * ((start[:, :2] ** 2).sum(-1) - radius ** 2)
    root = np.sqrt(np.maximum(below, 0))
    side_in, side_out = (-b - root) / a, (-b + root) / a
    cap_in = (-np.sign(ray[:, 2]) * half - start[:, 2]) / ray[:, 2]
    cap_out = (np.sign(ray[:, 2]) * half - start[:, 2]) / ray[:, 2]
    near = np.maximum(side_in, cap_in)
    hit = (below > 0) & (near < np.minimum(side_out, cap_out)) & (near > SKIN)
    near = np.where(hit, near, FAR)
    point = start + np.where(hit, near, 0)[:, None] * ray
    side = np.concatenate([point[:, :2] / radius, np.zeros_like(point[:, 2:])], axis=-1)
    cap = np.zeros_like(point)
    cap[:, 2] = -np.sign(ray[:, 2])
    return near, np.where((side_in > cap_in)[:, None], side, cap)


_HIT = {'box': _hit_box, 'cylinder': _hit_cylinder, 'sphere': _hit_sphere}


def _grain(points: np.ndarray) -> np.ndarray:
    """Returns the brightness of wood at points (n, 3) in body axes: rings, fibres and planks."""
    x, y = points[:, 0], points[:, 1]
    plank = np.floor(y / 0.12)
    bend = 0.012 * np.sin(5 * x + 2.1 * plank) + 0.004 * np.sin(23 * x + plank)
    rings = np.sin(170 * (y + bend) + 9 * np.sin(plank * 12.9))
    fibres = np.sin(900 * y + 6 * np.sin(40 * x))
    seam = (np.abs(y / 0.12 - plank) < 0.012) * 0.25
    return 1 + 0.07 * rings + 0.03 * fibres + 0.06 * np.sin(plank * 7.3) - seam


def render(scene: Sequence[Solid], eye: np.ndarray, axes: np.ndarray, *, fov_deg: float,
           size: tuple[int, int], samples: int = 2) -> np.ndarray:
    """Renders a scene.

    Args:
        scene: the bodies.
        eye: position of the camera (3,) [m].
        axes: camera axes in the world as columns: right, down, forward.
        fov_deg: vertical field of view [deg].
        size: (height, width) [pixel].
        samples: rays along each side of a pixel.

    Returns:
        The image, (height, width, 3) uint8 RGB.
    """
    height, width = size[0] * samples, size[1] * samples
    focal = height / 2 / np.tan(np.radians(fov_deg) / 2)
    v, u = np.mgrid[:height, :width].reshape(2, -1).astype(np.float32)
    ray = np.stack([(u - width / 2 + 0.5) / focal, (v - height / 2 + 0.5) / focal,
                    np.ones_like(u)], axis=-1) @ axes.T.astype(np.float32)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    origin = np.broadcast_to(np.asarray(eye, np.float32), ray.shape)
    image = _shade(scene, origin, ray).reshape(height, width, 3)
    image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    return np.rint(255 * np.clip(image, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def _shade(scene: Sequence[Solid], origin: np.ndarray, ray: np.ndarray) -> np.ndarray:
    hits = [solid.hit(origin, ray) for solid in scene]
    distance = np.stack([near for near, _ in hits])
    first = distance.argmin(axis=0)
    near = distance.min(axis=0)
    colour = np.tile(SKY, (len(ray), 1))
    for index, solid in enumerate(scene):
        mine = (first == index) & (near < FAR)
        if mine.any():
            points = origin[mine] + near[mine, None] * ray[mine]
            colour[mine] = _lit(scene, solid, points, hits[index][1][mine], ray[mine])
    return colour


def _lit(scene: Sequence[Solid], solid: Solid, points: np.ndarray, normal: np.ndarray,
         ray: np.ndarray) -> np.ndarray:
    sunward = np.broadcast_to(SUN, points.shape)
    start = points + 10 * SKIN * normal
    shadow = np.min([other.hit(start, sunward)[0] for other in scene], axis=0) < FAR
    sun = np.maximum(normal @ SUN, 0) * ~shadow
    ambient = 0.30 + 0.14 * normal[:, 2]
    half = SUN - ray
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    shine = solid.gloss * np.maximum((normal * half).sum(-1), 0) ** 40 * ~shadow
    base = np.asarray(solid.colour, np.float32)
    if solid.wood:
        local = (points - np.asarray(solid.position, np.float32)) @ solid.rotation
        base = base * _grain(local)[:, None]
    return base * (ambient + 0.85 * sun)[:, None] + shine[:, None]
