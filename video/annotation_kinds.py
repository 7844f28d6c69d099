"""Recognising annotation by its content: which format a file, a folder or the data of a pickle is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from linking.tables import SUFFIXES as TABLE_SUFFIXES
from video.act_pickles import act_files, is_act
from video.ava import looks_like_ava
from video.ava_proposals import is_ava_proposals
from video.cvat import looks_like_cvat
from video.jhmdb import is_jhmdb
from video.mat_files import is_mat, mat_variables
from video.mot import looks_like_mot
from video.multisports import is_multisports, is_multisports_tubes
from video.puppet_masks import FILE_NAME as MASK_FILE_NAME
from video.ucf24 import is_ucf24

KINDS = {
    "table": "tube table: csv, parquet, json",
    "jhmdb": "J-HMDB's pickle, and others of its layout (JHMDB-GT.pkl, UCF101v2-GT.pkl)",
    "jhmdb-masks": "J-HMDB's puppet masks (.mat), one or a folder",
    "ucf24": "UCF101-24's pickle, with or without class names",
    "ucf24-mat": "UCF101-24's finalAnnots.mat",
    "multisports": "MultiSports: ground truth, detected tubes, detections of frames (pickles)",
    "act": "detections of ACT and MOC: *_tubes.pkl, one or a folder; frame_detections.pkl",
    "ava": "AVA's csv, ground truth or detections",
    "ava-proposals": "person boxes of AVA or MultiSports (pickle)",
    "mot": "MOTChallenge text, a file or a folder of sequences",
    "cvat": "CVAT for video 1.1: xml or zip, one or a folder",
}
"""Short names of the formats that are read, and what they are."""

_HEAD = 2**16  # bytes by which a file is recognised


class AnnotationError(ValueError):
    """A file that is none of the formats, or not without being told more; one line that says what to do."""


def kind_of_file(path: Path) -> str | None:
    """The format of a file by its first bytes, then its suffix; None for a pickle, to be looked into."""
    head = _head(path)
    suffix = path.suffix.lower()
    if is_mat(head):
        return "jhmdb-masks" if "part_mask" in mat_variables(path) else "ucf24-mat"
    if looks_like_cvat(head):
        return "cvat"
    if head.startswith(b"PAR1") or _starts_a_table(head):
        return "table"
    if looks_like_ava(head):
        return "ava"
    if looks_like_mot(head):
        return "mot"
    if suffix in TABLE_SUFFIXES:
        return "table"  # its reader says best what is wrong
    if suffix in (".pkl", ".pickle") or head.startswith((b"\x80", b"(dp", b"(lp")):
        return None
    known = ", ".join(KINDS)
    raise AnnotationError(f"{path}: not recognised as annotation; if it is one, say of which kind: {known}")


def kind_of_folder(folder: Path) -> str:
    if next(folder.rglob(MASK_FILE_NAME), None) is not None:
        return "jhmdb-masks"
    if act_files(folder):
        return "act"
    kinds = {kind for kind, _ in recognised_files(folder)}
    if len(kinds) == 1:
        return kinds.pop()
    if any(next(folder.rglob(name), None) is not None for name in ("gt.txt", "det.txt")):
        return "mot"
    found = f"files of several kinds ({', '.join(sorted(kinds))})" if kinds else "no annotation of many files"
    raise AnnotationError(f"{folder}: {found} in this folder; give the file that is meant")


def recognised_files(folder: Path) -> list[tuple[str, Path]]:
    """Kind and path of the files of a folder and below that are recognised and may be one of many, sorted."""
    suffixes = (*TABLE_SUFFIXES, ".xml", ".zip", ".txt")
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file()):
        try:
            kind = kind_of_file(file)
        except ValueError:
            continue
        # Settings and records of runs lie beside tables in JSON.
        if kind in ("table", "ava", "cvat", "mot") and (file.suffix.lower() != ".json" or b'"videos"' in _head(file)):
            found.append((kind, file))
    return found


def kind_of_pickle(data: Any, path: Path) -> str:
    tests = (
        ("multisports", is_multisports),
        ("jhmdb", is_jhmdb),
        ("ucf24", is_ucf24),
        ("multisports", is_multisports_tubes),
        ("act", is_act),
        ("ava-proposals", is_ava_proposals),
    )
    for kind, looks_so in tests:
        if looks_so(data):
            return kind
    raise AnnotationError(
        f"{path}: a pickle, but of no annotation known: jhmdb, ucf24, multisports, act, ava-proposals"
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from None


def _starts_a_table(head: bytes) -> bool:
    """Whether the first line names the columns of a tube table."""
    lines = head.removeprefix(b"\xef\xbb\xbf").splitlines()
    cells = {cell.strip(b" \"'") for cell in lines[0][:1000].split(b",")} if lines else set()
    return {b"video", b"frame", b"x1"} <= cells
