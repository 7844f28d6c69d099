import itertools

import numpy as np
import pytest

from linking.records import Tube
from linking.trim import PAPER, TrimConfig, action_labels, best_mean, steady_scores, trim_tube, trim_tubes

NAN = float("nan")


def tube_with(scores, first=10, label="run", number=3):
    n = len(scores)
    boxes = np.tile(np.float32([0, 0, 10, 10]), (n, 1)) + np.arange(n, dtype=np.float32)[:, None]
    return Tube(label, np.arange(first, first + n), boxes, np.float32(scores), 0.0, number)


def plain(**changes):
    """The published worth of labels, s and 1 - s, and no minimum length."""
    return TrimConfig(**{"threshold": 0.5, "relative": False, "min_frames": 1, "alpha": 0.0, **changes})


def spans(runs):
    return [(run.first_frame, run.end_frame) for run in runs]


def labels_by_definition(gain, alpha):
    """The best of all 2^n labellings: gain where the label is action, alpha for every change."""

    def worth(labels):
        changes = sum(a != b for a, b in itertools.pairwise(labels))
        return sum(g for g, label in zip(gain, labels) if label) - alpha * changes

    return max(itertools.product([True, False], repeat=len(gain)), key=worth)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 5.0])
def test_labels_are_the_best_of_all_labellings(seed, alpha):
    gain = np.random.default_rng(seed).uniform(-1, 1, 9)
    assert tuple(action_labels(gain[:, None], np.array([alpha]))[:, 0].tolist()) == labels_by_definition(gain, alpha)


def test_many_tubes_at_once_are_each_tube_alone():
    rng = np.random.default_rng(0)
    tubes = [tube_with(rng.uniform(0, 1, n), label=label) for n in (1, 2, 5, 9, 20, 41) for label in ("run", "jump")]
    config = TrimConfig(alpha=0.5, class_alpha={"jump": 2.0}, min_frames=2)
    together = trim_tubes(tubes, config)
    for tube, runs in zip(tubes, together):
        alone = trim_tube(tube, config)
        assert [(spans([run]), run.score) for run in runs] == [(spans([run]), run.score) for run in alone]
    assert trim_tubes([], config) == []


def test_without_a_penalty_every_box_decides_for_itself():
    scores = [0.1, 0.6, 0.9, 0.4, 0.5, 0.2]
    assert spans(trim_tube(tube_with(scores), plain())) == [(11, 13), (14, 15)]  # a tie, 0.5, is action


def test_a_dip_is_smoothed_over_when_two_changes_cost_more():
    # action, 3 boxes of 0.4, action: keeping them costs 3 (0.6 - 0.4) = 0.6, leaving them out two changes
    scores = [0.9] * 5 + [0.4] * 3 + [0.9] * 5
    assert spans(trim_tube(tube_with(scores), plain(alpha=0.31))) == [(10, 23)]
    assert spans(trim_tube(tube_with(scores), plain(alpha=0.29))) == [(10, 15), (18, 23)]


def test_a_short_burst_is_no_action_when_changes_cost_more():
    scores = [0.1] * 5 + [0.9] * 2 + [0.1] * 5  # worth 2 (0.9 - 0.1) = 1.6
    assert spans(trim_tube(tube_with(scores), plain(alpha=0.79))) == [(15, 17)]
    assert trim_tube(tube_with(scores), plain(alpha=0.81)) == []


def test_a_run_keeps_boxes_scores_label_and_id_of_its_tube():
    tube = tube_with([0.1, 0.8, 0.6, 0.1])
    (run,) = trim_tube(tube, plain())
    assert run.boxes.tolist() == tube.boxes[1:3].tolist()
    assert run.scores.tolist() == tube.scores[1:3].tolist()
    assert (run.label, run.id) == ("run", 3)
    assert run.score == pytest.approx((0.8 + 0.6) / 2)


def test_a_run_of_one_frame_has_a_score():
    (run,) = trim_tube(tube_with([0.1, 0.8, 0.1]), plain())
    assert len(run) == 1
    assert run.score == pytest.approx(0.8)


def test_the_score_is_the_mean_of_the_best_boxes():
    scores = [0.9, 0.6, 0.8, 0.7]
    assert trim_tube(tube_with(scores), plain(top_frames=2))[0].score == pytest.approx((0.9 + 0.8) / 2)
    assert trim_tube(tube_with(scores), plain(top_frames=40))[0].score == pytest.approx(0.75)
    assert np.isnan(best_mean(np.float32([NAN]), 3))


def test_short_runs_are_dropped_but_a_tube_that_is_all_action_stays():
    scores = [0.9] * 4 + [0.1] * 4 + [0.9] * 6
    assert spans(trim_tube(tube_with(scores), plain(min_frames=5))) == [(18, 24)]
    assert spans(trim_tube(tube_with([0.9] * 3), plain(min_frames=5))) == [(10, 13)]


def test_interpolated_boxes_are_judged_by_their_neighbours_and_count_for_no_score():
    scores = [0.9, NAN, NAN, 0.7, 0.1, NAN, 0.1]
    (run,) = trim_tube(tube_with(scores), plain())
    assert spans([run]) == [(10, 14)]
    assert np.isnan(run.scores).tolist() == [False, True, True, False]
    assert run.score == pytest.approx((0.9 + 0.7) / 2)


def test_a_relative_threshold_follows_the_level_of_the_tube():
    weak = [0.02, 0.02, 0.2, 0.2, 0.2, 0.02]
    assert trim_tube(tube_with(weak), plain()) == []
    # level: the best 3 boxes, 0.2; half of that is 0.1
    assert spans(trim_tube(tube_with(weak), plain(relative=True, top_frames=3))) == [(12, 15)]


def test_scaling_scores_does_not_change_a_relative_trimming():
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.uniform(0.5, 1, 20), rng.uniform(0.01, 0.3, 20), rng.uniform(0.5, 1, 20)])
    config = TrimConfig(alpha=1.0, threshold=0.5, min_frames=1)
    whole = spans(trim_tube(tube_with(scores), config))
    assert whole == [(10, 30), (50, 70)]
    assert spans(trim_tube(tube_with(scores * 0.125), config)) == whole


def test_scores_of_zero_are_background():
    assert trim_tube(tube_with([0.0, 0.0, 0.0]), TrimConfig()) == []


def test_each_class_can_have_its_own_penalty():
    scores = [0.9] * 5 + [0.4] * 3 + [0.9] * 5
    config = plain(alpha=0.31, class_alpha={"jump": 0.29})
    assert len(trim_tube(tube_with(scores, label="run"), config)) == 1
    assert len(trim_tube(tube_with(scores, label="jump"), config)) == 2


def test_each_class_can_have_its_own_threshold():
    scores = [0.9] * 5 + [0.4] * 3 + [0.9] * 5
    config = plain(class_threshold={"jump": 0.3})
    assert len(trim_tube(tube_with(scores, label="run"), config)) == 2
    assert len(trim_tube(tube_with(scores, label="jump"), config)) == 1


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_threshold_0_does_not_trim(alpha):
    scores = [0.9, 0.0, 0.0, 0.0, 0.0, NAN, 0.2]
    for relative in (True, False):
        config = plain(alpha=alpha, class_threshold={"run": 0}, relative=relative)
        assert spans(trim_tube(tube_with(scores), config)) == [(10, 17)]


def test_the_published_settings():
    assert len(PAPER.class_alpha) == 24
    assert [PAPER.class_alpha[name] for name in ("Basketball", "CliffDiving", "WalkingWithDog")] == [0, 16, 0.2]

    # the released code keeps runs whose last frame is more than 30 after the first
    def run(n):
        return tube_with([0.1] * 3 + [0.9] * n, label="Basketball")

    assert spans(trim_tube(run(32), PAPER)) == [(13, 45)]
    assert trim_tube(run(31), PAPER) == []


def test_ground_truth_cannot_be_trimmed():
    with pytest.raises(ValueError, match="tube 3 \\('run'\\) has no box scores"):
        trim_tube(tube_with([NAN, NAN]), TrimConfig())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": -1.0}, "alpha must be a number, 0 or more; alpha is -1.0"),
        ({"class_alpha": {"run": "x"}}, "run is 'x'"),
        ({"class_alpha": 3}, "class_alpha holds a number for each label"),
        ({"threshold": 1.0}, "at least 0 and less than 1; threshold is 1.0"),
        ({"class_threshold": {"run": -0.1}}, "at least 0 and less than 1; run is -0.1"),
        ({"class_threshold": {"run": "x"}}, "run is 'x'"),
        ({"class_threshold": 0.5}, "class_threshold holds a number for each label"),
        ({"min_frames": 0}, "1 or more"),
        ({"top_frames": 0}, "1 or more"),
    ],
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        TrimConfig(**changes)


class TestSteadyShares:
    def test_a_share_that_never_changes_changes_nothing(self):
        any_class = np.array([0.9, 0.2, 0.6, 0.0, 0.5])
        assert steady_scores(0.3 * any_class, any_class, 3) == pytest.approx(0.3 * any_class)

    def test_the_share_is_the_mean_over_the_boxes_around(self):
        share, any_class = np.array([1.0, 0.0, 0.5, 0.5]), np.array([0.8, 0.4, 1.0, 0.2])
        # three boxes around, two at the ends
        assert steady_scores(share * any_class, any_class, 3) == pytest.approx(
            [0.8 * 0.5, 0.4 * 0.5, 1.0 * 1 / 3, 0.2 * 0.5]
        )
        assert steady_scores(share * any_class, any_class, 1) == pytest.approx(share * any_class)
        assert steady_scores(share * any_class, any_class, 99) == pytest.approx(0.5 * any_class)

    def test_boxes_that_score_nothing_at_all(self):
        assert steady_scores(np.zeros(3), np.zeros(3), 3).tolist() == [0, 0, 0]

    def test_interpolated_boxes_take_part(self):
        # a gap of unknown scores in a share of a half, with a dip of all classes at the end
        scores, any_class = [0.4, NAN, 0.4, 0.4, 0.04, 0.04], [0.8, NAN, 0.8, 0.8, 0.08, 0.08]
        config = plain(share_frames=5, relative=True, top_frames=3)
        assert spans(trim_tube(tube_with(scores), config, np.float32(any_class))) == [(10, 14)]

    def test_a_flicker_of_the_share_is_smoothed_and_without_the_sum_it_is_not(self):
        scores, any_class = [0.6, 0.6, 0.1, 0.6, 0.6], np.full(5, 0.8, np.float32)
        assert spans(trim_tube(tube_with(scores), plain(share_frames=5, threshold=0.3), any_class)) == [(10, 15)]
        assert spans(trim_tube(tube_with(scores), plain(share_frames=5, threshold=0.3))) == [(10, 12), (13, 15)]
        assert spans(trim_tube(tube_with(scores), plain(share_frames=1, threshold=0.3), any_class)) == [
            (10, 12),
            (13, 15),
        ]

    @pytest.mark.parametrize("frames", [0, 2, 32])
    def test_an_even_number_of_frames_has_no_middle(self, frames):
        with pytest.raises(ValueError, match="share_frames"):
            TrimConfig(share_frames=frames)
