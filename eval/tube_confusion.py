"""What is taken for what: the label of the surest tube that lies on each true tube.

Video-mAP mixes wrong places with wrong labels; here they are told apart. Of tubes made from the true boxes
(``detect_video.py --proposals truth.csv``) the share of right ones is the accuracy of the scorers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.matching import passes
from eval.protocols import VideoProtocol, video_protocol
from eval.tubes import candidate_pairs, overlap_parts
from eval.video_map import judge_tubes
from linking.records import VideoAnnotation


@dataclass(frozen=True, eq=False)
class TubeConfusion:
    """How true tubes are called at one overlap threshold."""

    iou: float
    class_names: tuple[str, ...]
    counts: np.ndarray
    """(classes, classes + 1) int64: row, the true class; column, the class of the surest tube that overlaps the true
    one enough whatever its class; last column, none does."""

    @property
    def right(self) -> int:
        return int(np.trace(self.counts))

    def text(self, most: int = 8) -> str:
        """The totals, and the ``most`` frequent mistakes, a line each."""
        total, missed = int(self.counts.sum()), int(self.counts[:, -1].sum())
        wrong = total - missed - self.right
        counts = f"{self.right} of {total} true tubes called right, {wrong} wrong, {missed} not found"
        lines = [f"labels at IoU {self.iou:g}: {counts}"]
        mistakes = self.counts[:, :-1].copy()
        np.fill_diagonal(mistakes, 0)
        order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
        for row, column in zip(*np.unravel_index(order, mistakes.shape)):
            if mistakes[row, column]:
                of_all = int(self.counts[row].sum())
                names = f"{self.class_names[row]} is called {self.class_names[column]}"
                lines.append(f"  {names}: {mistakes[row, column]} of {of_all}")
        return "\n".join(lines)


def tube_confusion(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    *,
    iou: float = 0.5,
    protocol: str | VideoProtocol = "saha",
    class_names: Sequence[str] | None = None,
    ignore_unknown_videos: bool = False,
) -> TubeConfusion:
    """Labels of the surest tubes on the true ones. Arguments and errors as in video_map.

    Each true tube is asked by itself, so one detection may answer for two actors; of equal scores the first by tube id
    answers.
    """
    rules = video_protocol(protocol)
    result, verdicts = judge_tubes(
        ground_truth,
        detections,
        thresholds=[iou],
        class_names=class_names,
        protocol=rules,
        ignore_unknown_videos=ignore_unknown_videos,
    )
    truth, found = verdicts.ground_truth, verdicts.detections
    detection, tube = candidate_pairs(truth, found, same_class=False)
    temporal, mean_box = overlap_parts(truth, found, detection, tube, rules)
    enough = passes(temporal * mean_box, iou, rules.hit)
    detection, tube = detection[enough], tube[enough]
    classes = len(result.class_names)
    called = np.full(len(truth), classes)
    # written from the least sure to the surest, so that the surest stays
    order = np.lexsort((-detection, found.score[detection]))
    called[tube[order]] = found.label[detection[order]]
    counts = np.zeros((classes, classes + 1), np.int64)
    known = truth.label >= 0
    np.add.at(counts, (truth.label[known], called[known]), 1)
    return TubeConfusion(iou, result.class_names, counts)
