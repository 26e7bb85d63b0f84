"""Writes LeRobot data sets for tests by pyarrow and PyAV alone, without the package's writer."""

import io
import json
from fractions import Fraction

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from octo_ros.data.lerobot_encoder import scheduling_kept

FPS = 5
CAMERA = 'observation.images.top'
NAMES = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper']


def episode(seed, length, *, task='lift the block', size=(32, 48)):
    """Returns an episode whose frames are of one grey each: 10 * seed + 20 * row + 30."""
    rng = np.random.default_rng(seed)
    grey = (30 + 10 * seed + 20 * np.arange(length)).astype(np.uint8)
    action = rng.normal(size=(length, 7)).astype(np.float32)
    action[:, 6] = action[:, 6] > 0.0  # closed or open
    return {'action': action,
            'state': rng.normal(size=(length, 7)).astype(np.float32), 'task': task,
            'frames': np.broadcast_to(grey[:, None, None, None], (length, *size, 3))}


def write_video(path, frames, *, codec='libx264', fps=FPS, options=None, container=None):
    """Writes frames behind each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with scheduling_kept(), av.open(str(path), 'w', options=container or {}) as file:
        stream = file.add_stream(codec, rate=Fraction(fps), options=options or {'g': '4'})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], 'yuv420p'
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame), format='rgb24')))
        file.mux(stream.encode())


def table(episodes, numbers, *, start=0, tasks=(), images=False, extra=None):
    """Returns the rows of some episodes as LeRobot's parquet files have them."""
    lengths = [len(item['action']) for item in episodes]
    rows = {
        'action': pa.array([row for item in episodes for row in item['action'].tolist()],
                           pa.list_(pa.float32(), 7)),
        'observation.state': pa.array(
            [row for item in episodes for row in item['state'].tolist()], pa.list_(pa.float32())),
        'timestamp': np.concatenate([np.arange(n) / FPS for n in lengths]).astype(np.float32),
        'frame_index': np.concatenate([np.arange(n) for n in lengths]),
        'episode_index': np.repeat(numbers, lengths),
        'index': start + np.arange(sum(lengths)),
        'task_index': np.concatenate([
            np.broadcast_to([tasks.index(task) for task in np.atleast_1d(item['task'])], n)
            for item, n in zip(episodes, lengths, strict=True)])}
    if images:
        rows[CAMERA] = [
            {'bytes': cv2.imencode('.png', frame)[1].tobytes(), 'path': f'{number}.png'}
            for item in episodes for number, frame in enumerate(item['frames'])]
    return pa.table(rows | (extra or {}))


def info(version, *, image_type='video', size=(32, 48), **changes):
    """Returns the content of info.json."""
    new = version == 'v3.0'
    return {
        'codebase_version': version, 'robot_type': 'widowx', 'fps': FPS, 'chunks_size': 2,
        'total_episodes': 0, 'total_frames': 0, 'total_tasks': 1, 'splits': {'train': '0:1'},
        'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet' if new else
        'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
        'video_path': 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
        if new else 'videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4',
        'features': {
            'action': {'dtype': 'float32', 'shape': [7], 'names': {'motors': NAMES}},
            'observation.state': {'dtype': 'float32', 'shape': [7], 'names': NAMES},
            CAMERA: {'dtype': image_type, 'shape': [*size, 3],
                     'names': ['height', 'width', 'channels']},
            'timestamp': {'dtype': 'float32', 'shape': [1], 'names': None},
            'task_index': {'dtype': 'int64', 'shape': [1], 'names': None}}} | changes


def write_json(path, content):
    """Writes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_parquet(path, rows):
    """Writes a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)


def all_tasks(episodes):
    """Returns the tasks of all episodes in order."""
    return list(dict.fromkeys(str(task) for item in episodes for task in np.atleast_1d(
        item['task'])))


def write_v21(root, episodes, *, version='v2.1', codec='libx264', **changes):
    """Writes a file an episode."""
    tasks = all_tasks(episodes)
    write_json(root / 'meta/info.json', info(version, **changes))
    lines = {'tasks': [{'task_index': n, 'task': task} for n, task in enumerate(tasks)],
             'episodes': [{'episode_index': n, 'tasks': list(np.atleast_1d(item['task'])),
                           'length': len(item['action'])} for n, item in enumerate(episodes)]}
    for name, rows in lines.items():
        (root / f'meta/{name}.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    for number, item in enumerate(episodes):
        chunk = f'chunk-{number // 2:03d}'
        write_parquet(root / f'data/{chunk}/episode_{number:06d}.parquet',
                      table([item], [number], tasks=tasks,
                            images=changes.get('image_type') == 'image'))
        if changes.get('image_type') != 'image':
            write_video(root / f'videos/{chunk}/{CAMERA}/episode_{number:06d}.mp4',
                        item['frames'], codec=codec)


def write_v30(root, episodes, *, unnamed=False, **changes):
    """Writes all episodes into two files of data and one video."""
    tasks = all_tasks(episodes)
    write_json(root / 'meta/info.json', info('v3.0', **changes))
    write_parquet(root / 'meta/tasks.parquet', pa.table({
        'task_index': np.arange(len(tasks)),
        '__index_level_0__' if unnamed else 'task': tasks}))
    lengths = [len(item['action']) for item in episodes]
    starts = np.cumsum([0, *lengths[:-1]])
    half = (len(episodes) + 1) // 2
    columns = {
        'episode_index': list(range(len(episodes))), 'length': lengths,
        'tasks': [list(np.atleast_1d(item['task'])) for item in episodes],
        'data/chunk_index': [0] * len(episodes),
        'data/file_index': [int(n >= half) for n in range(len(episodes))],
        f'videos/{CAMERA}/chunk_index': [0] * len(episodes),
        f'videos/{CAMERA}/file_index': [0] * len(episodes),
        f'videos/{CAMERA}/from_timestamp': (starts / FPS).tolist(),
        f'videos/{CAMERA}/to_timestamp': ((starts + lengths) / FPS).tolist(),
        'stats/action/mean': [[0.0] * 7] * len(episodes)}
    write_parquet(root / 'meta/episodes/chunk-000/file-000.parquet', pa.table(columns))
    for number, part in enumerate((range(half), range(half, len(episodes)))):
        if len(part):
            write_parquet(root / f'data/chunk-000/file-{number:03d}.parquet', table(
                [episodes[n] for n in part], list(part), start=starts[part[0]], tasks=tasks,
                images=changes.get('image_type') == 'image'))
    if changes.get('image_type') != 'image':
        write_video(root / f'videos/{CAMERA}/chunk-000/file-000.mp4',
                    np.concatenate([item['frames'] for item in episodes]))


def rewrite(path, **columns):
    """Replaces columns of a parquet file; None takes one away."""
    rows = pq.ParquetFile(io.BytesIO(path.read_bytes())).read()
    for name, values in columns.items():
        place = rows.column_names.index(name)
        rows = rows.remove_column(place)
        if values is not None:
            rows = rows.add_column(place, name, [values])
    pq.write_table(rows, path)
