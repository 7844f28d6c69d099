import dataclasses

import numpy as np
import pytest

from linking.build import (
    PRESETS,
    SelectConfig,
    TubeConfig,
    build_tubes,
    class_scores_of,
    suppress_tubes,
    top_classes,
)
from linking.geometry import tube_iou
from linking.link import LinkConfig
from linking.online import OnlineConfig
from linking.records import Detections, Tube
from linking.scores import ScoredVideo
from linking.trim import TrimConfig

CLASSES = ("run", "jump", "sit")


def scored(frames, cuts=()):
    """A video; each frame is a list of (x, (score of each class))."""
    detections = []
    for t, boxes in enumerate(frames):
        corners = np.array([(x, 0, x + 40, 80) for x, _ in boxes]).reshape(-1, 4)
        class_scores = np.array([s for _, s in boxes]).reshape(-1, len(CLASSES))
        detections.append(Detections(t, corners, np.full(len(boxes), 0.9), class_scores))
    return ScoredVideo("clip", CLASSES, tuple(detections), 320, 240, 25.0, cuts)


FRAME_BY_FRAME = TrimConfig(share_frames=1)
RUNS, JUMPS, IDLE = (0.8, 0.04, 0.02), (0.1, 0.7, 0.02), (0.02, 0.02, 0.02)


def described(tubes):
    return [(tube.id, tube.label, tube.first_frame, tube.end_frame) for tube in tubes]


def test_a_change_of_action_gives_one_tube_for_each():
    video = scored([[(t, RUNS)] for t in range(20)] + [[(t, JUMPS)] for t in range(20, 50)])
    tubes = build_tubes(video, trim=FRAME_BY_FRAME)
    assert described(tubes) == [(0, "run", 0, 20), (1, "jump", 20, 50)]
    assert [tube.score for tube in tubes] == pytest.approx([0.8, 0.7])


def test_by_default_a_change_of_action_is_found_within_half_a_second():
    video = scored([[(t, RUNS)] for t in range(60)] + [[(t, JUMPS)] for t in range(60, 120)])
    run, jump = build_tubes(video)
    assert (run.label, run.first_frame, jump.label, jump.end_frame) == ("run", 0, "jump", 120)
    assert run.end_frame == pytest.approx(60, abs=12)
    assert jump.first_frame == pytest.approx(60, abs=12)


def test_two_clips_that_take_an_action_for_another_do_not_cut_its_tube():
    wrong = range(24, 40)
    frames = [[(t, JUMPS if t in wrong else RUNS)] for t in range(64)]
    cut, whole = (
        [tube for tube in build_tubes(scored(frames), trim=trim) if tube.label == "run"]
        for trim in (FRAME_BY_FRAME, TrimConfig())
    )
    assert [(tube.first_frame, tube.end_frame) for tube in cut] == [(0, 24), (40, 64)]
    assert [(tube.first_frame, tube.end_frame) for tube in whole] == [(0, 64)]


def test_an_actor_who_stops_is_trimmed_at_once_however_shares_are_averaged():
    # his shares stay the same; what he scores for all classes together falls
    stands = tuple(0.1 * score for score in RUNS)
    video = scored([[(t, RUNS)] for t in range(40)] + [[(t, stands)] for t in range(40, 80)])
    assert described(build_tubes(video)) == [(0, "run", 0, 40)]


def test_without_trimming_a_tube_keeps_its_whole_length():
    video = scored([[(t, RUNS)] for t in range(20)] + [[(t, JUMPS)] for t in range(20, 50)])
    tubes = build_tubes(video, LinkConfig(), None)
    # the actor is one path, and has the score of both classes over all of it
    assert described(tubes) == [(0, "jump", 0, 50), (1, "run", 0, 50)]
    assert tubes[1].score == pytest.approx((20 * 0.8 + 30 * 0.1) / 50)


def test_linked_class_by_class_a_tube_ends_where_its_class_does():
    video = scored([[(t, RUNS)] for t in range(20)] + [[(t, JUMPS)] for t in range(20, 50)])
    tubes = build_tubes(video, LinkConfig(class_agnostic=False), None)
    # running is scored 0.1 during the jump, which is still above the threshold of linking
    assert described(tubes) == [(0, "jump", 20, 50), (1, "run", 0, 50)]
    assert tubes[1].score == pytest.approx((20 * 0.8 + 30 * 0.1) / 50)


def test_boxes_of_a_path_are_smoothed_after_their_scores_were_looked_up():
    steps = [0, 3, 0, 3, 0, 3, 0, 3, 0, 3]  # jitter of 3 pixels
    video = scored([[(step, RUNS)] for step in steps])
    (rough,) = [t for t in build_tubes(video, LinkConfig(smooth=1), None) if t.label == "run"]
    (smooth,) = [t for t in build_tubes(video, LinkConfig(smooth=3), None) if t.label == "run"]
    assert (rough.boxes[:, 0] - rough.boxes[0, 0]).tolist() == steps
    # the first and the last box stand alone, the others are the mean of three
    assert smooth.boxes[:, 0] - rough.boxes[0, 0] == pytest.approx([0, 1, 2, 1, 2, 1, 2, 1, 2, 3])
    assert smooth.scores.tolist() == rough.scores.tolist()


def test_in_a_whole_clip_the_tube_that_is_there_most_of_the_time_has_all_of_it():
    frames = [[] for _ in range(4)] + [[(t, RUNS)] for t in range(14)] + [[] for _ in range(2)]
    video = scored(frames)
    (tube,) = [t for t in build_tubes(video, LinkConfig(), None, whole_clip=True) if t.label == "run"]
    assert (tube.first_frame, tube.end_frame) == (0, 20)
    assert tube.score == pytest.approx(0.8 * 14 / 20)
    trimmed = [described(build_tubes(video, LinkConfig(), whole_clip=whole)) for whole in (False, True)]
    assert trimmed[0] == trimmed[1]  # of no account where tubes are trimmed


def test_an_empty_video_has_no_tubes():
    assert build_tubes(scored([])) == []
    assert build_tubes(scored([[], [], []])) == []
    assert build_tubes(scored([[], []]), LinkConfig(class_agnostic=True)) == []


def test_nothing_is_linked_across_a_cut():
    frames = [[(0, RUNS)] for _ in range(40)]
    assert described(build_tubes(scored(frames))) == [(0, "run", 0, 40)]
    assert sorted(described(build_tubes(scored(frames, cuts=(15,))))) == [(0, "run", 0, 15), (1, "run", 15, 40)]


def test_ids_count_from_0_by_falling_score():
    frames = [[(0, (0.5, 0, 0)), (100, (0.9, 0, 0)), (200, (0, 0.7, 0))] for _ in range(10)]
    tubes = build_tubes(scored(frames))
    assert [(tube.id, tube.label, tube.boxes[0, 0]) for tube in tubes] == [
        (0, "run", 100),
        (1, "jump", 200),
        (2, "run", 0),
    ]


def test_weak_tubes_and_too_many_tubes_are_left_out():
    frames = [[(0, (0.5, 0, 0)), (100, (0.9, 0, 0)), (200, (0, 0.7, 0))] for _ in range(10)]
    assert len(build_tubes(scored(frames), select=SelectConfig(min_score=0.6))) == 2
    assert [tube.score for tube in build_tubes(scored(frames), select=SelectConfig(max_tubes=1))] == pytest.approx(
        [0.9]
    )


def test_classes_that_are_not_asked_for_still_count_in_the_shares():
    frames = [[(t, JUMPS if 24 <= t < 40 else RUNS)] for t in range(64)]
    (run,) = build_tubes(scored(frames), labels=["run"])
    assert described([run]) == [(0, "run", 0, 64)]
    assert build_tubes(scored(frames), labels=[]) == []


class TestActorsFirst:
    """The other reading of the paper: link actors, give each tube its classes afterwards."""

    config = LinkConfig(class_agnostic=True)

    def test_a_tube_gets_the_mean_score_of_each_class_over_its_boxes(self):
        video = scored([[(0, RUNS)] for _ in range(10)] + [[(0, JUMPS)] for _ in range(10)])
        tubes = build_tubes(video, self.config, None, SelectConfig(min_score=0.05))
        assert [(tube.label, tube.score) for tube in tubes] == [
            ("run", pytest.approx((10 * 0.8 + 10 * 0.1) / 20)),
            ("jump", pytest.approx((10 * 0.04 + 10 * 0.7) / 20)),
        ]
        assert tubes[1].scores[0] == pytest.approx(0.04)

    def test_identity_outlasts_a_change_of_action_and_each_class_is_trimmed(self):
        video = scored([[(0, RUNS)] for _ in range(20)] + [[(0, JUMPS)] for _ in range(20)])
        tubes = build_tubes(video, self.config, FRAME_BY_FRAME, SelectConfig(min_score=0.05))
        assert described(tubes) == [(0, "run", 0, 20), (1, "jump", 20, 40)]

    def test_a_missed_frame_is_bridged(self):
        video = scored([[(t, RUNS)] if t != 5 else [] for t in range(12)])
        tube = build_tubes(video, self.config)[0]
        assert described([tube]) == [(0, "run", 0, 12)]
        assert np.flatnonzero(np.isnan(tube.scores)).tolist() == [5]


class TestOnline:
    """The type of the settings says which linker is used; everything after it is the same."""

    video = staticmethod(
        lambda: scored([[(t, RUNS if t < 60 else JUMPS)] if t != 5 else [] for t in range(120)])
    )

    def test_the_tubes_of_one_actor_are_those_of_the_offline_linker(self):
        online, offline = (
            dataclasses.replace(PRESETS[preset], trim=FRAME_BY_FRAME).build(self.video())
            for preset in ("online", "default")
        )
        assert described(online) == [(0, "run", 0, 60), (1, "jump", 60, 120)]
        assert described(offline) == described(online)
        for ours, theirs in zip(online, offline):
            assert np.array_equal(ours.boxes, theirs.boxes)
            assert np.array_equal(ours.scores, theirs.scores, equal_nan=True)
            assert ours.score == pytest.approx(theirs.score)

    def test_actors_first(self):
        online, offline = (
            build_tubes(self.video(), link, FRAME_BY_FRAME, SelectConfig(min_score=0.05))
            for link in (OnlineConfig(class_agnostic=True), LinkConfig(class_agnostic=True))
        )
        assert described(online) == described(offline) == [(0, "run", 0, 60), (1, "jump", 60, 120)]

    def test_cuts_and_short_videos(self):
        frames = [[(0, RUNS)] for _ in range(40)]
        assert sorted(described(build_tubes(scored(frames, cuts=(15,)), OnlineConfig()))) == [
            (0, "run", 0, 15),
            (1, "run", 15, 40),
        ]
        assert described(build_tubes(scored(frames[:3]), OnlineConfig())) == [(0, "run", 0, 3)]
        assert build_tubes(scored([[], []]), OnlineConfig(class_agnostic=True)) == []


@pytest.mark.parametrize("link", [LinkConfig(), LinkConfig(class_agnostic=True), OnlineConfig(class_agnostic=True)])
def test_trimming_by_all_labels_follows_the_best_class_of_each_box(link):
    # a weak action, 0.2, is no background as long as it is the best of the classes
    weak = (0.2, 0.06, 0.01)
    video = scored([[(t, weak)] if t != 5 else [] for t in range(20)] + [[(t, JUMPS)] for t in range(20, 50)])
    trim = TrimConfig(alpha=0.3, min_frames=8)
    tubes = build_tubes(video, link, trim, SelectConfig(min_score=0.05), trim_labels="all")
    assert described(tubes) == [(0, "jump", 20, 50), (1, "run", 0, 20)]


class TestSuppression:
    def tube(self, first, score, label="run", n=10):
        return Tube(label, np.arange(first, first + n), np.tile(np.float32([0, 0, 10, 10]), (n, 1)), None, score, 0)

    def test_the_better_of_two_overlapping_tubes_stays(self):
        one, other = self.tube(0, 0.5), self.tube(2, 0.6)
        assert tube_iou(one, other) == pytest.approx(8 / 12)
        assert suppress_tubes([one, other], 0.5) == [other]
        assert suppress_tubes([one, other], 0.7) == [other, one]

    def test_tubes_of_other_classes_and_other_times_stay(self):
        tubes = [self.tube(0, 0.9), self.tube(0, 0.8, "jump"), self.tube(20, 0.7)]
        assert suppress_tubes(tubes, 0.0) == tubes

    def test_1_keeps_even_copies(self):
        assert len(suppress_tubes([self.tube(0, 0.5), self.tube(0, 0.5)], 1.0)) == 2


class TestTopClasses:
    def test_mean_scores_over_the_boxes_best_first(self):
        video = scored([[(0, RUNS), (200, IDLE)] for _ in range(10)] + [[(0, JUMPS)] for _ in range(10)])
        (tube,) = (tube for tube in build_tubes(video, LinkConfig(), None) if tube.label == "run")
        names, means = zip(*top_classes(tube, video, 2))
        assert names == ("run", "jump")
        assert means == pytest.approx(((0.8 + 0.1) / 2, (0.04 + 0.7) / 2))
        assert len(top_classes(tube, video)) == 3
        assert len(top_classes(tube, video, 9)) == 3

    def test_interpolated_boxes_do_not_count(self):
        video = scored([[(0, RUNS)] if t != 5 else [] for t in range(12)])
        tube = build_tubes(video)[0]
        assert top_classes(tube, video, 1) == [("run", pytest.approx(0.8))]
        assert np.isnan(class_scores_of(tube, video)).all(axis=1).tolist() == [t == 5 for t in range(12)]

    def test_boxes_made_elsewhere_are_found_by_overlap(self):
        video = scored([[(0, RUNS), (200, IDLE)] for _ in range(4)])
        near = Tube("run", np.arange(4), np.tile(np.float32([4, 0, 44, 80]), (4, 1)), np.ones(4), 1.0)  # IoU 36 / 44
        assert top_classes(near, video, 1) == [("run", pytest.approx(0.8))]
        far = Tube("run", np.arange(4), np.tile(np.float32([80, 0, 120, 80]), (4, 1)), np.ones(4), 1.0)
        assert top_classes(far, video) == []
        later = Tube("run", np.arange(90, 94), np.tile(np.float32([0, 0, 40, 80]), (4, 1)), np.ones(4), 1.0)
        assert top_classes(later, video) == []


def test_presets_build_tubes():
    video = scored([[(t, RUNS)] for t in range(40)])
    assert described(PRESETS["default"].build(video))[0] == (0, "run", 0, 40)
    assert (0, "run", 0, 40) in described(PRESETS["paper"].build(video))
    assert (0, "run", 0, 40) in described(PRESETS["singh"].build(video))
    assert described(PRESETS["online"].build(video))[0] == (0, "run", 0, 40)
    untrimmed = dataclasses.replace(TubeConfig(), trimmed=False)
    assert described(untrimmed.build(video))[0] == (0, "run", 0, 40)


@pytest.mark.parametrize("changes", [{"nms_iou": 2.0}, {"max_tubes": 0}])
def test_settings_that_make_no_sense(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        SelectConfig(**changes)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_video_shorter_than_the_shortest_tube_has_tubes_all_the_same(frames: int) -> None:
    box, scores = np.float32([[0, 0, 10, 20]]), np.float32([[0.9]])
    detections = tuple(Detections(k, box, np.ones(1, np.float32), scores) for k in range(frames))
    (tube,) = build_tubes(ScoredVideo("short", ("wave",), detections, 64, 48, 25.0))
    assert tube.frames.tolist() == list(range(frames))
