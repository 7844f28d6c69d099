import numpy as np
import pytest

from linking.given import label_tubes
from linking.records import Detections, Tube
from linking.scores import ScoredVideo

LEFT, RIGHT = [0, 0, 10, 10], [50, 0, 60, 10]


def scored(frames: int = 4) -> ScoredVideo:
    """The box at the left waves more and more, the one at the right jumps."""
    detections = tuple(
        Detections(k, np.float32([LEFT, RIGHT]), np.ones(2), np.float32([[0.1, 0.2 * k], [0.9, 0.0]]))
        for k in range(frames)
    )
    return ScoredVideo("v", ("jump", "wave"), detections, 100, 50, 25.0)


def tube(box: list[float], frames: list[int], tube_id: int) -> Tube:
    return Tube("anything", np.array(frames), np.float32([box] * len(frames)), id=tube_id)


def test_frames_boxes_and_ids_stay_and_the_class_is_that_of_the_boxes() -> None:
    given = [tube(LEFT, [0, 1, 3], 7), tube(RIGHT, [1, 2], 3)]
    right, left = label_tubes(given, scored())
    assert (left.id, left.label, right.id, right.label) == (7, "wave", 3, "jump")
    assert left.score == pytest.approx((0 + 0.2 + 0.6) / 3)
    np.testing.assert_allclose(left.scores, [0, 0.2, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(left.frames, given[0].frames)
    np.testing.assert_array_equal(left.boxes, given[0].boxes)


def test_frames_beyond_the_end_of_the_video_keep_no_score() -> None:
    (labelled,) = label_tubes([tube(RIGHT, [2, 3, 4], 0)], scored(frames=4))
    np.testing.assert_allclose(labelled.scores, [0.9, 0.9, np.nan], rtol=1e-6)
    assert labelled.score == pytest.approx(0.9)


def test_tubes_of_another_video_are_refused() -> None:
    with pytest.raises(ValueError, match="none of the boxes of tube 5 was scored"):
        label_tubes([tube([20, 20, 30, 30], [0, 1], 5)], scored())
