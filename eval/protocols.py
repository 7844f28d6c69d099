"""What the published evaluators of action tubes really compute, each choice a named field.

All of them compare tubes by the same idea, spatio-temporal IoU = temporal IoU times the mean box IoU over the
common frames, and all of them report average precision per class and its mean. They differ in the details below,
which move the mean by up to six points on the same detections. The presets state them as found by reading and
running the published code:

========================  ==========================================================================
``saha`` (default)        get_PR_curve.m of Saha et al. (BMVC 2016) and Singh et al. (ICCV 2017), on clean boxes
``matlab-legacy``         the same file as it stands: it adds 1 to x, y, w and h of every detection
``saha-legacy``           the same, fed with Saha's detections, whose width and height are one pixel too large already
``act``                   Kalogeiton et al. (ICCV 2017); also MOC (ECCV 2020)
``road``                  3D-RetinaNet / ROAD: ACT's without suppression of overlapping tubes
``yowo``                  YOWO, PyTorch_YOWO
``multisports``           MultiSports (ICCV 2021), MMAction2, HIT
========================  ==========================================================================

A protocol acts on the numbers of the two tables as they stand; one that counts pixels inclusively adds its own.
To build a protocol of your own, ``dataclasses.replace(VIDEO_PROTOCOLS["saha"], hit=">=")``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypeVar

from eval.errors import EvaluationError

Hit = Literal[">", ">="]
Match = Literal["best-free", "best"]
Precision = Literal["envelope", "trapezoid", "11-point"]
EmptyClass = Literal["zero", "skip"]


@dataclass(frozen=True)
class VideoProtocol:
    """Every choice that turns tubes into video-mAP."""

    name: str
    inclusive_pixels: bool = False
    """x2 and y2 name the last pixel, so every box is one pixel wider and higher than x2 - x1 and y2 - y1."""
    shift_detections: tuple[float, float] = (0.0, 0.0)
    """Pixels added to (x1 and y1, x2 and y2) of every detected box before it is compared."""
    temporal: Literal["inclusive", "exclusive"] = "inclusive"
    """Length of a run of n frames: n, or n - 1 (last frame minus first frame)."""
    lone_frame_counts: bool = False
    """Whether two tubes that share exactly one frame overlap at all."""
    hit: Hit = ">"
    """How the overlap must compare with the threshold."""
    match: Match = "best-free"
    """Which ground truth a detection, in order of score, may claim: the best of those not yet taken, or the best
    of all, which makes it a false positive if that one is taken."""
    precision: Precision = "envelope"
    """Area under the precision-recall points: all points under the falling envelope (VOC 2010), the raw points
    joined by straight lines from recall 0 and precision 1 to the last recall, or 11 points (VOC 2007)."""
    recall_padding: float = 0.0
    """Added to the number of ground truths in the recall."""
    tube_nms: float | None = None
    """Within a video and class, drop detections that overlap a better one by more than this before anything else."""
    empty_class: EmptyClass = "zero"
    """A class without ground truth: AP 0 that counts in the mean, or left out of the mean."""
    single_precision: bool = False
    """Scores are ranked across videos in single precision."""


@dataclass(frozen=True)
class FrameProtocol:
    """Every choice that turns boxes into frame-mAP; fields shared with VideoProtocol mean the same."""

    name: str
    inclusive_pixels: bool = False
    hit: Hit = ">="
    match: Match = "best-free"
    precision: Precision = "envelope"
    box_nms: float | None = None
    """Within a frame and class, drop boxes that overlap a better one by more than this before anything else."""
    frames: Literal["all", "annotated"] = "all"
    """Detections count in every frame, or only in frames where the ground truth has a box of any class."""
    empty_class: EmptyClass = "zero"


VIDEO_PROTOCOLS: dict[str, VideoProtocol] = {
    protocol.name: protocol
    for protocol in (
        VideoProtocol("saha", single_precision=True),
        VideoProtocol("matlab-legacy", shift_detections=(1, 2), single_precision=True),
        VideoProtocol("saha-legacy", shift_detections=(1, 3), single_precision=True),
        VideoProtocol(
            "act",
            inclusive_pixels=True,
            lone_frame_counts=True,
            hit=">=",
            precision="trapezoid",
            tube_nms=0.3,
        ),
        VideoProtocol("road", inclusive_pixels=True, lone_frame_counts=True, hit=">=", precision="trapezoid"),
        VideoProtocol("yowo", inclusive_pixels=True, hit=">=", recall_padding=1e-5),
        VideoProtocol("multisports", temporal="exclusive", hit=">=", match="best", empty_class="skip"),
    )
}

FRAME_PROTOCOLS: dict[str, FrameProtocol] = {
    protocol.name: protocol
    for protocol in (
        FrameProtocol("voc"),
        FrameProtocol("act", inclusive_pixels=True, precision="trapezoid", box_nms=0.3),
        FrameProtocol("road", precision="trapezoid"),
        FrameProtocol("yowo", inclusive_pixels=True, match="best", frames="annotated", empty_class="skip"),
        FrameProtocol("multisports", match="best", empty_class="skip"),
        FrameProtocol("ava", match="best", empty_class="skip"),
    )
}

FRAME_PROTOCOL_OF: dict[str, str] = {
    "saha": "voc",
    "matlab-legacy": "voc",
    "saha-legacy": "voc",
    "act": "act",
    "road": "road",
    "yowo": "yowo",
    "multisports": "multisports",
}
"""The frame-mAP that goes with a video-mAP: the one of the same code, or VOC's."""

P = TypeVar("P", VideoProtocol, FrameProtocol)


def video_protocol(protocol: str | VideoProtocol) -> VideoProtocol:
    """The preset of that name, or the protocol itself; EvaluationError lists the names."""
    return _named(protocol, VIDEO_PROTOCOLS, "video") if isinstance(protocol, str) else protocol


def frame_protocol(protocol: str | FrameProtocol) -> FrameProtocol:
    """The preset of that name, or the protocol itself; EvaluationError lists the names."""
    return _named(protocol, FRAME_PROTOCOLS, "frame") if isinstance(protocol, str) else protocol


def _named(name: str, known: dict[str, P], kind: str) -> P:
    if name not in known:
        raise EvaluationError(f"unknown {kind} protocol {name!r}; known: {', '.join(known)}")
    return known[name]


def describe(protocol: VideoProtocol | FrameProtocol) -> list[str]:
    """Each choice of a protocol as a sentence, in the order of its fields."""
    return [_SENTENCES[field.name](getattr(protocol, field.name)) for field in fields(protocol)[1:]]


def _shift(values: tuple[float, float]) -> str:
    if values == (0.0, 0.0):
        return "Detected boxes are compared where they are."
    return f"Detected boxes are moved first: {values[0]:+g} on x1 and y1, {values[1]:+g} on x2 and y2."


def _nms(threshold: float | None) -> str:
    if threshold is None:
        return "The evaluator suppresses no detections."
    return f"First, a detection that overlaps a better one of its class by more than {threshold:g} is dropped."


_SENTENCES = {
    "inclusive_pixels": lambda on: (
        "Boxes are inclusive pixels: x2 - x1 + 1 wide." if on else "Boxes are continuous: x2 - x1 wide."
    ),
    "shift_detections": _shift,
    "temporal": lambda kind: (
        "Temporal IoU counts frames." if kind == "inclusive" else "Temporal IoU uses last minus first frame."
    ),
    "lone_frame_counts": lambda on: "One common frame is an overlap." if on else "One common frame is no overlap.",
    "hit": lambda sign: f"A hit needs an overlap {sign} the threshold.",
    "match": lambda rule: (
        "By falling score, a detection claims the best ground truth of its class not yet taken."
        if rule == "best-free"
        else "By falling score, a detection claims the best ground truth of its class; if taken, it is false."
    ),
    "precision": {
        "envelope": "AP is the area under the envelope of precision over recall (VOC 2010, all points).",
        "trapezoid": "AP is the area under the raw precision-recall points, from recall 0 and precision 1.",
        "11-point": "AP is the mean of the envelope at 11 recalls (VOC 2007).",
    }.__getitem__,
    "recall_padding": lambda value: (
        f"The number of ground truths is padded by {value:g}." if value else "Recall is exact."
    ),
    "tube_nms": _nms,
    "box_nms": _nms,
    "empty_class": lambda rule: (
        "A class without ground truth counts as 0 in the mean."
        if rule == "zero"
        else "A class without ground truth is left out of the mean."
    ),
    "single_precision": lambda on: (
        "Scores are ranked in single precision." if on else "Scores are ranked in double precision."
    ),
    "frames": lambda which: (
        "Detections count in every frame."
        if which == "all"
        else "Detections count only in frames where the ground truth has a box."
    ),
}
