"""What can be wrong with the videos of a dataset: missing, unreadable, cut off, too short, there twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from video.dataset_findings import Findings, Severity
from video.dataset_rows import DatasetRows
from video.source import UNKNOWN_FPS, VideoError
from video.video_facts import ALIKE, VideoFacts, are_alike, content_hash, look_into, looks_of
from video.video_folder import find_videos, video_files

SHORT = 8
"""Frames: fewer than one clip is scored by."""
MAX_ALIKE = 200
"""Videos with a like beginning that are decoded to be compared, unless everything is decoded anyway."""
_ASPECT = 0.02
"""Share by which the aspect of a picture may differ through rounding."""
_NEAR_END = 2
"""A packet is not always a picture: annotation that ends so near to the last packet is compared with decoded frames."""
_FPS = (5.0, 120.0)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DatasetVideos:
    """The videos of a dataset as they lie on disk."""

    paths: dict[str, Path]
    """By annotated (or listed) name, as far as they are there."""
    facts: dict[str, VideoFacts]
    """Of those that can be read."""
    unannotated: tuple[Path, ...]


def look_at_videos(
    folder: Path,
    names: Sequence[str],
    rows: DatasetRows,
    findings: Findings,
    *,
    listed: frozenset[str] = frozenset(),
    deep: bool = False,
    progress: Progress = lambda done, total: None,
) -> DatasetVideos:
    """Find and open the videos ``names``, and find what is wrong with each; ``deep`` decodes every frame.

    ``listed``: those that a part names though the annotation says nothing of them.
    """
    paths = find_videos(folder, names)
    files = video_files(folder)
    used = set(paths.values())
    stems = {path.stem for path in used}
    by_name = defaultdict(list)
    for path in files:
        by_name[path.with_suffix("").relative_to(folder).as_posix().casefold()].append(path)
    for same in by_name.values():
        if len(same) > 1 and used.intersection(same):
            chosen = next(path for path in same if path in used)
            others = ", ".join(path.name for path in same if path != chosen)
            findings.add("warning", "video-ambiguous", f"{chosen.name} is used, not {others}", file=str(chosen))
    unannotated = tuple(path for path in files if path not in used)
    for name in names:
        if name not in paths and name not in listed:
            # looking for the nearest of ten thousand names takes long
            near = [path.name for path in unannotated if path.stem.casefold() == name.rpartition("/")[2].casefold()]
            meant = f"; is it {near[0]!r}?" if near else ""
            text = f"no file for {name[:100]!r} under {folder}{meant}"
            findings.add("error", "video-missing", text, video=name, **_first_place(rows, name))
    for path in unannotated:
        twin = f" ({path.stem!r} is the name of an annotated one)" if path.stem in stems else ""
        findings.add("warning", "video-unannotated", f"nothing is annotated in it{twin}", file=str(path))
    last = rows.table.groupby("video")["frame"].max().to_dict()
    facts: dict[str, VideoFacts] = {}
    for done, (name, path) in enumerate(paths.items()):
        progress(done, len(paths))
        try:
            seen = look_into(path, decode=deep)
            if not deep and last.get(name, -1) >= seen.num_frames - _NEAR_END:
                seen = look_into(path, decode=True)
        except (VideoError, OSError) as error:
            text = str(error).removeprefix(f"{path}: ")
            findings.add("error", "video-unreadable", text, file=str(path), video=name)
            continue
        facts[name] = seen
        _check_one(name, path, seen, rows.known.get(name, {}), findings)
    progress(len(paths), len(paths))
    return DatasetVideos(paths, facts, unannotated)


def _check_one(name: str, path: Path, seen: VideoFacts, known: Mapping[str, int], findings: Findings) -> None:
    place = {"file": str(path), "video": name}
    if seen.cut_off is not None:
        text = f"cut off: {seen.cut_off[0]:,} of {seen.cut_off[1]:,} bytes are there"
        findings.add("warning", "video-damaged", f"{text}, {seen.num_frames} frames can be read", **place)
    else:
        for warning in seen.warnings:
            findings.add("warning", "video-damaged", warning, **place)
    stated = known.get("num_frames")
    if stated is not None and abs(stated - seen.num_frames) > (0 if seen.is_counted else _NEAR_END):
        text = f"{seen.num_frames} frames, the annotation says {stated}"
        findings.add("warning", "video-length", text, **place)
    width, height = known.get("width"), known.get("height")
    if width and height and (width, height) != (seen.width, seen.height):
        text = f"{seen.width} x {seen.height}, annotated at {width} x {height}"
        aspect = (seen.width * height) / (seen.height * width)
        if (seen.height, seen.width) == (width, height):
            findings.add("error", "video-size", f"{text}: turned by a quarter?", **place)
        elif abs(aspect - 1) > _ASPECT:
            findings.add("error", "video-size", f"{text}, another shape", **place)
        else:
            findings.add("warning", "video-size", text, **place)
    if seen.num_frames < SHORT:
        findings.add("warning", "video-short", f"{seen.num_frames} frames", **place)
    if seen.intervals is not None:
        low, high = (1000 * value for value in seen.intervals)
        text = f"variable: {low:.0f} to {high:.0f} ms between frames"
        findings.add("warning", "frame-rate", text, **place)
    elif not _FPS[0] <= seen.fps <= _FPS[1] and seen.fps != UNKNOWN_FPS:
        findings.add("warning", "frame-rate", f"{seen.fps:.4g} frames a second", **place)


def find_copies(videos: DatasetVideos, part_of: Mapping[str, str], findings: Findings, *, deep: bool = False) -> None:
    """Files of the same content, and videos that look the same; in two parts that is leakage.

    Content is compared where sizes agree. Pictures are compared where first frames and lengths are alike: copies in
    other codecs, sizes and brightness are found, those that are cut, mirrored or cropped are not.
    """
    same: set[tuple[str, str]] = set()
    by_size = defaultdict(list)
    for name, facts in videos.facts.items():
        if facts.num_bytes:
            by_size[facts.num_bytes].append(name)
    for names in by_size.values():
        if len(names) < 2:
            continue
        by_hash = defaultdict(list)
        for name in names:
            by_hash[content_hash(videos.paths[name])].append(name)
        for copies in by_hash.values():
            for other in copies[1:]:
                _tell("video-twice", copies[0], other, videos, part_of, findings, "error", "the same bytes as")
            same |= set(combinations(sorted(copies), 2))
    pairs = [pair for pair in _like_beginnings(videos.facts) if pair not in same]
    wanted = list(dict.fromkeys(name for pair in pairs for name in pair))
    if len(wanted) > MAX_ALIKE and not deep:
        text = f"{len(wanted)} videos begin alike and were not compared further; --deep compares them"
        findings.add("warning", "video-alike", text)
        return
    looks: dict[str, np.ndarray] = {}
    for name in wanted:
        try:
            looks[name] = looks_of(videos.paths[name], videos.facts[name].num_frames)
        except (VideoError, OSError):  # found unreadable before, or gone meanwhile
            continue
    for a, b in pairs:
        if a in looks and b in looks and are_alike(looks[a], looks[b]):
            _tell("video-alike", a, b, videos, part_of, findings, "warning", "looks like")


def _tell(
    kind: str,
    a: str,
    b: str,
    videos: DatasetVideos,
    part_of: Mapping[str, str],
    findings: Findings,
    across: Severity,
    words: str,
) -> None:
    parts = part_of.get(a), part_of.get(b)
    leaks = None not in parts and parts[0] != parts[1]
    where = f" ({parts[1]}, that is in {parts[0]})" if leaks else ""
    severity: Severity = across if leaks else "warning"
    findings.add(severity, kind, f"{words} {videos.paths[a].name}{where}", file=str(videos.paths[b]), video=b)


def _like_beginnings(facts: Mapping[str, VideoFacts]) -> list[tuple[str, str]]:
    """Pairs of videos (in order of name) of nearly one length whose first frames may be the same."""
    names = sorted(name for name, seen in facts.items() if seen.first_look.std() >= 3)
    if len(names) < 2:
        return []
    first = np.stack([facts[name].first_look.ravel() for name in names]).astype(np.float32)
    first -= first.mean(axis=1, keepdims=True)
    length = np.array([facts[name].num_frames for name in names], float)
    squares = (first**2).mean(axis=1)
    pairs = []
    for start in range(0, len(names), 512):
        rows = slice(start, start + 512)
        # mean square of the difference of pictures scaled to one contrast
        product = first[rows] @ first.T / first.shape[1]
        ratio = np.clip(np.sqrt(squares[rows, None] / squares[None]), 0.67, 1.5)
        apart = squares[rows, None] - 2 * ratio * product + ratio**2 * squares[None]
        near = (apart <= ALIKE**2) & (np.abs(length[rows, None] - length[None]) <= 0.02 * length[None] + 1)
        for i, j in zip(*np.nonzero(near)):
            if start + i < j:
                pairs.append((names[start + i], names[j]))
    return pairs


def _first_place(rows: DatasetRows, name: str) -> dict[str, object]:
    """File and line of the first box of a video."""
    row = rows.first_row.get(name)
    if row is None:
        return {}
    place = rows.place(row)
    return {"file": place["file"], "line": place["line"]}
