"""Reading annotation from CVAT, the Computer Vision Annotation Tool: its export "CVAT for video 1.1".

The file (an ``annotations.xml``, or the zip that CVAT offers) has a track for each object and in it a box a frame:
``frame`` counts from 0, ``xtl ytl xbr ybr`` are continuous pixels, ``outside="1"`` says that the object is not in
the picture from this frame on. Boxes between two given ones lie on a straight line between them, a box holds its
place until the next one or the end of the task, and an attribute keeps its value until it changes: all as in
CVAT's own ``TrackManager`` (``cvat/apps/dataset_manager/annotation.py``). Exports hold every frame, so there is
something to fill in only for files of other programs and for tasks with a frame step.

What is outside for a while is a tube with a hole: one actor who leaves and comes back.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from linking.records import Tube, VideoAnnotation
from linking.table_checks import MAX_FRAME
from video.cvat_document import CvatDocument, CvatTrack, read_document
from video.names import is_video_name
from video.safe_xml import MAX_BYTES, XmlError

MAX_FILLED_BOXES = 2_000_000
"""Boxes that may be made between given ones in a file: 18 hours of one track at 30 frames a second."""
UNSET = ("", "__undefined__")
"""Values of an attribute that say nothing; the second is CVAT's own."""


class CvatError(ValueError):
    """A CVAT file that does not hold what it should; the text names file, line or track, and cause."""


def looks_like_cvat(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a CVAT export, XML or zip, for video or (refused) for images."""
    if head.startswith(b"PK\x03\x04"):
        return b"annotations.xml" in head
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = head[: len(head) // 2 * 2].decode("utf-16", "replace").encode()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"<") and re.search(rb"<annotations[\s>]", text) is not None


def read_cvat(
    path: str | os.PathLike[str], *, attribute: str | None = None, video: str | None = None, split_holes: bool = False
) -> list[VideoAnnotation]:
    """The tracks of each video (a task or job has one, a project one a task), sorted by name.

    A track becomes a tube labelled with the track's label. With ``attribute`` it becomes a tube for each run of
    equal values of that attribute (of a person's "action", say), labelled with the value; where it has none,
    there is no tube. ``video``: the name of the one video; by default the name of the annotated file without suffix,
    else of the task, else of this file. ``split_holes`` makes a tube of each run of frames without a hole. Tracks of
    other shapes than boxes and boxes without area are left out with a warning; a rotated box becomes the upright
    one around it. Raises CvatError.
    """
    return [located.annotation for located in read_cvat_lines(path, attribute, video, split_holes=split_holes)]


@dataclass(frozen=True)
class LocatedVideo:
    """A video, and where its boxes stand in the file."""

    annotation: VideoAnnotation
    lines: tuple[np.ndarray, ...]
    """For each tube the line, from 1, of each of its boxes; of a filled-in box that of the one before."""


def read_cvat_lines(
    path: str | os.PathLike[str],
    attribute: str | None = None,
    video: str | None = None,
    *,
    split_holes: bool = False,
) -> list[LocatedVideo]:
    """As read_cvat, with the lines of all boxes."""
    path = Path(path)
    try:
        document = read_document(_xml_bytes(path), attribute)
    except XmlError as error:
        raise CvatError(f"{path}: {error}") from None
    if attribute is not None and document.tracks and not document.attributes[attribute]:
        known = ", ".join(repr(name) for name in sorted(document.attributes))[:120]
        raise CvatError(f"{path}: no track has the attribute {attribute[:60]!r}; there are: {known or 'none'}")
    videos = [_Video.of_header(task, path, video, len(document.tasks)) for task in document.tasks]
    for name, times in Counter(one.name for one in videos).items():
        if times > 1:
            raise CvatError(f"{path}: {times} tasks are of a video {name[:80]!r}; export them one by one")
    runs = _runs_by_video(document, videos, path, attribute is not None, split_holes)
    return [
        LocatedVideo(
            VideoAnnotation(one.name, _numbered(found), one.num_frames, one.width, one.height),
            tuple(run.lines for run in found),
        )
        for one, found in sorted(zip(videos, runs), key=lambda pair: pair[0].name)
    ]


def _xml_bytes(path: Path) -> bytes:
    """The document in an XML file or in a zip; at most one byte more than is allowed."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                file.seek(0)
                return file.read(MAX_BYTES + 1)
        with zipfile.ZipFile(path) as archive:
            files = [file for file in archive.infolist() if PurePosixPath(file.filename).name == "annotations.xml"]
            if len(files) != 1:
                raise CvatError(f"{path}: a zip with {len(files)} files annotations.xml; a CVAT export has one")
            if files[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # others take as much memory as the file says
                raise CvatError(f"{path}: a zip in a compression that CVAT does not use; pack it anew")
            with archive.open(files[0]) as inner:
                return inner.read(MAX_BYTES + 1)
    except OSError as error:
        raise CvatError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from None
    except CvatError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, KeyError) as error:
        # encryption is a RuntimeError
        raise CvatError(f"{path}: a damaged or encrypted zip ({type(error).__name__})") from None


@dataclass(frozen=True)
class _Video:
    """What the header of a task says."""

    task: str
    name: str
    num_frames: int | None
    width: int | None
    height: int | None

    @staticmethod
    def of_header(fields: Mapping[str, str], path: Path, name: str | None, num_tasks: int) -> _Video:
        if name is not None and num_tasks > 1:
            raise CvatError(f"{path}: one video name for {num_tasks} tasks; leave it out")
        if name is None:
            source = re.split(r"[/\\]", fields.get("source", ""))[-1]
            name = PurePosixPath(source).stem or fields.get("name") or path.stem
        if not is_video_name(name):
            raise CvatError(f"{path}: {name[:80]!r}, the name of the task, cannot be that of a video; give another")
        numbers: dict[str, int | None] = {}
        for key in ("size", "start_frame", "stop_frame", "width", "height"):
            text = fields.get(key, "")
            if text and (not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > MAX_FRAME):
                raise CvatError(f"{path}: {key} must be a whole number, got {text[:40]!r}")
            numbers[key] = int(text) if text else None
        # stop_frame counts the frames of the video, size those of the task, which may skip some
        stop, size, first = numbers["stop_frame"], numbers["size"], numbers["start_frame"] or 0
        length = stop + 1 if stop is not None else None if size is None else first + size
        return _Video(fields.get("id", ""), name, length or None, numbers["width"] or None, numbers["height"] or None)


@dataclass(frozen=True)
class _Run:
    """What becomes a tube."""

    track: str
    label: str
    frames: np.ndarray
    boxes: np.ndarray
    lines: np.ndarray


def _runs_by_video(
    document: CvatDocument, videos: list[_Video], path: Path, by_value: bool, split_holes: bool
) -> list[list[_Run]]:
    index = {one.task: k for k, one in enumerate(videos)} if len(videos) > 1 else {}
    runs: list[list[_Run]] = [[] for _ in videos]
    filled = lost = 0
    empty: list[int] = []
    for track in document.tracks:
        if index and track.task not in index:
            raise CvatError(
                f"{path}: {track.place} belongs to task {track.task[:20]!r}, which the header does not list"
            )
        k = index.get(track.task, 0)
        lost += track.other_shapes > 0
        if not track.frames:
            continue
        visible = _fill(track, videos[k].num_frames, MAX_FILLED_BOXES - filled, path)
        filled += len(visible.frames) - len(track.frames)
        area = (visible.boxes[:, 2] > visible.boxes[:, 0]) & (visible.boxes[:, 3] > visible.boxes[:, 1])
        empty += np.array(track.lines)[visible.key[~area]].tolist()
        runs[k] += _runs(track, visible, area, by_value, split_holes)
    if lost:
        warnings.warn(f"{path}: the shapes of {lost} tracks that are not boxes were left out", stacklevel=4)
    if empty:
        warnings.warn(
            f"{path}: {len(empty)} boxes without area were left out, the first in line {min(empty)}", stacklevel=4
        )
    return runs


@dataclass(frozen=True)
class _Visible:
    """The boxes of a track in every frame in which it is seen."""

    frames: np.ndarray
    """(n,) ascending."""
    boxes: np.ndarray
    """(n, 4) float32."""
    key: np.ndarray
    """(n,) index of the box of the file whose attributes hold."""


def _fill(track: CvatTrack, num_frames: int | None, allowed: int, path: Path) -> _Visible:
    """Boxes in all frames in which the track is not outside: given, or on the line between two that are given."""
    given = np.array(track.frames, np.int64)
    order = np.argsort(given, kind="stable")
    given = given[order]
    twice = np.flatnonzero(np.diff(given) == 0)
    if len(twice):
        raise CvatError(f"{path}: {track.place} has two boxes in frame {given[twice[0]]}")
    seen = ~np.array(track.outside)[order]
    if num_frames is not None and (given[seen] >= num_frames).any():
        raise CvatError(
            f"{path}: {track.place} has a box in frame {given[seen].max()}, but the last frame of the task is "
            f"{num_frames - 1}"
        )
    boxes = np.array(track.boxes, np.float64)[order]
    end = num_frames if num_frames is not None else int(given[-1]) + 1
    until = np.append(given[1:], max(end, int(given[-1]) + 1))
    lengths = np.where(seen, until - given, 0)
    total = int(lengths.sum())
    if total - len(given) > allowed:
        raise CvatError(
            f"{path}: {track.place} needs {total} boxes between those of the file, "
            f"more than the limit of {MAX_FILLED_BOXES}"
        )
    key = np.repeat(np.arange(len(given)), lengths)
    step = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    # the last box holds its place
    slope = np.append(np.diff(boxes, axis=0) / np.diff(given)[:, None], np.zeros((1, 4)), axis=0)
    filled = boxes[key] + slope[key] * step[:, None]
    return _Visible(given[key] + step, filled.astype(np.float32), order[key])


def _runs(track: CvatTrack, visible: _Visible, area: np.ndarray, by_value: bool, split_holes: bool) -> Iterator[_Run]:
    if by_value:
        labels = _values_in_time(track)[visible.key]
    else:
        labels = np.full(len(visible.key), track.label, object)
    keep = np.flatnonzero(area)
    labels, frames, boxes = labels[keep], visible.frames[keep], visible.boxes[keep]
    lines = np.array(track.lines)[visible.key[keep]]
    new = labels[1:] != labels[:-1]
    if split_holes:
        new |= np.diff(frames) > 1
    starts = np.flatnonzero(np.append(True, new)[: len(frames)])
    for start, end in zip(starts, np.append(starts[1:], len(frames))):
        if not by_value or labels[start] not in UNSET:
            yield _Run(track.id, labels[start], frames[start:end], boxes[start:end], lines[start:end])


def _values_in_time(track: CvatTrack) -> np.ndarray:
    """(boxes,) value of the attribute at each box of the file: its own, or that of the box before in time."""
    values = np.full(len(track.frames), "", object)
    current = track.value or ""
    for k in np.argsort(track.frames, kind="stable"):
        current = current if track.values[k] is None else track.values[k]
        values[k] = current
    return values


def _numbered(runs: list[_Run]) -> list[Tube]:
    """Ids are those of the tracks where each track is one tube."""
    ids = [int(run.track) if re.fullmatch(r"[0-9]{1,15}", run.track) else -1 for run in runs]
    if len(set(ids)) < len(ids) or -1 in ids:
        ids = list(range(len(runs)))
    return [Tube(run.label, run.frames, run.boxes, id=number) for number, run in zip(ids, runs)]
