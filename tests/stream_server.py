"""A server of live streams for tests: real encoded bytes at the pace of a camera, which can break off and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

TYPES = {"ts": "video/mp2t", "mjpg": "multipart/x-mixed-replace; boundary=ffmpeg", "mp4": "video/mp4"}


class StreamServer:
    """Sends a file over HTTP, ``seconds`` for the whole of it; one entry of ``seconds`` a connection, 0 refuses it.

    ``cut_after`` is the share of the file after which a connection breaks off, one entry a connection; the last entry
    of both lists holds for all further connections. Without a length, as live servers do. A camera's first picture
    comes at once, and so does the part of the file that ``at_once`` says.
    """

    def __init__(
        self,
        file: Path,
        *,
        seconds: Sequence[float],
        cut_after: Sequence[float] = (1.0,),
        at_once: float = 0.0,
    ) -> None:
        self.connections = 0
        stream = file.read_bytes()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                number, outer.connections = outer.connections, outer.connections + 1
                lasts = seconds[min(number, len(seconds) - 1)]
                share = cut_after[min(number, len(cut_after) - 1)]
                if not lasts:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", TYPES[file.suffix[1:]])
                self.end_headers()
                began, sent = time.monotonic(), 0
                try:
                    while sent < share * len(stream) and not outer.stopping.is_set():
                        due = int(len(stream) * min(share, at_once + (time.monotonic() - began) / lasts))
                        self.wfile.write(stream[sent : max(due, sent)])
                        sent = max(due, sent)
                        time.sleep(0.01)
                except OSError:
                    pass  # the viewer has gone

            def log_message(self, *words: object) -> None:
                pass

        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/{file.name}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
