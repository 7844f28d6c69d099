"""Frames of any video, one at a time: files, folders of pictures, cameras, streams.

The only reader of video in the program, on PyAV. Frame k is the k-th picture that comes out of the decoder. Damaged
data are skipped, counted and reported; what can be read of a damaged video is read.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np

from video.pictures import PictureFolder
from video.source import UNKNOWN_FPS, VideoError, VideoSource

__all__ = ["UNKNOWN_FPS", "VideoError", "VideoSource", "open_video"]

MAX_PIXELS = 2**26
"""Largest picture that is decoded unless the caller says otherwise: 64 Mpx, eight times 4K."""

# Demuxers a local file may use. Playlists (concat, hls, dash, sdp) are left out on purpose: a text file named
# .mp4 could otherwise make the reader open other files.
_FILE_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,m4v,mpegts,mpeg,mpegvideo,flv,asf,gif,apng,ogg,"
    "h264,hevc,av1,obu,ivf,mjpeg,dv,mxf,nut,webp,rm,y4m,yuv4mpegpipe"
)
_STREAM_PROTOCOLS = "http,https,httpproxy,tcp,udp,tls,crypto,rtp,rtsp,rtmp,rtmps,rtmpt,srt,hls"
_STREAM_URL = re.compile(r"(rtsp|rtsps|https?|rtmps?|rtmpt|udp|rtp|tcp|srt)://", re.IGNORECASE)
_CAMERA = re.compile(r"[0-9]{1,3}|/dev/video[0-9]+")
_OPEN_SECONDS, _READ_SECONDS = 15.0, 15.0
_MAX_BAD_READS = 1000  # in a row, without a frame between them: then nothing more will come
_MAX_FPS = 1000.0


def open_video(source: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> VideoSource:
    """Open a file, a folder of pictures, a camera ("0", /dev/video0) or a stream URL (rtsp, http, rtmp, udp...).

    The first frame is decoded at once, so a video of which nothing can be read fails here. Raises VideoError, one
    line with the probable cause. Frames larger than ``max_pixels`` are refused before memory is taken.
    """
    name = os.fspath(source)
    if _STREAM_URL.match(name):
        options = {"protocol_whitelist": _STREAM_PROTOCOLS, "rtsp_transport": "tcp"}
        return ContainerSource(
            name, name, max_pixels, options=options, timeout=(_OPEN_SECONDS, _READ_SECONDS)
        )
    path = Path(name)
    if _CAMERA.fullmatch(name) and not path.is_file() and not path.is_dir():
        device = f"/dev/video{name}" if name.isdigit() else name
        if not sys.platform.startswith("linux"):
            raise VideoError(
                f"camera {name}: cameras are read on Linux only; give the URL of a stream instead"
            )
        if not Path(device).exists():
            raise VideoError(f"camera {name}: there is no {device}; is the camera plugged in?")
        return ContainerSource(
            device, f"camera {name}", max_pixels, format="v4l2", timeout=(_OPEN_SECONDS, _READ_SECONDS)
        )
    if path.is_dir():
        return PictureFolder(path, name, max_pixels)
    if not path.exists():
        raise VideoError(f"{name}: no such file or folder")
    # an absolute path cannot be taken for a protocol, whatever colons are in the name
    options = {"format_whitelist": _FILE_FORMATS, "protocol_whitelist": "file"}
    return ContainerSource(str(path.absolute()), name, max_pixels, options=options)


class ContainerSource(VideoSource):
    """A video read through FFmpeg: a file, a camera, a stream."""

    def __init__(
        self,
        url: str,
        name: str,
        max_pixels: int,
        *,
        options: dict[str, str] | None = None,
        format: str | None = None,  # noqa: A002
        timeout: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(name)
        self._max_pixels = max_pixels
        arguments: dict[str, Any] = {"options": {"max_pixels": str(max_pixels), **(options or {})}}
        if format is not None:
            arguments["format"] = format
        if timeout is not None:
            arguments["timeout"] = timeout
        # tags that are not UTF-8 (HMDB51 has some) are an error before PyAV 19, which dropped the argument
        if int(av.__version__.split(".")[0]) < 19:
            arguments["metadata_errors"] = "replace"
        try:
            self._container = av.open(url, **arguments)
        except (av.FFmpegError, OSError, ValueError, EOFError) as error:
            raise VideoError(f"{name}: cannot be read as a video ({_reason(error)})") from error
        try:
            self._prepare()
        except BaseException:
            self._container.close()
            raise

    def _prepare(self) -> None:
        pictures = [s for s in self._container.streams.video if not _is_cover(s)]
        if not pictures:
            raise VideoError(f"{self.name}: no video stream in this file, only {self._other_streams()}")
        self._stream = self._container.streams.best("video") or pictures[0]
        if self._stream not in pictures:
            self._stream = pictures[0]
        self.fps = _rate(self._stream)
        self.stated_frames = self._stream.frames or None
        self._decoded = self._decode()
        first = next(self._decoded, None)
        if first is None:
            raise VideoError(f"{self.name}: not one frame of this video can be decoded")
        self._size = first.width, first.height
        self._turns = _quarter_turns(first)
        self._first = first
        self.width, self.height = self._size if self._turns % 2 == 0 else self._size[::-1]
        self.is_live = self._container.duration is None and not Path(self._container.name).is_file()

    def close(self) -> None:
        self._container.close()

    def _frames(self) -> Iterator[np.ndarray]:
        yield self._as_array(self._first)
        del self._first
        for frame in self._decoded:
            yield self._as_array(frame)
        if self.num_damaged:
            self.warnings.append(f"{self.name}: {self.num_damaged} damaged pieces of data were skipped")

    def _as_array(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = self._size
        if (frame.width, frame.height) != self._size and not any("size" in text for text in self.warnings):
            self.warnings.append(
                f"{self.name}: the picture size changes to {frame.width}x{frame.height} on the way; "
                f"all frames are scaled to {width}x{height}"
            )
        # the default number of threads halves the speed of the conversion
        array = frame.reformat(width=width, height=height, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(array, self._turns)) if self._turns else array

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every frame that can be had; bad packets and bad reads are counted and passed over."""
        bad_reads = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except EOFError:
                packet = None
            except (av.FFmpegError, OSError):
                self.num_damaged += 1
                bad_reads += 1
                packets = self._container.demux(self._stream)
                if bad_reads < _MAX_BAD_READS:
                    continue
                packet = None
            try:
                frames = packet.decode() if packet is not None else self._stream.decode(None)
            except EOFError:
                frames = []
            except av.FFmpegError:
                self.num_damaged += 1
                frames = []
            for frame in frames:
                bad_reads = 0
                yield frame
            if packet is None:
                return

    def _other_streams(self) -> str:
        kinds = sorted({stream.type for stream in self._container.streams} - {"video"})
        return " and ".join(kinds) or "nothing"


def _rate(stream: Any) -> float:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= _MAX_FPS:
            return float(rate)
    return UNKNOWN_FPS


def _is_cover(stream: Any) -> bool:
    """Whether the stream is one still picture that decorates an audio file."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that make the picture upright."""
    return round(frame.rotation / 90) % 4


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
