"""Several protocols and splits at once."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from eval.errors import EvaluationError
from eval.judge import PROTOCOL_NAMES, class_table, judge, mean_over_splits, protocol_table, protocols_of
from linking.records import Tube, VideoAnnotation
from linking.tables import TableError, table_from_annotations

ONE = Tube("run", np.arange(4), np.tile(np.float32([0, 0, 10, 10]), (4, 1)))
SCORED = replace(ONE, score=0.5, scores=np.full(4, 0.5))


def test_every_name_stands_for_a_frame_map_and_all_but_ava_for_a_video_map() -> None:
    for name in PROTOCOL_NAMES:
        video, frame = protocols_of(name)
        assert (video is None) == (name == "ava")
        assert frame.name == (name if name in ("act", "road", "yowo", "multisports", "ava") else "voc")


def test_key_frames_alone_may_be_judged_whatever_the_protocol() -> None:
    truth = [VideoAnnotation("a", [replace(ONE, frames=[1], boxes=ONE.boxes[:1], scores=None)])]
    table = table_from_annotations([VideoAnnotation("a", [SCORED])])
    for annotated_only, expected in ((False, 1 / 2), (True, 1)):
        found = judge(truth, table, ious=["0.5"], annotated_frames_only=annotated_only)
        assert found[0].frame.mean["0.5"] == expected  # of equal scores the box in frame 0 goes first


def test_a_table_that_mixes_tubes_and_loose_boxes_is_refused() -> None:
    table = table_from_annotations([VideoAnnotation("a", [SCORED])])
    table.loc[0, "tube"], table.loc[0, "tube_score"] = pd.NA, np.nan
    with pytest.raises(TableError, match="link them into tubes first"):
        judge([VideoAnnotation("a", [ONE])], table, ious=["0.5"])


def test_an_empty_table_scores_0_in_everything() -> None:
    table = table_from_annotations([VideoAnnotation("a", [])])
    found = judge([VideoAnnotation("a", [ONE])], table, ious=["0.5"], protocols=PROTOCOL_NAMES)
    assert {j.frame.mean["0.5"] for j in found} == {0}
    assert {j.video.mean["0.5"] for j in found if j.video} == {0}


def test_the_mean_over_splits_adds_counts_and_averages_ap() -> None:
    hit, miss = ([VideoAnnotation(name, [ONE])] for name in ("a", "b"))
    table = table_from_annotations([VideoAnnotation("a", [SCORED])])
    splits = [judge(hit, table, ious=["0.5"]), judge(miss, table, ious=["0.5"], ignore_unknown_videos=True)]
    mean = mean_over_splits(splits)[0]
    assert mean.video is not None
    assert mean.video.mean["0.5"] == mean.frame.mean["0.5"] == 1 / 2
    assert mean.video.num_ground_truth.tolist() == [2]
    assert any("left out" in warning for warning in mean.warnings)


def test_splits_of_different_classes_have_no_mean() -> None:
    other = [VideoAnnotation("a", [replace(ONE, label="jump")])]
    table = table_from_annotations([VideoAnnotation("a", [SCORED])])
    with pytest.raises(EvaluationError, match="the same classes"):
        mean_over_splits([judge(truth, table, ious=["0.5"]) for truth in ([VideoAnnotation("a", [ONE])], other)])


def test_tables_for_people_are_in_percent() -> None:
    table = table_from_annotations([VideoAnnotation("a", [SCORED])])
    found = judge([VideoAnnotation("a", [ONE])], table, ious=["0.5"], protocols=["saha", "ava"])
    assert class_table(found[0]).splitlines()[-1].split() == ["mean", "100.00", "1", "1", "100.00", "4", "4"]
    assert [line.split() for line in protocol_table(found).splitlines()[2:]] == [
        ["saha", "100.00", "100.00"],
        ["ava", "-", "100.00"],
        ["spread", "0.00", "0.00"],
    ]
