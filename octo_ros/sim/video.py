"""Small videos of trials: one each, and many side by side."""

import importlib.util
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from octo_ros.array_typing import UInt8
from octo_ros.errors import ParameterError

_CAPTION_HEIGHT = 18
_CODEC = 'libx264'
_END_FRAMES = 4  # the last view stays that much longer
_Frames = Sequence[UInt8[np.ndarray, 'ih iw 3']]


def captioned(frames: _Frames, text: str, *, good: bool, size: int) -> list[np.ndarray]:
    """Returns square frames of `size` pixels with a line of text below, green or red."""
    colour = (40, 130, 60) if good else (170, 50, 45)
    bar = np.full((_CAPTION_HEIGHT, size, 3), colour, np.uint8)
    scale = min(0.42, 0.42 * size / max(1, 7.2 * len(text)))
    cv2.putText(bar, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1,
                cv2.LINE_AA)
    small = [cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames]
    return [np.concatenate([frame, bar]) for frame in small]


def side_by_side(videos: Sequence[_Frames], columns: int) -> list[np.ndarray]:
    """Returns videos of one size as a grid; those that end early stand still."""
    length = max(len(video) for video in videos)
    empty = np.zeros_like(videos[0][0])
    rows = -(-len(videos) // columns)
    frames = []
    for index in range(length):
        cells = [video[min(index, len(video) - 1)] for video in videos]
        cells += [empty] * (rows * columns - len(videos))
        frames.append(np.concatenate([
            np.concatenate(cells[row * columns:(row + 1) * columns], axis=1)
            for row in range(rows)]))
    return frames


def can_write_mp4() -> bool:
    """True when PyAV with an H.264 encoder is installed; its wheels have one."""
    if importlib.util.find_spec('av') is None:
        return False
    import av

    return _CODEC in av.codecs_available


def write_video(path: Path, frames: _Frames, *, step_s: float) -> None:
    """Writes frames as a video that every viewer opens.

    Args:
        path: the file; .gif for what a README shows, .mp4 for a twentieth of its size.
        frames: RGB, all of one size.
        step_s: time from one to the next [s].

    Raises:
        ParameterError: the file has another ending, or MP4 cannot be written here.
    """
    if path.suffix not in _WRITERS:
        raise ParameterError(f"a video must end in {' or '.join(_WRITERS)}, got '{path.name}'")
    path.parent.mkdir(parents=True, exist_ok=True)
    _WRITERS[path.suffix](path, [*frames, *[frames[-1]] * _END_FRAMES], step_s)


def _write_gif(path: Path, frames: _Frames, step_s: float) -> None:
    # One palette for all frames keeps colours from flickering.
    both_ends = np.concatenate([frames[0], frames[-1]])
    palette = Image.fromarray(both_ends).quantize(128)
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
                for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], loop=0, optimize=True,
                     duration=round(1000 * step_s))


def _write_mp4(path: Path, frames: _Frames, step_s: float) -> None:
    if not can_write_mp4():
        raise ParameterError(f"PyAV with H.264 is needed to write '{path.name}'; install it with "
                             '`pip install av`, or write a .gif')
    import av

    # H.264 in the pixel format that every player knows wants even sides.
    height, width = (side - side % 2 for side in frames[0].shape[:2])
    with av.open(str(path), 'w') as file:
        stream: Any = file.add_stream(_CODEC, rate=Fraction(1.0 / step_s).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        stream.options = {'crf': '20', 'preset': 'veryfast'}
        for frame in frames:
            pixels = np.ascontiguousarray(frame[:height, :width])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, 'rgb24')))
        file.mux(stream.encode())


_WRITERS = {'.gif': _write_gif, '.mp4': _write_mp4}
