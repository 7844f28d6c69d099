"""The surest tube on each true tube says what it is called."""

from dataclasses import replace

import numpy as np

from eval.tube_confusion import tube_confusion
from linking.records import Tube, VideoAnnotation


def tube(label: str, score: float = float("nan"), box: tuple[int, ...] = (0, 0, 10, 10)) -> Tube:
    return Tube(label, np.arange(10), np.tile(np.float32(box), (10, 1)), None, score)


def video(name: str, *tubes: Tube) -> VideoAnnotation:
    return VideoAnnotation(name, [replace(t, id=i) for i, t in enumerate(tubes)])


TRUTH = [video("a", tube("run")), video("b", tube("run")), video("c", tube("jump")), video("d", tube("jump"))]


def test_the_surest_tube_that_overlaps_enough_gives_the_name() -> None:
    found = [
        video("a", tube("jump", 0.4), tube("run", 0.6), tube("jump", 0.9, (50, 50, 60, 60))),
        video("b", tube("run", 0.3), tube("jump", 0.5), tube("swim", 0.9)),  # nobody swims in the ground truth
        video("c", tube("jump", 0.2, (0, 0, 10, 4))),  # overlaps by 0.4
    ]
    confusion = tube_confusion(TRUTH, found)
    assert confusion.class_names == ("jump", "run")
    assert confusion.counts.tolist() == [[0, 0, 2], [1, 1, 0]]
    assert confusion.right == 1
    assert confusion.text().splitlines() == [
        "labels at IoU 0.5: 1 of 4 true tubes called right, 1 wrong, 2 not found",
        "  run is called jump: 1 of 2",
    ]
    assert tube_confusion(TRUTH, found, iou=0.3).counts.tolist() == [[1, 0, 1], [1, 1, 0]]


def test_of_equal_scores_the_first_tube_counts_and_one_tube_may_answer_for_two_actors() -> None:
    two = [video("a", tube("run"), tube("jump", box=(0, 0, 10, 9)))]
    found = [video("a", tube("jump", 0.5), tube("run", 0.5))]
    assert tube_confusion(two, found).counts.tolist() == [[1, 0, 0], [1, 0, 0]]
