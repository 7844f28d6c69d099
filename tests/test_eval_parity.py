"""Every protocol against the published evaluators, written down once more as plain loops.

The loops follow the definitions of get_PR_curve.m and compute_spatio_temporal_iou.m (Saha et al. 2016, Singh et al.
2017), ACT's videoAP, frameAP and iou3dt, 3D-RetinaNet's compute_class_ap, YOWO's tube and box evaluators, and
MultiSports' videoAP and frameAP, one detection after the other. They share nothing with the package but the records
and know no protocol fields. Scores are all different, because ties are where the published codes depend on sorting.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from eval.frame_map import frame_map
from eval.protocols import FRAME_PROTOCOLS, VIDEO_PROTOCOLS
from eval.video_map import video_map
from linking.records import Tube, VideoAnnotation

LABELS = ("jump", "run", "swim", "nowhere")
"""The last class has detections and no ground truth."""
THRESHOLDS = (0.05, 0.2, 0.5, 0.75)


# ---- data


def some_box(rng: np.random.Generator) -> np.ndarray:
    corner, size = rng.uniform(0, 150, 2), rng.uniform(15, 70, 2)
    return np.concatenate([corner, corner + size])


def moving(rng: np.random.Generator, frames: np.ndarray, box: np.ndarray, trembling: float) -> np.ndarray:
    steps = rng.normal(0, trembling, (len(frames), 2))
    return (box + np.tile(steps, 2)).astype(np.float32)


def made_up(seed: int, videos: int = 10) -> tuple[list[VideoAnnotation], list[VideoAnnotation]]:
    """Long and short tubes; detections near true tubes (twice, late, of the wrong class, of one frame) and anywhere."""
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(10_000) / 10_000 + 0.00005)
    truth, found = [], []
    for v in range(videos):
        true = []
        for i in range(int(rng.integers(1, 5))):
            frames = np.arange(first := int(rng.integers(0, 8)), first + int(rng.integers(2, 20)))
            box = true[0].boxes[0] + np.float32(6) if i == 1 else some_box(rng)  # the second stands near the first
            true.append(Tube(str(rng.choice(LABELS[:3])), frames, moving(rng, frames, box, 1), id=i))
        tubes: list[Tube] = []
        for _ in range(14):
            like = true[int(rng.integers(len(true)))]
            first = max(0, int(like.frames[0] + rng.integers(-2, 3)))
            frames = np.arange(first, first + (1 if rng.random() < 0.15 else max(2, len(like) + rng.integers(-4, 5))))
            near = like.boxes[0] + rng.normal(0, 3, 4) * (rng.random() < 0.8)
            box = near if rng.random() < 0.8 and (near[2:] > near[:2]).all() else some_box(rng)
            label = like.label if rng.random() < 0.8 else str(rng.choice(LABELS))
            own = [next(scores) for _ in frames]
            tubes.append(Tube(label, frames, moving(rng, frames, box, 1), own, next(scores), len(tubes)))
        truth.append(VideoAnnotation(f"v{v}", true))
        found.append(VideoAnnotation(f"v{v}", tubes))
    return truth, found


# ---- overlaps


def continuous_iou(a: list[float], b: list[float]) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = wide * high
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def inclusive_iou(a: list[float], b: list[float]) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    both = wide * high
    return both / ((a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - both)


def matlab_iou(larger: tuple[float, float]) -> Callable[[list[float], list[float]], float]:
    """x y w h of the detection are each ``larger`` by so much: (x and y, w and h)."""

    def iou(true: list[float], found: list[float]) -> float:
        x, y = found[0] + larger[0], found[1] + larger[0]
        width, height = found[2] - found[0] + larger[1], found[3] - found[1] + larger[1]
        return continuous_iou(true, [x, y, x + width, y + height])

    return iou


def by_frame(tube: Tube) -> dict[int, list[float]]:
    return {int(frame): [float(side) for side in box] for frame, box in zip(tube.frames, tube.boxes)}


def tube_overlap(
    true: Tube, found: Tube, iou: Callable[[list[float], list[float]], float], *, lone: bool, exclusive: bool = False
) -> float:
    """``lone``: a single common frame counts. ``exclusive``: durations are last minus first frame."""
    a, b = by_frame(true), by_frame(found)
    common = [frame for frame in a if frame in b]
    if not common or (len(common) == 1 and not lone):
        return 0.0
    if exclusive:
        shared = min(max(a), max(b)) - max(min(a), min(b))
        temporal = shared / (max(max(a), max(b)) - min(min(a), min(b)))
    else:
        temporal = len(common) / len(a.keys() | b.keys())
    return temporal * sum(iou(a[frame], b[frame]) for frame in common) / len(common)


# ---- average precision


def voc_ap(hits: list[bool], recall_of: float) -> float:
    """Area under the envelope of the precision; recall is hits / ``recall_of``."""
    recall, precision, found = [0.0], [0.0], 0
    for rank, hit in enumerate(hits, 1):
        found += hit
        recall.append(found / recall_of)
        precision.append(found / rank)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def raw_ap(hits: list[bool], recall_of: float) -> float:
    """Trapezoids under the raw curve, which starts at recall 0, precision 1."""
    curve, found = [(0.0, 1.0)], 0
    for rank, hit in enumerate(hits, 1):
        found += hit
        curve.append((found / recall_of, found / rank))
    return sum((r - q) * (p + o) / 2 for (q, o), (r, p) in pairwise(curve))


# ---- matching; a thing to be found is (group, label, shape), a detection (score, group, label, shape)


def verdicts(truths: list, found: list, overlap: Callable, passes: Callable, best_of_all: bool) -> list[bool]:
    """For the detections of one class by falling score, whether each is a hit."""
    taken: set[int] = set()
    hits = []
    for _, group, shape in sorted(found, key=lambda one: -one[0]):
        best, at = 0.0, -1
        for number, (there, true) in enumerate(truths):
            if there != group or (number in taken and not best_of_all):
                continue
            if (value := overlap(true, shape)) > best:
                best, at = value, number
        hit = at >= 0 and passes(best) and at not in taken
        if hit:
            taken.add(at)
        hits.append(hit)
    return hits


def suppressed(found: list, overlap: Callable) -> list:
    """Without those that overlap a better kept one of their group by more than 0.3."""
    kept: list = []
    for one in sorted(found, key=lambda one: -one[0]):
        if all(other[1] != one[1] or overlap(other[2], one[2]) <= 0.3 for other in kept):
            kept.append(one)
    return kept


def boxes(tubes: list[VideoAnnotation], label: str) -> Iterator[tuple[float, tuple[str, int], list[float]]]:
    for video in tubes:
        for tube in video.tubes:
            if tube.label == label:
                for frame, box, score in zip(tube.frames.tolist(), tube.boxes, tube.scores):
                    yield float(score), (video.video, frame), [float(side) for side in box]


VIDEO_RULES: dict[str, dict] = {
    "saha": {"iou": continuous_iou, "lone": False, "hit": ">"},
    "matlab-legacy": {"iou": matlab_iou((1, 1)), "lone": False, "hit": ">"},
    "saha-legacy": {"iou": matlab_iou((1, 2)), "lone": False, "hit": ">"},
    "act": {"iou": inclusive_iou, "lone": True, "ap": raw_ap, "nms": True},
    "road": {"iou": inclusive_iou, "lone": True, "ap": raw_ap},
    "yowo": {"iou": inclusive_iou, "lone": False, "padding": 1e-5},
    "multisports": {"iou": continuous_iou, "lone": False, "exclusive": True, "best_of_all": True, "empty": np.nan},
}
FRAME_RULES: dict[str, dict] = {
    "voc": {"iou": continuous_iou},
    "act": {"iou": inclusive_iou, "ap": raw_ap, "nms": True},
    "road": {"iou": continuous_iou, "ap": raw_ap},
    "yowo": {"iou": inclusive_iou, "best_of_all": True, "annotated": True, "empty": np.nan},
    "multisports": {"iou": continuous_iou, "best_of_all": True, "empty": np.nan},
    "ava": {"iou": continuous_iou, "best_of_all": True, "empty": np.nan},
}


def class_ap(truths: list, found: list, overlap: Callable, threshold: float, rules: dict) -> float:
    if rules.get("nms"):
        found = suppressed(found, overlap)
    if not truths:
        return rules.get("empty", 0.0)

    def passes(value: float) -> bool:
        return value > threshold if rules.get("hit") == ">" else value >= threshold

    hits = verdicts(truths, found, overlap, passes, rules.get("best_of_all", False))
    return rules.get("ap", voc_ap)(hits, len(truths) + rules.get("padding", 0.0))


def video_ap(truth: list, found: list, label: str, threshold: float, rules: dict) -> float:
    def overlap(true: Tube, detected: Tube) -> float:
        return tube_overlap(true, detected, rules["iou"], lone=rules["lone"], exclusive=rules.get("exclusive", False))

    truths = [(video.video, tube) for video in truth for tube in video.tubes if tube.label == label]
    detected = [(t.score, video.video, t) for video in found for t in video.tubes if t.label == label]
    return class_ap(truths, detected, overlap, threshold, rules)


def frame_ap(truth: list, found: list, label: str, threshold: float, rules: dict) -> float:
    truths = [(where, box) for _, where, box in boxes(truth, label)]
    detected = list(boxes(found, label))
    if rules.get("annotated"):
        frames = {where for other in LABELS for _, where, _ in boxes(truth, other)}
        detected = [one for one in detected if one[1] in frames]
    return class_ap(truths, detected, rules["iou"], threshold, rules)


# ---- comparison


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", VIDEO_PROTOCOLS)
def test_video_map_equals_the_published_computation(name: str, seed: int) -> None:
    truth, found = made_up(seed)
    result = video_map(truth, found, thresholds=THRESHOLDS, class_names=LABELS, protocol=name)
    rules = VIDEO_RULES[name]
    expected = [[video_ap(truth, found, label, t, rules) for t in THRESHOLDS] for label in LABELS]
    np.testing.assert_allclose(result.ap_by_threshold, expected, rtol=0, atol=1e-9)
    assert 0.2 < np.nanmean(expected) < 0.8  # neither everything nor nothing was found


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", FRAME_PROTOCOLS)
def test_frame_map_equals_the_published_computation(name: str, seed: int) -> None:
    truth, found = made_up(seed, videos=4)
    result = frame_map(truth, found, thresholds=THRESHOLDS, class_names=LABELS, protocol=name)
    rules = FRAME_RULES[name]
    expected = [[frame_ap(truth, found, label, t, rules) for t in THRESHOLDS] for label in LABELS]
    np.testing.assert_allclose(result.ap_by_threshold, expected, rtol=0, atol=1e-9)
    assert 0.1 < np.nanmean(expected) < 0.8


def test_the_comparison_tells_all_protocols_apart() -> None:
    """Otherwise it would prove little: on these tubes no two protocols say the same of every class."""
    truth, found = made_up(0)
    for kind, compute in ((VIDEO_RULES, video_ap), (FRAME_RULES, frame_ap)):
        tables = {
            name: tuple(compute(truth, found, label, t, rules) for label in LABELS[:3] for t in THRESHOLDS)
            for name, rules in kind.items()
        }
        tables.pop("ava", None)  # as multisports
        assert len(set(tables.values())) == len(tables)
