"""Which file is which video of a table, and what the files made of it are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from linking.scores import files_by_video
from video.dataset_description import VIDEO_SUFFIXES
from video.frames import VideoError, open_video

_SUFFIXES = (*VIDEO_SUFFIXES, ".ts", ".gif")


def match_files(names: Sequence[str], files: Sequence[str], table: Path) -> dict[str, str]:
    """The file of each video of the table, where one was given; ValueError for files that belong to none."""
    if len(names) == 1 and len(files) == 1:
        return {names[0]: files[0]}
    found: dict[str, str] = {}
    for file in files:
        path = Path(file)
        matches = [name for name in names if stem(name) == (path.name if path.is_dir() else path.stem)]
        if len(matches) > 1:
            # names with folders: the path tells them apart
            whole = path.as_posix() if path.is_dir() else path.with_suffix("").as_posix()
            matches = [name for name in matches if f"/{whole}".endswith(f"/{name}")] or matches
        if not matches:
            raise ValueError(f"{file}: {table} has no video of this name{nearest(path.stem, names)}")
        if len(matches) > 1:
            listed = ", ".join(matches[:4])
            raise ValueError(f"{file}: several videos of {table} could be meant: {listed}; give one table a video")
        if matches[0] in found:
            raise ValueError(f"{file}: video {matches[0]!r} was given already, as {found[matches[0]]}")
        found[matches[0]] = file
    return found


def check_files(files: Mapping[str, str]) -> None:
    """Open every video once, so that a bad one is found before the first picture is written."""
    for file in files.values():
        with open_video(file) as source:
            if source.is_live:
                raise VideoError(f"{source.name}: tubes are drawn into files, not into live sources")


def same_video(name: str, known: Sequence[str]) -> str | None:
    """The one of ``known`` that is ``name``, or is spelled like it but for folder and suffix; None where none is, or
    several are."""
    if name in known:
        return name
    alike = [other for other in known if stem(other) == stem(name)]
    return alike[0] if len(alike) == 1 else None


def scores_by_video(files: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    """Score files by video; ValueError for one whose video is not in the table."""
    found = files_by_video(files)
    for name, file in found.items():
        if name not in names:
            raise ValueError(f"{file}: it is of video {name!r}, which the table does not have{nearest(name, names)}")
    return found


def output_names(names: Sequence[str]) -> list[str]:
    """A file name for every video: without folders where that is unambiguous, without characters that shells fear."""
    stems = [stem(name) for name in names]
    chosen: list[str] = []
    for name, last in zip(names, stems):
        plain = re.sub(r"[^\w.+()-]+", "_", last if stems.count(last) == 1 else name).strip("._")
        # file systems count bytes, 255 of them, and endings are still to come
        plain = plain.encode()[:120].decode(errors="ignore") or "video"
        number = 2
        unique = plain
        while unique in chosen:
            unique, number = f"{plain}_{number}", number + 1
        chosen.append(unique)
    return chosen


def nearest(name: str, known: Sequence[str]) -> str:
    """The names most like ``name``, as the end of a sentence."""
    by_stem = {stem(other): other for other in known}
    close = [by_stem[last] for last in get_close_matches(stem(name), list(by_stem), n=3, cutoff=0.5)]
    shown = close or list(known)[:3]
    return f"; {'nearest' if close else 'it has'}: {', '.join(shown)}"[:150] if shown else ""


def stem(name: str) -> str:
    """Name of a video without its folders; and without a suffix, if it ends in one of a video."""
    last = name.rstrip("/").rpartition("/")[2]
    name, dot, suffix = last.rpartition(".")
    return name if f"{dot}{suffix}".lower() in _SUFFIXES else last
