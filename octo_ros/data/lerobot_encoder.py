"""Writes videos as LeRobot keeps them: any frame can be had by decoding two at most."""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any
from typing import cast

import av
import numpy as np

from octo_ros.array_typing import UInt8
from octo_ros.errors import DataError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest

# Name for the user to encoder and options. A key frame every 2 frames, as LeRobot has it, and no
# frames that point forward, so that times in the file begin at zero.
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    'h264': ('libx264', {'crf': '18', 'g': '2', 'bf': '0'}),
    'av1': ('libsvtav1', {'crf': '24', 'g': '2', 'preset': '8'}),
}


def check_codec(codec: str) -> None:
    """Refuses a codec that is not known, or that this build of PyAV cannot write.

    Raises:
        ParameterError: with the names that will do.
    """
    if codec not in CODECS:
        raise ParameterError(f"the codec must be one of {', '.join(CODECS)}, got '{codec}'"
                             f'{closest(codec, CODECS)}')
    try:
        av.Codec(CODECS[codec][0], 'w')
    except av.codec.codec.UnknownCodecError as error:
        others = ', '.join(name for name in CODECS if name != codec)
        raise ParameterError(f"PyAV must have the encoder {CODECS[codec][0]} for '{codec}', and "
                             f"this build has not; try {others}, or PyAV's own wheel") from error


class VideoFile:
    """A video that grows; a context manager.

    Attributes:
        path: the file.
        frames: how many frames it has.
        size_bytes: how many bytes of pictures were encoded so far.
    """

    def __init__(self, path: Path, fps: Fraction, size: tuple[int, int], codec: str) -> None:
        """Opens a file for writing.

        Args:
            path: the file.
            fps: frames per second.
            size: height and width [pixel].
            codec: a name in `CODECS`.
        """
        self.path = path
        self.frames = 0
        self.size_bytes = 0
        self._fps = fps
        path.parent.mkdir(parents=True, exist_ok=True)
        encoder, options = CODECS[codec]
        os.environ.setdefault('SVT_LOG', '1')  # SVT-AV1 tells its life on stderr otherwise
        # The index goes to the front, so that a player can begin before it has all.
        self._container = av.open(str(path), 'w', options={'movflags': 'faststart'})
        stream: Any = cast(Any, self._container.add_stream(encoder, rate=fps, options=options))
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format(size)
        self._stream = stream

    def __enter__(self) -> 'VideoFile':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def add(self, frames: UInt8[np.ndarray, 't ih iw 3']) -> None:
        """Adds frames.

        Raises:
            DataError: the encoder refuses them.
        """
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format='rgb24')
            frame.pts = self.frames
            frame.time_base = 1 / self._fps
            self._encode(frame)
            self.frames += 1

    def close(self) -> None:
        """Writes what the encoder still holds, and the index."""
        try:
            if self.frames:
                self._encode(None)
        finally:
            self._container.close()

    def _encode(self, frame: 'av.VideoFrame | None') -> None:
        try:
            with scheduling_kept():
                packets = self._stream.encode(frame)
            self.size_bytes += sum(packet.size for packet in packets)
            self._container.mux(packets)
        except av.error.FFmpegError as error:
            size = f'{self._stream.height}x{self._stream.width}'
            raise DataError(f'{self.path} must be a video of a size that its encoder takes, got '
                            f'{size} ({error}); try --codec h264') from error


@contextlib.contextmanager
def scheduling_kept() -> Iterator[None]:
    """Gives this thread its scheduling back.

    Run by root, SVT-AV1 makes the thread that opens it a real-time one of the highest priority;
    left so, everything else on the machine would starve until the process ends.
    """
    if not hasattr(os, 'sched_getscheduler'):  # not Linux
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != before[0]:
            os.sched_setscheduler(0, *before)


def pixel_format(size: tuple[int, int]) -> str:
    """Returns how colours are stored: at half resolution, which odd sizes do not allow."""
    return 'yuv444p' if size[0] % 2 or size[1] % 2 else 'yuv420p'


def video_info(file: Path) -> dict[str, Any]:
    """Returns what `info.json` says of a video."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        rate = Fraction(stream.average_rate or 0)
        return {
            'video.height': stream.height, 'video.width': stream.width,
            'video.codec': stream.codec_context.codec.canonical_name,
            'video.pix_fmt': stream.codec_context.pix_fmt, 'video.is_depth_map': False,
            'video.fps': int(rate) if rate.denominator == 1 else float(rate),
            'video.channels': 3, 'has_audio': False}
