"""Features and tables of a LeRobot data set that is written."""

import json
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from octo_ros.array_typing import Float
from octo_ros.data.lerobot_info import ACTION
from octo_ros.data.lerobot_info import STATE

CAMERA = 'observation.images.'
COUNTERS = ('frame_index', 'episode_index', 'index', 'task_index')
TIME = 'timestamp'


def camera_feature(key: str) -> str:
    """Returns LeRobot's name of a camera: `image_primary` is `observation.images.primary`."""
    return CAMERA + key.removeprefix('image_')


def describe_features(
    action_names: Sequence[str], state_names: Sequence[str] | None,
    cameras: Mapping[str, tuple[tuple[int, int], Mapping[str, Any]]],
) -> dict[str, Any]:
    """Returns what `info.json` says of the features.

    Args:
        action_names: names of the action's numbers.
        state_names: names of the state's numbers; None without a state.
        cameras: feature to size (height, width) and what is known of its videos.
    """
    found: dict[str, Any] = {ACTION: _vector(action_names)}
    if state_names is not None:
        found[STATE] = _vector(state_names)
    for key, (size, told) in cameras.items():
        found[key] = {'dtype': 'video', 'shape': [*size, 3],
                      'names': ['height', 'width', 'channels'], 'info': dict(told)}
    found[TIME] = {'dtype': 'float32', 'shape': [1], 'names': None}
    return found | {key: {'dtype': 'int64', 'shape': [1], 'names': None} for key in COUNTERS}


def _vector(names: Sequence[str]) -> dict[str, Any]:
    return {'dtype': 'float32', 'shape': [len(names)], 'names': list(names)}


def episode_columns(
    number: int, start: int, task: int, fps: float, actions: Float[np.ndarray, 't ad'],
    states: Float[np.ndarray, 't p'] | None,
) -> dict[str, np.ndarray]:
    """Returns the columns of an episode's rows.

    Args:
        number: number of the episode.
        start: number of its first row in the data set.
        task: number of its instruction.
        fps: rows per second.
        actions: actions of all rows.
        states: states of all rows, or None.
    """
    rows = np.arange(len(actions))
    found = {ACTION: np.asarray(actions, np.float32)}
    if states is not None:
        found[STATE] = np.asarray(states, np.float32)
    return found | {
        TIME: (rows / fps).astype(np.float32), 'frame_index': rows,
        'episode_index': np.full(len(rows), number), 'index': start + rows,
        'task_index': np.full(len(rows), task)}


def data_table(columns: Mapping[str, np.ndarray]) -> pa.Table:
    """Returns an episode's rows; a vector of one number is a number, as LeRobot has it."""
    return pa.table({name: _column(values) for name, values in columns.items()})


def _column(values: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if values.ndim == 1 or values.shape[1] == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """Returns version 3.0's table of instructions.

    LeRobot reads it by pandas and expects the instruction as the index. Which column that is, the
    file itself tells; it is written here as pandas would, which is not needed for it.
    """
    columns = [{'name': name, 'field_name': name, 'pandas_type': kind, 'numpy_type': numpy_kind,
                'metadata': None} for name, kind, numpy_kind in (
                    ('task_index', 'int64', 'int64'), ('task', 'unicode', 'object'))]
    told = {'index_columns': ['task'], 'columns': columns, 'pandas_version': '2.0.0',
            'creator': {'library': 'pyarrow', 'version': pa.__version__},
            'column_indexes': [{'name': None, 'field_name': None, 'pandas_type': 'unicode',
                                'numpy_type': 'object', 'metadata': {'encoding': 'UTF-8'}}]}
    table = pa.table({'task_index': np.arange(len(tasks)), 'task': pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({'pandas': json.dumps(told)})
