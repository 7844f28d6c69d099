"""Frames of any video, one at a time: files, folders of pictures, cameras, streams.

Frame k is the k-th picture that comes out of the decoder. Damaged data are skipped, counted and reported; what
can be read of a damaged video is read. This is the only door through which video enters the program.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from video.container import ContainerSource
from video.pictures import PictureFolder
from video.source import UNKNOWN_FPS, VideoError, VideoSource

__all__ = ["MAX_PIXELS", "UNKNOWN_FPS", "VideoError", "VideoSource", "open_video"]

MAX_PIXELS = 2**26
"""Largest picture that is decoded unless the caller says otherwise: 64 Mpx, eight times 4K."""

# Demuxers a local file may use. Playlists (concat, hls, dash, sdp) are left out on purpose: a text file named
# .mp4 could make the reader open other files.
FILE_OPTIONS = {
    "format_whitelist": (
        "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,m4v,mpegts,mpeg,mpegvideo,flv,asf,gif,apng,ogg,"
        "h264,hevc,av1,obu,ivf,mjpeg,dv,mxf,nut,rm,yuv4mpegpipe"
    ),
    "protocol_whitelist": "file",
}
"""How local files are opened; also by video.audio."""
# "file" is missing on purpose: what a server sends must not make the reader open local files
_STREAM_OPTIONS = {
    "protocol_whitelist": "http,https,httpproxy,tcp,udp,tls,crypto,rtp,srtp,rtsp,rtmp,rtmps,rtmpt,srt,hls",
    "rtsp_transport": "tcp",  # lost UDP packets are lost picture parts
}
_STREAM_URL = re.compile(r"(https?|rtsps?|rtmp[st]?|udp|rtp|tcp|srt)://", re.IGNORECASE)
_CAMERA = re.compile(r"[0-9]{1,3}|/dev/video[0-9]+")
_TIMEOUT = (15.0, 15.0)  # seconds to connect, seconds without data


def open_video(source: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> VideoSource:
    """Open a video file, a folder of pictures, a camera ("0" or /dev/video0) or a stream (rtsp://, http://, ...).

    The first frame is decoded at once, so a video of which nothing can be read fails here. Raises VideoError with
    the probable cause in one line. Pictures larger than ``max_pixels`` are refused before memory is taken for them.
    """
    name = os.fspath(source)
    if "\0" in name or not name:
        raise VideoError(f"{name!r}: not the name of a video")
    if _STREAM_URL.match(name):
        return ContainerSource(
            name, without_password(name), max_pixels, options=_STREAM_OPTIONS, timeout=_TIMEOUT
        )
    path = Path(name)
    if _CAMERA.fullmatch(name) and not path.is_file() and not path.is_dir():
        return _open_camera(name, max_pixels)
    if path.is_dir():
        return PictureFolder(path, name, max_pixels)
    if not path.exists():
        raise VideoError(f"{name}: no such file or folder")
    if not path.is_file():
        raise VideoError(f"{name}: neither a file nor a folder of pictures")
    # an absolute path cannot be taken for a protocol, whatever colons are in the name
    return ContainerSource(str(path.absolute()), name, max_pixels, options=FILE_OPTIONS)


def without_password(url: str) -> str:
    """``url`` without user and password, for messages and results."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _open_camera(name: str, max_pixels: int) -> VideoSource:
    device = Path(f"/dev/video{name}" if name.isdigit() else name)
    if not sys.platform.startswith("linux"):
        raise VideoError(f"camera {name}: cameras are read on Linux only; give the URL of a stream instead")
    if not device.exists():
        raise VideoError(f"camera {name}: there is no {device}; is the camera plugged in?")
    return ContainerSource(str(device), f"camera {name}", max_pixels, format="v4l2", timeout=_TIMEOUT)
