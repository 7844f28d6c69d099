"""Ceilings: one step made perfect."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from eval.oracles import (
    ceilings,
    linking_ceilings,
    with_perfect_labels,
    with_perfect_scores,
    with_perfect_trimming,
)
from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations

BOX = (0, 0, 10, 10)


def tube(box=BOX, frames: range = range(10), score: float = float("nan"), label: str = "run") -> Tube:
    return Tube(label, np.array(frames), np.tile(np.float32(box), (len(frames), 1)), None, score)


def video(*tubes: Tube, name: str = "a") -> VideoAnnotation:
    return VideoAnnotation(name, [replace(t, id=i) for i, t in enumerate(tubes)])


def described(annotations: list[VideoAnnotation]) -> list[tuple[str, float]]:
    return [(t.label, round(t.score, 6)) for a in annotations for t in a.tubes]


def test_a_wrong_label_is_put_right() -> None:
    found = [video(tube(score=0.9, label="jump"))]
    assert described(with_perfect_labels([video(tube())], found)) == [("run", 0.9)]


def test_of_wrong_labels_on_one_actor_the_best_scored_is_put_right_and_the_others_vanish() -> None:
    found = [video(tube(score=0.5, label="jump"), tube(score=0.7, label="swim"), tube(score=0.6, label="dive"))]
    assert described(with_perfect_labels([video(tube())], found)) == [("run", 0.7)]


def test_wrong_labels_beside_the_right_one_vanish() -> None:
    found = [video(tube(score=0.9, label="jump"), tube(score=0.1))]
    assert described(with_perfect_labels([video(tube())], found)) == [("run", 0.1)]


def test_a_tube_on_nothing_keeps_its_label() -> None:
    found = [video(tube((50, 50, 60, 60), score=0.9, label="jump"))]
    assert described(with_perfect_labels([video(tube())], found)) == [("jump", 0.9)]


def test_trimming_takes_frames_away_and_adds_none() -> None:
    found = [video(tube(frames=range(5, 20), score=0.9), tube(frames=range(5, 20), score=0.8, label="jump"))]
    trimmed = with_perfect_trimming([video(tube())], found)
    assert [t.frames.tolist() for t in trimmed[0].tubes] == [list(range(5, 10)), list(range(5, 20))]


def test_perfect_scores_are_the_overlaps() -> None:
    found = [video(tube((0, 0, 10, 5), score=0.9), tube((50, 50, 60, 60), score=0.8))]
    assert described(with_perfect_scores([video(tube())], found)) == [("run", 0.5), ("run", 0)]


def test_perfect_linking_puts_a_tube_together_from_pieces() -> None:
    truth = [video(tube(), tube((100, 0, 110, 10), label="jump"))]
    # run: two halves in two tubes; jump: found under another name
    found = [
        video(
            tube(frames=range(5), score=0.9),
            tube(frames=range(5, 10), score=0.8),
            tube((100, 0, 110, 10), score=0.7, label="run"),
        )
    ]
    table = ceilings(truth, found, thresholds=[0.9])
    assert table["0.9"].to_dict() == {
        "as it is": 0,
        "perfect labels": 1 / 2,
        "perfect trimming": 0,
        "perfect scores": 0,
        "perfect linking": 1 / 2,
        "perfect linking and labels": 1,
    }


def test_the_best_box_of_every_frame_is_taken() -> None:
    truth = [video(tube())]
    found = [video(tube((0, 0, 10, 4), score=0.9), tube((0, 0, 10, 8), range(5), 0.1))]
    # 8/10 in five frames, 4/10 in five
    assert ceilings(truth, found, thresholds=[0.59]).loc["perfect linking", "0.59"] == 1
    assert ceilings(truth, found, thresholds=[0.61]).loc["perfect linking", "0.61"] == 0


def test_loose_boxes_without_labels_have_a_ceiling_too() -> None:
    table = table_from_annotations([video(tube(score=0.9))])
    loose = table.assign(tube=pd.array([pd.NA] * 10, dtype="Int64"), label="")
    result = linking_ceilings([video(tube())], loose, thresholds=[0.5])
    assert result["0.5"].to_dict() == {"perfect linking": 0, "perfect linking and labels": 1}


def test_ceilings_do_not_depend_on_the_order_of_tubes() -> None:
    truth = [video(tube(), tube((5, 0, 15, 10), label="jump"))]
    found = video(tube(score=0.9, label="jump"), tube((4, 0, 14, 10), score=0.8), tube((1, 0, 11, 10), score=0.7))
    mixed = replace(found, tubes=found.tubes[::-1])
    pd.testing.assert_frame_equal(ceilings(truth, [found]), ceilings(truth, [mixed]))
    assert (ceilings(truth, [found]) >= 0).all().all()


@pytest.mark.parametrize("step", [with_perfect_labels, with_perfect_trimming, with_perfect_scores])
def test_videos_without_ground_truth_stay_as_they_are(step) -> None:
    found = [video(tube(score=0.9), name="b")]
    assert len(step([video(tube())], found)[0].tubes) == 1
