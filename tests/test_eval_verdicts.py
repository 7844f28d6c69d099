"""The verdict on every single tube of a video, and the colours it is shown in."""

import numpy as np
import pytest

from eval.breakdown import REASONS, break_down
from eval.errors import EvaluationError
from eval.verdicts import NAMES, error_looks, judge_video, looks_for, matched_looks
from linking.colours import TRUTH, VERDICTS, tube_colour
from linking.looks import PLAIN
from linking.records import Tube, VideoAnnotation

BOX = (0, 0, 10, 10)
NAN = float("nan")


def tube(number: int, box=BOX, frames: range = range(10), score: float = NAN, label: str = "run") -> Tube:
    return Tube(label, np.array(frames), np.tile(np.float32(box), (len(frames), 1)), None, score, number)


TRUE = [tube(0), tube(1, (100, 100, 110, 110), label="jump"), tube(2, (0, 100, 10, 110))]


def test_each_tube_gets_its_kind_and_the_true_tube_it_is_about() -> None:
    found = [
        tube(10, (0, 0, 10, 9), score=0.9),  # 9/10 of the true box
        tube(11, score=0.8),  # the same actor again
        tube(12, (100, 100, 110, 104), score=0.7, label="jump"),  # 4/10 in space
        tube(13, frames=range(5, 15), score=0.6, label="jump"),  # another class, and 5 of 15 frames
        tube(14, (50, 50, 60, 60), score=0.5, label="swim"),  # a class the truth does not have
    ]
    verdicts = judge_video(TRUE, found)
    assert {number: v.kind for number, v in verdicts.tubes.items()} == {
        10: "found",
        11: "duplicate",
        12: "localisation",
        13: "both",
        14: "background",
    }
    assert verdicts.tubes[10].other is TRUE[0]
    assert verdicts.tubes[10].iou == pytest.approx(9 / 10)
    assert (verdicts.tubes[12].other, verdicts.tubes[14].other) == (TRUE[1], None)
    assert verdicts.tubes[12].iou == pytest.approx(4 / 10)
    assert {number: v.kind for number, v in verdicts.truth.items()} == {0: "found", 1: "missed", 2: "missed"}
    assert verdicts.truth[0].other is found[0]


def test_the_threshold_decides() -> None:
    found = [tube(10, (0, 0, 10, 4), score=0.9)]  # IoU 4/10
    kinds = [judge_video(TRUE, found, iou=iou).tubes[10].kind for iou in (0.3, 0.5)]
    assert kinds == ["found", "localisation"]
    for iou in (0.0, 1.5, NAN):
        with pytest.raises(EvaluationError, match="must be above 0 and at most 1"):
            judge_video(TRUE, found, iou=iou)


def test_they_are_those_that_the_breakdown_counts() -> None:
    rng = np.random.default_rng(0)

    def some(number: int, scored: bool) -> Tube:
        first, x, y = (int(v) for v in rng.integers(0, 8, 3))
        label = str(rng.choice(["run", "jump"]))
        return tube(number, (x, y, x + 8, y + 8), range(first, first + 8), rng.random() if scored else NAN, label)

    truth, found = [some(k, False) for k in range(8)], [some(k, True) for k in range(30)]
    verdicts = judge_video(truth, found, iou=0.4)
    counts = break_down([VideoAnnotation("a", truth)], [VideoAnnotation("a", found)], iou=0.4).counts.loc["total"]
    kinds = [v.kind for v in verdicts.tubes.values()]
    assert {kind: kinds.count(kind) for kind in ("found", *REASONS[:-1])} == counts.drop("missed").to_dict()
    assert sum(v.kind == "missed" for v in verdicts.truth.values()) == counts["missed"]


def test_nothing_true_or_nothing_found() -> None:
    assert [v.kind for v in judge_video([], [tube(1, score=0.5)]).tubes.values()] == ["background"]
    assert [v.kind for v in judge_video(TRUE, []).truth.values()] == ["missed"] * 3


def test_a_tube_without_a_score_cannot_be_judged() -> None:
    with pytest.raises(EvaluationError, match=r"detected tube 5 \(run\) has no score"):
        judge_video(TRUE, [tube(5)])


def test_suppressed_tubes_count_as_duplicates() -> None:
    found = [tube(10, score=0.9), tube(11, score=0.8)]
    assert judge_video(TRUE, found, protocol="act").tubes[11].kind == "duplicate"


def test_looks_say_the_kind_in_colour_and_in_words() -> None:
    verdicts = judge_video(TRUE, [tube(10, score=0.9), tube(14, (50, 50, 60, 60), score=0.5)])
    looks = error_looks(verdicts)
    assert looks.of(tube(10)).colour == VERDICTS["found"]
    assert looks.of(tube(10)).word == "correct, IoU 1.00"
    assert looks.of(tube(14)).word == "false alarm"
    assert (looks.of_true(TRUE[0]).colour, looks.of_true(TRUE[1]).colour) == (TRUTH, VERDICTS["missed"])
    assert [name for name, _ in looks.legend] == ["correct", "false alarm", "missed"]
    assert looks.about == {10: TRUE[0]}
    plain = matched_looks(verdicts)
    assert (plain.of(tube(10)).colour, plain.legend, plain.about) == (tube_colour(10), (), looks.about)
    assert set(NAMES) == set(VERDICTS) == {"found", *REASONS}


def test_tubes_without_scores_are_drawn_plain_and_only_errors_need_them() -> None:
    assert looks_for([tube(5)], None) is PLAIN
    assert looks_for([tube(5)], TRUE) is PLAIN
    assert looks_for([tube(5, score=0.5)], TRUE).about == {5: TRUE[0]}
    with pytest.raises(EvaluationError, match="has no score"):
        looks_for([tube(5)], TRUE, errors=True)
