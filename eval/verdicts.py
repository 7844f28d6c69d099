"""What the evaluator says of every single tube of a video, for those who draw or list them one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.breakdown import REASONS, reasons
from eval.errors import EvaluationError
from eval.protocols import VideoProtocol, video_protocol
from eval.tubes import overlap_parts
from eval.video_map import judge_tubes
from linking.colours import VERDICTS
from linking.looks import PLAIN, Look, Looks
from linking.records import Tube, VideoAnnotation

FOUND = "found"
NAMES = {
    FOUND: "correct",
    "localisation": "wrong place",
    "time": "wrong time",
    "label": "wrong class",
    "both": "two things wrong",
    "duplicate": "found twice",
    "background": "false alarm",
    "missed": "missed",
}
"""The kinds of eval.breakdown as they are said in pictures."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """On one tube, detected or true."""

    kind: str
    """``found``, or one of eval.breakdown.REASONS."""
    other: Tube | None
    """Of a detected tube the true one it claims or is about, of a true tube the one that claims it."""
    iou: float
    """Spatio-temporal IoU with ``other``; 0 without."""


@dataclass(frozen=True, eq=False)
class VideoVerdicts:
    """On all tubes of a video."""

    iou: float
    """The threshold they were judged at."""
    tubes: Mapping[int, Verdict]
    """By the id of the detected tube."""
    truth: Mapping[int, Verdict]
    """By the id of the true tube: ``found`` or ``missed``."""


def judge_video(
    truth: Sequence[Tube], tubes: Sequence[Tube], *, iou: float = 0.5, protocol: str | VideoProtocol = "saha"
) -> VideoVerdicts:
    """Judge every tube of one video, as break_down counts them; also tubes of classes that the truth does not have.

    Raises EvaluationError for an IoU that is not above 0 and up to 1, and for detected tubes without a score. Tubes
    that the protocol suppresses count as duplicates.
    """
    if not 0 < iou <= 1:
        raise EvaluationError(f"the IoU to judge at must be above 0 and at most 1, got {iou:g}")
    rules = video_protocol(protocol)
    nothing = Verdict("background", None, 0.0)
    if not truth:
        return VideoVerdicts(iou, {tube.id: nothing for tube in tubes}, {})
    names = sorted({tube.label for tube in (*truth, *tubes)})
    _, judged = judge_tubes(
        [VideoAnnotation("video", truth)],
        [VideoAnnotation("video", tubes)],
        thresholds=[iou],
        class_names=names,
        protocol=rules,
    )
    true, found, claimed = judged.ground_truth, judged.detections, judged.claimed[0]
    reason, target = reasons(true, found, claimed, iou, rules)
    target = np.where(claimed >= 0, claimed, target)
    pairs = np.flatnonzero(target >= 0)
    overlap = np.zeros(len(found))
    temporal, mean_box = overlap_parts(true, found, pairs, target[pairs], rules)
    overlap[pairs] = temporal * mean_box
    verdicts = {tube.id: Verdict("duplicate", None, 0.0) for tube in tubes}
    claims: dict[int, Verdict] = {}
    for place, tube in enumerate(found.tubes):
        kind = FOUND if claimed[place] >= 0 else REASONS[reason[place]]
        about = true.tubes[target[place]] if target[place] >= 0 and kind != "background" else None
        verdicts[tube.id] = Verdict(kind, about, float(overlap[place]) if about is not None else 0.0)
        if kind == FOUND and about is not None:
            claims[about.id] = Verdict(FOUND, tube, float(overlap[place]))
    missed = Verdict("missed", None, 0.0)
    return VideoVerdicts(iou, verdicts, {tube.id: claims.get(tube.id, missed) for tube in truth})


def looks_for(tubes: Sequence[Tube], truth: Sequence[Tube] | None, *, iou: float = 0.5, errors: bool = False) -> Looks:
    """How to draw the tubes of a video beside its ground truth; ``errors``: in the colours of what is wrong with them.

    Without ground truth, and where tubes that need no verdict have no scores, every tube has its own colour and no
    more is said. Errors as in judge_video.
    """
    if truth is None or (not errors and any(np.isnan(tube.score) for tube in tubes)):
        return PLAIN
    verdicts = judge_video(truth, tubes, iou=iou)
    return error_looks(verdicts) if errors else matched_looks(verdicts)


def error_looks(verdicts: VideoVerdicts) -> Looks:
    """Tubes in the colours of their kinds, named; true tubes that were missed in theirs."""
    tubes = {number: Look(VERDICTS[v.kind], _said(v)) for number, v in verdicts.tubes.items()}
    truth = {number: Look(VERDICTS["missed"], "missed") for number, v in verdicts.truth.items() if v.kind == "missed"}
    kinds = {v.kind for v in (*verdicts.tubes.values(), *verdicts.truth.values())}
    legend = tuple((name, VERDICTS[kind]) for kind, name in NAMES.items() if kind in kinds)
    return Looks(tubes, truth, legend, _compared(verdicts))


def matched_looks(verdicts: VideoVerdicts) -> Looks:
    """Tubes in their own colours; said is only which of them found which true tube."""
    return Looks(about=_compared(verdicts))


def _said(verdict: Verdict) -> str:
    name = NAMES[verdict.kind]
    return f"{name}, IoU {verdict.iou:.2f}" if verdict.other is not None else name


def _compared(verdicts: VideoVerdicts) -> dict[int, Tube]:
    return {number: v.other for number, v in verdicts.tubes.items() if v.other is not None}
