"""Splitting videos honestly: clips cut from one source look alike and must not be on both sides."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from video.jhmdb import source_of_clip

_UCF_GROUP = re.compile(r"(?P<source>v_.+_g\d+)_c\d+$")
_YOUTUBE_PART = re.compile(r"(?P<source>[\w-]{11})_\d{6}_\d{6}$")


def source_of(video: str, group: str | None = None) -> str:
    """What a video was cut from, by its name; clips of one source look alike and must not be split apart.

    ``group``, a regular expression, finds it in the name, as its first group; a name without it is its own source.

    J-HMDB and HMDB51: the film or upload (the text before ``_<class>_``), across classes; UCF101: class and group
    (``v_Basketball_g01``); Kinetics: the YouTube video (``0wR5jVB-WPk`` of ``0wR5jVB-WPk_000417_000427``). A video of
    another naming is its own source.
    """
    if group is not None:
        found = re.search(group, video)
        return found[1] if found and found[1] else video
    source = source_of_clip(video)
    if source is not None:
        return source
    name = video.rpartition("/")[2]
    matched = _UCF_GROUP.search(name) or _YOUTUBE_PART.fullmatch(name)
    return matched["source"] if matched else video


def held_out(
    labels: Mapping[str, Sequence[str]], index: int, count: int, seed: int = 0, *, group: str | None = None
) -> set[str]:
    """Names of the videos in fold ``index`` of ``count``; ``labels`` holds the classes of every video by its name.

    No source is in two folds (source_of, with ``group``). Sources go, largest first, to the fold in which their
    classes are rarest so far, so that every fold has nearly the same classes; ties are broken by ``seed``. The folds
    of one seed are disjoint and together are all videos. Raises ValueError where there are fewer sources than folds.
    """
    if not 0 <= index < count or count < 2:
        raise ValueError(f"fold index must be 0..{count - 1} of at least 2 folds, got {index} of {count}")
    by_source: dict[str, list[str]] = {}
    for video in labels:
        by_source.setdefault(source_of(video, group), []).append(video)
    if len(by_source) < count:
        raise ValueError(f"{len(by_source)} source videos cannot make {count} folds")
    counts = {source: Counter(_classes(videos, labels)) for source, videos in by_source.items()}
    totals: Counter[str] = Counter()
    for classes in counts.values():
        totals.update(classes)
    sources = sorted(by_source)
    random.Random(seed).shuffle(sources)
    sources.sort(key=lambda source: -len(by_source[source]))
    filled: list[Counter[str]] = [Counter() for _ in range(count)]
    chosen: list[list[str]] = [[] for _ in range(count)]
    for source in sources:

        def crowding(k: int, wanted: Counter[str] = counts[source]) -> tuple[float, int, int]:
            """How much of the source's classes fold k has already, then how full it is."""
            shared = sum(n * filled[k][label] / totals[label] for label, n in wanted.items())
            return shared, filled[k].total(), k

        target = min(range(count), key=crowding)
        filled[target].update(counts[source])
        chosen[target].append(source)
    return {video for source in chosen[index] for video in by_source[source]}


def parse_fold(text: str) -> tuple[int, int]:
    """Index and count of a fold by a text like "0/5"; ValueError for any other."""
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit()):
        raise ValueError(f"--fold: expected I/N, 0/5 say, got {text!r}")
    return int(index), int(count)


def _classes(videos: Sequence[str], labels: Mapping[str, Sequence[str]]) -> list[str]:
    """The classes of some videos, each counted once a video; having none counts as a class of its own."""
    return [label for video in videos for label in labels[video] or [""]]
