"""Temporal trimming: which part of a tube shows the action.

After Saha et al. 2016, section 4.2: every box of a tube is labelled action or background so that the sum
of the label scores, minus a penalty for every change of label, is as high as possible; each run of action
becomes a tube of its own. The two labels of a box with score s are worth s and 1 - s.

Ours besides: which class a box shows is told by a few clips and jumps about, whether it shows any is surer. So the
share of a class in what a box scores for all of them is averaged over time before it is cut by (``steady_scores``,
docs/decisions/028-steady-shares.md).

Deviation: the released code also computes a score of each run that divides by its length minus one (zero
for a run of one frame) and is then not used; here the only score is the one it does use, the mean of the
best box scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from linking.records import Tube


@dataclass(frozen=True)
class TrimConfig:
    """How tubes are cut. "Saha" is the released code of the BMVC 2016 paper."""

    alpha: float = 3.0
    """Penalty for a change of label, in units of box scores: short runs of low or high scores are smoothed
    over. Saha: 0 to 16, fitted per class; Singh et al. 2017: 3."""
    class_alpha: Mapping[str, float] = field(default_factory=dict)
    """Penalty for single classes, by label; fit it on training data (``eval.fit_trimming``)."""
    threshold: float = 0.5
    """Score at which action and background are equally likely; 0 makes every box action, so that tubes keep their
    length. Saha: 0.5."""
    class_threshold: Mapping[str, float] = field(default_factory=dict)
    """Threshold for single classes, by label."""
    relative: bool = True
    """Count scores as fractions of the tube's own level (mean of its best boxes), so that a class which
    never scores above 0.5 is not trimmed away whole. Saha: no."""
    share_frames: int = 33
    """Frames around a box over which a class's share of all class scores is averaged, where all are known; odd, 1 takes
    it as it is. Saha: 1."""
    min_frames: int = 12
    """Shorter runs are dropped; a tube that is action throughout stays, however short. One clip scores 8 frames, and
    what one clip alone says is often wrong. Saha: 32 (last minus first frame above 30), without the exception; Singh:
    10."""
    top_frames: int = 40
    """The score of a tube is the mean of this many best box scores. Saha and Singh: 40."""

    def __post_init__(self) -> None:
        for name in ("class_alpha", "class_threshold"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} holds a number for each label, got {getattr(self, name)!r}")
        for name, alpha in [("alpha", self.alpha), *self.class_alpha.items()]:
            if not isinstance(alpha, int | float) or not alpha >= 0:
                raise ValueError(f"alpha must be a number, 0 or more; {name} is {alpha!r}")
        for name, threshold in [("threshold", self.threshold), *self.class_threshold.items()]:
            if not isinstance(threshold, int | float) or not 0 <= threshold < 1:
                raise ValueError(f"threshold must be at least 0 and less than 1; {name} is {threshold!r}")
        if self.min_frames < 1 or self.top_frames < 1:
            raise ValueError("min_frames and top_frames must be 1 or more")
        if self.share_frames < 1 or self.share_frames % 2 == 0:
            raise ValueError(f"share_frames counts the frame in the middle, so it is odd; got {self.share_frames}")


# action_tubes/max_mAP_class.mat of the released code, classes in alphabetical order; fitted on UCF101-24
_SAHA_ALPHA = {
    "Basketball": 0, "BasketballDunk": 1, "Biking": 0.6, "CliffDiving": 16, "CricketBowling": 0,
    "Diving": 0.2, "Fencing": 0, "FloorGymnastics": 0.6, "GolfSwing": 0, "HorseRiding": 0.4,
    "IceDancing": 14, "LongJump": 0, "PoleVault": 1, "RopeClimbing": 0.8, "SalsaSpin": 14,
    "SkateBoarding": 4, "Skiing": 2, "Skijet": 6, "SoccerJuggling": 0, "Surfing": 0,
    "TennisSwing": 0.2, "TrampolineJumping": 2, "VolleyballSpiking": 2, "WalkingWithDog": 0.2,
}  # fmt: skip

PAPER = TrimConfig(class_alpha=_SAHA_ALPHA, threshold=0.5, relative=False, share_frames=1, min_frames=32)
"""Saha et al. as released, for UCF101-24; J-HMDB clips are trimmed already and are not trimmed again."""

PRESETS = {"default": TrimConfig(), "paper": PAPER}


def trim_tube(tube: Tube, config: TrimConfig, any_class: np.ndarray | None = None) -> list[Tube]:
    """The runs of ``tube`` that show its action, in order of time; none where it is background throughout.

    Interpolated boxes (score NaN) take part with scores interpolated in time and keep their NaN; no run consists of
    them alone, because a neighbour with a score of its own is worth as much. A run's score is the mean of its
    ``top_frames`` best box scores. ``any_class`` (n,) is what each box scores for all classes together; without it
    shares are not known, and the scores count as they are.
    ValueError for a tube without any box score.
    """
    return trim_tubes([tube], config, None if any_class is None else [any_class])[0]


def trim_tubes(
    tubes: Sequence[Tube], config: TrimConfig, any_class: Sequence[np.ndarray | None] | None = None
) -> list[list[Tube]]:
    """``trim_tube`` of each, all at once: the labels of many tubes take the time of the longest."""
    if not tubes:
        return []
    # tubes of like length together, so that a long one does not stretch the table of all
    order = sorted(range(len(tubes)), key=lambda k: len(tubes[k]))
    runs: list[list[Tube]] = [[] for _ in tubes]
    while order:
        batch = [order.pop()]
        while order and len(tubes[order[-1]]) * 2 > len(tubes[batch[0]]):
            batch.append(order.pop())
        gain = np.full((len(tubes[batch[0]]), len(batch)), -np.inf)
        for column, k in enumerate(batch):
            gain[: len(tubes[k]), column] = action_gain(tubes[k], config, None if any_class is None else any_class[k])
        alpha = np.array([config.class_alpha.get(tubes[k].label, config.alpha) for k in batch], np.float64)
        labels = action_labels(gain, alpha)
        for column, k in enumerate(batch):
            runs[k] = _runs(tubes[k], labels[: len(tubes[k]), column], config)
    return runs


def action_labels(gain: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(frames, tubes) bool, the labels of highest worth; True is action, also in a tie.

    ``gain`` (frames, tubes) is what the label action is worth more than background, -inf after the end of
    a tube; ``alpha`` (tubes,) the price of a change. With two labels Viterbi needs one number a frame, by
    how much the best labelling that ends in action beats the best that ends in background: whatever lay
    before counts for at most one change.
    """
    lead = np.zeros_like(gain)
    before = np.zeros(gain.shape[1])
    for t in range(len(gain)):
        before = np.minimum(np.maximum(before, -alpha), alpha)
        before += gain[t]
        lead[t] = before
    labels = np.zeros(gain.shape, bool)
    after = np.zeros(gain.shape[1], bool)
    ends = np.isneginf(gain)
    for t in range(len(gain) - 1, -1, -1):
        last = np.ones(gain.shape[1], bool) if t + 1 == len(gain) else ends[t + 1]
        # a label is kept unless changing pays: action is kept down to -alpha, entered only above alpha
        bar = np.where(last, 0.0, np.where(after, -alpha, alpha))
        after = lead[t] >= bar
        labels[t] = after
    return labels & ~ends


def box_scores(tube: Tube) -> np.ndarray:
    """(n,) float32 scores of the boxes, NaN where a box has none."""
    assert tube.scores is not None, "a tube fills in its scores at construction"
    return tube.scores


def best_mean(scores: np.ndarray, best: int) -> float:
    """Mean of the ``best`` highest of the known scores; NaN where none is known."""
    known = np.sort(scores[~np.isnan(scores)].astype(np.float64))
    return float(known[-best:].mean()) if len(known) else float("nan")


def steady_scores(scores: np.ndarray, any_class: np.ndarray, frames: int) -> np.ndarray:
    """(n,) float64 scores of a class along a tube, its share of ``any_class`` averaged over ``frames`` boxes around.

    ``scores`` (n,) of the class and ``any_class`` (n,) of all classes together, without holes. Towards the ends of the
    tube fewer boxes are averaged; boxes that score nothing at all are left out. Where the class always has the same
    share, nothing changes.
    """
    told = any_class > 0
    share = np.divide(scores, any_class, out=np.zeros(len(scores)), where=told)
    sums, counts = (np.concatenate([[0.0], np.cumsum(values)]) for values in (share, told))
    middle = np.arange(len(share))
    first, end = np.maximum(middle - frames // 2, 0), np.minimum(middle + frames // 2 + 1, len(share))
    return any_class * (sums[end] - sums[first]) / np.maximum(counts[end] - counts[first], 1)


def action_gain(tube: Tube, config: TrimConfig, any_class: np.ndarray | None = None) -> np.ndarray:
    """(n,) worth of the label action less that of background: 2 s - 1 with the published threshold of 0.5.

    ``any_class`` as for ``trim_tube``.
    """
    own = box_scores(tube)
    known = ~np.isnan(own)
    if not known.any():
        raise ValueError(f"tube {tube.id} ({tube.label!r}) has no box scores to trim by")
    scores = _filled(own, tube.frames, known)
    if any_class is not None and config.share_frames > 1:
        scores = steady_scores(scores, _filled(any_class, tube.frames, known), config.share_frames)
    level = best_mean(scores[known], config.top_frames) if config.relative else 1.0
    # a tube whose every score is 0 has no level; it is background
    threshold = config.class_threshold.get(tube.label, config.threshold)
    return 2 * (scores / level - threshold) if level > 0 else np.full(len(scores), -1.0)


def _filled(values: np.ndarray, frames: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(n,) float64 ``values``, those that are not ``known`` interpolated in time."""
    return np.interp(frames, frames[known], values[known].astype(np.float64))


def _runs(tube: Tube, labels: np.ndarray, config: TrimConfig) -> list[Tube]:
    edges = np.flatnonzero(np.diff(np.r_[False, labels, False]))
    scores = box_scores(tube)
    runs = []
    for start, end in zip(edges[::2], edges[1::2]):
        score = best_mean(scores[start:end], config.top_frames)
        if end - start < min(config.min_frames, len(tube)):
            continue
        runs.append(
            dataclasses.replace(
                tube,
                frames=tube.frames[start:end],
                boxes=tube.boxes[start:end],
                scores=scores[start:end],
                score=score,
            )
        )
    return runs
