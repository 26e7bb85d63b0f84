"""Draws a run of the policy: a strip of camera images above the curves of its actions."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.figure import SubFigure

from octo_ros.array_typing import Float
from octo_ros.array_typing import UInt8

WIDTH_IN, STRIP_IN, PANEL_IN, DPI = 12.0, 1.55, 0.95, 110
MOST_IMAGES, MOST_IN_ONE_COLUMN = 7, 8
CAPTION_IN, MOST_IN_PARTS = 0.25, 12
PREDICTED, EXECUTED, RECORDED = '#9dbfe8', '#1f5fb4', '#2b2b2b'
GOOD, BAD = '#237d3c', '#a5322d'


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a run that has a caption of its own.

    Attributes:
        begin_s: when it begins [s].
        end_s: when it ends [s].
        caption: what was asked for and what came out; lines are kept.
        good: True is drawn green, False red.
        image: shown before its frames, such as a goal image, or None.
    """

    begin_s: float
    end_s: float
    caption: str
    good: bool
    image: UInt8[np.ndarray, 'ih iw 3'] | None = None


@dataclasses.dataclass(frozen=True)
class Picture:
    """What to draw. Times are seconds since the start of the run.

    Attributes:
        title: first line, large.
        note: second line, such as what to think of the weights; may be empty.
        names: of the action dimensions, with units where they have one.
        step_s: duration of a policy step [s].
        executed_steps: leading steps of each chunk that are carried out; drawn strong.
        frames: time and image of one camera, oldest first; a few are picked.
        chunks: time of the observation and the actions of each chunk.
        recorded: times and actions of a recording to compare with, or None.
        parts: of the run, in order; none when it is all one.
    """

    title: str
    note: str
    names: Sequence[str]
    step_s: float
    executed_steps: int
    frames: Sequence[tuple[float, UInt8[np.ndarray, 'ih iw 3']]]
    chunks: Sequence[tuple[float, Float[np.ndarray, 'ah ad']]]
    recorded: tuple[Sequence[float], Float[np.ndarray, 'n ad']] | None = None
    parts: Sequence[Part] = ()


def draw(picture: Picture, path: Path) -> None:
    """Writes the picture as a PNG; makes the folder where needed."""
    columns = 1 if len(picture.names) <= MOST_IN_ONE_COLUMN else 2
    rows = math.ceil(len(picture.names) / columns)
    strip = STRIP_IN + (CAPTION_IN if picture.parts else 0.0)
    figure = Figure(figsize=(WIDTH_IN, 1.0 + strip + rows * PANEL_IN), layout='constrained')
    figure.suptitle(picture.title, fontsize=13, fontweight='bold')
    halves = figure.subfigures(2, 1, squeeze=False,
                               height_ratios=[strip, rows * PANEL_IN + 0.35])
    top, bottom = halves[:, 0]
    if picture.parts:
        _draw_parts(top, picture)
    else:
        _draw_strip(top.subplots(1, MOST_IMAGES), picture.frames)
    panels = bottom.subplots(rows, columns, sharex=True, squeeze=False)
    for dimension, axes in enumerate(panels.T.flat):
        if dimension < len(picture.names):
            _draw_dimension(axes, picture, dimension)
        else:
            axes.set_axis_off()
    for axes in panels[-1]:
        axes.set_xlabel('time [s]', fontsize=8)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    bottom.legend(handles, labels, loc='outside upper right', ncols=3, fontsize=8, frameon=False)
    if picture.note:
        bottom.supxlabel(picture.note, fontsize=9, color='#a03020')
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


def _draw_parts(figure: SubFigure, picture: Picture) -> None:
    """Draws the strip part by part, each below its caption."""
    parts = picture.parts
    each = max(2, MOST_IN_PARTS // len(parts))
    for part, field in zip(parts, figure.subfigures(1, len(parts), squeeze=False)[0],
                           strict=True):
        field.suptitle(part.caption, fontsize=9, color=GOOD if part.good else BAD)
        places = field.subplots(1, each, squeeze=False)[0]
        if part.image is not None:
            places[0].set_axis_off()
            places[0].imshow(part.image)
            places[0].set_title('goal', fontsize=8, fontweight='bold')
            places = places[1:]
        _draw_strip(places, [frame for frame in picture.frames
                             if part.begin_s <= frame[0] <= part.end_s])


def _draw_strip(places: Sequence[Axes],
                frames: Sequence[tuple[float, UInt8[np.ndarray, 'ih iw 3']]]) -> None:
    picks = np.unique(np.linspace(0, len(frames) - 1, len(places)).round().astype(int))
    for axes in places:
        axes.set_axis_off()
    for axes, pick in zip(places, picks if frames else (), strict=False):
        time_s, image = frames[pick]
        axes.imshow(image)
        axes.set_title(f'{time_s:.1f} s', fontsize=8)


def _draw_dimension(axes: Axes, picture: Picture, dimension: int) -> None:
    done = picture.executed_steps
    for index, (time_s, actions) in enumerate(picture.chunks):
        times = time_s + picture.step_s * np.arange(len(actions) + 1)
        curve = np.append(actions[:, dimension], actions[-1, dimension])
        axes.step(times, curve, where='post', color=PREDICTED, linewidth=0.8,
                  label='predicted chunk' if index == 0 else None)
        strong = np.append(curve[:done], curve[done - 1])  # ends level, not at the next value
        axes.step(times[:done + 1], strong, where='post', color=EXECUTED, linewidth=1.5,
                  label='executed part' if index == 0 else None)
    if picture.recorded is not None:
        axes.plot(picture.recorded[0], picture.recorded[1][:, dimension],
                  color=RECORDED, linewidth=1.0, linestyle='--', label='recorded')
    for part in picture.parts:
        axes.axvspan(part.begin_s, part.end_s, color=GOOD if part.good else BAD, alpha=0.06,
                     linewidth=0.0)
    axes.set_ylabel(picture.names[dimension], fontsize=8, rotation=0, ha='right', va='center')
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[['top', 'right']].set_visible(False)
