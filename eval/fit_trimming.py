"""Choosing how tubes are trimmed, class by class, on training videos with ground truth.

Saha et al. 2016, section 4.2, fit the penalty for a change of label on a validation set, one a class. Here alpha
and threshold are chosen together, by average precision, and only where the choice holds up on videos that it was not
made on. Everything else of the trimming stays as configured.

How a class gets its values: the sources (videos, or what several videos were cut from) are dealt into folds; each
fold is trimmed with the best values of the other folds, and the AP of all videos so trimmed is compared with that of
the default. Only if it is better by ``MARGIN`` are the best values of all videos taken; otherwise the default stays.
The gain that is reported is once more of another kind: the whole procedure, comparison included, repeated without
each fold in turn. The gain on the videos of the choice itself always looks better than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from eval.average_precision import average_precision
from eval.errors import EvaluationError
from eval.matching import Pairs, claim
from eval.protocols import VIDEO_PROTOCOLS
from eval.thresholds import parse_ious
from eval.trimmed_runs import TrimmedRuns, Trimming, trimmed_runs
from linking.build import TubeConfig
from linking.records import VideoAnnotation
from linking.scores import ScoredVideo
from linking.trim import TrimConfig

ALPHAS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Penalties to try; those published for UCF101-24 lie between 0 and 16."""
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Thresholds to try, each with every alpha; not to trim at all, threshold 0, is tried besides."""
FIT_IOUS = (0.2, 0.5)
"""AP is averaged over these: a cut that is a little off shows at 0.5, one that is far off at 0.2."""
MARGIN = 0.005
"""AP by which other values must beat the default on videos they were not chosen on."""
LEAST_SOURCES = 4
"""A class with true tubes in fewer sources keeps the default: there is nothing to check a choice on."""
UNTRIMMED = Trimming(0.0, 0.0)


@dataclass(frozen=True)
class ClassFit:
    """What was chosen for a class, and what it is worth. AP is in 0..1, a mean over the fitted IoUs."""

    label: str
    tubes: int
    """True tubes of the class."""
    chosen: Trimming
    is_default: bool
    before: float
    """AP with the default; NaN without ground truth."""
    after: float
    """AP with the chosen values, on the videos that they were chosen on."""
    held_out: float
    """AP when every fold is trimmed with what the procedure chooses without that fold."""
    remark: str
    """Why the default stayed; empty where it did not."""


@dataclass(frozen=True, eq=False)
class TrimFit:
    """The outcome for all classes."""

    default: TrimConfig
    classes: tuple[ClassFit, ...]
    ious: tuple[float, ...]
    folds: int
    videos: int
    sources: int

    @property
    def config(self) -> TrimConfig:
        """The default with the values that were chosen."""
        fitted = [fit for fit in self.classes if not fit.is_default]
        return replace(
            self.default,
            class_alpha={**self.default.class_alpha, **{fit.label: fit.chosen.alpha for fit in fitted}},
            class_threshold={**self.default.class_threshold, **{fit.label: fit.chosen.threshold for fit in fitted}},
        )

    def table(self) -> pd.DataFrame:
        """A row a class, AP in percent, and the mean over the classes that have ground truth."""
        rows = {
            fit.label: {
                "tubes": fit.tubes,
                "default": 100 * fit.before,
                "fitted": 100 * fit.after,
                "held out": 100 * fit.held_out,
                "alpha": fit.chosen.alpha if fit.chosen.threshold else np.nan,
                "threshold": fit.chosen.threshold,
                "": fit.remark or ("fitted" if fit.chosen.threshold else "fitted: not trimmed"),
            }
            for fit in self.classes
        }
        table = pd.DataFrame.from_dict(rows, orient="index")
        measured = table[table["tubes"] > 0]
        mean = {name: measured[name].mean() for name in ("default", "fitted", "held out")}
        table.loc["mean"] = {"tubes": table["tubes"].sum(), **mean, "alpha": np.nan, "threshold": np.nan, "": ""}
        return table.astype({"tubes": int})


def fit_trimming(
    videos: Iterable[tuple[ScoredVideo, VideoAnnotation]],
    class_names: Sequence[str],
    config: TubeConfig,
    *,
    ious: Iterable[float | str] = FIT_IOUS,
    folds: int = 5,
    alphas: Sequence[float] = ALPHAS,
    thresholds: Sequence[float] = THRESHOLDS,
    source_of: Callable[[str], str] = str,
) -> TrimFit:
    """Fit alpha and threshold of every class of ``class_names`` to training videos.

    ``videos``: scores and the true tubes of each video, one at a time; a video is linked once and only what its tubes
    become is kept. ``config``: linking, selection, and the trimming to start from; its own values for a class are the
    default of that class. ``source_of``: what a video was cut from, by its name; videos of one source are never on
    both sides of a fold. AP is that of the protocol ``saha``, averaged over ``ious``.

    Raises EvaluationError without any true tube of ``class_names``, for fewer than 2 folds, and where ``config`` trims
    by all labels, which knows no threshold.
    """
    if config.trim_labels != "own":
        raise EvaluationError(f"trim_labels is {config.trim_labels!r}; only trimming by a tube's own label is fitted")
    if folds < 2:
        raise EvaluationError(f"folds must be 2 or more, got {folds}: without, nothing tells luck from gain")
    values = parse_ious(ious).values
    defaults = [_default_of(config.trim, label) for label in class_names]
    grid = [UNTRIMMED, *(Trimming(alpha, threshold) for threshold in thresholds for alpha in alphas)]
    trimmings = list(dict.fromkeys([*defaults, *grid]))
    runs = [trimmed_runs(scored, truth, class_names, trimmings, config) for scored, truth in videos]
    runs.sort(key=lambda video: video.video)
    if not any((video.truth_label >= 0).any() for video in runs):
        raise EvaluationError("none of the scored videos has a true tube of these classes, so there is nothing to fit")
    sources = [source_of(video.video) for video in runs]
    fits = []
    for c, label in enumerate(class_names):
        default = trimmings.index(defaults[c])
        # of equally good values the first is taken, so those nearest to the default come first
        order = [default, *sorted({trimmings.index(t) for t in grid} - {default}, key=_distance(trimmings, default))]
        outcome = _Outcome.of(runs, sources, c, order, values)
        fits.append(_fit_class(label, outcome, [trimmings[at] for at in order], folds))
    return TrimFit(config.trim, tuple(fits), values, folds, len(runs), len(set(sources)))


def _default_of(trim: TrimConfig, label: str) -> Trimming:
    threshold = trim.class_threshold.get(label, trim.threshold)
    return Trimming(float(trim.class_alpha.get(label, trim.alpha)), float(threshold)) if threshold else UNTRIMMED


def _distance(trimmings: Sequence[Trimming], default: int) -> Callable[[int], tuple[float, float, float]]:
    near = trimmings[default]
    return lambda at: (
        abs(trimmings[at].threshold - near.threshold),
        abs(np.log1p(trimmings[at].alpha) - np.log1p(near.alpha)),
        trimmings[at].alpha,
    )


@dataclass(frozen=True, eq=False)
class _Outcome:
    """All runs of one class in ranked order, and what became of each under every trimming."""

    source: np.ndarray
    """(runs,) int64 index of the source of each."""
    truth_source: np.ndarray
    """(true tubes,) int64 index of the source of each."""
    sources: np.ndarray
    """Indices of all sources, those with a true tube of the class first."""
    kept: np.ndarray
    """(trimmings, runs) bool."""
    hit: np.ndarray
    """(trimmings, IoUs, runs) bool."""

    @classmethod
    def of(
        cls, videos: Sequence[TrimmedRuns], names: Sequence[str], c: int, order: Sequence[int], ious: tuple[float, ...]
    ) -> _Outcome:
        number = {name: i for i, name in enumerate(sorted(set(names)))}
        score, kept, source, video_of, truth_source = [], [], [], [], []
        run, truth, overlap = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        runs_before = truths_before = 0
        for v, (video, name) in enumerate(zip(videos, names)):
            mine, true = video.label == c, video.truth_label == c
            pair = mine[video.run]  # pairs are of one class
            run.append((np.cumsum(mine) - 1)[video.run[pair]] + runs_before)
            truth.append((np.cumsum(true) - 1)[video.truth[pair]] + truths_before)
            overlap.append(video.overlap[pair])
            score.append(video.score[mine])
            kept.append(video.kept[np.ix_(mine, order)])
            source.append(np.full(int(mine.sum()), number[name]))
            video_of.append(np.full(int(mine.sum()), v))
            truth_source.append(np.full(int(true.sum()), number[name]))
            runs_before, truths_before = runs_before + len(score[-1]), truths_before + len(truth_source[-1])
        scores, in_video = np.concatenate(score), np.concatenate(video_of)
        by_rank = np.lexsort((-scores, in_video, -scores.astype(np.float32)))  # as eval.video_map ranks for saha
        rank = np.empty(len(scores), np.int64)
        rank[by_rank] = np.arange(len(scores))
        pairs = Pairs(np.concatenate(run), np.concatenate(truth), np.concatenate(overlap))
        keeps = np.concatenate(kept).T
        rules = VIDEO_PROTOCOLS["saha"]
        hit = np.zeros((len(order), len(ious), len(scores)), bool)
        for way, keep in enumerate(keeps):
            some = keep[pairs.detection]
            there = Pairs(pairs.detection[some], pairs.ground_truth[some], pairs.overlap[some])
            hit[way] = claim(there, rank, truths_before, ious, rules.hit, rules.match) >= 0
        true_at = np.concatenate(truth_source)
        having = np.unique(true_at)
        return cls(
            np.concatenate(source)[by_rank],
            true_at,
            np.concatenate([having, np.setdiff1d(np.arange(len(number)), having)]),
            keeps[:, by_rank],
            hit[:, :, by_rank],
        )

    def ap(self, way: np.ndarray) -> float:
        """AP, mean over the IoUs, with source s trimmed by ``way[s]``; -1 leaves the source out."""
        truths = int(np.count_nonzero(way[self.truth_source] >= 0))
        if truths == 0:
            return float("nan")
        mine = way[self.source]
        there = np.flatnonzero(mine >= 0)
        there = there[self.kept[mine[there], there]]
        hits = self.hit[mine[there], :, there]
        ranks = [np.flatnonzero(column) + 1 for column in hits.T]
        return float(np.mean([average_precision(rank, truths) for rank in ranks]))


def _fit_class(label: str, outcome: _Outcome, trimmings: Sequence[Trimming], folds: int) -> ClassFit:
    tubes = len(outcome.truth_source)
    everywhere = np.zeros(len(outcome.sources), np.int64)
    if tubes == 0:
        nan = float("nan")
        return ClassFit(label, 0, trimmings[0], True, nan, nan, nan, "default: no ground truth")
    fold = _deal(outcome, np.ones(len(everywhere), bool), folds)
    held_out = everywhere.copy()
    if fold is not None:
        for k in range(int(fold.max()) + 1):
            held_out[fold == k] = _choose(outcome, fold != k, folds)
    chosen = _choose(outcome, np.ones(len(everywhere), bool), folds)
    remark = ""
    if chosen == 0:
        remark = "default: too few sources" if fold is None else "default: no gain that holds"
    return ClassFit(
        label,
        tubes,
        trimmings[chosen],
        chosen == 0,
        outcome.ap(everywhere),
        outcome.ap(everywhere + chosen),
        outcome.ap(held_out),
        remark,
    )


def _deal(outcome: _Outcome, among: np.ndarray, folds: int) -> np.ndarray | None:
    """(sources,) fold of each, -1 of those not in the mask ``among``; None where the class has too few sources.

    Every fold has a source with a true tube of the class, so there are fewer folds where there are few of those.
    """
    having = int(np.count_nonzero(among[np.unique(outcome.truth_source)]))
    if having < LEAST_SOURCES:
        return None
    fold = np.full(len(among), -1)
    mine = outcome.sources[among[outcome.sources]]
    fold[mine] = np.arange(len(mine)) % min(folds, having)
    return fold


def _choose(outcome: _Outcome, among: np.ndarray, folds: int) -> int:
    """The trimming for the sources in the mask: the best, if the best of some holds on the others; else 0."""
    fold = _deal(outcome, among, folds)
    if fold is None:
        return 0
    elsewhere = np.where(among, 0, -1)
    for k in range(int(fold.max()) + 1):
        elsewhere[fold == k] = _best(outcome, among & (fold != k))
    if outcome.ap(elsewhere) < outcome.ap(np.where(among, 0, -1)) + MARGIN:
        return 0
    return _best(outcome, among)


def _best(outcome: _Outcome, among: np.ndarray) -> int:
    """The trimming of highest AP for the sources in the mask; of equals the first."""
    every = [outcome.ap(np.where(among, way, -1)) for way in range(len(outcome.kept))]
    return int(np.argmax(np.round(every, 9)))
