"""One way out: annotation and detections written in another format, and what that format cannot hold."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from linking.files import replace_when_whole
from linking.tables import check_suffix, write_tubes
from video.act_pickles import write_act
from video.annotation_kinds import KINDS, TABLE_SUFFIXES, AnnotationError
from video.annotations import Annotations, FormatOptions
from video.ava_writing import write_ava, write_ava_detections
from video.cvat_writing import write_cvat
from video.ground_truth_pickles import runs, write_jhmdb, write_ucf24
from video.mot_writing import write_mot, write_mot_detections
from video.multisports import write_multisports_tubes
from video.ucf24 import HEIGHT as UCF_HEIGHT
from video.ucf24 import WIDTH as UCF_WIDTH

WRITABLE = ("table", "jhmdb", "ucf24", "multisports", "act", "ava", "mot", "cvat")
"""Kinds that can be written; masks, MATLAB files and proposals are only read."""

_OF_SUFFIX = {**dict.fromkeys(TABLE_SUFFIXES, "table"), ".xml": "cvat"}


def kind_to_write(path: str | os.PathLike[str], kind: str | None) -> str:
    """``kind``, or the one that the suffix of ``path`` tells; AnnotationError unless it can be written there."""
    path = Path(path)
    kind = kind or _OF_SUFFIX.get(path.suffix.lower())
    if kind is None:
        raise AnnotationError(f"{path}: the name does not tell which format to write; say one of {', '.join(WRITABLE)}")
    if kind not in WRITABLE:
        reason = "can only be read" if kind in KINDS else "is unknown"
        raise AnnotationError(f"kind {kind[:40]!r} {reason}; written are {', '.join(WRITABLE)}")
    if kind == "table":
        check_suffix(path)
    if path.is_dir() and kind not in ("act", "mot", "cvat"):
        raise AnnotationError(f"{path}: a folder; {kind} is written to one file")
    if path.is_file() and kind in ("act", "mot"):
        raise AnnotationError(f"{path}: a file; {kind} is written to a folder, a file or more a video")
    return kind


def write_annotations(
    annotations: Annotations,
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    options: FormatOptions | None = None,
) -> list[str]:
    """Write in the format that ``kind`` or the suffix of ``path`` names; what is lost, a sentence each.

    act and mot are folders, cvat is one where there are several videos, the others a file. multisports and ava are
    written as detections where every tube or box has a score, else as ground truth; the numbers of their classes, and
    of act's, are those of ``options.class_names``, of the dataset, or of the sorted labels, and are written beside
    them in ``NAME.classes.txt``. Each file is written whole or not at all. Raises AnnotationError and the ValueErrors
    of the formats' writers, TableError where boxes belong to no tube and the format has only tubes.
    """
    path, options = Path(path), options or FormatOptions()
    kind = kind_to_write(path, kind)
    lost = losses(annotations, kind, path)
    classes = class_order(annotations, options)
    if kind == "table":
        write_tubes(annotations.table, path)
    elif kind == "ava":
        _write_ava(annotations, path, options)
    elif kind == "mot" and annotations.has_loose_boxes:
        write_mot_detections(annotations.table, path, as_published=options.as_published)
    elif kind == "mot":
        write_mot(annotations.videos, path, as_published=options.as_published)
    elif kind == "cvat":
        write_cvat(annotations.videos, path, attribute=options.attribute, track_label=options.label)
    elif kind == "ucf24":
        train = annotations.splits[0].train if annotations.splits else None
        write_ucf24(annotations.videos, path, classes, train)
    elif kind == "act":
        write_act(annotations.videos, path, classes)
        _write_classes(path / "classes.txt", classes)
    elif kind == "multisports" and _has_scores(annotations):
        write_multisports_tubes(annotations.videos, path, classes)
        _write_classes(_beside(path), classes)
    else:
        inclusive = kind == "jhmdb" and not options.as_published
        write_jhmdb(annotations.videos, path, classes, annotations.splits, inclusive=inclusive)
    return lost


def class_order(annotations: Annotations, options: FormatOptions) -> tuple[str, ...]:
    """The classes in the order of their numbers: as given, else the dataset's, else sorted."""
    labels = sorted({str(label) for label in annotations.table["label"].unique()})
    return options.class_list or annotations.class_names or tuple(labels)


def losses(annotations: Annotations, kind: str, path: Path) -> list[str]:
    """What of these annotations the format cannot hold, a sentence each; nothing of what they do not have."""
    table, lost = annotations.table, []
    known = table.attrs.get("videos", {})
    silent = len(set(known) - set(table["video"].unique()))
    detections = kind == "multisports" and _has_scores(annotations)
    tubes_only = kind in ("jhmdb", "ucf24", "cvat") or (kind == "multisports" and not detections)
    if tubes_only and (table["score"].notna().any() or table["tube_score"].notna().any()):
        lost.append("scores: this format holds ground truth")
    if kind == "ava" and not annotations.has_loose_boxes and _boxes_have_scores(annotations):
        lost.append("tubes: AVA's detections are boxes of single frames")
    if kind == "mot" and not annotations.has_loose_boxes and table["tube_score"].notna().any():
        lost.append("scores of tubes: they are read as the mean of their boxes' scores")
    if kind in ("act", "multisports") and (table["score"].isna() & table["tube_score"].notna()).any():
        lost.append("which boxes have no score of their own: they get the score of their tube")
    sizes_go = kind in ("ava", "act") or detections or (kind == "table" and path.suffix.lower() == ".csv")
    if sizes_go and any(known.values()):
        lost.append("lengths and sizes of the videos")
    sizes = {(v.get("width"), v.get("height")) for v in (known.get(name, {}) for name in {*known, *table["video"]})}
    if kind == "ucf24" and sizes - {(UCF_WIDTH, UCF_HEIGHT)}:
        lost.append(f"sizes of the videos: readers take all to be {UCF_WIDTH}x{UCF_HEIGHT}")
    if silent and (kind == "ava" or detections or (kind == "table" and path.suffix.lower() == ".csv")):
        lost.append(f"{silent} videos without a box")
    if kind == "ucf24":
        holes = sum(len(runs(tube)) > 1 for video in annotations.videos for tube in video.tubes)
        if holes:
            lost.append(f"that {holes} tubes have holes: each run of frames becomes a tube")
    if annotations.splits and (kind not in ("jhmdb", "ucf24", "multisports") or detections):
        lost.append("which videos are for training and which for testing")
    elif len(annotations.splits) > 1 and kind == "ucf24":
        lost.append(f"{len(annotations.splits) - 1} of {len(annotations.splits)} splits: the format has one")
    return lost


def _write_ava(annotations: Annotations, path: Path, options: FormatOptions) -> None:
    labels = [str(label) for label in annotations.table["label"].unique()]
    ids: Mapping[int, str] | None = options.class_ids
    if ids is None and not all(re.fullmatch(r"0|[1-9][0-9]{0,5}", label) for label in labels):
        ids = dict(enumerate(class_order(annotations, options), 1))
    if annotations.has_loose_boxes or _boxes_have_scores(annotations):
        write_ava_detections(annotations.table, path, class_names=ids, fps=options.fps, start=options.start)
    else:
        write_ava(annotations.videos, path, class_names=ids, fps=options.fps, start=options.start)
    if ids is not None:
        _write_classes(_beside(path), (f"{number}: {name}" for number, name in sorted(ids.items())))


def _boxes_have_scores(annotations: Annotations) -> bool:
    table = annotations.table
    return len(table) > 0 and bool((table["score"].notna() | table["tube_score"].notna()).all())


def _has_scores(annotations: Annotations) -> bool:
    """Whether every tube is scored."""
    tubes = [tube for video in annotations.videos for tube in video.tubes]
    return bool(tubes) and not any(np.isnan(tube.score) for tube in tubes)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.classes.txt")


def _write_classes(path: Path, lines: Iterable[str]) -> None:
    with replace_when_whole(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
