import itertools

import numpy as np
import pytest

from linking.build import PRESETS
from linking.records import Detections, Tube
from linking.scores import ScoredVideo
from linking.trim import TrimConfig
from linking.trim_labels import SINGH, best_labels, trim_tubes_by_labels
from tests.singh_published import published_labels, published_tubes

NAN = float("nan")
CLASSES = ("run", "jump", "sit")


def tube_with(class_scores, label="run", first=10):
    """A tube and its class scores, rows of (run, jump)."""
    scores = np.float32(class_scores)
    n = len(scores)
    boxes = np.tile(np.float32([0, 0, 10, 10]), (n, 1)) + np.arange(n, dtype=np.float32)[:, None]
    return Tube(label, np.arange(first, first + n), boxes, scores[:, CLASSES.index(label)], 0.0, 3), scores


def trimmed(class_scores, label="run", **changes):
    tube, scores = tube_with(class_scores, label)
    config = TrimConfig(**{"alpha": 0.0, "min_frames": 1, **changes})
    return trim_tubes_by_labels([tube], [scores], CLASSES[:2], config)[0]


def spans(runs):
    return [(run.first_frame, run.end_frame) for run in runs]


RUN, JUMP = (0.6, 0.2), (0.1, 0.5)


def test_without_a_penalty_the_best_class_of_each_box_decides():
    scores = [RUN, RUN, JUMP, RUN, JUMP]
    assert spans(trimmed(scores)) == [(10, 12), (13, 14)]
    assert spans(trimmed(scores, "jump")) == [(12, 13), (14, 15)]


def test_a_short_change_is_smoothed_over_when_two_changes_cost_more():
    # jumping for 3 frames is worth 3 (0.5 - 0.1) = 1.2 more than running on, for two changes
    scores = [RUN] * 5 + [JUMP] * 3 + [RUN] * 5
    assert spans(trimmed(scores, alpha=0.61)) == [(10, 23)]
    assert spans(trimmed(scores, alpha=0.59)) == [(10, 15), (18, 23)]
    assert spans(trimmed(scores, alpha=0.59, class_alpha={"run": 0.61})) == [(10, 23)]


def test_there_is_no_background():
    assert spans(trimmed([(0.02, 0.01)] * 20)) == [(10, 30)]
    assert trimmed([(0.8, 0.9)] * 20) == []


def test_the_score_of_a_run_is_the_mean_of_its_best_boxes():
    (run,) = trimmed([(0.9, 0), (0.5, 0), (0.7, 0)], top_frames=2)
    assert run.score == pytest.approx((0.9 + 0.7) / 2)
    assert (run.label, run.id) == ("run", 3)


def test_short_runs_are_dropped_also_of_short_tubes():
    assert spans(trimmed([RUN] * 9, min_frames=9)) == [(10, 19)]
    assert trimmed([RUN] * 9, min_frames=10) == []
    assert SINGH.min_frames == 10  # last minus first frame above 8


def test_interpolated_boxes_are_labelled_by_their_neighbours():
    unknown = (NAN, NAN)
    (run,) = trimmed([RUN, unknown, unknown, RUN, unknown, JUMP])
    # the last gap: half way between both, running 0.35 and jumping 0.35; of equals the first class
    assert spans([run]) == [(10, 15)]
    assert np.isnan(run.scores).tolist() == [False, True, True, False, True]
    assert run.score == pytest.approx(0.6)


def test_no_run_consists_of_interpolated_boxes_alone():
    tube = Tube("sit", np.arange(3), np.tile(np.float32([0, 0, 9, 9]), (3, 1)), np.float32([0.4, NAN, 0.4]), 0.4)
    scores = np.float32([(0.5, 0, 0.4), (NAN,) * 3, (0, 0.5, 0.4)])  # in the gap 0.25, 0.25, 0.4
    assert trim_tubes_by_labels([tube], [scores], CLASSES, TrimConfig(alpha=0.0, min_frames=1)) == [[]]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_labels_are_the_best_of_all_labellings(seed, alpha):
    scores = np.random.default_rng(seed).uniform(0, 1, (6, 3))

    def worth(labels):
        changes = sum(a != b for a, b in itertools.pairwise(labels))
        return sum(scores[t, label] for t, label in enumerate(labels)) - alpha * changes

    best = max(itertools.product(range(3), repeat=6), key=worth)
    assert tuple(best_labels([scores], np.array([alpha]))[0].tolist()) == best


@pytest.mark.parametrize("seed", range(20))
def test_equal_labellings_are_resolved_as_published(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (12, 4)) / 2  # sums of halves are exact
    for alpha in (0.0, 0.5, 1.0):
        assert best_labels([scores], np.array([alpha]))[0].tolist() == published_labels(scores.tolist(), alpha)


def test_many_tubes_at_once_are_each_tube_alone(monkeypatch):
    monkeypatch.setattr("linking.trim_labels.CELLS_AT_ONCE", 200)
    rng = np.random.default_rng(0)
    pairs = [tube_with(rng.uniform(0, 1, (n, 2)), label) for n in (1, 2, 5, 9, 20, 41, 41) for label in ("run", "jump")]
    tubes, scores = zip(*pairs)
    config = TrimConfig(alpha=0.3, class_alpha={"jump": 0.1}, min_frames=2)
    together = trim_tubes_by_labels(tubes, scores, CLASSES[:2], config)
    alone = [trim_tubes_by_labels([tube], [own], CLASSES[:2], config)[0] for tube, own in pairs]
    assert [spans(runs) for runs in together] == [spans(runs) for runs in alone]
    assert sum(map(len, alone)) > 10
    assert trim_tubes_by_labels([], [], CLASSES, config) == []


def changing_actors(seed):
    """Two actors who change what they do every 20 frames, missed now and then, and a box on nothing."""
    rng = np.random.default_rng(seed)
    detections = []
    for t in range(70):
        boxes, scores = [], []
        for k in range(2):
            if rng.random() < 0.9:
                corner = np.array([120 * k + t / 2, 20]) + rng.normal(0, 2, 2)
                boxes.append([*corner, *(corner + np.array([50, 100]) + rng.normal(0, 2, 2))])
                scores.append(rng.dirichlet(np.full(3, 0.5)) * 0.6 + 0.35 * (np.arange(3) == (t // 20 + k) % 3))
        corner = rng.uniform(0, 200, 2)
        boxes.append([*corner, *(corner + 30)])
        scores.append(rng.dirichlet(np.full(3, 0.3)) * 0.4)
        detections.append(Detections(t, np.array(boxes), np.ones(len(boxes)), np.array(scores)))
    return ScoredVideo("actors", CLASSES, tuple(detections), 320, 240, 25.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_preset_singh_gives_the_published_tubes(seed):
    scored = changing_actors(seed)
    frames = [(found.boxes.astype(float), found.class_scores.astype(float)) for found in scored.detections]
    theirs = [(label, *tube) for a, label in enumerate(CLASSES) for tube in published_tubes(frames, a)]
    theirs.sort(key=lambda tube: -tube[3])
    ours = PRESETS["singh"].build(scored)
    assert len(ours) > 3
    assert [(tube.label, tube.first_frame, tube.boxes.tolist()) for tube in ours] == [tube[:3] for tube in theirs]
    assert [tube.score for tube in ours] == pytest.approx([tube[3] for tube in theirs])


def test_tubes_without_class_scores_cannot_be_trimmed():
    tube, scores = tube_with([RUN, RUN])
    with pytest.raises(ValueError, match=r"tube 3 needs \(2, 3\) class scores, got \(2, 2\)"):
        trim_tubes_by_labels([tube], [scores], CLASSES, SINGH)
    with pytest.raises(ValueError, match="tube 3 has the label 'run', which has no class scores"):
        trim_tubes_by_labels([tube], [scores], ("jump", "sit"), SINGH)
    with pytest.raises(ValueError, match="no class scores to trim by"):
        trim_tubes_by_labels([tube], [scores * NAN], CLASSES[:2], SINGH)
