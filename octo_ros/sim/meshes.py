"""Triangle meshes: binary STL in, fewer triangles out.

The arm's meshes are made for pictures of a thousand pixels. At 256 pixels and below, and on a
CPU, most of the drawing time goes into triangles smaller than a pixel.
"""

import struct

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.array_typing import Int

_HEADER = 80
_TRIANGLE = np.dtype([('normal', '<f4', 3), ('corners', '<f4', (3, 3)), ('attribute', '<u2')])


def read_stl(content: bytes) -> Float[np.ndarray, 'n 3 3']:
    """Returns the triangles of a binary STL file (corners in the file's unit)."""
    (count,) = struct.unpack_from('<I', content, _HEADER)
    return np.frombuffer(content, _TRIANGLE, count, _HEADER + 4)['corners'].astype(np.float64)


def simplify(
        triangles: Float[np.ndarray, 'n 3 3'], cell: float,
) -> tuple[Float[np.ndarray, 'v 3'], Int[np.ndarray, 'm 3']]:
    """Merges all corners that share a cell of a cubic grid (vertex clustering).

    Rossignac and Borrel 1993, with the mean of the corners as the merged vertex.

    Args:
        triangles: corners of each triangle.
        cell: edge of a grid cell, in the unit of the corners.

    Returns:
        Vertices, and the vertex numbers of each triangle that still has an area; each triangle
        once.
    """
    corners = triangles.reshape(-1, 3)
    cells = np.floor(corners / cell).astype(np.int64)
    _, owner, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    owner = owner.reshape(-1)
    sums = np.zeros((len(counts), 3))
    np.add.at(sums, owner, corners)
    vertices = sums / counts[:, None]
    faces = owner.reshape(-1, 3)
    distinct = ((faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2])
                & (faces[:, 2] != faces[:, 0]))
    faces = faces[distinct]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(first)]
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3)


def lathe(profile: Float[np.ndarray, 'p 2'], segments: int) -> tuple[
        Float[np.ndarray, 'v 3'], Int[np.ndarray, 'm 3']]:
    """Turns a profile about the z axis into a closed surface.

    Args:
        profile: (radius, height) from the outside bottom round to the axis, or back to the
            start; a radius of 0 gives a tip.
        segments: number of straight pieces of each circle.

    Returns:
        Vertices and the vertex numbers of each triangle, seen counter-clockwise from outside.
    """
    angles = np.linspace(0.0, 2.0 * np.pi, segments, endpoint=False)
    rings = [np.stack([radius * np.cos(angles), radius * np.sin(angles),
                       np.full(segments, height)], axis=1) for radius, height in profile]
    faces = []
    for ring in range(len(profile) - 1):
        lower, upper = ring * segments, (ring + 1) * segments
        for k in range(segments):
            after = (k + 1) % segments
            faces.append((lower + k, lower + after, upper + after))
            faces.append((lower + k, upper + after, upper + k))
    vertices = np.concatenate(rings)
    return vertices, np.asarray(faces, np.int64)
