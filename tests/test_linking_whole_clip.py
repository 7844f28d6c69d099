import numpy as np
import pytest

from linking.records import Tube
from linking.whole_clip import over_whole_clip


def tube_in(start, end, score=0.6):
    n = end - start
    boxes = np.float32([0, 0, 10, 20]) + np.arange(n, dtype=np.float32)[:, None]
    return Tube("run", np.arange(start, end), boxes, np.full(n, score, np.float32), score, 7)


def test_a_tube_of_most_of_the_clip_goes_on_to_both_ends_with_its_outer_boxes():
    tube = over_whole_clip(tube_in(2, 8), 10)
    assert tube.frames.tolist() == list(range(10))
    assert tube.boxes[:, 0].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 5, 5]
    assert np.isnan(tube.scores).tolist() == [True] * 2 + [False] * 6 + [True] * 2
    assert (tube.label, tube.id, tube.score) == ("run", 7, pytest.approx(0.6 * 6 / 10))


def test_half_the_clip_is_enough_and_less_is_not():
    assert len(over_whole_clip(tube_in(0, 5), 10)) == 10
    short = over_whole_clip(tube_in(0, 4), 10)
    assert (len(short), short.score) == (4, pytest.approx(0.6 * 4 / 10))


def test_a_tube_of_the_whole_clip_stays_as_it_is():
    tube, same = tube_in(0, 10), over_whole_clip(tube_in(0, 10), 10)
    assert same.score == tube.score
    assert same.boxes.tolist() == tube.boxes.tolist()
    assert same.scores.tolist() == tube.scores.tolist()


@pytest.mark.parametrize(("start", "end", "shot"), [(1, 9, (0, 10)), (12, 18, (10, 20)), (21, 29, (20, 30))])
def test_each_shot_is_a_clip_of_its_own(start, end, shot):
    tube = over_whole_clip(tube_in(start, end), 30, cuts=(10, 20))
    assert (tube.first_frame, tube.end_frame) == shot
    assert tube.score == pytest.approx(0.6 * (end - start) / 10)
