import numpy as np
import pytest
from transforms3d import euler

from octo_ros.sim import kinematics
from octo_ros.sim.arm import WORKSPACE
from octo_ros.sim.randomization import BLOCK_ZONE
from octo_ros.sim.randomization import CONTAINER_X
from octo_ros.sim.randomization import CONTAINER_Y

ANGLES = [(0.0, 0.0, 0.0), (0.3, -0.4, 2.0), (-3.0, 1.2, -2.5), (0.0, 0.0, 3.1)]


@pytest.mark.parametrize('rpy', ANGLES)
def test_rotations_follow_the_convention_sxyz(rpy):
    rotation = kinematics.rotation_from_rpy(np.array(rpy))
    assert np.allclose(rotation, euler.euler2mat(*rpy, axes='sxyz'))
    assert np.allclose(kinematics.rpy_from_rotation(rotation), rpy)


@pytest.mark.parametrize('rpy', ANGLES)
def test_rotation_vector_is_axis_times_angle(rpy):
    rotation = kinematics.rotation_from_rpy(np.array(rpy))
    vector = kinematics.rotation_vector(rotation)
    angle = np.linalg.norm(vector)
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rodrigues = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    assert np.allclose(rodrigues, rotation)


def test_inverse_kinematics_meets_poses_all_over_the_table(sim):
    solver, start = sim.arm.kinematics, sim.arm.target.joints
    rng = np.random.default_rng(0)
    worst_mm = worst_rad = 0.0
    for _ in range(200):
        position = np.array([rng.uniform(BLOCK_ZONE[0][0], CONTAINER_X[1]),
                             rng.uniform(-0.2, 0.2), rng.uniform(0.02, 0.14)])
        rotation = kinematics.rotation_from_rpy(rng.uniform(-0.15, 0.15, 3))
        joints, met = solver.solve(position, rotation, start)
        assert met, position
        reached, turned = solver.pose(joints)
        worst_mm = max(worst_mm, 1e3 * np.abs(reached - position).max())
        worst_rad = max(worst_rad, np.abs(
            kinematics.rotation_vector(rotation @ turned.T)).max())
    assert worst_mm < 0.11
    assert worst_rad < 1.1e-3


def test_plate_and_bowl_can_be_reached_from_travel_height(sim):
    for y in (*CONTAINER_Y, *(-value for value in CONTAINER_Y)):
        _, met = sim.arm.kinematics.solve(
            np.array([CONTAINER_X[1], y, 0.14]), np.eye(3), sim.arm.target.joints)
        assert met


def test_a_pose_out_of_reach_is_said_to_be_and_approached(sim):
    joints, met = sim.arm.kinematics.solve(
        np.array([1.5, 0.0, 0.2]), np.eye(3), sim.arm.target.joints)
    position, _ = sim.arm.kinematics.pose(joints)
    assert not met
    assert position[0] > WORKSPACE[0][1]
