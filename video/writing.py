"""Writing videos that every browser plays: H.264 in MP4, yuv420p, index in front."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from linking.files import replace_when_whole
from video.source import VideoError

# Best first. libx264 is missing in some builds (conda, distributions): VP9 still plays in browsers, MPEG-4 in players.
_CODECS = {
    # With B-frames libx264 does not give the same bytes twice (measured); without them files are a tenth larger.
    "libx264": {"crf": "20", "preset": "veryfast", "bf": "0"},
    "libvpx-vp9": {"crf": "30", "b": "0", "deadline": "realtime", "cpu-used": "6"},
    "mpeg4": {"qscale": "3"},
}
_INDEXED = {".mp4", ".m4v", ".mov"}
_TICKS = 60_000  # time units a second where frames carry their own times; MPEG-4 takes no more than 65,535
_BT709 = 1  # the code of BT.709 in H.264's tables of matrices, primaries and transfer functions


class VideoWriter:
    """Writes frames one at a time to ``path``, which appears, whole, when the block ends well.

    A block that ends in an error leaves what was there before. H.264 takes even sizes only: an odd picture is
    extended by repeating its last column or row. Raises VideoError for frames of a wrong kind, for no frames at all
    and when the file cannot be written. The same frames give the same file.

        with VideoWriter("out.mp4", width=320, height=240, fps=29.97) as writer:
            for frame in frames:
                writer.write(frame)
    """

    def __init__(
        self, path: str | os.PathLike[str], *, width: int, height: int, fps: float, live: bool = False
    ) -> None:
        """``width`` and ``height`` in pixels; ``fps`` in frames a second, fractions like 29.97 included.

        ``live``: frames come at times of their own, and the file must not take memory or a second pass over it when
        it is closed, however long it is: its index is written piece by piece (fragmented MP4).
        """
        if not (width > 0 and height > 0 and math.isfinite(fps) and fps > 0):
            raise VideoError(f"{os.fspath(path)}: cannot write {width}x{height} pixels at {fps} frames a second")
        self.path = Path(path)
        self.width, self.height, self.fps = width, height, fps
        self.num_frames = 0
        self._live, self._last = live, -1

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                temporary = stack.enter_context(replace_when_whole(self.path))
                flags = "+frag_keyframe+empty_moov+default_base_moof" if self._live else "+faststart"
                options = {"movflags": flags} if self.path.suffix.lower() in _INDEXED else {}
                container = av.open(str(temporary.absolute()), "w", options=options)
            except (OSError, ValueError) as error:
                raise VideoError(f"{self.path}: cannot be written ({_reason(error)})") from error
            self._container = stack.enter_context(container)
            codec = _best_codec(container.supported_codecs, self.path)
            rate = Fraction(self.fps).limit_denominator(1001)  # 29.97 becomes 2997/100, 30000/1001 stays
            stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=_CODECS[codec]))
            stream.width = self.width + self.width % 2
            stream.height = self.height + self.height % 2
            stream.pix_fmt = "yuv420p"
            if self._live:
                stream.codec_context.time_base = Fraction(1, _TICKS)
                # pictures that are lost with the program when it is killed, at most
                stream.codec_context.gop_size = max(1, round(2 * self.fps))
            # untagged colours are guessed by the player, and differently for small and large pictures
            stream.codec_context.colorspace = _BT709
            stream.codec_context.color_primaries = _BT709
            stream.codec_context.color_trc = _BT709
            self._stream = stream
            self._stack = stack.pop_all()
        return self

    def write(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Append one (height, width, 3) uint8 RGB frame; with ``live`` at ``seconds`` from the beginning, ascending."""
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise VideoError(
                f"{self.path}: expected frames of ({self.height}, {self.width}, 3) uint8, "
                f"got {frame.shape} {frame.dtype}"
            )
        if self.height % 2 or self.width % 2:
            frame = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, threads=1)
        picture.pts = self.num_frames
        if self._live:
            assert seconds is not None, "live frames have times of their own"
            picture.pts = self._last = max(self._last + 1, round(seconds * _TICKS))
            picture.time_base = Fraction(1, _TICKS)
        self._encode(picture)
        self.num_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            # closing what could not be written fails once more; the first error says more
            with suppress(OSError):
                self._stack.__exit__(kind, error, trace)
            return
        try:
            with self._stack:
                if self.num_frames == 0:
                    raise VideoError(f"{self.path}: a video needs at least one frame")
                self._encode(None)
        except OSError as failure:  # the index is written when the container is closed
            raise VideoError(f"{self.path}: cannot be written ({_reason(failure)})") from failure

    def _encode(self, picture: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path}: cannot be written ({_reason(error)})") from error


def _best_codec(supported: set[str], path: Path) -> str:
    """The first encoder of ours that this build has and the container of ``path`` takes (WebM takes VP9 only)."""
    for name in _CODECS:
        if name in av.codecs_available and av.Codec(name, "w").canonical_name in supported:
            return name
    raise VideoError(f"{path}: cannot be written: neither H.264, VP9 nor MPEG-4 is possible; name it .mp4")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
