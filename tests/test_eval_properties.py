"""What must hold for any ground truth and any detections."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.frame_map import frame_map
from eval.protocols import FRAME_PROTOCOLS, VIDEO_PROTOCOLS
from eval.video_map import video_map
from linking.records import Tube, VideoAnnotation

IOUS = (0.2, 0.5, 0.9)
LABELS = ("run", "jump")


@st.composite
def tubes(draw: st.DrawFn) -> Tube:
    """Short tubes on a coarse grid, so that overlaps, ties and duplicates are frequent."""
    first, n = draw(st.integers(0, 6)), draw(st.integers(1, 6))
    x, y = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    size = draw(st.integers(2, 5))
    score = draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
    boxes = np.tile(np.float32([x, y, x + size, y + size]), (n, 1))
    return Tube(draw(st.sampled_from(LABELS)), np.arange(first, first + n), boxes, np.full(n, score), score)


@st.composite
def annotations(draw: st.DrawFn, min_tubes: int = 0) -> list[VideoAnnotation]:
    """Videos a, b and c; at least ``min_tubes`` in the first."""
    videos = []
    for name in "abc":
        least = min_tubes if name == "a" else 0
        found = draw(st.lists(tubes(), min_size=least, max_size=4))
        videos.append(VideoAnnotation(name, [replace(t, id=i) for i, t in enumerate(found)]))
    return videos


@given(annotations(1), annotations(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_order_of_input_does_not_matter(truth, found, random) -> None:
    def shuffled(videos: list[VideoAnnotation]) -> list[VideoAnnotation]:
        mixed = [replace(v, tubes=random.sample(v.tubes, len(v.tubes))) for v in videos]
        return random.sample(mixed, len(mixed))

    for name in VIDEO_PROTOCOLS:
        before = video_map(truth, found, thresholds=IOUS, protocol=name)
        after = video_map(shuffled(truth), shuffled(found), thresholds=IOUS, protocol=name)
        np.testing.assert_array_equal(before.ap_by_threshold, after.ap_by_threshold)
    for name in FRAME_PROTOCOLS:
        one = frame_map(truth, found, thresholds=IOUS, protocol=name)
        two = frame_map(shuffled(truth), shuffled(found), thresholds=IOUS, protocol=name)
        np.testing.assert_array_equal(one.ap_by_threshold, two.ap_by_threshold)


@given(annotations(1), annotations())
@settings(max_examples=30, deadline=None)
def test_every_ap_lies_between_0_and_1_and_falls_with_the_threshold(truth, found) -> None:
    for name, protocol in VIDEO_PROTOCOLS.items():
        ap = video_map(truth, found, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
        some = ~np.isnan(ap).any(axis=1)
        assert ((ap[some] >= 0) & (ap[some] <= 1 + 1e-12)).all()
        if protocol.match == "best":  # a higher threshold can free no better ground truth there
            assert (np.diff(ap[some], axis=1) <= 1e-12).all()
    for name in FRAME_PROTOCOLS:
        ap = frame_map(truth, found, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
        some = ~np.isnan(ap).any(axis=1)
        assert ((ap[some] >= 0) & (ap[some] <= 1 + 1e-12)).all()


@given(annotations(1), annotations(), tubes())
@settings(max_examples=30, deadline=None)
def test_a_false_positive_of_the_lowest_score_never_raises_ap_under_the_envelope(truth, found, extra) -> None:
    far = extra.boxes + np.float32(1000)
    false = replace(extra, boxes=far, score=-1.0, scores=np.full(len(far), -1.0), id=99)
    more = [replace(v, tubes=[*v.tubes, false]) if v.video == "a" else v for v in found]
    for name, protocol in VIDEO_PROTOCOLS.items():
        if protocol.precision == "envelope":
            before = video_map(truth, found, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
            after = video_map(truth, more, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
            np.testing.assert_array_equal(before, after)
    for name, rules in FRAME_PROTOCOLS.items():
        if rules.precision == "envelope":
            before = frame_map(truth, found, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
            after = frame_map(truth, more, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
            np.testing.assert_array_equal(before, after)


@given(annotations(1), annotations(), tubes(), st.sampled_from([-1.0, 0.3, 0.6, 2.0]))
@settings(max_examples=30, deadline=None)
def test_a_false_positive_of_any_score_never_raises_ap_under_the_envelope(truth, found, extra, score) -> None:
    far = extra.boxes + np.float32(1000)
    false = replace(extra, boxes=far, score=score, scores=np.full(len(far), score), id=99)
    more = [replace(v, tubes=[*v.tubes, false]) if v.video == "a" else v for v in found]
    for name in ("saha", "yowo", "multisports"):
        before = video_map(truth, found, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
        after = video_map(truth, more, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
        assert ((after <= before + 1e-12) | np.isnan(before)).all()
    for name in ("voc", "yowo", "multisports", "ava"):
        before = frame_map(truth, found, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
        after = frame_map(truth, more, thresholds=IOUS, class_names=LABELS, protocol=name).ap_by_threshold
        assert ((after <= before + 1e-12) | np.isnan(before)).all()


@pytest.mark.parametrize("name", ["saha", "road", "yowo"])
@given(truth=annotations(1))
@settings(max_examples=30, deadline=None)
def test_the_ground_truth_itself_scores_1_where_tubes_are_longer_than_a_frame(name: str, truth) -> None:
    truth = [replace(v, tubes=[t for t in v.tubes if len(t) > 1]) for v in truth]
    if any(v.tubes for v in truth):
        result = video_map(truth, truth, thresholds=IOUS, protocol=name)
        np.testing.assert_allclose(result.ap_by_threshold, 1, atol=1.1e-5)


@pytest.mark.parametrize("name", ["voc", "road"])
@given(truth=annotations(1))
@settings(max_examples=30, deadline=None)
def test_the_boxes_of_the_ground_truth_score_1_frame_by_frame(name: str, truth) -> None:
    np.testing.assert_allclose(frame_map(truth, truth, thresholds=IOUS, protocol=name).ap_by_threshold, 1)


def apart(videos: list[VideoAnnotation]) -> list[VideoAnnotation]:
    """The same tubes side by side, ten times as large and longer than a frame: no two overlap."""
    return [
        replace(v, tubes=[replace(t, boxes=t.boxes * 10 + np.float32(200 * t.id)) for t in v.tubes if len(t) > 1])
        for v in videos
    ]


@given(annotations(1))
@settings(max_examples=30, deadline=None)
def test_the_ground_truth_itself_scores_1_in_every_protocol_where_no_two_tubes_overlap(truth) -> None:
    truth = apart(truth)
    if not any(v.tubes for v in truth):
        return
    for name in VIDEO_PROTOCOLS:
        # the two that move detections by a pixel or two are only near where boxes of 20 pixels must overlap by 0.9
        ious = (0.2, 0.5) if name.endswith("legacy") else IOUS
        ap = video_map(truth, truth, thresholds=ious, protocol=name).ap_by_threshold
        np.testing.assert_allclose(ap, 1, atol=1.1e-5, err_msg=name)
    for name in FRAME_PROTOCOLS:
        ap = frame_map(truth, truth, thresholds=IOUS, protocol=name).ap_by_threshold
        np.testing.assert_allclose(ap, 1, err_msg=name)
