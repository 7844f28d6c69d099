"""Why is it zero? Names, labels, frames and coordinates of both sides, and which mistake would explain the number.

A mAP of 0 is hardly ever a bad detector; it is a name with a suffix, a frame counted from 1, a box read as the
wrong four numbers. ``diagnose`` tries the known mistakes: under which reading of the detections do they lie on
the ground truth? Overlaps are those of the ``saha`` protocol, labels ignored, the best detection for every true tube.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from eval.inputs import matching_names, nearest_hint
from eval.loose_boxes import as_one_frame_tubes
from eval.protocols import VIDEO_PROTOCOLS
from eval.readings import TRUTH, read_so, readings
from eval.tubes import TubeSet, candidate_pairs, overlap_parts, tube_set
from linking.records import VideoAnnotation

_CLEARLY_BETTER, _WORTH_NAMING = 0.1, 0.2
"""Mean overlap by which another reading of the boxes must win, and which it must reach, to be named."""
_SUBTLE_SHARE, _SUBTLE_GAIN = 0.8, 0.005
"""A shift by one frame or pixel moves overlaps little, but if it is the truth it raises nearly all of them."""
_ENOUGH_SCORES, _BACKWARDS = 8, 0.3
"""Detections on and off true tubes that are needed to compare their scores, and the share of pairs in which those on
true tubes score higher from which on down scores count backwards."""
_RULES = replace(VIDEO_PROTOCOLS["saha"], lone_frame_counts=True)
"""Overlaps are those of ``saha``, but tubes of a single frame count."""


@dataclass(frozen=True)
class Names:
    """Names on both sides, videos or labels."""

    kind: str
    common: int
    only_truth: tuple[str, ...]
    only_found: tuple[str, ...]
    remark: str
    """How the unknown ones could be meant; empty where there is nothing to say."""


@dataclass(frozen=True)
class Diagnosis:
    """What ``diagnose`` found out."""

    videos: Names
    labels: Names
    frames: tuple[tuple[int, int], tuple[int, int]] | None
    """(first, last) frame in the ground truth and in the detections, over the common videos."""
    extent: tuple[np.ndarray, np.ndarray] | None
    """Smallest x1, y1 and largest x2, y2 in the ground truth and in the detections, over the common videos."""
    overlap: dict[str, float]
    """Mean over true tubes of the best overlap, labels ignored: as it stands and under each other reading."""
    same_label: float
    """The same as it stands, among detections of the right label only."""
    verdict: str
    """One sentence."""
    suspicious: bool
    """Whether the verdict names a mistake in the input rather than the quality of the detections."""

    def text(self) -> str:
        """Some lines for people."""
        lines = [f"diagnosis: {self.verdict}"]
        for names in (self.videos, self.labels):
            lines.append(
                f"  {names.kind}: {names.common} in common, {len(names.only_truth)} only in the ground truth"
                f"{_some(names.only_truth)}, {len(names.only_found)} only in the detections{_some(names.only_found)}"
                + (f"; {names.remark}" if names.remark else "")
            )
        if self.frames is not None and self.extent is not None:
            (a, b), (c, d) = self.frames
            lines.append(f"  frames: {a}..{b} in the ground truth, {c}..{d} in the detections")
            truth, found = (" ".join(f"{value:g}" for value in corner) for corner in self.extent)
            lines.append(f"  least x1 y1 and largest x2 y2: {truth} in the ground truth, {found} in the detections")
        if self.overlap:
            lines.append(f"  best overlaps of the ground truth, mean: {self.same_label:.3f} with the right label")
            lines += [f"    {value:.3f} with any label, {reading}" for reading, value in self.overlap.items()]
        return "\n".join(lines)


def diagnose(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    *,
    class_names: Sequence[str] | None = None,
    max_videos: int = 150,
    things: str = "tubes",
) -> Diagnosis:
    """Compare names, ranges and overlaps of both sides, and say what is most likely wrong.

    Overlaps are tried on at most ``max_videos`` of the common videos, evenly chosen by name. ``things``: what a tube
    is called in the text.
    """
    truth_by_name = {a.video: a for a in ground_truth if a.tubes}
    found_by_name = {a.video: a for a in detections if a.tubes}
    videos = _compare_names("videos", list(truth_by_name), list(found_by_name))
    true_labels = {t.label for a in truth_by_name.values() for t in a.tubes} | set(class_names or ())
    labels = _compare_names("labels", sorted(true_labels), sorted({t.label for a in detections for t in a.tubes}))
    common = sorted(truth_by_name.keys() & found_by_name.keys())
    if not common:
        return Diagnosis(videos, labels, None, None, {}, 0.0, _names_verdict(videos, bool(found_by_name)), True)
    chosen = [common[i] for i in np.unique(np.linspace(0, len(common) - 1, min(len(common), max_videos)).astype(int))]
    truth, found = ([side[name] for name in chosen] for side in (truth_by_name, found_by_name))
    plain = _overlaps_of(truth, found)
    tried = {"as it stands": plain.best()}
    questions, subtle = {}, []
    for reading in readings(truth, found):
        side = truth if reading.side == TRUTH else found
        if (other := read_so(reading, side)) is None:
            continue
        overlaps = _overlaps_of(other, found) if reading.side == TRUTH else _overlaps_of(truth, other)
        tried[reading.said] = overlaps.best()
        questions[reading.said] = f" {reading.question}" if reading.question else ""
        if reading.subtle:
            subtle.append(reading.said)
    frames, extent = _ranges(truth, found)
    verdict, suspicious = _verdict(plain, labels, tried, questions, subtle, frames, things)
    if not suspicious and videos.only_found:
        verdict, suspicious = f"{verdict} But {_names_verdict(videos, True)}", True
    overlap = {said: float(best.mean()) for said, best in tried.items()}
    same_label = float(plain.best(same_class=True).mean())
    return Diagnosis(videos, labels, frames, extent, overlap, same_label, verdict, suspicious)


def diagnose_boxes(
    ground_truth: Sequence[VideoAnnotation],
    table: pd.DataFrame,
    *,
    class_names: Sequence[str] | None = None,
    max_videos: int = 150,
) -> Diagnosis:
    """``diagnose`` for a tube table whose boxes belong to no tube, by some frames of every video."""
    truth, found = as_one_frame_tubes(ground_truth, table)
    return diagnose(truth, found, class_names=class_names, max_videos=max_videos, things="boxes")


# ---- names


def _compare_names(kind: str, truth: Sequence[str], found: Sequence[str]) -> Names:
    only_truth = tuple(sorted(set(truth) - set(found)))
    only_found = tuple(sorted(set(found) - set(truth)))
    remark = matching_names(only_found, truth)
    if kind == "labels" and only_found and all(name.isdecimal() for name in only_found):
        remark = "those of the detections are numbers, not names of classes"
    elif only_found and not remark:
        remark = f"{only_found[0][:70]!r}{nearest_hint(only_found[0], truth)}"
    return Names(kind, len(set(truth) & set(found)), only_truth, only_found, remark)


def _names_verdict(videos: Names, any_found: bool) -> str:
    if not any_found:
        return "there is not a single detection."
    number = f"{len(videos.only_found)} of {len(videos.only_found) + videos.common}"
    return f"{number} videos with detections have names that the ground truth does not know: {videos.remark}."


def _some(names: Sequence[str]) -> str:
    return f" ({', '.join(name[:50] for name in names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""


# ---- overlaps


@dataclass(frozen=True, eq=False)
class _Overlaps:
    """Overlaps of every detection with every true tube of its video, labels ignored."""

    truth: TubeSet
    found: TubeSet
    labels: tuple[str, ...]
    detection: np.ndarray
    tube: np.ndarray
    overlap: np.ndarray

    def best(self, *, same_class: bool = False) -> np.ndarray:
        """(true tubes,) the best overlap of each, 0 where nothing overlaps."""
        best = np.zeros(len(self.truth))
        counts = self.truth.label[self.tube] == self.found.label[self.detection] if same_class else slice(None)
        np.maximum.at(best, self.tube[counts], self.overlap[counts])
        return best

    def share_in_order(self) -> float:
        """Of pairs of a detection on a true tube and one on none, the share in which the first scores higher."""
        best = np.zeros(len(self.found))
        np.maximum.at(best, self.detection, self.overlap)
        on, off = self.found.score[best > 0.5], np.sort(self.found.score[best < 0.1])
        if min(len(on), len(off)) < _ENOUGH_SCORES:
            return 1.0
        below = np.searchsorted(off, on, side="left") + np.searchsorted(off, on, side="right")
        return float(below.mean() / 2 / len(off))

    def confusion(self, things: str) -> str:
        """The commonest pair of labels among detections that lie on a true tube of another label."""
        lies = (self.overlap > 0.3) & (self.truth.label[self.tube] != self.found.label[self.detection])
        # each true tube once a name
        called = set(zip(self.tube[lies].tolist(), self.found.label[self.detection[lies]].tolist()))
        pairs = Counter((int(self.truth.label[true]), wrong) for true, wrong in called)
        if not pairs:
            return f"no detection lies well on {things} of another label"
        (true, wrong), times = pairs.most_common(1)[0]
        of_all = int((self.truth.label == true).sum())
        return f"{times} of {of_all} {things} of {self.labels[true][:60]!r} are called {self.labels[wrong][:60]!r}"


def _overlaps_of(truth: Sequence[VideoAnnotation], found: Sequence[VideoAnnotation]) -> _Overlaps:
    index = {a.video: i for i, a in enumerate(truth)}
    labels = tuple(sorted({t.label for side in (truth, found) for a in side for t in a.tubes}))
    true_set, found_set = (tube_set(side, index, labels) for side in (truth, found))
    detection, tube = candidate_pairs(true_set, found_set, same_class=False)
    temporal, mean_box = overlap_parts(true_set, found_set, detection, tube, _RULES)
    return _Overlaps(true_set, found_set, labels, detection, tube, temporal * mean_box)


# ---- verdict


def _verdict(
    plain: _Overlaps,
    labels: Names,
    tried: dict[str, np.ndarray],
    questions: dict[str, str],
    subtle: Sequence[str],
    frames: tuple[tuple[int, int], tuple[int, int]],
    things: str,
) -> tuple[str, bool]:
    """The sentence, and whether it names a mistake in the input."""
    as_it_stands = tried["as it stands"]
    now, labelled = float(as_it_stands.mean()), float(plain.best(same_class=True).mean())
    best = max(tried, key=lambda said: float(tried[said].mean()))
    then = float(tried[best].mean())
    if then > max(now + _CLEARLY_BETTER, _WORTH_NAMING):
        said = f"{best}, they overlap the ground truth by {then:.2f} on the average, not {now:.2f}."
        return said + questions[best], True
    if labels.common == 0:
        return f"not one label of the detections occurs in the ground truth: {labels.remark}.", True
    if now > 0.3 and labelled < now / 2:
        return f"the boxes are right and the labels wrong: {plain.confusion(things)}.", True
    for said in sorted(subtle, key=lambda said: -float(tried[said].mean())):
        touched = np.maximum(as_it_stands, tried[said]) > 0.1
        gain = (tried[said] - as_it_stands)[touched]
        if len(gain) and (gain > 0).mean() >= _SUBTLE_SHARE and gain.mean() > _SUBTLE_GAIN:
            share = 100 * (gain > 0).mean()
            return f"{said}, {share:.0f} % of the true {things} overlap more.{questions[said]}", True
    (a, b), (c, d) = frames
    if d < a or c > b:
        return f"the frames do not meet: {a}..{b} in the ground truth, {c}..{d} in the detections.", True
    in_order = plain.share_in_order()
    if in_order < _BACKWARDS:
        said = f"detections on true {things} score lower than those on none in {100 * (1 - in_order):.0f} % of pairs."
        return f"{said} Is a low score the better one?", True
    if now < 0.05:
        return f"the detections lie elsewhere: they overlap the ground truth by {now:.3f} on the average.", False
    return f"nothing looks mistaken; true {things} are overlapped by {now:.2f} on the average.", False


def _ranges(
    truth: Sequence[VideoAnnotation], found: Sequence[VideoAnnotation]
) -> tuple[tuple[tuple[int, int], tuple[int, int]], tuple[np.ndarray, np.ndarray]]:
    frames, extents = [], []
    for side in (truth, found):
        tubes = [t for a in side for t in a.tubes]
        frames.append((int(min(t.frames[0] for t in tubes)), int(max(t.frames[-1] for t in tubes))))
        low = np.min([t.boxes[:, :2].min(axis=0) for t in tubes], axis=0)
        high = np.max([t.boxes[:, 2:].max(axis=0) for t in tubes], axis=0)
        extents.append(np.concatenate([low, high]))
    return (frames[0], frames[1]), (extents[0], extents[1])
