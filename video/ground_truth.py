"""Ground truth to judge by: which of a file's videos belong to the split and part that were asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from linking.records import VideoAnnotation
from video.annotations import AnnotationError, Annotations, read_annotations
from video.ava import read_action_list
from video.jhmdb import read_split_files
from video.ucf24 import read_test_list

TITLES = {
    "table": "tube table",
    "jhmdb": "J-HMDB",
    "jhmdb-masks": "J-HMDB (puppet masks)",
    "ucf24": "UCF101-24",
    "ucf24-mat": "UCF101-24",
    "multisports": "MultiSports",
    "act": "ACT tubes",
    "ava": "AVA",
    "mot": "MOTChallenge",
    "cvat": "CVAT",
}

PARTS = ("train", "test", "all")


@dataclass(frozen=True)
class GroundTruth:
    """The annotation to judge by."""

    kind: str
    """As in video.annotations.KINDS."""
    parts: tuple[tuple[VideoAnnotation, ...], ...]
    """The annotated videos of each split that was asked for."""
    test_names: tuple[tuple[str, ...], ...]
    """The test videos of each of these splits in the order of the file, which some detection files count in."""
    known: frozenset[str]
    """Every video of the file, whatever its part."""
    class_names: tuple[str, ...] | None
    """The dataset's classes in its order, where it has one."""

    @property
    def title(self) -> str:
        """How the dataset or format is called in results."""
        return TITLES[self.kind]

    @property
    def description(self) -> str:
        videos = sum(len(part) for part in self.parts)
        tubes = sum(len(video.tubes) for part in self.parts for video in part)
        splits = f" (mean of {len(self.parts)} splits)" if len(self.parts) > 1 else ""
        return f"{self.title}: {videos} videos, {tubes} tubes{splits}"


def choose_parts(
    annotations: Annotations,
    path: str | os.PathLike[str],
    *,
    split: int | None = 1,
    part: str = "test",
    test_names: Sequence[str] | None = None,
) -> GroundTruth:
    """The videos of one part of the ground truth; ``path`` is for messages only.

    ``split`` counts from 1, None stands for all of them, one after the other; formats with one split pass over the
    number. ``test_names`` says which videos are for testing, in place of the format's own splits. Where nothing says
    so all videos are taken, except of UCF101-24, of which no result is over all videos. AnnotationError where the
    part is empty or unknown.
    """
    if part not in PARTS:
        raise AnnotationError(f"unknown part {part!r}; there are {', '.join(PARTS)}")
    if annotations.kind not in TITLES:
        raise AnnotationError(f"{path}: {annotations.kind} has boxes without actions, which is no ground truth")
    videos = annotations.videos
    names = tuple(video.video for video in videos)
    if test_names is not None:
        tests = [tuple(test_names)]
    elif annotations.splits:
        tests = [chosen.test for chosen in _splits(annotations, path, split)]
    elif annotations.kind.startswith("ucf24") and part != "all":
        raise AnnotationError(f"{path}: which videos are for testing? give --test-list, or --part all")
    else:
        tests, part = [names], "all"
    parts = tuple(_choose(videos, set(test), part) for test in tests)
    if not all(parts):
        raise AnnotationError(f"{path}: no video of the {part} part has an annotation; is it the right list?")
    return GroundTruth(annotations.kind, parts, tuple(tests), frozenset(names), annotations.class_names)


def truth_by_video(
    path: str | os.PathLike[str], *, kind: str | None = None, split: int | None = None
) -> dict[str, VideoAnnotation]:
    """The ground truth of every video in a file or folder of any format, by name.

    With ``split`` only the test videos of that split, where the format has splits. Errors as in read_annotations and
    choose_parts; AnnotationError for boxes that belong to no tube.
    """
    annotations = read_annotations(path, kind=kind)
    part = "test" if split is not None and annotations.splits else "all"
    chosen = choose_parts(annotations, path, split=split or 1, part=part)
    return {video.video: video for video in chosen.parts[0]}


def _splits(annotations: Annotations, path: str | os.PathLike[str], split: int | None) -> Sequence:
    splits = annotations.splits
    if split is None or len(splits) == 1:
        return splits
    if not 1 <= split <= len(splits):
        raise AnnotationError(f"{path}: split must be 1 to {len(splits)}, got {split}")
    return [splits[split - 1]]


def _choose(videos: Sequence[VideoAnnotation], test: Collection[str], part: str) -> tuple[VideoAnnotation, ...]:
    return tuple(video for video in videos if part == "all" or (video.video in test) == (part == "test"))


def read_test_names(path: str | os.PathLike[str], split: int = 1) -> tuple[str, ...]:
    """Names of the test videos: a name a line, or of one split in J-HMDB's split files (their folder or zip file)."""
    path = Path(path)
    if not path.is_dir() and path.suffix.lower() != ".zip":
        return read_test_list(path)
    splits = read_split_files(path)
    if split not in splits:
        raise AnnotationError(f"{path}: no split {split} in it; there are {', '.join(map(str, splits))}")
    return splits[split].test


def read_class_names(path: str | os.PathLike[str]) -> tuple[str, ...] | dict[int, str]:
    """Class names, one a line in the order of their numbers, or by number as in AVA's lists of actions."""
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: not a readable list of classes ({type(error).__name__})") from None
    if "{" in text or re.match(r"\s*\d+\s*:", text):
        return read_action_list(path)
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names or len(set(names)) < len(names) or not all(name.isprintable() for name in names):
        raise AnnotationError(f"{path}: a list of classes needs a name a line, each once")
    return names
