"""Ending what has no end: the first Ctrl-C (or SIGTERM) asks for it, the second one does not wait."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any, Self


class StopSignals:
    """While the block runs, SIGINT and SIGTERM set ``reason``; the second of them raises KeyboardInterrupt."""

    reason: str | None = None
    """Why to stop; None: go on. May be set by others too."""

    def __enter__(self) -> Self:
        self._before: dict[int, Any] = {
            number: signal.signal(number, self._received) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        return self.reason is not None

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self.reason is not None:
            raise KeyboardInterrupt
        self.reason = signal.Signals(number).name
        # print may be at work just now and cannot be entered twice
        os.write(2, b"\nfinishing the files; once more quits at once\n")
