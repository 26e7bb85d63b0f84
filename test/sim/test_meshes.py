import struct

import numpy as np

from octo_ros.sim import meshes


def box_triangles():
    vertices, faces = meshes.lathe(
        np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]), segments=8)
    return vertices[faces]


def volume(triangles):
    return float(np.einsum('ni,ni->n', triangles[:, 0],
                           np.cross(triangles[:, 1], triangles[:, 2])).sum() / 6.0)


def test_read_stl_gives_the_corners_that_were_written():
    triangles = box_triangles().astype(np.float32)
    body = b''.join(
        struct.pack('<12fH', 0, 0, 0, *triangle.ravel(), 0) for triangle in triangles)
    content = b'x' * 80 + struct.pack('<I', len(triangles)) + body
    assert np.array_equal(meshes.read_stl(content), triangles)


def test_lathe_is_closed_and_faces_outward():
    # An octagonal prism of radius 1 and height 1.
    assert np.isclose(volume(box_triangles()), 8 * 0.5 * np.sin(np.pi / 4))


def test_a_cell_smaller_than_every_edge_keeps_the_shape():
    triangles = box_triangles()
    vertices, faces = meshes.simplify(triangles, 0.01)
    assert np.isclose(volume(vertices[faces]), volume(triangles))
    assert len(vertices) == 18  # two rings of eight and two tips


def test_larger_cells_leave_fewer_triangles_without_degenerate_ones():
    angles = np.linspace(0.0, np.pi, 60)
    vertices, faces = meshes.lathe(np.stack([np.sin(angles), -np.cos(angles)], axis=1), 60)
    few_vertices, few = meshes.simplify(vertices[faces], 0.3)
    corners = few_vertices[few]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0],
                                    corners[:, 2] - corners[:, 0]), axis=1)
    assert len(few) < len(faces) / 10
    assert areas.min() > 0.0
    assert np.isclose(volume(corners), 4.0 / 3.0 * np.pi, rtol=0.1)
