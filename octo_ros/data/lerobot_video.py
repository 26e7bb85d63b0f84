"""Frames of a video by their times, decoded in one pass with two frames in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from octo_ros.array_typing import Float
from octo_ros.data.frames import Frames
from octo_ros.data.frames import Trouble
from octo_ros.errors import DataError
from octo_ros.policy.images import preprocess

_FORMAT = 'rgb24'


def read_frames(file: Path, times_s: Float[np.ndarray, 'n'], tolerance_s: float,
                size: tuple[int, int] | None) -> Frames:
    """Returns the frames that are shown at some times.

    Args:
        file: the video.
        times_s: times in ascending order [s].
        tolerance_s: how far the nearest frame may be [s].
        size: height and width wanted; that of the video when None.

    Returns:
        The frames; a trouble's row is the place in `times_s`.
    """
    picked: list[Any] = [None] * len(times_s)
    troubles: list[Trouble] = []
    chosen = _Chooser(times_s, tolerance_s)
    try:
        with av.open(str(file)) as container:
            for place, frame in chosen.pick(_frames(container, float(times_s[0]) - tolerance_s)):
                image = frame.to_ndarray(format=_FORMAT)
                picked[place] = preprocess(image, size or (image.shape[0], image.shape[1]))
    except (av.error.FFmpegError, DataError) as error:
        found = ', the video does not exist' if not file.exists() else ''
        troubles.append(Trouble(None, 'damage', f'{file} cannot be decoded whole ({error}'
                                f'{found}); frames that were read are kept'))
    if not troubles:
        troubles = [Trouble(place, 'gap', f'{file.name} has no frame within {tolerance_s:.3f} s')
                    for place, image in enumerate(picked) if image is None]
    return Frames(picked, troubles)


def _frames(container: 'av.container.InputContainer', start_s: float
            ) -> 'Iterator[tuple[float, av.VideoFrame]]':
    """Yields the times and frames from the key frame before a time on."""
    if not container.streams.video:
        raise DataError('there is no picture track')
    stream = container.streams.video[0]
    if stream.time_base is None:
        raise DataError('the picture track has no clock')
    tick = float(stream.time_base)
    if start_s > 0.0:
        container.seek(int(start_s / tick), stream=stream)
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield frame.pts * tick, frame


class _Chooser:
    """The choice of the nearest frame for each time, both ascending."""

    def __init__(self, times_s: Float[np.ndarray, 'n'], tolerance_s: float) -> None:
        self._times = times_s
        self._tolerance = tolerance_s
        self._place = 0

    def pick(self, frames: 'Iterator[tuple[float, av.VideoFrame]]'
             ) -> 'Iterator[tuple[int, av.VideoFrame]]':
        """Yields places in the times, and the frame for each; places without one are left out."""
        before: tuple[float, av.VideoFrame] | None = None
        for now in frames:
            yield from self._settle(before, now)
            if self._place == len(self._times):
                return
            before = now
        if before is not None:
            yield from self._settle(before, None)

    def _settle(self, before: 'tuple[float, av.VideoFrame] | None',
                now: 'tuple[float, av.VideoFrame] | None'
                ) -> 'Iterator[tuple[int, av.VideoFrame]]':
        """Settles the times up to the present frame; all of them after the last one."""
        while self._place < len(self._times):
            time = self._times[self._place]
            if now is not None and time > now[0]:
                return
            near = min((item for item in (before, now) if item is not None),
                       key=lambda item: abs(item[0] - time))
            self._place += 1
            if abs(near[0] - time) <= self._tolerance:
                yield self._place - 1, near[1]
