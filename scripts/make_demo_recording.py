"""Renders the recording that ships with octo_ros: an arm puts a red block on a plate.

    python scripts/make_demo_recording.py octo_ros/assets/recordings/tabletop

The bag (rosbag2, mcap) holds what a robot with two cameras would record: compressed images of a
camera beside the table and of one on the wrist, the instruction, the state of the end effector
and the action that led to the next state. Topics, names and units are those of the BridgeData V2
recordings. Nothing is random, so running it again gives the same images.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from raytrace import Solid
from raytrace import render
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore

INSTRUCTION = 'put the red block on the plate'
START_NS = 1_700_000_000_000_000_000
CAMERA_RATE_HZ = 10
FRAMES_PER_ACTION = 2  # one action every 0.2 s, the step of Bridge
NAMES = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper']
JPEG_QUALITY = 88

BLOCK = np.array([0.29, 0.10, 0.02])
PLATE = np.array([0.31, -0.12, 0.008])
SHOULDER_HEIGHT, UPPER_ARM, FOREARM, WRIST_ABOVE_TIP = 0.16, 0.24, 0.24, 0.13
PICK_S, PLACE_S, END_S = 3.6, 8.4, 11.0
# time [s], position of the fingertips [m], opening of the gripper (1 open)
WAYPOINTS = (
    (0.0, (0.20, 0.02, 0.22), 1.0), (2.0, (*BLOCK[:2], 0.15), 1.0), (3.2, (*BLOCK[:2], 0.02), 1.0),
    (PICK_S, (*BLOCK[:2], 0.02), 0.0), (4.8, (*BLOCK[:2], 0.17), 0.0),
    (7.0, (*PLATE[:2], 0.17), 0.0), (8.0, (*PLATE[:2], 0.036), 0.0),
    (PLACE_S, (*PLATE[:2], 0.036), 0.0), (8.8, (*PLATE[:2], 0.036), 1.0),
    (9.8, (*PLATE[:2], 0.16), 1.0), (END_S, (0.21, -0.03, 0.22), 1.0),
)

DARK, STEEL = (0.025, 0.026, 0.03), (0.28, 0.29, 0.31)


def state_at(time_s: float) -> np.ndarray:
    """Returns the end effector at a time: x y z [m], roll pitch yaw [rad], gripper (1 open)."""
    times = [waypoint[0] for waypoint in WAYPOINTS]
    index = int(np.clip(np.searchsorted(times, time_s, side='right') - 1, 0, len(times) - 2))
    (begin, here, grip), (end, there, next_grip) = WAYPOINTS[index:index + 2]
    u = np.clip((time_s - begin) / (end - begin), 0, 1)
    u = u ** 3 * (10 - 15 * u + 6 * u ** 2)  # least jerk
    position = (1 - u) * np.array(here) + u * np.array(there)
    yaw = np.arctan2(position[1], position[0])
    return np.array([*position, 0.0, 0.0, yaw, (1 - u) * grip + u * next_grip])


def turn_z(angle: float) -> np.ndarray:
    """Returns the rotation about z by an angle [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def link(start: np.ndarray, end: np.ndarray, radius: float, colour: tuple) -> Solid:
    """Returns a cylinder from one point to another."""
    along = (end - start) / np.linalg.norm(end - start)
    side = np.cross(along, [0.0, 1.0, 0.2])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(along, side), along], axis=1)
    half = np.linalg.norm(end - start) / 2
    return Solid('cylinder', (radius, radius, half), (start + end) / 2, colour, axes, gloss=0.3)


def arm(state: np.ndarray) -> Iterator[Solid]:
    """Yields base, two links, wrist and fingers for a state of the end effector."""
    tip, turn = state[:3], turn_z(state[5])
    reach = np.hypot(*tip[:2])
    wrist = np.array([reach, 0, tip[2] + WRIST_ABOVE_TIP])
    shoulder = np.array([0, 0, SHOULDER_HEIGHT])
    span = wrist - shoulder
    far = np.linalg.norm(span)
    bend = np.arccos(np.clip((UPPER_ARM ** 2 + far ** 2 - FOREARM ** 2)
                             / (2 * UPPER_ARM * far), -1, 1))
    lift = np.arctan2(span[2], span[0]) + bend
    elbow = shoulder + UPPER_ARM * np.array([np.cos(lift), 0, np.sin(lift)])
    shoulder, elbow, wrist = (turn @ point for point in (shoulder, elbow, wrist))
    yield Solid('cylinder', (0.07, 0.07, 0.035), (0, 0, 0.035), DARK)
    yield Solid('box', (0.045, 0.04, 0.05), (0, 0, 0.12), DARK, turn, gloss=0.3)
    yield link(shoulder, elbow, 0.024, DARK)
    yield link(elbow, wrist, 0.020, DARK)
    for joint in (shoulder, elbow, wrist):
        yield link(joint - 0.036 * turn[:, 1], joint + 0.036 * turn[:, 1], 0.029, STEEL)
    palm = wrist - [0, 0, 0.055]
    yield link(wrist, palm, 0.022, DARK)
    yield Solid('box', (0.018, 0.055, 0.012), palm, STEEL, turn, gloss=0.3)
    for side in (-1, 1):
        gap = side * (0.023 + 0.022 * state[6])
        centre = (palm + tip) / 2 - [0, 0, 0.010] + gap * turn[:, 1]
        half = (palm[2] - tip[2]) / 2 + 0.004
        yield Solid('box', (0.011, 0.005, half), centre, DARK, turn, gloss=0.3)


def things(time_s: float, state: np.ndarray) -> Iterator[Solid]:
    """Yields the table and what lies on it."""
    yield Solid('box', (0.75, 0.75, 0.03), (0.35, 0, -0.03), (0.50, 0.31, 0.17), wood=True)
    yield Solid('box', (4, 4, 0.01), (0.35, 0, -0.75), (0.42, 0.44, 0.47), gloss=0.0)
    yield Solid('cylinder', (0.085, 0.085, 0.004), (*PLATE[:2], 0.004), (0.86, 0.86, 0.83))
    yield Solid('cylinder', (0.060, 0.060, 0.004), PLATE, (0.70, 0.76, 0.84))
    yield Solid('cylinder', (0.034, 0.034, 0.048), (0.44, 0.17, 0.048), (0.05, 0.17, 0.52),
                gloss=0.5)
    yield Solid('sphere', (0.027,) * 3, (0.42, 0.03, 0.027), (0.82, 0.55, 0.05), gloss=0.4)
    yield Solid('box', (0.026, 0.026, 0.026), (0.17, -0.21, 0.026), (0.07, 0.38, 0.12),
                turn_z(0.5))
    held_at = np.clip(time_s, PICK_S, PLACE_S)
    held = state_at(held_at)
    yield Solid('box', (0.02, 0.02, 0.02), held[:3], (0.66, 0.04, 0.04), turn_z(held[5]))


def look(eye: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Returns camera axes (right, down, forward as columns) that look from eye to target."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def views(time_s: float) -> dict[str, np.ndarray]:
    """Returns the image of each camera at a time, (height, width, 3) uint8 RGB."""
    state = state_at(time_s)
    scene = [*things(time_s, state), *arm(state)]
    beside = np.array([0.86, 0.34, 0.50])
    forward = turn_z(state[5])[:, 0]
    on_wrist = state[:3] + 0.085 * forward + [0, 0, 0.145]
    at_fingers = state[:3] + 0.012 * forward
    return {
        'primary': render(scene, beside, look(beside, np.array([0.24, -0.01, 0.13]),
                                              np.array([0.0, 0, 1])), fov_deg=48, size=(240, 320)),
        'wrist': render(scene, on_wrist, look(on_wrist, at_fingers, -forward), fov_deg=70,
                        size=(128, 128)),
    }


def write(folder: Path) -> None:
    """Writes the bag; what was at `folder` before is replaced."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    types = store.types
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)

    def header(stamp_ns: int, frame: str) -> object:
        time = types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 1_000_000_000))
        return types['std_msgs/msg/Header'](time, frame)

    def joints(stamp_ns: int, values: np.ndarray) -> object:
        return types['sensor_msgs/msg/JointState'](
            header(stamp_ns, 'base_link'), NAMES, values, np.zeros(0), np.zeros(0))

    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        topics = {}

        def add(topic: str, kind: str, message: object, stamp_ns: int) -> None:
            if topic not in topics:
                topics[topic] = bag.add_connection(topic, kind, typestore=store)
            bag.write(topics[topic], stamp_ns, store.serialize_cdr(message, kind))

        add('/instruction', 'std_msgs/msg/String', types['std_msgs/msg/String'](INSTRUCTION),
            START_NS)
        step_s = FRAMES_PER_ACTION / CAMERA_RATE_HZ
        for frame in range(int(END_S * CAMERA_RATE_HZ)):
            time_s = frame / CAMERA_RATE_HZ
            stamp_ns = START_NS + round(time_s * 1e9)
            for name, image in views(time_s).items():
                jpeg = cv2.imencode('.jpg', image[..., ::-1],
                                    [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
                message = types['sensor_msgs/msg/CompressedImage'](
                    header(stamp_ns, f'camera_{name}'), 'rgb8; jpeg compressed bgr8',
                    jpeg.reshape(-1))
                add(f'/camera_{name}/image_raw/compressed', 'sensor_msgs/msg/CompressedImage',
                    message, stamp_ns)
            state = state_at(time_s)
            add('/state', 'sensor_msgs/msg/JointState', joints(stamp_ns, state), stamp_ns)
            if frame % FRAMES_PER_ACTION == 0:
                following = state_at(time_s + step_s)
                action = np.append((following - state)[:6], following[6])
                add('/expert_action', 'sensor_msgs/msg/JointState', joints(stamp_ns, action),
                    stamp_ns)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='folder of the bag; replaced if it exists')
    write(parser.parse_args().folder)
