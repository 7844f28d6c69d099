"""One way in for every annotation and detection format: recognise a file by its content, read it, say what it was.

Each format has a reader of its own, which says what is converted on the way in; this module only chooses among them.
``KINDS`` lists the formats; docs/formats.md has a table of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from linking.records import VideoAnnotation
from linking.tables import TableError, annotations_from_table, read_tubes, table_from_annotations
from video.act_pickles import parse_act, read_act, video_of_act_file
from video.annotation_kinds import (
    KINDS,
    AnnotationError,
    kind_of_file,
    kind_of_folder,
    kind_of_pickle,
    recognised_files,
)
from video.ava import holds_scores, read_ava, read_ava_detections
from video.ava_proposals import parse_ava_proposals
from video.cvat import read_cvat
from video.dataset_description import find_description, read_description
from video.frame_detections import is_frame_detections, parse_frame_detections
from video.jhmdb import JhmdbAnnotation, Split, parse_jhmdb
from video.mot import holds_tracks, read_mot, read_mot_detections
from video.multisports import is_multisports_tubes, parse_multisports, parse_multisports_tubes
from video.pickles import load_pickle
from video.puppet_masks import read_puppet_masks
from video.ucf24 import Ucf24Annotation, parse_ucf24
from video.ucf24_mat import read_ucf24_mat

__all__ = ["KINDS", "AnnotationError", "Annotations", "FormatOptions", "joined", "read_annotations"]


@dataclass(frozen=True)
class FormatOptions:
    """What formats leave open, in reading and in writing; each is for some of them, and the others pass over it."""

    as_published: bool = False
    """Leave coordinates as they stand: nothing is added for inclusive pixels or pixels counted from 1."""
    video: str | None = None
    """Name of the video, where a file of one video does not hold it (act, mot, cvat)."""
    label: str = "person"
    """Class of tracks without one (mot)."""
    fps: float | None = None
    """Frames a second: key frames named by seconds become frames (ava)."""
    start: float = 0.0
    """The second with which the video begins (ava)."""
    size: tuple[int, int] | None = None
    """Width and height in pixels of all videos: boxes in fractions become pixels (ava, ava-proposals)."""
    attribute: str | None = None
    """The attribute that holds the action (cvat)."""
    class_names: Sequence[str] | Mapping[int, str] | None = None
    """Classes where the file has numbers: in the order of the numbers, or by AVA's ids (act, multisports, ava)."""
    video_names: Sequence[str] | None = None
    """Videos where the file has numbers: the list that they count in (frame_detections.pkl)."""
    inclusive: bool | None = None
    """Whether such a file's boxes are inclusive pixels; None: those of kind act are, those of multisports are not."""
    excluded: frozenset[tuple[str, int]] = frozenset()
    """Key frames that do not count: video and second (ava)."""

    @property
    def class_list(self) -> tuple[str, ...] | None:
        """Class names in the order of their numbers."""
        if isinstance(self.class_names, Mapping):
            return tuple(name for _, name in sorted(self.class_names.items()))
        return None if self.class_names is None else tuple(self.class_names)

    @property
    def class_ids(self) -> dict[int, str] | None:
        """Class names by number, from 1 where a list is given."""
        if self.class_names is None or isinstance(self.class_names, Mapping):
            return None if self.class_names is None else dict(self.class_names)
        return dict(enumerate(self.class_names, 1))


@dataclass(frozen=True, eq=False)
class Annotations:
    """What a file says: tubes, or boxes that belong to none, or both."""

    kind: str
    """One of KINDS."""
    content: tuple[VideoAnnotation, ...] | pd.DataFrame
    """As it was read: records, or a tube table."""
    class_names: tuple[str, ...] | None = None
    """The dataset's classes in its order; None where the format has only the labels that occur."""
    splits: tuple[Split, ...] = ()
    """Training and test videos, split 1 first, where the format knows them."""
    name: str = "annotation"
    """The file or folder, for messages."""

    @cached_property
    def videos(self) -> tuple[VideoAnnotation, ...]:
        """The tubes of every video, sorted by name; TableError where boxes belong to no tube."""
        if not isinstance(self.content, pd.DataFrame):
            return self.content
        try:
            return tuple(annotations_from_table(self.content))
        except TableError as error:
            raise TableError(f"{self.name}: {error}") from None

    @cached_property
    def table(self) -> pd.DataFrame:
        """Tubes and boxes as a tube table."""
        return self.content if isinstance(self.content, pd.DataFrame) else table_from_annotations(self.content)

    @property
    def has_loose_boxes(self) -> bool:
        """Whether any box belongs to no tube."""
        return isinstance(self.content, pd.DataFrame) and bool(self.content["tube"].isna().any())


def read_annotations(
    path: str | os.PathLike[str], *, kind: str | None = None, options: FormatOptions | None = None
) -> Annotations:
    """Read a file or folder of any format in KINDS, recognised by its content unless ``kind`` says which it is.

    A .toml that describes a dataset (video.dataset_description) stands for its annotation, with its classes and parts.

    Frames become 0-based and boxes continuous; what a reader leaves out it says in a warning (``warnings``). Raises
    AnnotationError where nothing is recognised, and otherwise the ValueError of the format's reader, one line that
    names the file.
    """
    path, options = Path(path), options or FormatOptions()
    if kind is not None and kind not in KINDS:
        raise AnnotationError(f"unknown kind {kind[:40]!r}; known are {', '.join(KINDS)}")
    description = find_description(path)
    if description is not None:
        from video.described import read_described  # which reads what is described with this very function

        return read_described(read_description(description), kind=kind, options=options)
    if path.is_dir():
        read = _read_folder(path, kind or kind_of_folder(path), options)
    elif path.exists() and not path.is_file():
        raise AnnotationError(f"{path}: neither a file nor a folder; annotation cannot come from a pipe or a device")
    else:
        read = _read_file(path, kind or kind_of_file(path), options)
    return replace(read, name=str(path))


def _read_folder(folder: Path, kind: str, options: FormatOptions) -> Annotations:
    if kind == "jhmdb-masks":
        return _of_videos(kind, read_puppet_masks(folder, as_published=options.as_published))
    if kind == "act":
        videos = read_act(folder, class_names=options.class_list, as_published=options.as_published)
        return _of_videos(kind, videos, options.class_list)
    if kind == "mot":
        return _read_mot(folder, options)
    files = [file for found, file in recognised_files(folder) if found == kind]
    if not files:
        raise AnnotationError(f"{folder}: no files of kind {kind} in this folder")
    return joined([(_read_file(file, kind, options), file) for file in files])


def joined(parts: Sequence[tuple[Annotations, Path]]) -> Annotations:
    """Several files as one; AnnotationError where a video is in two of them, or they are of different kinds."""
    if len(parts) == 1:
        return parts[0][0]
    seen: dict[str, Path] = {}
    for part, path in parts:
        names = set(part.table["video"].unique()) | set(part.table.attrs.get("videos", {}))
        for name in sorted(names):
            if name in seen:
                raise AnnotationError(f"{path}: video {name[:120]!r} is in {seen[name]} too; give each video once")
            seen[name] = path
    kinds = list(dict.fromkeys(part.kind for part, _ in parts))
    table = pd.concat([part.table for part, _ in parts], ignore_index=True)
    table.attrs["videos"] = {
        name: known for part, _ in parts for name, known in part.table.attrs.get("videos", {}).items()
    }
    same_classes = all(part.class_names == parts[0][0].class_names for part, _ in parts)
    return Annotations(kinds[0], table, parts[0][0].class_names if same_classes else None, name=str(parts[0][1]))


def _read_file(path: Path, kind: str | None, options: FormatOptions) -> Annotations:
    """Read a file of a kind; of None, the pickle that it looks like."""
    if kind == "table":
        return Annotations(kind, read_tubes(path))
    if kind == "jhmdb-masks":
        return _of_videos(kind, read_puppet_masks(path, as_published=options.as_published))
    if kind == "ucf24-mat":
        return _of_ucf24(kind, read_ucf24_mat(path))
    if kind == "ava":
        return _read_ava(path, options)
    if kind == "mot":
        return _read_mot(path, options)
    if kind == "cvat":
        return _of_videos(kind, read_cvat(path, attribute=options.attribute, video=options.video))
    return _read_pickle(path, kind, options)


def _read_pickle(path: Path, kind: str | None, options: FormatOptions) -> Annotations:
    data = load_pickle(path)
    if is_frame_detections(data):
        inclusive = options.inclusive if kind is None else kind == "act"
        if inclusive is None:
            raise AnnotationError(
                f"{path}: boxes of frames, of which nothing says whether pixels are inclusive: "
                "kind act (MOC: they are) or multisports (they are not)?"
            )
        table = parse_frame_detections(
            data,
            path,
            video_names=options.video_names,
            class_names=options.class_list,
            inclusive=inclusive and not options.as_published,
        )
        kind = "act" if inclusive else "multisports"
        return Annotations(kind, table, options.class_list)
    kind = kind or kind_of_pickle(data, path)
    if kind == "jhmdb":
        return _of_jhmdb(kind, parse_jhmdb(data, path, as_published=options.as_published))
    if kind == "multisports" and is_multisports_tubes(data):
        videos = parse_multisports_tubes(data, path, class_names=options.class_list)
        return _of_videos(kind, videos, options.class_list)
    if kind == "multisports":
        return _of_jhmdb(kind, parse_multisports(data, path))
    if kind == "ucf24":
        return _of_ucf24(kind, parse_ucf24(data, path))
    if kind == "ava-proposals":
        return Annotations(kind, parse_ava_proposals(data, path, size=options.size))
    name = options.video or video_of_act_file(path, options.class_list or ())
    video = parse_act(data, path, name, class_names=options.class_list, as_published=options.as_published)
    return _of_videos("act", [video], options.class_list)


def _read_ava(path: Path, options: FormatOptions) -> Annotations:
    arguments: dict[str, Any] = {
        "class_names": options.class_ids,
        "excluded": options.excluded,
        "size": options.size,
        "fps": options.fps,
        "start": options.start,
    }
    if holds_scores(path):
        return Annotations("ava", read_ava_detections(path, **arguments), options.class_list)
    return _of_videos("ava", read_ava(path, **arguments), options.class_list)


def _read_mot(path: Path, options: FormatOptions) -> Annotations:
    if holds_tracks(path):
        videos = read_mot(path, label=options.label, video=options.video, as_published=options.as_published)
        return _of_videos("mot", videos)
    table = read_mot_detections(path, label=options.label, video=options.video, as_published=options.as_published)
    return Annotations("mot", table)


def _of_videos(kind: str, videos: Sequence[VideoAnnotation], class_names: tuple[str, ...] | None = None) -> Annotations:
    return Annotations(kind, tuple(videos), class_names)


def _of_jhmdb(kind: str, annotation: JhmdbAnnotation) -> Annotations:
    return Annotations(kind, annotation.videos, annotation.class_names, annotation.splits)


def _of_ucf24(kind: str, annotation: Ucf24Annotation) -> Annotations:
    splits: tuple[Split, ...] = ()
    if annotation.train is not None:
        train = set(annotation.train)
        test = tuple(video.video for video in annotation.videos if video.video not in train)
        splits = (Split(annotation.train, test),)
    return Annotations(kind, annotation.videos, annotation.class_names, splits)
