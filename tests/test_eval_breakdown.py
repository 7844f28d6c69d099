"""Every error gets one reason, and mending a reason wins points."""

from dataclasses import replace

import numpy as np
import pytest

from eval.breakdown import REASONS, break_down
from linking.records import Tube, VideoAnnotation

BOX = (0, 0, 10, 10)


def tube(box=BOX, frames: range = range(10), score: float = float("nan"), label: str = "run") -> Tube:
    return Tube(label, np.array(frames), np.tile(np.float32(box), (len(frames), 1)), None, score)


def video(*tubes: Tube, name: str = "a") -> VideoAnnotation:
    return VideoAnnotation(name, [replace(t, id=i) for i, t in enumerate(tubes)])


OTHER = tube((100, 100, 110, 110), label="jump")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        # the threshold 0.5 leaves 0.707 for space and for time
        pytest.param(tube((0, 0, 10, 4), score=0.5), "localisation", id="4/10 in space, all of the time"),
        pytest.param(tube(frames=range(4), score=0.5), "time", id="4/10 in time, all of the box"),
        pytest.param(tube((0, 0, 10, 6), range(6), 0.5), "both", id="6/10 in space and 6/10 in time"),
        pytest.param(tube(score=0.5, label="jump"), "label", id="right place and time, another class"),
        pytest.param(tube((0, 0, 10, 4), score=0.5, label="jump"), "both", id="another class and 4/10 in space"),
        pytest.param(tube((0, 0, 10, 1), score=0.5), "background", id="a tenth is nothing"),
        pytest.param(tube((50, 50, 60, 60), score=0.5), "background", id="elsewhere"),
    ],
)
def test_the_reason_of_a_lone_error(found: Tube, reason: str) -> None:
    counts = break_down([video(tube(), OTHER)], [video(found)]).counts
    assert counts.loc["total", [*REASONS[:-1]]].to_dict() == {name: int(name == reason) for name in REASONS[:-1]}
    assert counts.loc["total", "missed"] == 2
    assert counts.loc[found.label, reason] == 1


def test_a_second_tube_on_a_found_actor_is_a_duplicate() -> None:
    counts = break_down([video(tube())], [video(tube(score=0.9), tube(score=0.8))]).counts
    assert counts.loc["total"].to_dict() == {"found": 1, **dict.fromkeys(REASONS, 0), "duplicate": 1}


def test_errors_and_hits_are_all_detections_and_misses_and_hits_all_ground_truth() -> None:
    rng = np.random.default_rng(0)

    def some(scored: bool) -> Tube:
        first, x, y = (int(v) for v in rng.integers(0, 8, 3))
        label = str(rng.choice(["run", "jump", "swim"]))
        return tube((x, y, x + 8, y + 8), range(first, first + 8), rng.random() if scored else np.nan, label)

    truth = [video(*(some(False) for _ in range(5)), name=str(v)) for v in range(10)]
    found = [video(*(some(True) for _ in range(9)), name=str(v)) for v in range(10)]
    table = break_down(truth, found, iou=0.4)
    total = table.counts.loc["total"]
    assert total[["found", *REASONS[:-1]]].sum() == 90
    assert total[["found", "missed"]].sum() == 50
    assert (total > 0).all()
    # mending can only win: under the envelope no change made here lowers any AP
    assert (table.points.to_numpy() >= -1e-12).all()
    assert table.points.loc["mean", "label"] == pytest.approx(table.points.iloc[:-1]["label"].mean())


def test_points_of_a_mendable_error_are_those_of_the_hit_it_nearly_was() -> None:
    truth = [video(tube()), video(tube(), name="b")]
    found = [video(tube((0, 0, 10, 4), score=0.9)), video(tube(score=0.8), name="b")]
    table = break_down(truth, found)
    assert table.ap["run"] == pytest.approx(1 / 2 / 2)  # ranked: false, hit
    assert table.points.loc["run", "localisation"] == pytest.approx(1 - 1 / 4)
    # the missed tube in a is covered by the misplaced one, so nothing is won by taking it out of the count
    assert table.points.loc["run", "missed"] == 0


def test_points_of_duplicates_and_background_are_won_by_their_absence() -> None:
    truth = [video(tube()), video(tube(), name="b")]
    found = [
        video(tube(score=0.9), tube(score=0.8), tube((50, 50, 60, 60), score=0.7)),
        video(tube(score=0.6), name="b"),
    ]
    table = break_down(truth, found)
    assert table.ap["run"] == pytest.approx((1 + 2 / 4) / 2)  # hit, duplicate, background, hit
    assert table.points.loc["run", "duplicate"] == pytest.approx((2 / 3 - 2 / 4) / 2)
    assert table.points.loc["run", "background"] == pytest.approx((2 / 3 - 2 / 4) / 2)


def test_a_mended_label_wins_in_the_true_class_and_relieves_the_wrong_one() -> None:
    truth = [video(tube()), video(tube(label="jump"), name="b")]
    found = [video(tube(score=0.9, label="jump")), video(tube(score=0.8, label="jump"), name="b")]
    table = break_down(truth, found)
    assert table.points.loc["run", "label"] == pytest.approx(1)  # from 0 to 1
    assert table.points.loc["jump", "label"] == pytest.approx(1 - 1 / 2)


def test_missed_tubes_that_nothing_covers_leave_the_count() -> None:
    truth = [video(tube()), video(tube(), name="b"), video(OTHER, name="c")]
    table = break_down(truth, [video(tube(score=0.9))])
    assert table.points.loc["run", "missed"] == pytest.approx(1 - 1 / 2)
    assert table.points.loc["jump", "missed"] == 1  # nothing is left to miss
