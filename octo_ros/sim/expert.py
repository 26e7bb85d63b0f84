"""A scripted expert that sees the true state and does every task.

The action is a function of the present state alone, with no phases kept in memory: after any
disturbance it goes on from where things are, and a policy that sees the scene has all it needs
to imitate it. Motions are smooth: the height follows the horizontal distance to the goal.
"""

import numpy as np

from octo_ros.array_typing import Float
from octo_ros.sim import scene
from octo_ros.sim.state import SceneState
from octo_ros.sim.tasks import SIDE_SIGN
from octo_ros.sim.tasks import Task

MAX_STEP = 0.045  # [m] a policy step, each of horizontal and vertical
MAX_TURN = 0.15  # [rad] a policy step
GAIN = 0.7  # part of the remaining way done in a step
REACH_Z = 0.055  # heights of the frame `ee` [m]
GRASP_Z = 0.020
TRAVEL_Z = 0.13
LIFT_Z = 0.14
RELEASE_Z = {'plate': 0.036, 'bowl': 0.052}
PUSH_GOAL = 0.19  # |y| where a pushed block is left

_ON_PLACE = 0.012  # horizontal distance that counts as there; the pads leave 0.0165 m
_AT_HEIGHT = 0.010
_FUNNEL_SLOPE = 3.0  # height gained by horizontal distance
_NEAR = 0.02  # a block this near lies between the pads
_CLOSED_ON_BLOCK = 2.0 * scene.BLOCK_HALF + 0.008  # gap that still counts as a grasp
_EMPTY = 2.0 * scene.BLOCK_HALF - 0.008  # a smaller gap means that nothing is held
_LET_GO = 0.055


def expert_action(task: Task, state: SceneState) -> Float[np.ndarray, '7']:
    """Returns the next action: delta position [m], delta roll, pitch, yaw [rad], gripper."""
    block = state.blocks[task.colour]
    if any(_holding(state, other) for colour, other in state.blocks.items()
           if colour != task.colour):
        return _put_down(state)
    if task.kind == 'reach':
        return _descend(state, block[:2], REACH_Z)
    if task.kind == 'push':
        return _push(task, state)
    return _lift_or_put(task, state, block)


def _lift_or_put(task: Task, state: SceneState, block: Float[np.ndarray, '3']
                 ) -> Float[np.ndarray, '7']:
    if task.kind == 'put' and _is_put(task, state):
        return _action(state, np.array([*state.target_position[:2], TRAVEL_Z]), gripper=1.0)
    if not _holding(state, block):
        return _grasp(state, block)
    if task.kind == 'lift':
        return _action(state, np.array([*state.target_position[:2], LIFT_Z]), gripper=0.0)
    return _carry(task, state)


def _put_down(state: SceneState) -> Float[np.ndarray, '7']:
    here = state.target_position[:2]
    low = state.ee_position[2] < GRASP_Z + _AT_HEIGHT
    return _action(state, np.array([*here, GRASP_Z]), gripper=float(low))


def _grasp(state: SceneState, block: Float[np.ndarray, '3']) -> Float[np.ndarray, '7']:
    height = max(GRASP_Z, block[2])
    away = np.linalg.norm(state.target_position[:2] - block[:2])
    low = state.target_position[2] < height + _AT_HEIGHT
    if away < _ON_PLACE and low and state.opening > _EMPTY:
        return _action(state, np.array([*state.target_position[:2], height]), gripper=0.0)
    return _descend(state, block[:2], height)


def _carry(task: Task, state: SceneState) -> Float[np.ndarray, '7']:
    goal = state.containers[task.place][:2]
    away = float(np.linalg.norm(state.target_position[:2] - goal))
    release = RELEASE_Z[task.place]
    low = state.target_position[2] < release + _AT_HEIGHT
    if away < 1.5 * _ON_PLACE and low:
        return _action(state, np.array([*state.target_position[:2], release]), gripper=1.0)
    wanted = np.array([*goal, _funnel(away, release)])
    # Leave the table before going sideways.
    free = np.clip((state.ee_position[2] - 0.04) / 0.05, 0.0, 1.0)
    return _action(state, wanted, gripper=0.0, sideways=free)


def _push(task: Task, state: SceneState) -> Float[np.ndarray, '7']:
    block, sign = state.blocks[task.colour], SIDE_SIGN[task.place]
    x, y = state.target_position[:2] - block[:2]
    straddles = (abs(x) < _NEAR and abs(y) < 0.028
                 and state.ee_position[2] < GRASP_Z + 0.015)
    if not straddles:
        return _descend(state, block[:2], GRASP_Z)
    if sign * block[1] >= PUSH_GOAL - 0.005:
        return _action(state, state.target_position, gripper=1.0)
    ahead = sign * PUSH_GOAL + sign * 0.017
    wanted = np.array([state.target_position[0], ahead, GRASP_Z])
    return _action(state, wanted, gripper=1.0)


def _descend(state: SceneState, place: Float[np.ndarray, '2'], height: float,
             ) -> Float[np.ndarray, '7']:
    away = float(np.linalg.norm(state.target_position[:2] - place))
    return _action(state, np.array([*place, _funnel(away, height)]), gripper=1.0)


def _funnel(away: float, height: float) -> float:
    return min(TRAVEL_Z, height + _FUNNEL_SLOPE * max(0.0, away - _ON_PLACE))


def _holding(state: SceneState, block: Float[np.ndarray, '3']) -> bool:
    near = np.linalg.norm(block - state.ee_position) < _NEAR
    return bool(near and _EMPTY < state.opening < _CLOSED_ON_BLOCK)


def _is_put(task: Task, state: SceneState) -> bool:
    block = state.blocks[task.colour]
    radius = scene.PLATE_RADIUS if task.place == 'plate' else scene.BOWL_RADIUS
    inside = np.linalg.norm(block[:2] - state.containers[task.place][:2]) < radius - 0.01
    return bool(inside and block[2] < 3.0 * scene.BLOCK_HALF and state.opening > _LET_GO)


def _action(state: SceneState, wanted: Float[np.ndarray, '3'], *, gripper: float,
            sideways: float = 1.0) -> Float[np.ndarray, '7']:
    error = GAIN * (wanted - state.target_position)
    error[:2] *= sideways
    length = np.linalg.norm(error[:2])
    if length > MAX_STEP:
        error[:2] *= MAX_STEP / length
    error[2] = np.clip(error[2], -MAX_STEP, MAX_STEP)
    turn = np.clip(-GAIN * state.target_rpy, -MAX_TURN, MAX_TURN)
    return np.array([*error, *turn, gripper])
