import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linking.geometry import box_iou, nms
from linking.link import LinkConfig, link_actors, link_classes
from linking.online import SINGH, OnlineConfig, OnlineLinker, link_online
from linking.records import Detections
from tests.singh_published import published_paths

CLASSES = ("run", "jump", "sit")
ANY = OnlineConfig(min_boxes=1)
"""The default without the minimum of boxes, which small examples would not reach."""


def frame_of(frame, *boxes_and_scores):
    """Detections of one frame; each argument is a box and its score for running."""
    boxes = np.array([box for box, _ in boxes_and_scores]).reshape(-1, 4)
    scores = np.zeros((len(boxes), len(CLASSES)))
    scores[:, 0] = [score for _, score in boxes_and_scores]
    return Detections(frame, boxes, scores.max(axis=1, initial=0), scores)


def at(x, y=0, width=40, height=80):
    return (x, y, x + width, y + height)


def tubes_of(detections, config=ANY, cuts=()):
    return [linked.tube for linked in link_online(detections, CLASSES, config, cuts=cuts)]


def stream(seed, *, frames=50, actors=3, noise=3, steps=None):
    """Actors that wander, are missed, copied and change what they do, among boxes on nothing.

    ``steps``: corners and scores are multiples of 10 and of one over it, so that many of them are equal.
    """
    rng = np.random.default_rng(seed)
    place, speed = rng.uniform(0, 150, (actors, 2)), rng.normal(0, 2, (actors, 2))
    size, doing = rng.uniform(30, 80, (actors, 2)), rng.integers(0, 3, actors)
    detections = []
    for t in range(frames):
        place = place + speed
        if t % 25 == 24:
            doing = rng.integers(0, 3, actors)
        boxes, scores = [], []
        for k in range(actors):
            for _ in range((rng.random() < 0.75) * (1 + (rng.random() < 0.4))):
                corner = place[k] + rng.normal(0, 3, 2)
                boxes.append([*corner, *(corner + size[k] + rng.normal(0, 3, 2))])
                scores.append(rng.dirichlet(np.full(3, 0.5)) * 0.5 + 0.4 * (np.arange(3) == doing[k]))
        for _ in range(rng.poisson(noise)):
            corner = rng.uniform(0, 200, 2)
            boxes.append([*corner, *(corner + rng.uniform(10, 90, 2))])
            scores.append(rng.dirichlet(np.full(3, 0.3)) * rng.random())
        boxes, scores = np.array(boxes).reshape(-1, 4), np.array(scores).reshape(-1, 3)
        if steps is not None:
            boxes, scores = np.round(boxes / 10) * 10, np.round(scores * steps) / steps
            boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 10)
        detections.append(Detections(t, boxes, scores.max(axis=1, initial=0), scores))
    return detections


def described(tubes):
    return [
        (tube.label, tube.frames.tolist(), tube.boxes.tolist(), np.nan_to_num(tube.scores, nan=-1).tolist(), tube.score)
        for tube in tubes
    ]


class TestOneActor:
    def test_is_one_tube_with_his_boxes_and_scores(self):
        (tube,) = tubes_of([frame_of(t, (at(2 * t), 0.6)) for t in range(3, 20)])
        assert (tube.label, tube.first_frame, tube.end_frame) == ("run", 3, 20)
        assert tube.boxes.tolist() == [list(at(2 * t)) for t in range(3, 20)]
        assert tube.scores.tolist() == pytest.approx([0.6] * 17)
        assert tube.score == pytest.approx(0.6)

    def test_a_missed_frame_is_bridged_by_an_interpolated_box_without_a_score(self):
        (tube,) = tubes_of([frame_of(t, (at(2 * t), 0.6)) for t in range(9) if t not in (4, 5)])
        assert tube.boxes.tolist() == [list(at(2 * t)) for t in range(9)]  # from 6 to 12 in three steps
        assert np.flatnonzero(np.isnan(tube.scores)).tolist() == [4, 5]
        assert tube.score == pytest.approx(0.6)

    def test_as_published_a_missed_frame_repeats_what_was_found_after_it(self):
        frames = [frame_of(t, (at(2 * t), 0.1 * (t + 1))) for t in range(7) if t not in (3, 4)]
        (tube,) = tubes_of(frames, SINGH)
        assert tube.boxes[:, 0].tolist() == [0, 2, 4, 10, 10, 10, 12]
        assert tube.scores.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.6, 0.6, 0.6, 0.7])
        assert tube.score == pytest.approx((0.1 + 0.2 + 0.3 + 3 * 0.6 + 0.7) / 7)

    @pytest.mark.parametrize(("missed", "spans"), [(2, [(0, 14)]), (3, [(0, 6), (9, 14)])])
    def test_as_published_the_third_miss_in_a_row_ends_a_path(self, missed, spans):
        frames = [frame_of(t, (at(0), 0.6)) for t in range(14) if not 6 <= t < 6 + missed]
        tubes = tubes_of(frames, SINGH)
        assert sorted((tube.first_frame, tube.end_frame) for tube in tubes) == spans

    @pytest.mark.parametrize(("config", "least"), [(SINGH, 4), (OnlineConfig(), 8)])
    def test_short_paths_are_dropped(self, config, least):
        assert tubes_of([frame_of(t, (at(0), 0.6)) for t in range(least - 1)], config) == []
        assert len(tubes_of([frame_of(t, (at(0), 0.6)) for t in range(least)], config)) == 1

    def test_a_path_that_is_mostly_gaps_is_dropped(self):
        # 9 boxes in frames 0, 4, ..., 32: own boxes in 9 of 33 frames
        frames = [frame_of(4 * k, (at(0), 0.6)) for k in range(9)]
        assert len(tubes_of(frames, OnlineConfig(min_coverage=9 / 33))) == 1
        assert tubes_of(frames, OnlineConfig(min_coverage=0.28)) == []

    def test_nothing_is_no_tube(self):
        assert tubes_of([]) == []
        assert tubes_of([frame_of(0), frame_of(1)]) == []
        assert OnlineLinker(CLASSES).finish() == []


class TestWhoTakesWhichBox:
    def test_the_path_with_the_better_scores_chooses_first(self):
        # both may take the box at 20; the better one is the lower, who stands at 25
        before = [frame_of(t, (at(0), 0.5), (at(25), 0.9)) for t in range(4)]
        tubes = tubes_of([*before, frame_of(4, (at(20), 0.7))], dataclasses.replace(ANY, nms_iou=1.0))
        assert [(tube.end_frame, tube.boxes[-1, 0]) for tube in tubes] == [(5, 20), (4, 0)]

    def test_as_published_the_best_score_is_taken_however_little_it_overlaps(self):
        # shift 10 of 41: IoU 31 / 51; shift 30: 11 / 71, at least 0.1
        before = [frame_of(t, (at(0), 0.5)) for t in range(4)]
        after = frame_of(4, (at(10), 0.3), (at(30), 0.4))
        (tube,) = tubes_of([*before, after], SINGH)
        assert tube.boxes[-1, 0] == 30

    def test_the_default_weighs_overlap_and_score(self):
        # 0.3 + 30 / 50 against 0.4 + 12 / 68
        before = [frame_of(t, (at(0), 0.5)) for t in range(4)]
        after = frame_of(4, (at(10), 0.3), (at(28), 0.4))
        config = OnlineConfig(min_boxes=5, min_overlap=0.1, nms_iou=1.0)
        assert [tube.boxes[-1, 0] for tube in tubes_of([*before, after], config)] == [10]
        (tube,) = tubes_of([*before, after], dataclasses.replace(config, overlap_weight=0.0))
        assert tube.boxes[-1, 0] == 28

    def test_of_equal_boxes_the_first_and_of_equal_paths_the_older(self):
        one, other = (at(0), 0.5), (at(10), 0.5)
        config = dataclasses.replace(ANY, nms_iou=1.0)
        # both begin in frame 0, the left one as the first; of two copies of one box it takes the first
        linked = link_online([frame_of(0, one, other), frame_of(1, (at(5), 0.5), (at(5), 0.5))], CLASSES, config)
        assert [(tube.tube.boxes[0, 0], tube.rows.tolist()) for tube in linked] == [(0, [0, 0]), (10, [1, 1])]

    def test_classes_do_not_compete(self):
        both = Detections(0, [at(0)], [0.9], [[0.5, 0.4, 0.01]])
        tubes = tubes_of([dataclasses.replace(both, frame=t) for t in range(3)])
        assert [(tube.label, len(tube)) for tube in tubes] == [("run", 3), ("jump", 3)]


@pytest.mark.parametrize("seed", range(12))
def test_the_published_settings_give_the_published_paths(seed):
    detections = stream(seed, actors=1 + seed % 4, noise=seed % 5)
    frames = [(found.boxes.astype(float), found.class_scores.astype(float)) for found in detections]
    ours = link_online(detections, CLASSES, SINGH)
    theirs = [(label, path) for a, label in enumerate(CLASSES) for path in published_paths(frames, a)]
    assert len(theirs) > 5
    assert [one.tube.label for one in ours] == [label for label, _ in theirs]
    for one, (_, path) in zip(ours, theirs):
        assert one.tube.first_frame == path["start"]
        assert one.tube.boxes.tolist() == path["boxes"]
        assert one.tube.scores.tolist() == path["scores"]
        assert one.class_scores(detections).tolist() == path["all_scores"]


def by_definition(detections, column, config):
    """The paths of one class as [(frame, row), ...], one path and one box at a time; ``detections`` without holes."""
    live, ended = [], []
    for found in detections:
        scores = found.class_scores[:, column]
        kept = [b for b in nms(found.boxes, scores, config.nms_iou) if scores[b] >= config.score_threshold]
        free = kept[: config.top_boxes]
        for path in live:
            frame, row = path[-1]
            overlap = box_iou(detections[frame].boxes[row : row + 1], found.boxes)[0]
            worth = {b: scores[b] + config.overlap_weight * overlap[b] for b in sorted(free)}
            fitting = [b for b in sorted(free) if overlap[b] >= config.min_overlap]
            if fitting:
                best = max(fitting, key=lambda b: worth[b])  # of equals the first
                path.append((found.frame, best))
                free.remove(best)

        def mean_of_best(path):
            best = sorted(detections[t].class_scores[b, column] for t, b in path)[-config.order_scores :]
            return float(np.sum(np.float64(best)) / len(best))

        live.sort(key=mean_of_best, reverse=True)
        ended += [path for path in live if found.frame - path[-1][0] > config.max_gap]
        live = [path for path in live if found.frame - path[-1][0] <= config.max_gap]
        live += [[(found.frame, b)] for b in free]
    frames = {id(path): path[-1][0] - path[0][0] + 1 for path in ended + live}
    lasting = [path for path in ended + live if len(path) >= config.min_boxes]
    return sorted(path for path in lasting if len(path) >= config.min_coverage * frames[id(path)])


@pytest.mark.parametrize("steps", [None, 8])
@pytest.mark.parametrize("seed", range(6))
def test_the_default_gives_what_its_definition_says_ties_included(seed, steps):
    config = OnlineConfig(min_boxes=2, max_gap=4, top_boxes=4, min_coverage=0.4)
    detections = stream(seed, frames=40, steps=steps)
    ours = link_online(detections, CLASSES, config)
    for column, label in enumerate(CLASSES):
        own = [one for one in ours if one.tube.label == label]
        paths = sorted([(f, r) for f, r in zip(one.frames.tolist(), one.rows.tolist()) if f >= 0] for one in own)
        assert paths == by_definition(detections, column, config)


actor_lives = st.lists(
    st.tuples(
        st.integers(0, 40),  # where he begins
        st.sampled_from([-1.5, 0.0, 0.5, 2.0]),  # speed
        st.floats(0.06, 0.9),  # score
        st.sets(st.integers(0, 59), max_size=45),  # frames in which he is missed
    ),
    min_size=1,
    max_size=3,
)


@given(actor_lives)
@settings(max_examples=40, deadline=None)
def test_without_distractors_online_is_offline(actors):
    detections = []
    for t in range(60):
        seen = [
            (at(start + speed * t, y=100 * lane), score)
            for lane, (start, speed, score, missed) in enumerate(actors)
            if t not in missed
        ]
        detections.append(frame_of(t, *seen))
    online = tubes_of(detections, OnlineConfig())
    offline = link_classes(detections, CLASSES, LinkConfig())

    def known(tubes):
        return sorted(described(dataclasses.replace(tube, score=0.0) for tube in tubes))

    assert known(online) == known(offline)
    assert sorted(tube.score for tube in online) == pytest.approx(sorted(tube.score for tube in offline))
    actors_only = tubes_of(detections, OnlineConfig(class_agnostic=True))
    assert known(actors_only) == known(link_actors(detections, LinkConfig()))


@pytest.mark.parametrize("config", [OnlineConfig(), SINGH], ids=["default", "singh"])
def test_the_result_does_not_depend_on_how_the_stream_was_fed(config):
    detections = stream(3, noise=1, actors=2)
    for frame in (7, 8, 20, 30, 31, 32):
        detections[frame] = frame_of(frame)
    whole = OnlineLinker(CLASSES, config)
    for found in detections:
        whole.update(found)
    expected = whole.finish()
    assert expected

    piecemeal, taken = OnlineLinker(CLASSES, config), []
    for found in detections:
        if len(found) == 0:
            continue  # a frame left out is a frame without boxes
        piecemeal.update(found)
        piecemeal.live()
        if found.frame % 3 == 0:
            taken += piecemeal.finished()
    taken += piecemeal.finish()
    by_id = {tube.id: tube for tube in taken}
    assert described([by_id[tube.id] for tube in expected]) == described(expected)
    assert len(taken) == len(expected)


class TestLive:
    def test_tubes_are_shown_once_long_enough_and_keep_their_id(self):
        linker = OnlineLinker(CLASSES, OnlineConfig(min_boxes=3, max_gap=1))
        ids = []
        for t in range(5):
            linker.update(frame_of(t, (at(2 * t), 0.6)))
            ids.append([(tube.id, tube.end_frame) for tube in linker.live()])
        assert ids == [[], [], [(0, 3)], [(0, 4)], [(0, 5)]]
        linker.update(frame_of(5))
        assert [tube.end_frame for tube in linker.live()] == [5]  # in a gap, it may go on
        assert linker.finished() == []
        linker.update(frame_of(6))
        assert linker.live() == []
        (tube,) = linker.finished()
        assert (tube.id, tube.first_frame, tube.end_frame) == (0, 0, 5)
        assert linker.finished() == []  # taken out

    def test_the_last_frames_are_enough_for_a_trail_and_the_score_is_that_of_all(self):
        linker = OnlineLinker(CLASSES, ANY)
        for t, score in enumerate((0.9, 0.9, 0.6, 0.6)):
            linker.update(frame_of(t, (at(t), score)))
        (tube,) = linker.live(last=2)
        assert tube.frames.tolist() == [2, 3]
        assert tube.score == pytest.approx((0.9 + 0.9 + 0.6 + 0.6) / 4)

    @pytest.mark.parametrize("config", [ANY, dataclasses.replace(SINGH, min_boxes=1, max_gap=4)])
    @pytest.mark.parametrize("last", range(1, 12))
    def test_the_trail_is_the_end_of_the_tube_also_where_it_begins_in_a_gap(self, config, last):
        linker = OnlineLinker(CLASSES, config)
        for t in (0, 1, 5, 6, 9):
            linker.update(frame_of(t, (at(2 * t), 0.1 * (t + 1))))
        (trail,), (tube,) = linker.live(last=last), linker.live()
        assert trail.score == tube.score
        assert trail.frames.tolist() == tube.frames[-last:].tolist()
        assert trail.boxes.tolist() == tube.boxes[-last:].tolist()
        assert np.array_equal(trail.scores, tube.scores[-last:], equal_nan=True)

    def test_best_first(self):
        linker = OnlineLinker(CLASSES, ANY)
        linker.update(frame_of(0, (at(0), 0.5), (at(100), 0.9)))
        assert [tube.boxes[0, 0] for tube in linker.live()] == [100, 0]


def test_nothing_is_linked_across_a_cut():
    frames = [frame_of(t, (at(0), 0.6)) for t in range(12)]
    assert [len(tube) for tube in tubes_of(frames)] == [12]
    assert sorted((tube.first_frame, tube.end_frame) for tube in tubes_of(frames, cuts=[5])) == [(0, 5), (5, 12)]
    assert len(tubes_of(frames[:3] + frames[8:], cuts=[5])) == 2  # nor when the first frame of the shot is left out
    assert len(tubes_of(frames, cuts=[0, 12])) == 1
    linker = OnlineLinker(CLASSES, ANY)
    linker.update(frames[0])
    linker.cut()
    assert linker.live() == []
    assert [len(tube) for tube in linker.finished()] == [1]


def test_an_endless_stream_takes_bounded_memory():
    linker = OnlineLinker(CLASSES, OnlineConfig(max_frames=20, max_gap=2))
    rng = np.random.default_rng(0)
    lengths = []
    for t in range(200):
        noise = [(at(*rng.uniform(100, 400, 2)), 0.3) for _ in range(3)]
        linker.update(frame_of(t, (at(0), 0.6), *noise))
        lengths += [len(tube) for tube in linker.finished() if tube.boxes[0, 0] == 0]
        assert sum(len(path) for path in linker._paths) <= 20 + 3 * 20
        assert linker._ended == []
    assert lengths == [20] * 10


def test_as_published_a_class_looks_at_its_best_boxes_only():
    # of 3 boxes 2 are looked at; the second goes by suppression, and the third is not asked in its place
    frames = [frame_of(t, (at(0), 0.9), (at(2), 0.8), (at(100), 0.7)) for t in range(4)]
    assert len(tubes_of(frames, dataclasses.replace(SINGH, candidate_boxes=2))) == 1
    assert len(tubes_of(frames, dataclasses.replace(SINGH, candidate_boxes=3))) == 2


def test_as_published_a_score_must_be_above_the_threshold():
    bar = np.float32(0.001)
    assert tubes_of([frame_of(t, (at(0), bar)) for t in range(5)], SINGH) == []
    assert len(tubes_of([frame_of(t, (at(0), np.nextafter(bar, np.float32(1)))) for t in range(5)], SINGH)) == 1


def test_rows_say_which_detection_a_box_is():
    frames = [frame_of(0, (at(200), 0.3), (at(0), 0.6)), frame_of(1), frame_of(2, (at(4), 0.6))]
    (one,) = [one for one in link_online(frames, CLASSES, ANY) if len(one.tube) == 3]
    assert (one.frames.tolist(), one.rows.tolist()) == ([0, -1, 2], [1, -1, 0])
    assert np.isnan(one.class_scores(frames)).all(axis=1).tolist() == [False, True, False]
    np.testing.assert_allclose(one.any_class, one.class_scores(frames).sum(axis=1))
    repeat = dataclasses.replace(ANY, gap_boxes="repeat")
    (one,) = [one for one in link_online(frames, CLASSES, repeat) if len(one.tube) == 3]
    assert (one.frames.tolist(), one.rows.tolist()) == ([0, 2, 2], [1, 0, 0])
    assert one.class_scores(frames)[:, 0].tolist() == pytest.approx([0.6] * 3)
    np.testing.assert_allclose(one.any_class, one.class_scores(frames).sum(axis=1))


def test_input_that_cannot_be_linked():
    linker = OnlineLinker(CLASSES)
    linker.update(frame_of(3))
    with pytest.raises(ValueError, match="frames must ascend, but frame 3 came after frame 3"):
        linker.update(frame_of(3))
    with pytest.raises(ValueError, match="frame 4 have no class scores"):
        linker.update(Detections(4, [at(0)], [0.5]))
    with pytest.raises(ValueError, match="frame 4 has 2 class scores a box, but there are 3 labels"):
        linker.update(Detections(4, [at(0)], [0.5], [[0.1, 0.2]]))
    linker.update(frame_of(4, (at(0), 0.5)))  # what was refused left no trace
    with pytest.raises(ValueError, match="last is a number of frames, 1 or more, got 0"):
        linker.live(last=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"nms_iou": 1.5},
        {"min_coverage": -0.1},
        {"max_gap": -1},
        {"top_boxes": 0},
        {"score_boxes": 0},
        {"candidate_boxes": 0},
        {"overlap_weight": -1.0},
        {"score_threshold": -0.1},
    ],
)
def test_settings_that_make_no_sense(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        OnlineConfig(**changes)
