"""Reading J-HMDB: the ``JHMDB-GT.pkl`` of the literature and the official split files.

J-HMDB (Jhuang et al., "Towards understanding action recognition", ICCV 2013) has 928 clips of 21 classes, one
tube in each, a box in every frame. The pickle, written by Python 2 for the ACT detector (Kalogeiton et al.,
ICCV 2017) and used since, counts frames from 1 and gives boxes as 0-based *inclusive* pixels: they equal the
smallest and largest pixel of the puppet masks. Frames count decoded pictures; the containers claim more than
there are.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linking.records import Tube, VideoAnnotation
from video.names import is_label, is_video_name
from video.pickles import load_pickle

_SPLIT_FILE = re.compile(r"(?P<label>.+)_test_split(?P<split>[1-9])\.txt")
_TAGGED_NAME = re.compile(r"_[fhlu]_[cn]m_np\d+_(?:ba|fr|le|ri)_(?:bad|med|goo)_\d+$")


class JhmdbError(ValueError):
    """A J-HMDB annotation or split file that does not hold what it should."""


@dataclass(frozen=True)
class Split:
    """Names of the videos, ``class/clip``, of one of the dataset's splits."""

    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class JhmdbAnnotation:
    """All that the pickle says."""

    class_names: tuple[str, ...]
    videos: tuple[VideoAnnotation, ...]
    """Every annotated video, sorted by name."""
    splits: tuple[Split, ...]
    """Index 0 is split 1."""

    def split(self, number: int) -> Split:
        """Split ``number`` counted from 1 as in the literature; ValueError where there is no such split."""
        if not 1 <= number <= len(self.splits):
            raise ValueError(f"split must be 1 to {len(self.splits)}, got {number}")
        return self.splits[number - 1]


def read_jhmdb(path: str | os.PathLike[str], *, as_published: bool = False) -> list[VideoAnnotation]:
    """The annotation of every video in a ``JHMDB-GT.pkl``, sorted by name.

    Boxes become continuous: x2 and y2 grow by one pixel. With ``as_published`` they keep the numbers of the
    file, which are a pixel too small each way and reproduce published evaluations; frames are 0-based either
    way. Raises PickleError for a file that is no pickle of data and JhmdbError for one of other data.
    """
    return list(read_jhmdb_pickle(path, as_published=as_published).videos)


def read_jhmdb_pickle(path: str | os.PathLike[str], *, as_published: bool = False) -> JhmdbAnnotation:
    """Everything in a ``JHMDB-GT.pkl``: classes, annotation, splits; see read_jhmdb."""
    return parse_jhmdb(load_pickle(path), Path(path), as_published=as_published)


def is_jhmdb(data: object) -> bool:
    """Whether a loaded pickle looks like J-HMDB's; its contents may still be wrong."""
    return isinstance(data, dict) and {"labels", "gttubes", "nframes"} <= data.keys()


def parse_jhmdb(data: Any, path: Path, *, as_published: bool = False) -> JhmdbAnnotation:
    """The annotation in what ``load_pickle`` gave; ``path`` is for messages only."""
    if not is_jhmdb(data):
        raise JhmdbError(f"{path}: no J-HMDB annotation: expected a dictionary with labels, gttubes, nframes")
    class_names = _strings(data["labels"], f"{path}: labels")
    tubes, counts = data["gttubes"], data["nframes"]
    sizes = data.get("resolution", {})
    if not (isinstance(tubes, dict) and isinstance(counts, dict) and isinstance(sizes, dict)):
        raise JhmdbError(f"{path}: gttubes, nframes and resolution must be dictionaries by video")
    videos = [
        _video(name, by_label, counts, sizes, class_names, path, as_published)
        for name, by_label in sorted(tubes.items(), key=lambda item: str(item[0]))
    ]
    test = data.get("test_videos", [])
    train = data.get("train_videos", [[] for _ in test] if isinstance(test, list) else [])
    if not (isinstance(train, list) and isinstance(test, list) and len(train) == len(test)):
        raise JhmdbError(f"{path}: train_videos and test_videos must be lists of equal length, one item a split")
    splits = tuple(
        Split(_strings(a, f"{path}: train_videos"), _strings(b, f"{path}: test_videos")) for a, b in zip(train, test)
    )
    return JhmdbAnnotation(class_names, tuple(videos), splits)


def _video(
    name: Any,
    by_label: Any,
    counts: Mapping[str, Any],
    sizes: Mapping[str, Any],
    class_names: tuple[str, ...],
    path: Path,
    as_published: bool,
) -> VideoAnnotation:
    place = f"{path}: {str(name)[:100]!r}"
    if not is_video_name(name) or not isinstance(by_label, dict):
        raise JhmdbError(f"{place}: expected a video name, class/clip, with a dictionary of tubes by label")
    num_frames = counts.get(name)
    if not isinstance(num_frames, int) or num_frames < 1:
        raise JhmdbError(f"{place}: nframes holds no number of frames for it")
    height, width = _size(sizes.get(name), place)
    tubes: list[Tube] = []
    for label, arrays in by_label.items():
        if not isinstance(label, int) or not 0 <= label < len(class_names) or not isinstance(arrays, list):
            raise JhmdbError(f"{place}: label {str(label)[:20]} with its tubes is not one of {len(class_names)}")
        for rows in arrays:
            tubes.append(_tube(rows, class_names[label], len(tubes), num_frames, place, as_published))
    return VideoAnnotation(name, tubes, num_frames=num_frames, width=width, height=height)


def _tube(rows: Any, label: str, number: int, num_frames: int, place: str, as_published: bool) -> Tube:
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 5 or rows.dtype.kind == "U":
        raise JhmdbError(f"{place}: a tube must be rows of frame, x1, y1, x2, y2")
    frames = rows[:, 0].astype(np.float64)
    if not ((frames >= 1) & (frames <= num_frames) & (frames == np.floor(frames))).all():
        raise JhmdbError(f"{place}: a tube has frames outside 1..{num_frames}")
    boxes = rows[:, 1:].astype(np.float64)
    if not as_published:
        boxes[:, 2:] += 1
    try:
        return Tube(label, frames.astype(np.int64) - 1, boxes, id=number)
    except ValueError as error:
        raise JhmdbError(f"{place}: {error}") from None


def _size(value: Any, place: str) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    if not (isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, int) for v in value)):
        raise JhmdbError(f"{place}: its resolution must be (height, width)")
    if not all(0 < v < 2**16 for v in value):
        raise JhmdbError(f"{place}: its resolution is impossible")
    return value[0], value[1]


def _strings(values: Any, place: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(is_label(value) for value in values):
        raise JhmdbError(f"{place} must be a list of names")
    return tuple(values)


def read_split_files(path: str | os.PathLike[str]) -> dict[int, Split]:
    """The official splits, ``<class>_test_split<n>.txt``, of a folder or of the dataset's ``splits.zip``.

    Each line is ``clip.avi 1`` (train) or ``2`` (test); other numbers mean the clip is not in that split.
    Raises JhmdbError naming file and line.
    """
    path = Path(path)
    train: dict[int, list[str]] = {}
    test: dict[int, list[str]] = {}
    for name, text in _split_texts(path):
        matched = _SPLIT_FILE.fullmatch(Path(name).name)
        if not matched:
            continue
        number = int(matched["split"])
        parts = train.setdefault(number, []), test.setdefault(number, [])
        for line_number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            clip, _, part = line.strip().rpartition(" ")
            if not clip or not part.isdecimal():
                raise JhmdbError(f"{path}: {name}, line {line_number}: expected 'clip.avi 1' or 'clip.avi 2'")
            if part in ("1", "2"):
                parts[int(part) - 1].append(f"{matched['label']}/{clip.strip().removesuffix('.avi')}")
    if not train:
        raise JhmdbError(f"{path}: no split files <class>_test_split1.txt in it")
    return {number: Split(tuple(sorted(train[number])), tuple(sorted(test[number]))) for number in sorted(train)}


def _split_texts(path: Path) -> list[tuple[str, str]]:
    """Name and contents of every text file in a folder or zip file."""
    if path.is_dir():
        return [(file.name, file.read_text("utf-8", "replace")) for file in sorted(path.glob("*.txt"))]
    try:
        with zipfile.ZipFile(path) as archive:
            # A split file has a few kB; a member that unfolds to more is not one.
            members = [m for m in archive.infolist() if m.filename.endswith(".txt") and m.file_size < 2**20]
            return [(m.filename, archive.read(m).decode("utf-8", "replace")) for m in members]
    except (OSError, zipfile.BadZipFile) as error:
        raise JhmdbError(f"{path}: neither a folder nor a readable zip file of split files ({error})") from None


def source_of_clip(video: str) -> str | None:
    """The film or upload a clip was cut from: what stands before ``_<class>_`` and the tags of its name.

    None where ``class/clip`` is not named in the manner of HMDB51. The tags are visible body part, camera
    motion, number of people, view, quality and a running number: ``red_head_brush_hair_u_cm_np1_fr_goo_1``.
    """
    folders, _, clip = video.rpartition("/")
    label = folders.rpartition("/")[2]
    tags = _TAGGED_NAME.search(clip)
    if not tags or not label:
        return None
    source = clip[: tags.start()].removesuffix(f"_{label}")
    return source if len(source) < tags.start() else None
