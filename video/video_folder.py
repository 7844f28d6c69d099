"""Video files under a folder: by the name of their annotation, or all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from video.dataset_description import VIDEO_SUFFIXES
from video.names import is_video_name
from video.pictures import PICTURE_SUFFIXES

# cameras write their names in capitals
_SUFFIXES = (*VIDEO_SUFFIXES, *(suffix.upper() for suffix in VIDEO_SUFFIXES))


def find_video(folder: Path, name: str) -> Path | None:
    """The file or image folder of the video ``name`` (``class/clip``, as annotated) under ``folder``, or None."""
    if not is_video_name(name):
        return None
    # Some copies put all videos into one folder, without the classes.
    for plain in (folder / name, folder / name.rpartition("/")[2]):
        # Not with_suffix: names of clips contain dots.
        for path in (plain, *(plain.parent / (plain.name + suffix) for suffix in _SUFFIXES)):
            if path.is_file() or (path == plain and path.is_dir()):
                return path
    return None


def find_videos(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """The videos of ``names`` that are there: by find_video, else the only file of that name in any folder below.

    CVAT knows the last part of a file's path only.
    """
    found: dict[str, Path] = {}
    missing = []
    for name in names:
        path = find_video(folder, name)
        if path is None:
            missing.append(name)
        else:
            found[name] = path
    if missing:
        by_end: dict[str, list[Path]] = {}
        for path in video_files(folder):
            by_end.setdefault(path.name, []).append(path)
            if path.suffix.lower() in VIDEO_SUFFIXES:
                by_end.setdefault(path.stem, []).append(path)
        found |= {name: by_end[name][0] for name in missing if len(by_end.get(name, ())) == 1}
    return found


def video_files(folder: Path) -> list[Path]:
    """Every video file and every folder of pictures under ``folder``, sorted; links to folders are not followed."""
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                inside = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError:
            continue
        videos = [entry for entry in inside if Path(entry.name).suffix.lower() in VIDEO_SUFFIXES and entry.is_file()]
        found += [Path(entry.path) for entry in videos]
        # pictures beside videos are previews of them
        has_pictures = any(Path(entry.name).suffix.lower() in PICTURE_SUFFIXES for entry in inside)
        if here != folder and has_pictures and not videos:
            found.append(here)
        else:
            waiting += [Path(entry.path) for entry in inside if entry.is_dir(follow_symlinks=False)]
    return sorted(found)
