"""Frame-mAP in numbers a reader can follow; the choices of protocols are in test_eval_protocols.py."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eval.errors import EvaluationError
from eval.frame_map import frame_map
from eval.protocols import FRAME_PROTOCOLS, describe, frame_protocol
from linking.records import NO_SCORE, Tube, VideoAnnotation
from linking.tables import table_from_annotations

BOX, FAR = (10, 10, 20, 20), (100, 100, 110, 110)


def tube(frames, box=BOX, scores=None, score: float = NO_SCORE, label: str = "run", id: int = 0) -> Tube:
    frames = np.array(frames)
    boxes = np.tile(np.float32(box), (len(frames), 1)) if np.ndim(box) == 1 else np.float32(box)
    return Tube(label, frames, boxes, scores, score, id)


def video(*tubes: Tube, name: str = "a") -> VideoAnnotation:
    return VideoAnnotation(name, [replace(t, id=i) for i, t in enumerate(tubes)])


def mean(truth, found, protocol="voc", iou: float = 0.5) -> float:
    return frame_map(truth, found, thresholds=[iou], protocol=protocol).mean[f"{iou:g}"]


def test_every_box_counts_in_its_frame() -> None:
    # frames 0 and 1 are hit, frames 2 and 3 missed, frame 4 is false and ranked last
    found = [video(tube([0, 1, 4], scores=[0.9, 0.8, 0.1]))]
    assert mean([video(tube([0, 1, 2, 3]))], found) == pytest.approx(2 / 4)


def test_a_box_ranks_by_its_own_score() -> None:
    # ranked: false, hit
    found = [video(tube([0, 4], scores=[0.1, 0.9], score=0.5))]
    assert mean([video(tube([0]))], found) == pytest.approx(1 / 2)


def test_an_interpolated_box_ranks_by_the_score_of_its_tube() -> None:
    truth = [video(tube([0]))]
    wrong = tube([0], FAR, scores=[0.5])
    gap = tube([0], BOX, scores=[NO_SCORE], score=0.6)
    assert mean(truth, [video(wrong, gap)]) == 1
    assert mean(truth, [video(wrong, replace(gap, score=0.4))]) == pytest.approx(1 / 2)


def test_a_box_without_any_score_is_refused() -> None:
    with pytest.raises(EvaluationError, match="neither a score of its own nor one of its tube"):
        frame_map([video(tube([0]))], [video(tube([0]))])


def test_a_table_of_loose_boxes_gives_what_tubes_give() -> None:
    truth = [video(tube([0, 1]), tube([1], FAR, label="jump"))]
    found = [video(tube([0, 1, 2], scores=[0.9, 0.2, 0.7]), tube([1], FAR, scores=[NO_SCORE], score=0.3, label="jump"))]
    table = table_from_annotations(found)
    loose = table.assign(tube=pd.array([pd.NA] * len(table), dtype="Int64"))
    expected = frame_map(truth, found).ap_by_threshold
    for shuffled in (table, loose, table.sample(frac=1, random_state=0)):
        np.testing.assert_array_equal(frame_map(truth, shuffled).ap_by_threshold, expected)


def test_a_table_with_a_box_without_a_score_is_refused() -> None:
    table = table_from_annotations([video(tube([7]))])
    with pytest.raises(EvaluationError, match="a: a detected box in frame 7 has neither score nor tube_score"):
        frame_map([video(tube([7]))], table)


def test_act_suppresses_boxes_within_a_frame_and_class_and_draws_the_raw_curve() -> None:
    truth = [video(tube([0, 1, 2]))]
    double = video(tube([0, 1], scores=[0.9, 0.7]), tube([0, 1], scores=[0.8, 0.6]))
    assert mean(truth, [double], "act") == pytest.approx(2 / 3)
    # the same without: hit, false, hit, false, with areas (1 + 1) / 2 and (1/2 + 2/3) / 2
    assert mean(truth, [double], "road") == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 3)
    assert mean(truth, [double], "voc") == pytest.approx((1 + 2 / 3) / 3)


def test_a_suppressed_box_suppresses_no_other() -> None:
    # in a row, neighbours share 6 of 14 pixels, the outer two 2 of 18 (inclusive: 11 x 11 boxes, 5 columns apart)
    row = [tube([0], (x, 0, x + 10, 10), scores=[s]) for x, s in ((0, 0.9), (5, 0.8), (10, 0.7))]
    result = frame_map([video(*row)], [video(*row)], protocol="act")
    assert result.num_detections.tolist() == [2]


def test_equal_scores_are_ordered_by_video_then_frame_then_coordinates() -> None:
    truth = [video(tube([3])), video(tube([3]), name="b")]
    in_a = video(tube([2, 3], [FAR, BOX], scores=[0.5, 0.5]))
    in_b = video(tube([3], FAR, scores=[0.5]), tube([3], BOX, scores=[0.5]), name="b")
    # a: frame 2 false, frame 3 hit; b: the box further left goes first and hits
    for found in ([in_a, in_b], [in_b, in_a]):
        assert mean(truth, found) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_ties_with_detections_that_hit_nothing_are_counted_one_by_one() -> None:
    """Constant scores, the worst case of the ranks: against a plain loop."""
    rng = np.random.default_rng(3)
    truth = [video(*(tube([f], (x, 0, x + 10, 10)) for f, x in zip(range(20), rng.integers(0, 50, 20))))]
    spots = rng.integers(0, 50, 200)
    found = [video(*(tube([f % 20], (x, 0, x + 10, 10), scores=[0.5]) for f, x in enumerate(spots)))]
    left = {int(t.frames[0]): float(t.boxes[0, 0]) for t in truth[0].tubes}
    hits = []
    for frame, x in sorted((f % 20, float(x)) for f, x in enumerate(spots)):
        common = max(0.0, 10 - abs(x - left.get(frame, 1e9)))
        hits.append(common / (20 - common) >= 0.5)
        if hits[-1]:
            del left[frame]
    precision = np.cumsum(hits) / np.arange(1, 201)
    expected = sum(precision[i:].max() for i in np.flatnonzero(hits)) / 20
    assert mean(truth, found) == pytest.approx(expected)


def test_scores_of_any_sign_rank_in_order() -> None:
    truth = [video(tube([0]), tube([1]), tube([2]), tube([3]))]
    found = [video(tube([0, 1, 2, 3, 4], scores=[-0.5, 2.5, -0.0, 0.0, -3.0]))]
    # the false one is last
    assert mean(truth, found) == 1
    found = [video(tube([0, 1, 2, 3, 4], scores=[-0.5, 2.5, -0.0, 0.0, -0.25]))]
    # ranked: hit, hit, hit, false, hit
    assert mean(truth, found) == pytest.approx((1 + 1 + 1 + 4 / 5) / 4)


def test_no_detections_score_0() -> None:
    assert mean([video(tube([0]))], []) == 0


def test_several_overlaps_at_once_equal_each_by_itself() -> None:
    rng = np.random.default_rng(5)
    boxes = np.float32([(x, 0, x + 10, 10) for x in rng.uniform(0, 8, 30)])
    truth, found = [video(tube(range(30)))], [video(tube(range(30), boxes + np.float32(10), rng.random(30)))]
    together = frame_map(truth, found, thresholds=[0.1, 0.3, 0.5]).mean
    assert together == {f"{iou:g}": mean(truth, found, iou=iou) for iou in (0.1, 0.3, 0.5)}


def test_an_unknown_protocol_lists_the_known_ones() -> None:
    with pytest.raises(EvaluationError, match="known: voc, act, road, yowo, multisports, ava"):
        frame_protocol("saha")


@pytest.mark.parametrize("name", FRAME_PROTOCOLS)
def test_every_choice_of_a_protocol_is_said_in_words(name: str) -> None:
    assert len(describe(FRAME_PROTOCOLS[name])) == 7


AVA_SAMPLE = Path(__file__).parents[2] / "shared" / "realdata" / "reference_scores" / "ava"


@pytest.mark.skipif(not AVA_SAMPLE.is_dir(), reason="the AVA sample of MMAction2's tests is not on this machine")
def test_the_ava_sample_of_mmaction2_gets_its_known_score() -> None:
    def read(name: str) -> list[VideoAnnotation]:
        with (AVA_SAMPLE / name).open(newline="") as file:
            rows = list(csv.reader(file))
        scored = name == "pred.csv"
        tubes = {
            key: [tube([int(r[1])], [float(v) for v in r[2:6]], [float(r[7])] if scored else None, label=r[6])
                  for r in rows if r[0] == key]
            for key in sorted({row[0] for row in rows})
        }  # fmt: skip
        return [video(*tubes[key], name=key) for key in tubes]

    result = frame_map(read("gt.csv"), read("pred.csv"), protocol="ava", class_names=["1", "2", "3"])
    assert result.mean["0.5"] == pytest.approx(0.09385522, abs=5e-9)
