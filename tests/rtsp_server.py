"""A camera for tests: an RTSP server that sends numbered H.264 pictures over the connection (RFC 2326, RFC 6184)."""

from __future__ import annotations

import re
import socketserver
import struct
import threading
import time
from types import TracebackType
from typing import Self

import av

from tests.video_samples import HEIGHT, WIDTH, numbered_frame

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
SDP += "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=framerate:25\r\na=control:track1\r\n"


class RtspServer:
    """Sends ``frames`` pictures at 25 a second to whoever plays ``url``, then hangs up."""

    def __init__(self, frames: int) -> None:
        pictures = _encoded(frames)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while request := self._request():
                    method, number = request
                    extra, body = "", ""
                    if method == "DESCRIBE":
                        extra, body = "Content-Type: application/sdp\r\n", SDP
                    elif method == "SETUP":
                        extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                    length = f"Content-Length: {len(body)}\r\n" if body else ""
                    answer = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n{extra}{length}\r\n{body}"
                    self.wfile.write(answer.encode())
                    if method == "PLAY":
                        self._play()
                        return

            def _request(self) -> tuple[str, str] | None:
                lines = []
                while (line := self.rfile.readline().decode()).strip():
                    lines.append(line)
                if not lines:
                    return None
                number = next(found[1] for line in lines if (found := re.match(r"CSeq: *(\d+)", line, re.IGNORECASE)))
                return lines[0].split()[0], number

            def _play(self) -> None:
                began, count = time.monotonic(), 0
                for number, units in enumerate(pictures):
                    time.sleep(max(0.0, began + number / 25 - time.monotonic()))
                    for k, unit in enumerate(units):
                        # version 2; payload type 96, marked where a picture ends
                        last = 128 if k + 1 == len(units) else 0
                        packet = struct.pack(">BBHII", 0x80, 96 | last, count % 65536, number * 3600, 7) + unit
                        self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                        count += 1

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"rtsp://user:secret@127.0.0.1:{self._server.server_address[1]}/camera"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _encoded(frames: int) -> list[list[bytes]]:
    """The NAL units of each picture."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.framerate = 25
    context.options = {"tune": "zerolatency", "preset": "ultrafast", "g": "10"}
    pictures = []
    for number in range(frames):
        picture = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
        picture.pts = number
        data = b"".join(bytes(packet) for packet in context.encode(picture))
        units = [unit for unit in re.split(rb"\x00\x00\x00?\x01", data) if unit]
        pictures.append([unit.rstrip(b"\x00") for unit in units])
    return pictures
