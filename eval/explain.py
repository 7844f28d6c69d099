"""Why is it zero? Names, labels, frames and coordinates of both sides, and which mistake would explain the number.

A mAP of 0 is hardly ever a bad detector; it is a name with a suffix, a frame counted from 1, a box read as the
wrong four numbers. ``diagnose`` tries the known mistakes: under which reading of the detections do they lie on
the ground truth? Overlaps are those of the ``saha`` protocol, labels ignored, the best detection for every true tube.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eval.inputs import matching_names, nearest_hint
from eval.protocols import VIDEO_PROTOCOLS
from eval.tubes import candidate_pairs, overlap_parts, tube_set
from linking.records import Tube, VideoAnnotation

_CLEARLY_BETTER, _WORTH_NAMING = 0.1, 0.2
"""Mean overlap by which another reading of the boxes must win, and which it must reach, to be named."""
_ENOUGH_TUBES = 8
"""From fewer than this many tubes a side no scale is guessed."""
_SHIFT_SHARE, _SHIFT_GAIN = 0.8, 0.005
"""A shift by one frame moves overlaps little, but if it is the truth it raises nearly all of them."""


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
            lines.append(f"  best overlap of a true tube, mean: {self.same_label:.3f} with the right label")
            lines += [f"    {value:.3f} with any label, {reading}" for reading, value in self.overlap.items()]
        return "\n".join(lines)


def diagnose(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    *,
    class_names: Sequence[str] | None = None,
    max_videos: int = 150,
) -> Diagnosis:
    """Compare names, ranges and overlaps of both sides, and say what is most likely wrong.

    Overlaps are tried on at most ``max_videos`` of the common videos, evenly chosen by name.
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
    as_it_stands = _best_overlaps(truth, found)
    overlap = {"as it stands": float(as_it_stands.mean())}
    shifts = {}
    for reading, side, change in _readings(truth, found):
        try:
            other = [_changed(annotation, change) for annotation in (truth, found)[side]]
        except ValueError:  # read so, some box has no area
            continue
        best = _best_overlaps(other, found) if side == 0 else _best_overlaps(truth, other)
        overlap[reading] = float(best.mean())
        if change is _one_later:
            shifts[reading] = best
    same_label = float(_best_overlaps(truth, found, same_class=True).mean())
    verdict, suspicious = _verdict(truth, found, labels, overlap, same_label, shifts, as_it_stands)
    if not suspicious and videos.only_found:
        verdict, suspicious = f"{verdict} But {_names_verdict(videos, True)}", True
    frames, extent = _ranges(truth, found)
    return Diagnosis(videos, labels, frames, extent, overlap, same_label, verdict, suspicious)


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
        return "there is not a single detected tube."
    number = f"{len(videos.only_found)} of {len(videos.only_found) + videos.common}"
    return f"{number} videos with detections have names that the ground truth does not know: {videos.remark}."


def _some(names: Sequence[str]) -> str:
    return f" ({', '.join(name[:50] for name in names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""


# ---- readings of the boxes


def _swapped(tube: Tube) -> Tube:
    return replace(tube, boxes=tube.boxes[:, [1, 0, 3, 2]])


def _from_width_and_height(tube: Tube) -> Tube:
    return replace(tube, boxes=np.concatenate([tube.boxes[:, :2], tube.boxes[:, :2] + tube.boxes[:, 2:]], axis=1))


def _from_centre(tube: Tube) -> Tube:
    centre, half = tube.boxes[:, :2], np.maximum(tube.boxes[:, 2:], 1e-3) / 2
    return replace(tube, boxes=np.concatenate([centre - half, centre + half], axis=1))


def _one_later(tube: Tube) -> Tube:
    return replace(tube, frames=tube.frames + 1)


def _scaled(factors: np.ndarray) -> Callable[[Tube], Tube]:
    return lambda tube: replace(tube, boxes=tube.boxes * np.tile(factors, 2).astype(np.float32))


def _readings(
    truth: Sequence[VideoAnnotation], found: Sequence[VideoAnnotation]
) -> list[tuple[str, int, Callable[[Tube], Tube]]]:
    """(how it is said, side that is changed: 0 truth, 1 detections, what is done to its tubes)."""
    readings: list[tuple[str, int, Callable[[Tube], Tube]]] = [
        ("with x and y of the detections swapped", 1, _swapped),
        ("with the detections read as x, y, width, height", 1, _from_width_and_height),
        ("with the detections read as centre x, y, width, height", 1, _from_centre),
        ("with the ground truth read as x, y, width, height", 0, _from_width_and_height),
        ("with the detections one frame later", 1, _one_later),
        ("with the detections one frame earlier", 0, _one_later),
    ]
    factors = _resolution(truth, found)
    if np.abs(np.log(factors)).max() > np.log(1.03):
        said = f"with the detections scaled by {factors[0]:.4g} in x and {factors[1]:.4g} in y"
        readings.append((said, 1, _scaled(factors)))
    return readings


def _resolution(truth: Sequence[VideoAnnotation], found: Sequence[VideoAnnotation]) -> np.ndarray:
    """(2,) factors in x and y that bring the detections to the size of the ground truth.

    From the sizes of the videos where both sides know them, else from where boxes lie on the average; 1 where there
    are so few that any factor would fit.
    """
    both = [(a, b) for a, b in zip(truth, found) if a.width and a.height and b.width and b.height]
    if both:
        return np.median([(a.width / b.width, a.height / b.height) for a, b in both], axis=0)  # type: ignore[operator]
    centres = [
        np.concatenate([(t.boxes[:, :2] + t.boxes[:, 2:]).mean(axis=0, keepdims=True) for a in side for t in a.tubes])
        for side in (truth, found)
    ]
    if min(len(side) for side in centres) < _ENOUGH_TUBES:
        return np.ones(2)
    one, other = (np.median(np.maximum(side, 1e-6), axis=0) for side in centres)
    return one / other


def _changed(annotation: VideoAnnotation, change: Callable[[Tube], Tube]) -> VideoAnnotation:
    return replace(annotation, tubes=[change(tube) for tube in annotation.tubes])


def _best_overlaps(
    truth: Sequence[VideoAnnotation], found: Sequence[VideoAnnotation], *, same_class: bool = False
) -> np.ndarray:
    """(true tubes,) the best overlap of each, 0 where nothing overlaps."""
    index = {a.video: i for i, a in enumerate(truth)}
    labels = sorted({t.label for side in (truth, found) for a in side for t in a.tubes})
    true_set, found_set = (tube_set(side, index, labels) for side in (truth, found))
    detection, of = candidate_pairs(true_set, found_set, same_class=same_class)
    temporal, mean_box = overlap_parts(true_set, found_set, detection, of, VIDEO_PROTOCOLS["saha"])
    best = np.zeros(len(true_set))
    np.maximum.at(best, of, temporal * mean_box)
    return best


# ---- verdict


def _verdict(
    truth: Sequence[VideoAnnotation],
    found: Sequence[VideoAnnotation],
    labels: Names,
    overlap: dict[str, float],
    same_label: float,
    shifts: dict[str, np.ndarray],
    as_it_stands: np.ndarray,
) -> tuple[str, bool]:
    """The sentence, and whether it names a mistake in the input."""
    plain = overlap["as it stands"]
    best = max(overlap, key=lambda reading: overlap[reading])
    if overlap[best] > max(plain + _CLEARLY_BETTER, _WORTH_NAMING):
        hint = " Is a frame counted from 1?" if best in shifts else ""
        said = f"{best}, they overlap the ground truth by {overlap[best]:.2f} on the average, not {plain:.2f}."
        return said + hint, True
    if labels.common == 0:
        return f"not one label of the detections occurs in the ground truth: {labels.remark}.", True
    if plain > 0.3 and same_label < plain / 2:
        return f"the boxes are right and the labels wrong: {_confusion(truth, found)}.", True
    for reading, best_overlap in shifts.items():
        touched = np.maximum(as_it_stands, best_overlap) > 0.1
        gain = (best_overlap - as_it_stands)[touched]
        if len(gain) and (gain > 0).mean() >= _SHIFT_SHARE and gain.mean() > _SHIFT_GAIN:
            share = 100 * (gain > 0).mean()
            return f"{reading}, {share:.0f} % of the true tubes overlap more. Is a frame counted from 1?", True
    frames, _ = _ranges(truth, found)
    (a, b), (c, d) = frames
    if d < a or c > b:
        return f"the frames do not meet: {a}..{b} in the ground truth, {c}..{d} in the detections.", True
    if plain < 0.05:
        return f"the detections lie elsewhere: they overlap the ground truth by {plain:.3f} on the average.", False
    return f"nothing looks mistaken; true tubes are overlapped by {plain:.2f} on the average.", False


def _confusion(truth: Sequence[VideoAnnotation], found: Sequence[VideoAnnotation]) -> str:
    """The commonest pair of labels among detections that lie on a true tube of another label."""
    index = {a.video: i for i, a in enumerate(truth)}
    labels = sorted({t.label for side in (truth, found) for a in side for t in a.tubes})
    true_set, found_set = (tube_set(side, index, labels) for side in (truth, found))
    detection, of = candidate_pairs(true_set, found_set, same_class=False)
    temporal, mean_box = overlap_parts(true_set, found_set, detection, of, VIDEO_PROTOCOLS["saha"])
    lies = (temporal * mean_box > 0.3) & (true_set.label[of] != found_set.label[detection])
    called = set(zip(of[lies].tolist(), found_set.label[detection[lies]].tolist()))  # each true tube once a name
    pairs = Counter((int(true_set.label[tube]), wrong) for tube, wrong in called)
    if not pairs:
        return "no detection lies well on a tube of another label"
    (true, wrong), times = pairs.most_common(1)[0]
    of_all = int((true_set.label == true).sum())
    return f"{times} of {of_all} tubes of {labels[true][:60]!r} are called {labels[wrong][:60]!r}"


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
