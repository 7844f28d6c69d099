import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linking.geometry import box_areas, box_iou, interpolate_boxes, nms, paired_box_iou, smooth_boxes, tube_iou
from linking.records import Tube


def still(first, n, box=(0, 0, 10, 10)):
    """A tube of ``n`` frames that does not move."""
    return Tube("run", np.arange(first, first + n), np.tile(np.float32(box), (n, 1)))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param((0, 0, 10, 10), 1, id="identical"),
        pytest.param((5, 0, 15, 10), 50 / 150, id="half a box to the right"),
        pytest.param((5, 5, 15, 15), 25 / 175, id="half a box to the right and down"),
        pytest.param((2, 2, 4, 7), 10 / 100, id="inside"),
        pytest.param((10, 0, 20, 10), 0, id="touching"),
        pytest.param((20, 20, 30, 30), 0, id="diagonally apart: two negative sides are no area"),
        pytest.param((0.25, 0, 10.25, 10), 97.5 / 102.5, id="a quarter pixel to the right"),
    ],
)
def test_box_iou(box, expected):
    a, b = np.float32([[0, 0, 10, 10]]), np.float32([box])
    assert box_iou(a, b) == pytest.approx(np.array([[expected]]))
    assert box_iou(b, a) == pytest.approx(np.array([[expected]]))
    assert paired_box_iou(a, b) == pytest.approx([expected])


def test_integer_boxes_are_widened_before_arithmetic():
    # 200 + 100 is 44 in uint8; published annotations come in this type
    a, b = np.uint8([[100, 100, 200, 200]]), np.uint8([[100, 100, 200, 250]])
    assert box_iou(a, b)[0, 0] == pytest.approx(100 * 100 / (100 * 150))
    assert box_areas(b).tolist() == [100 * 150]


def test_boxes_without_area_overlap_nothing():
    assert box_iou(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0]]
    assert box_areas(np.float32([[5, 5, 1, 1]])).tolist() == [0.0]


def test_no_boxes_give_empty_results():
    none, one = np.zeros((0, 4)), np.float32([[0, 0, 1, 1]])
    assert box_iou(none, one).shape == (0, 1)
    assert box_iou(one, none).shape == (1, 0)
    assert paired_box_iou(none, none).shape == (0,)
    assert nms(none, np.zeros(0), 0.5).tolist() == []


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="compared in pairs, got 1 and 2"):
        paired_box_iou(np.zeros((1, 4)), np.zeros((2, 4)))


class TestNms:
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 8], [20, 0, 30, 10], [0, 0, 10, 5]])
    # IoU with the first: 0.8, 0, 0.5

    def test_keeps_by_falling_score_what_no_better_box_covers(self):
        assert nms(self.boxes, np.float32([0.9, 0.8, 0.95, 0.7]), 0.5).tolist() == [2, 0, 3]

    def test_a_box_at_the_threshold_stays(self):
        assert 3 in nms(self.boxes, np.float32([0.9, 0.8, 0.95, 0.7]), 0.5)
        assert 3 not in nms(self.boxes, np.float32([0.9, 0.8, 0.95, 0.7]), 0.49)

    def test_a_removed_box_removes_nothing(self):
        # 3 is 0.8 x 0.5 of 1 (IoU 5/8), but 1 is gone by then
        assert nms(self.boxes[[0, 1, 3]], np.float32([0.9, 0.8, 0.7]), 0.6).tolist() == [0, 2]

    def test_of_equal_scores_the_first_box_stays(self):
        assert nms(np.tile(self.boxes[0], (3, 1)), np.float32([0.5, 0.5, 0.5]), 0.3).tolist() == [0]

    def test_threshold_1_keeps_copies(self):
        assert nms(np.tile(self.boxes[0], (2, 1)), np.float32([0.4, 0.5]), 1.0).tolist() == [1, 0]

    def test_a_score_is_needed_for_each_box(self):
        with pytest.raises(ValueError, match="expected 4 scores"):
            nms(self.boxes, np.zeros(3), 0.5)


class TestInterpolation:
    frames = np.array([2, 4, 10])
    boxes = np.float32([[0, 0, 10, 10], [2, 4, 12, 14], [8, 4, 12, 14]])

    def test_corners_lie_on_the_line_between_known_boxes(self):
        found = interpolate_boxes(self.frames, self.boxes, np.array([3, 7]))
        assert found.tolist() == [[1, 2, 11, 12], [5, 4, 12, 14]]
        assert found.dtype == np.float32

    def test_the_nearest_box_is_repeated_outside(self):
        found = interpolate_boxes(self.frames, self.boxes, np.array([0, 99]))
        assert found.tolist() == [self.boxes[0].tolist(), self.boxes[2].tolist()]

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=40))
    def test_known_boxes_come_back_bit_for_bit(self, numbers):
        boxes = np.float32(numbers[: len(numbers) // 4 * 4]).reshape(-1, 4)
        frames = np.arange(len(boxes)) * 3
        assert interpolate_boxes(frames, boxes, frames).tobytes() == boxes.tobytes()

    def test_something_must_be_known(self):
        with pytest.raises(ValueError, match="at least one"):
            interpolate_boxes(np.zeros(0), np.zeros((0, 4)), np.array([1]))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param(still(0, 4), still(0, 4), 1, id="identical"),
        pytest.param(still(0, 4), still(4, 4), 0, id="touching in time is not overlap"),
        pytest.param(still(0, 4), still(2, 4), 2 / 6, id="2 shared frames of 6"),
        pytest.param(still(0, 4), still(3, 1), 1 / 4, id="a single shared frame counts"),
        pytest.param(still(0, 4), still(0, 4, (5, 0, 15, 10)), 50 / 150, id="half a box to the right"),
        pytest.param(still(0, 4), still(2, 4, (5, 0, 15, 10)), 2 / 6 * 50 / 150, id="both"),
        pytest.param(
            still(0, 4),
            Tube("run", np.array([0, 3]), np.float32([[0, 0, 10, 10]] * 2)),
            2 / 4,
            id="frames in a hole are not shared",
        ),
    ],
)
def test_tube_iou(a, b, expected):
    assert tube_iou(a, b) == pytest.approx(expected)
    assert tube_iou(b, a) == pytest.approx(expected)


def test_smoothing_takes_the_mean_of_a_window_that_shrinks_towards_the_ends():
    boxes = np.float32([0, 9, 0, 0, 9, 0])[:, None] * np.ones(4, np.float32)
    assert smooth_boxes(boxes, 3)[:, 2].tolist() == [0, 3, 3, 3, 3, 0]
    assert smooth_boxes(boxes, 5)[:, 0].tolist() == pytest.approx([0, 3, 18 / 5, 18 / 5, 3, 0])
    assert smooth_boxes(boxes, 1).tolist() == boxes.tolist()
    assert smooth_boxes(boxes[:1], 99).tolist() == boxes[:1].tolist()
    assert smooth_boxes(boxes[:0], 9).shape == (0, 4)


def test_smoothing_leaves_even_motion_alone():
    boxes = np.arange(40, dtype=np.float32)[:, None] * np.float32([1, 2, 3, -4])
    assert smooth_boxes(boxes, 9) == pytest.approx(boxes)
