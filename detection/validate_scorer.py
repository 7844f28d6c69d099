"""How well a scorer names actions when it is told where the actors are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detection.pipeline import PipelineConfig, score_video
from detection.scorer import LoadedScorer
from linking.records import Detections, VideoAnnotation
from video.datasets import Dataset, resized_annotation
from video.frames import open_video


class AnnotatedBoxes:
    """A source of proposals that gives the annotated boxes of one video, each with score 1."""

    def __init__(self, annotation: VideoAnnotation) -> None:
        self.annotation = annotation

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        found = []
        for index in indices:
            tubes = [tube for tube in self.annotation.tubes if index in tube.frames]
            boxes = [tube.boxes[np.searchsorted(tube.frames, index)] for tube in tubes]
            found.append(Detections(int(index), np.array(boxes, np.float32), np.ones(len(boxes), np.float32)))
        return found


@dataclass(frozen=True)
class ScorerReport:
    """Result of :func:`validate_scorer`."""

    tubes: int
    top1: float
    """Share of tubes whose class has the highest mean score."""
    top5: float
    per_class: dict[str, float]
    """top1 of each class that occurs."""


def validate_scorer(scorer: LoadedScorer, dataset: Dataset, config: PipelineConfig | None = None) -> ScorerReport:
    """Classify every annotated tube by the mean of its boxes' class scores, true boxes given.

    Tubes of classes the scorer does not know count as wrong.
    """
    config = config or PipelineConfig(proposal_stride=1, max_boxes=50)
    ranks: list[tuple[str, int]] = []
    for item in dataset.videos:
        annotation = item.annotation
        with open_video(item.path) as source:
            if annotation.width is not None:
                annotation = resized_annotation(annotation, source.width, source.height)
            scored = score_video(source, annotation.video, AnnotatedBoxes(annotation), scorer, config)
        for tube in annotation.tubes:
            mean = np.zeros(len(scorer.class_names))
            for frame, box in zip(tube.frames.tolist(), tube.boxes):
                if frame < scored.num_frames:
                    detections = scored.detections[frame]
                    row = int(np.abs(detections.boxes - box).sum(axis=1).argmin())
                    assert detections.class_scores is not None
                    mean += detections.class_scores[row]
            order = np.argsort(-mean, kind="stable")
            known = tube.label in scorer.class_names
            rank = int(np.flatnonzero(order == scorer.class_names.index(tube.label))[0]) if known else len(order)
            ranks.append((tube.label, rank))
    if not ranks:
        raise ValueError(f"{dataset.name}: no annotated tube to validate on")
    labels = sorted({label for label, _ in ranks})
    return ScorerReport(
        tubes=len(ranks),
        top1=float(np.mean([rank < 1 for _, rank in ranks])),
        top5=float(np.mean([rank < 5 for _, rank in ranks])),
        per_class={name: float(np.mean([rank < 1 for label, rank in ranks if label == name])) for name in labels},
    )
