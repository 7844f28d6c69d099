import dataclasses

import numpy as np
import pytest

from linking.geometry import tube_iou
from linking.link import PAPER, LinkConfig, link_actors, link_class, link_classes
from linking.records import Detections, Tube

ANY = LinkConfig(min_boxes=1)
"""The default without the minimum of boxes, which small examples would not reach."""


def frame_of(frame, *boxes_and_scores):
    """Detections of one frame; each argument is a box and its score of the only class."""
    boxes = [box for box, _ in boxes_and_scores]
    scores = np.array([[score] for _, score in boxes_and_scores]).reshape(-1, 1)
    return Detections(frame, np.array(boxes).reshape(-1, 4), scores.max(axis=1, initial=0), scores)


def at(x, y=0, width=40, height=80):
    return (x, y, x + width, y + height)


def walk(frames, start, speed, *, score=0.6, missing=(), **box):
    """An actor that moves to the right at ``speed`` pixels a frame, as {frame: (box, score)}."""
    return {t: (at(start + speed * t, **box), score) for t in frames if t not in missing}


def film(*actors, num_frames):
    """Detections of actors given as by ``walk``."""
    return [frame_of(t, *(actor[t] for actor in actors if t in actor)) for t in range(num_frames)]


def truth(actor):
    frames = sorted(actor)
    return Tube("run", np.array(frames), np.array([actor[t][0] for t in frames]))


def spans(tubes):
    return [(tube.first_frame, tube.end_frame) for tube in tubes]


def test_one_actor_is_one_tube_with_his_boxes_and_scores():
    actor = walk(range(3, 20), 10, 2)
    (tube,) = link_class(film(actor, num_frames=25), 0, "run", LinkConfig())
    assert tube.label == "run"
    assert spans([tube]) == [(3, 20)]
    assert tube.boxes.tolist() == truth(actor).boxes.tolist()
    assert tube.scores.tolist() == pytest.approx([0.6] * 17)
    assert tube.score == pytest.approx(0.6)


def test_nothing_in_the_video_is_no_tube():
    assert link_class([], 0, "run", LinkConfig()) == []
    assert link_class(film(num_frames=3), 0, "run", LinkConfig()) == []
    assert link_classes(film(num_frames=3), ["run"], LinkConfig()) == []
    assert link_actors([], LinkConfig()) == []


def test_a_missed_frame_is_bridged_by_an_interpolated_box_without_a_score():
    actor = walk(range(12), 10, 2)
    (tube,) = link_class(film(walk(range(12), 10, 2, missing=[5]), num_frames=12), 0, "run", LinkConfig())
    assert spans([tube]) == [(0, 12)]
    assert tube.boxes.tolist() == truth(actor).boxes.tolist()  # half way from 18 to 22 is 20, where the actor was
    assert np.flatnonzero(np.isnan(tube.scores)).tolist() == [5]
    assert tube.score == pytest.approx(0.6)  # the missed frame does not count


@pytest.mark.parametrize(("missing", "expected"), [(range(10, 13), [(0, 30)]), (range(10, 14), [(0, 10), (14, 30)])])
def test_a_gap_longer_than_allowed_breaks_the_tube(missing, expected):
    config = LinkConfig(max_gap=3)
    tubes = link_class(film(walk(range(30), 10, 0, missing=missing), num_frames=30), 0, "run", config)
    assert sorted(spans(tubes)) == expected


def test_frames_without_a_record_are_frames_without_a_box():
    detections = film(walk(range(12), 10, 2), num_frames=12)
    del detections[4:6]
    (tube,) = link_class(detections, 0, "run", LinkConfig())
    assert np.flatnonzero(np.isnan(tube.scores)).tolist() == [4, 5]


def test_boxes_below_the_threshold_are_gaps_too():
    actor = walk(range(12), 10, 0)
    actor[6] = (actor[6][0], 0.01)
    (tube,) = link_class(film(actor, num_frames=12), 0, "run", LinkConfig(score_threshold=0.05))
    assert np.flatnonzero(np.isnan(tube.scores)).tolist() == [6]


def test_a_tube_breaks_rather_than_jumping_across_the_picture():
    here, there = walk(range(10), 10, 0), walk(range(10, 20), 200, 0)
    tubes = link_class(film(here, there, num_frames=20), 0, "run", LinkConfig())
    assert sorted(spans(tubes)) == [(0, 10), (10, 20)]


def test_a_hard_cut_ends_tubes_even_where_the_next_shot_has_an_actor_at_the_same_place():
    detections = film(walk(range(24), 10, 0), num_frames=24)
    assert spans(link_class(detections, 0, "run", LinkConfig())) == [(0, 24)]
    assert sorted(spans(link_class(detections, 0, "run", LinkConfig(), cuts=[12]))) == [(0, 12), (12, 24)]
    # nor is a gap bridged across it
    del detections[10:14]
    assert sorted(spans(link_class(detections, 0, "run", LinkConfig(), cuts=[12]))) == [(0, 10), (14, 24)]


def test_actors_of_one_class_side_by_side_become_separate_tubes():
    actors = [walk(range(20), x, 1, score=score) for x, score in ((0, 0.5), (60, 0.9), (120, 0.7))]
    tubes = link_class(film(*actors, num_frames=20), 0, "run", LinkConfig())
    assert [tube.boxes[0, 0] for tube in tubes] == [60, 120, 0]  # best first
    assert spans(tubes) == [(0, 20)] * 3


def test_two_actors_who_cross_keep_their_tubes():
    right = walk(range(40), 0, 5, score=0.9, height=90)
    left = walk(range(40), 195, -5, score=0.6)
    tubes = link_class(film(right, left, num_frames=40), 0, "run", LinkConfig())
    # the better one is followed throughout; the other is hidden while they overlap by more than nms_iou
    assert len(tubes) == 2
    assert tube_iou(tubes[0], truth(right)) == pytest.approx(1)
    assert tube_iou(tubes[1], truth(left)) == pytest.approx(1)
    hidden = np.flatnonzero(np.isnan(tubes[1].scores))
    assert 0 < len(hidden) < 10
    assert hidden.tolist() == list(range(hidden[0], hidden[-1] + 1))


def test_an_actor_does_not_borrow_the_box_of_his_neighbour_for_a_missed_frame():
    # they overlap by 0.21, enough for an edge; through the three boxes of the other a path is worth 3 (0.2 + 0.2) for
    # scores and 0.21 + 1 + 1 + 0.21 for overlaps, together 3.62; straight across the gap an overlap of 1 counts 4 times
    one, other = walk(range(30), 0, 0, missing=[9, 10, 11]), walk(range(30), 26, 0, score=0.2)
    tubes = link_class(film(one, other, num_frames=30), 0, "run", LinkConfig())
    assert sorted(tube.boxes[10, 0] for tube in tubes) == [0, 26]
    assert [len(set(tube.boxes[:, 0].tolist())) for tube in tubes] == [1, 1]


def test_near_copies_of_a_box_do_not_become_tubes_of_their_own():
    copies = [walk(range(20), x, 1, score=score) for x, score in ((0, 0.9), (5, 0.8), (-4, 0.7))]
    tubes = link_class(film(*copies, num_frames=20), 0, "run", LinkConfig())
    assert len(tubes) == 1
    assert tubes[0].score == pytest.approx(0.9)


def test_noise_does_not_become_tubes():
    rng = np.random.default_rng(0)
    actor = walk(range(60), 10, 1)
    detections = []
    for t in range(60):
        noise = [(at(*rng.uniform(0, 200, 2), *rng.uniform(10, 40, 2)), rng.uniform(0.05, 0.3)) for _ in range(5)]
        detections.append(frame_of(t, actor[t], *noise))
    tubes = link_class(detections, 0, "run", LinkConfig())
    assert tube_iou(tubes[0], truth(actor)) == pytest.approx(1)
    assert len(tubes) <= 3
    assert all(tube.score < 0.3 for tube in tubes[1:])


def test_at_most_max_paths_at_a_time():
    early = [walk(range(15), 60 * k, 0, score=0.9 - k / 10) for k in range(4)]
    late = [walk(range(20, 35), 60 * k, 0, score=0.8 - k / 10) for k in range(4)]
    tubes = link_class(film(*early, *late, num_frames=35), 0, "run", LinkConfig(max_paths=2, max_gap=0))
    assert sorted((tube.first_frame, tube.boxes[0, 0]) for tube in tubes) == [(0, 0), (0, 60), (20, 0), (20, 60)]


def test_short_and_hollow_paths_are_dropped():
    short = film(walk(range(7), 0, 0), num_frames=20)
    assert link_class(short, 0, "run", LinkConfig(min_boxes=8)) == []
    assert len(link_class(short, 0, "run", LinkConfig(min_boxes=7))) == 1
    hollow = film(walk(range(0, 40, 4), 0, 0), num_frames=40)  # 10 boxes in 37 frames
    assert link_class(hollow, 0, "run", LinkConfig(min_coverage=0.3)) == []
    assert len(link_class(hollow, 0, "run", LinkConfig(min_coverage=0.25))) == 1


def test_a_video_shorter_than_the_minimum_can_have_tubes():
    assert spans(link_class(film(walk(range(3), 0, 0), num_frames=3), 0, "run", LinkConfig())) == [(0, 3)]
    assert spans(link_class(film(walk(range(1), 0, 0), num_frames=1), 0, "run", LinkConfig())) == [(0, 1)]


def random_film(seed, num_frames=30, classes=3):
    rng = np.random.default_rng(seed)
    detections = []
    for t in range(num_frames):
        n = rng.integers(0, 6)
        corner = rng.uniform(0, 60, (n, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(20, 50, (n, 2))], axis=1)
        scores = rng.uniform(0, 1, (n, classes))
        detections.append(Detections(t, boxes, scores.max(axis=1, initial=0), scores))
    return detections


@pytest.mark.parametrize("config", [ANY, PAPER, LinkConfig(min_boxes=3, nms_iou=0.7, max_gap=2)])
@pytest.mark.parametrize("seed", range(3))
def test_all_classes_at_once_are_each_class_alone(seed, config):
    detections, labels = random_film(seed), ["a", "b", "c"]
    together = link_classes(detections, labels, config)
    alone = [tube for column, label in enumerate(labels) for tube in link_class(detections, column, label, config)]
    assert [(tube.label, spans([tube]), tube.score) for tube in together] == [
        (tube.label, spans([tube]), tube.score) for tube in alone
    ]
    assert all(a.boxes.tobytes() == b.boxes.tobytes() for a, b in zip(together, alone))


@pytest.mark.parametrize("seed", range(3))
def test_tubes_share_no_box_of_a_class_and_have_no_holes(seed):
    seen = set()
    for tube in link_class(random_film(seed), 0, "run", ANY):
        assert np.diff(tube.frames).tolist() == [1] * (len(tube) - 1)
        assert not np.isnan(tube.scores[[0, -1]]).any()  # a tube begins and ends with a box of its own
        own = {(t, box.tobytes()) for t, box, s in zip(tube.frames, tube.boxes, tube.scores) if not np.isnan(s)}
        assert seen.isdisjoint(own)
        seen |= own


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_boxes_within_a_frame_does_not_matter(seed):
    detections = random_film(seed)
    turned = [Detections(d.frame, d.boxes[::-1], d.scores[::-1], d.class_scores[::-1]) for d in detections]
    ours, theirs = (link_class(d, 1, "run", ANY) for d in (detections, turned))
    assert [tube.boxes.tolist() for tube in ours] == [tube.boxes.tolist() for tube in theirs]


class TestAsPublished:
    def test_paths_span_the_video_and_may_jump(self):
        here, there = walk(range(10), 10, 0), walk(range(10, 20), 200, 0)
        assert spans(link_class(film(here, there, num_frames=20), 0, "run", PAPER)) == [(0, 20)]

    def test_a_frame_without_a_box_leaves_no_path(self):
        assert link_class(film(walk(range(20), 10, 0, missing=[7]), num_frames=20), 0, "run", PAPER) == []

    def test_there_are_at_most_three_paths(self):
        actors = [walk(range(5), 60 * k, 0, score=0.9 - k / 10) for k in range(5)]
        tubes = link_class(film(*actors, num_frames=5), 0, "run", PAPER)
        assert [tube.boxes[0, 0] for tube in tubes] == [0, 60, 120]

    def test_only_the_five_best_boxes_of_a_frame_count(self):
        # five boxes outscore the sixth in the second frame, so the sixth is cut there
        boxes = [at(60 * k) for k in range(6)]
        first = frame_of(0, *((box, 0.9) for box in boxes))
        second = frame_of(1, *((box, 0.9 if k < 5 else 0.8) for k, box in enumerate(boxes)))
        tubes = link_class([first, second], 0, "run", dataclasses.replace(PAPER, max_paths=9))
        assert sorted(tube.boxes[1, 0] for tube in tubes) == [0, 60, 120, 180, 240]

    def test_overlaps_count_the_last_pixel(self):
        # 10 wide and 1 apart: disjoint, but 10..20 inclusive touches 20..30 in the shared column 20
        chain = [frame_of(0, (at(0, width=10), 0.5), (at(100, width=10), 0.5)), frame_of(1, (at(10, width=10), 0.5))]
        (tube,) = link_class(chain, 0, "run", PAPER)
        assert tube.boxes[0, 0] == 0  # overlap 1 * 81 of 2 * 11 * 81 - 81, against 0

    def test_the_published_sum_decides(self):
        # from frame 0 to 1: 0.5 + 0.9 + 0 by the better box, 0.5 + 0.3 + 1 by the one that stays
        still, better = at(0), at(200)
        detections = [frame_of(0, (still, 0.5)), frame_of(1, (still, 0.3), (better, 0.9))]
        (tube,) = link_class(detections, 0, "run", PAPER)
        assert tube.boxes[1, 0] == 0
        detections[1] = frame_of(1, (still, 0.3), (better, 1.5))  # 0.5 + 1.5 + 0 is more than 1.8
        (tube,) = link_class(detections, 0, "run", PAPER)
        assert tube.boxes[1, 0] == 200


def test_actors_are_linked_by_objectness_whatever_they_do():
    box = np.float32([at(0)])
    detections = [Detections(t, box, [0.8], [[0.0, 0.001]]) for t in range(10)]
    assert link_classes(detections, ["a", "b"], LinkConfig()) == []
    (tube,) = link_actors(detections, LinkConfig())
    assert (tube.label, tube.score) == ("", pytest.approx(0.8))


class TestRefusals:
    def test_boxes_without_class_scores(self):
        with pytest.raises(ValueError, match="frame 2 have no class scores"):
            link_class([Detections(2, [at(0)], [0.5])], 0, "run", LinkConfig())

    def test_labels_for_other_classes(self):
        with pytest.raises(ValueError, match="1 class scores a box, but 2 labels"):
            link_classes([frame_of(0, (at(0), 1))], ["a", "b"], LinkConfig())

    def test_frames_out_of_order(self):
        frames = [frame_of(t, (at(0), 1)) for t in (1, 0)]
        with pytest.raises(ValueError, match="ascending frames"):
            link_class(frames, 0, "run", LinkConfig())

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"nms_iou": 1.5}, "nms_iou .* 0..1, got 1.5"),
            ({"max_gap": -1}, "max_gap must be 0 or more"),
            ({"top_boxes": 0}, "top_boxes must be 1 or more"),
            ({"overlap_weight": -1.0}, "0 or more"),
            ({"whole_video": True}, "max_gap must be 0"),
        ],
    )
    def test_settings_that_make_no_sense(self, changes, message):
        with pytest.raises(ValueError, match=message):
            LinkConfig(**changes)
