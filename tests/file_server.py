"""A server of one file on this machine that can do what servers do: cut connections, redirect, ignore ranges."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """``asked`` holds the Range header of every request, "" for none."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.ranges = True
        self.cut_after: list[int] = []  # bytes sent of each answer, one after the other; then whole answers
        self.says: list[int] = []  # status codes of the first answers
        self.redirect_to = ""
        self.asked: list[str] = []

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def url(self, name: str = "w.bin") -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range", "")
        server.asked.append(wanted)
        if server.says:
            self.send_error(server.says.pop(0))
            return
        if server.redirect_to and self.path != "/moved":
            self.send_response(302)
            self.send_header("Location", server.redirect_to)
            self.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        rest = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        self.wfile.write(rest[: server.cut_after.pop(0)] if server.cut_after else rest)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """A server for the length of a with block."""
    with FileServer(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
