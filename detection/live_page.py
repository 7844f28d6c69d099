"""A page on this machine that shows a live run: picture, who does what since when, latency, dropped pictures.

Every viewer has a thread of its own that takes the newest picture whenever its connection is free, so a slow viewer
sees fewer pictures and holds nobody up. A picture is encoded when somebody looks, and once for all viewers.
"""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

_PAGE = Path(__file__).with_name("live_page.html")
_BOUNDARY = "picture"
_MAX_VIEWERS = 16
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'"
)
_LOCAL = ("127.0.0.1", "localhost", "::1")


class LivePage:
    """Serves the page until it is closed. ``/`` is the page, ``/stream.mjpg`` the pictures, ``/picture.jpg`` the
    newest one, ``/tubes.json`` what the page shows in numbers."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Port 0 is any free one. OSError where the port is taken or the address is not of this machine."""
        self.viewers = 0
        """Connections to ``/stream.mjpg``."""
        self._changed = threading.Condition()
        self._closed = False
        self._number = 0  # of the newest picture; 0 is none
        self._picture: np.ndarray | None = None
        self._jpeg: tuple[int, bytes] = (0, b"")
        self._encoding = threading.Lock()
        self._state: Callable[[], dict[str, Any]] = dict
        self._server = _Server((host, port), _Handler)
        self._server.page = self
        self.only_here = host in _LOCAL
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else host
        self.address = f"http://{shown}:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="live page", daemon=True).start()

    def show(self, picture: np.ndarray, state: Callable[[], dict[str, Any]]) -> None:
        """(H, W, 3) uint8, the newest picture, and how to tell what is in it."""
        with self._changed:
            self._number += 1
            self._picture, self._state = picture, state
            self._changed.notify_all()

    def close(self) -> None:
        """End all connections."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def state(self) -> dict[str, Any]:
        """What ``/tubes.json`` says."""
        return self._state()

    def newer(self, seen: int) -> tuple[int, bytes] | None:
        """Number and JPEG of a picture newer than number ``seen``; waits for it. None when the page closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > seen)
            if self._closed or self._picture is None:
                return None
            number, picture = self._number, self._picture
        with self._encoding:
            if self._jpeg[0] < number:
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, "JPEG", quality=80)
                self._jpeg = number, buffer.getvalue()
            return self._jpeg

    def enter_viewer(self) -> bool:
        """Whether there is room for one more."""
        with self._changed:
            has_room = self.viewers < _MAX_VIEWERS
            self.viewers += has_room
            return has_room

    def leave_viewer(self) -> None:
        with self._changed:
            self.viewers -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a viewer whose connection is stuck must not hold up the end
    page: LivePage

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that goes away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # seconds a viewer may take nothing before it is given up

    def do_GET(self) -> None:
        page = self.server.page
        if page.only_here and self._host() not in _LOCAL:
            # a foreign site whose name was made to point here must not read the camera
            self.send_error(403, "This page is for this machine")
            return
        path = urlsplit(self.path).path
        try:
            if path in ("/", "/index.html"):
                self._send(_PAGE.read_bytes(), "text/html; charset=utf-8")
            elif path == "/tubes.json":
                self._send(json.dumps(page.state()).encode(), "application/json")
            elif path == "/picture.jpg":
                newest = page.newer(0)
                self._send(newest[1] if newest else b"", "image/jpeg")
            elif path == "/stream.mjpg":
                self._stream(page)
            else:
                self.send_error(404)
        except OSError:
            self.close_connection = True  # the viewer has gone

    def _host(self) -> str:
        host = self.headers.get("Host", "")
        return urlsplit(f"//{host}").hostname or ""

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self._headers(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")

    def _stream(self, page: LivePage) -> None:
        if not page.enter_viewer():
            self.send_error(503, "Too many viewers")
            return
        try:
            # little is kept on the way to a slow viewer, for that would be latency
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
            self.send_response(200)
            self._headers(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.end_headers()
            # browsers show a picture when the next boundary has come, so it comes at once
            boundary = f"--{_BOUNDARY}\r\n".encode()
            self.wfile.write(boundary)
            seen = 0
            while (newest := page.newer(seen)) is not None:
                seen, jpeg = newest
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n" + boundary)
        finally:
            page.leave_viewer()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nobody's news."""
