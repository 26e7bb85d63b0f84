"""Small videos of trials: one each, and many side by side."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from octo_ros.array_typing import UInt8

_CAPTION_HEIGHT = 18
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


def write_video(path: Path, frames: _Frames, *, step_s: float) -> None:
    """Writes frames as an animated GIF, which a README shows and every viewer opens.

    Args:
        path: the file.
        frames: RGB, all of one size.
        step_s: time from one to the next [s].
    """
    shown = [*frames, *[frames[-1]] * _END_FRAMES]
    path.parent.mkdir(parents=True, exist_ok=True)
    # One palette for all frames keeps colours from flickering.
    both_ends = np.concatenate([shown[0], shown[-1]])
    palette = Image.fromarray(both_ends).quantize(128)
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
                for frame in shown]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], loop=0, optimize=True,
                     duration=round(1000 * step_s))
