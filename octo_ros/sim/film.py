"""Frames of a film: the third person's view, the wrist's, the goal image, and what is going on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

from octo_ros.array_typing import UInt8

_MAIN, _SIDE, _BAR = 448, 224, 72  # [pixel]
_DARK, _WHITE = (24, 26, 30), (240, 240, 240)
COLOURS = {'running': (60, 90, 150), 'done': (35, 125, 60), 'failed': (165, 50, 45)}
_Image = UInt8[np.ndarray, 'ih iw 3']


@dataclasses.dataclass(frozen=True)
class Scene:
    """One frame's content.

    Attributes:
        primary: the large view.
        wrist: the small one, or None.
        goal: the goal image, or None.
        title: first line below the views.
        text: second line.
        state: one of COLOURS, that of the bar.
    """

    primary: _Image
    wrist: _Image | None
    goal: _Image | None
    title: str
    text: str
    state: str


def compose(scene: Scene) -> UInt8[np.ndarray, '520 672 3']:
    """Returns the frame as RGB."""
    frame = np.full((_MAIN + _BAR, _MAIN + _SIDE, 3), _DARK, np.uint8)
    frame[:_MAIN, :_MAIN] = _resized(scene.primary, _MAIN)
    for row, image in enumerate((scene.wrist, scene.goal)):
        if image is not None:
            frame[row * _SIDE:(row + 1) * _SIDE, _MAIN:] = _resized(image, _SIDE)
    frame[_MAIN:] = COLOURS[scene.state]
    picture = Image.fromarray(frame)
    draw = ImageDraw.Draw(picture)
    for row, (name, image) in enumerate((('wrist camera', scene.wrist),
                                         ('goal image', scene.goal))):
        _label(draw, (_MAIN + 6, row * _SIDE + 4),
               name if image is not None else f'no {name}')
    _line(draw, (12, _MAIN + 8), scene.title, 22, _WHITE, bold=True)
    _line(draw, (12, _MAIN + 40), scene.text, 18, _WHITE)
    return np.asarray(picture)


def _resized(image: _Image, side: int) -> _Image:
    shrinks = side < image.shape[0]
    return cv2.resize(image, (side, side),
                      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _label(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str) -> None:
    left, top, right, bottom = draw.textbbox(place, text, font=_font(13))
    draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill=_DARK)
    draw.text(place, text, font=_font(13), fill=_WHITE)


def _line(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int,
          colour: Sequence[int], *, bold: bool = False) -> None:
    """Writes a line, smaller where it would be too long."""
    width = _MAIN + _SIDE - 2 * place[0]
    while size > 9 and draw.textlength(text, font=_font(size, bold=bold)) > width:
        size -= 1
    draw.text(place, text, font=_font(size, bold=bold), fill=tuple(colour))


def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / name, size)
