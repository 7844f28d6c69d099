import numpy as np
import pytest

from detection.between import boxes_between
from linking.records import Detections


def found(frame: int, *rows: tuple[float, float, float, float, float]) -> Detections:
    """Boxes of 10 x 10 pixels or as given: x1 y1 x2 y2 score."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(frame, table[:, :4], table[:, 4])


def test_a_pair_moves_in_a_straight_line() -> None:
    between = boxes_between(found(0, (0, 0, 10, 10, 0.8)), found(4, (4, 8, 14, 18, 0.4)), min_overlap=0.0)
    assert [d.frame for d in between] == [1, 2, 3]
    np.testing.assert_allclose(between[1].boxes, [[2, 4, 12, 14]])
    np.testing.assert_allclose([d.scores[0] for d in between], [0.7, 0.6, 0.5], rtol=1e-6)


def test_each_box_has_one_partner_the_best_one() -> None:
    first = found(0, (0, 0, 10, 10, 0.9), (1, 0, 11, 10, 0.8))
    second = found(2, (1, 0, 11, 10, 0.7))
    (middle,) = boxes_between(first, second)
    # the second box of the first frame is the same box; the first one has no partner and stays for half the way
    np.testing.assert_allclose(middle.boxes, [[0, 0, 10, 10], [1, 0, 11, 10]])
    np.testing.assert_allclose(middle.scores, [0.9, 0.75], rtol=1e-6)


def test_a_box_without_partner_lives_in_the_nearer_half() -> None:
    between = boxes_between(found(0, (0, 0, 10, 10, 0.9)), found(4))
    assert [len(d) for d in between] == [1, 1, 0]
    between = boxes_between(found(0), found(4, (0, 0, 10, 10, 0.9)))
    assert [len(d) for d in between] == [0, 0, 1]


@pytest.mark.parametrize("frame", [1, 2])
def test_neighbours_and_empty_frames_have_nothing_to_fill(frame: int) -> None:
    assert [len(d) for d in boxes_between(found(0), found(frame))] == [0] * (frame - 1)
