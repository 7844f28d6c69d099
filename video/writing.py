"""Writing videos that every browser plays: H.264, yuv420p, index in front."""

from __future__ import annotations

import os
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.video.stream import VideoStream

from linking.files import replace_when_whole
from video.source import VideoError

# best first; without libx264 (conda and some distributions) VP9 still plays in browsers, mpeg4 only in players
_CODECS = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libvpx-vp9": {"crf": "30", "b": "0", "row-mt": "1", "deadline": "realtime", "cpu-used": "6"},
    "mpeg4": {"qscale": "3"},
}


class VideoWriter:
    """Writes (height, width, 3) uint8 RGB frames one at a time to ``path``, which appears when the block ends well.

    A run that ends in an error leaves nothing, or the file that was there before. H.264 wants even sizes: an odd
    picture is extended by repeating its last row or column. Raises VideoError for a frame of another size.
    """

    def __init__(self, path: str | os.PathLike[str], *, width: int, height: int, fps: float) -> None:
        if not (width > 0 and height > 0 and 0 < fps < 10_000):
            raise VideoError(
                f"{os.fspath(path)}: cannot write {width}x{height} pixels at {fps} frames a second"
            )
        self.path = Path(path)
        self.width, self.height, self.fps = width, height, fps
        self.num_frames = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(replace_when_whole(self.path))
            self._container = stack.enter_context(
                av.open(str(temporary.absolute()), "w", options={"movflags": "+faststart"})
            )
            codec = _best_codec()
            rate = Fraction(self.fps).limit_denominator(1001)  # 29.97 is 30000/1001
            self._stream = cast(
                VideoStream, self._container.add_stream(codec, rate=rate, options=_CODECS[codec])
            )
            self._stream.width = self.width + self.width % 2
            self._stream.height = self.height + self.height % 2
            self._stream.pix_fmt = "yuv420p"
            self._stack = stack.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one (height, width, 3) uint8 RGB frame."""
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise VideoError(
                f"{self.path}: expected a frame of ({self.height}, {self.width}, 3) uint8, "
                f"got {frame.shape} {frame.dtype}"
            )
        if self.height % 2 or self.width % 2:
            frame = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format="yuv420p", threads=1)
        picture.pts = self.num_frames
        self._container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if error is not None:
                raise error
            if self.num_frames == 0:
                raise VideoError(f"{self.path}: a video needs at least one frame")
            self._container.mux(self._stream.encode(None))


def _best_codec() -> str:
    for name in _CODECS:
        if name in av.codecs_available:
            return name
    raise VideoError("this build of PyAV can write neither H.264, VP9 nor MPEG-4; reinstall av")
