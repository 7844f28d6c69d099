"""What a result was made from, so that it can be told later which files and versions gave a number."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval.judge import Judgement


def file_record(path: str | os.PathLike[str]) -> dict[str, str]:
    """Path and SHA-256 of a file; of a folder, of all files in it and below, by path."""
    path = Path(path)
    digest = hashlib.sha256()
    for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if part.is_file():
            with part.open("rb") as file:
                while piece := file.read(2**20):
                    digest.update(piece)
    return {"path": str(path), "sha256": digest.hexdigest()}


def counts_by_protocol(judgements: Sequence[Judgement]) -> dict[str, dict[str, int | None]]:
    """How many tubes and boxes each protocol judged."""
    return {
        judgement.name: {
            "tubes": None if judgement.video is None else int(judgement.video.num_detections.sum()),
            "boxes": int(judgement.frame.num_detections.sum()),
        }
        for judgement in judgements
    }


def versions() -> dict[str, Any]:
    """Of this program, what it computes with, and Python."""
    return {
        **{name: version(name) for name in ("lgd-action-detection", "numpy", "pandas")},
        "python": platform.python_version(),
    }
