"""Tubes as flat arrays, and their overlaps."""

from dataclasses import replace

import numpy as np
import pytest

import eval.tubes
from eval.protocols import VIDEO_PROTOCOLS
from eval.tubes import candidate_pairs, keep_after_nms, overlap_parts, protocol_box_iou, tube_overlaps, tube_set
from linking.geometry import tube_iou
from linking.records import Tube, VideoAnnotation

SAHA = VIDEO_PROTOCOLS["saha"]
LABELS = ("jump", "run")


def made_up(videos: int, tubes: int, seed: int, holes: float = 0.0) -> list[VideoAnnotation]:
    rng = np.random.default_rng(seed)

    def some(i: int) -> Tube:
        frames = np.arange(rng.integers(0, 10), rng.integers(12, 25))
        frames = frames[(rng.random(len(frames)) >= holes) | (frames == frames[0])]
        corner = rng.uniform(0, 10, (len(frames), 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 15, 2)], axis=1)
        return Tube(str(rng.choice(LABELS)), frames, boxes, None, float(rng.random()), i)

    return [VideoAnnotation(f"v{v}", [some(i) for i in range(tubes)]) for v in range(videos)]


def sets(truth: list[VideoAnnotation], found: list[VideoAnnotation]):
    index = {a.video: i for i, a in enumerate(truth)}
    return tube_set(truth, index, LABELS), tube_set(found, index, LABELS)


def test_tubes_are_sorted_by_video_then_id_whatever_their_order() -> None:
    one = made_up(1, 1, 0)[0].tubes[0]
    mixed = [VideoAnnotation("b", [replace(one, id=2), replace(one, id=1)]), VideoAnnotation("a", [replace(one, id=9)])]
    flat = tube_set(mixed, {"a": 0, "b": 1}, LABELS)
    assert [tube.id for tube in flat.tubes] == [9, 1, 2]
    assert flat.video.tolist() == [0, 1, 1]


def test_unknown_videos_are_left_out_and_unknown_classes_marked() -> None:
    one = made_up(1, 1, 0)[0].tubes[0]
    flat = tube_set([VideoAnnotation("a", [replace(one, label="swim")]), VideoAnnotation("z", [one])], {"a": 0}, LABELS)
    assert flat.label.tolist() == [-1]


def test_candidates_are_all_pairs_of_a_video_and_class() -> None:
    truth, found = sets(made_up(3, 4, 1), made_up(3, 5, 2))
    for same_class in (True, False):
        expected = {
            (d, g)
            for d in range(15)
            for g in range(12)
            if found.video[d] == truth.video[g] and (not same_class or found.label[d] == truth.label[g])
        }
        detection, of = candidate_pairs(truth, found, same_class=same_class)
        assert len(detection) == len(expected)
        assert set(zip(detection.tolist(), of.tolist())) == expected


def test_tubes_of_unlisted_classes_pair_with_nothing() -> None:
    truth, found = sets(made_up(1, 2, 1), made_up(1, 2, 2))
    found = replace(found, label=np.full(2, -1))
    truth = replace(truth, label=np.full(2, -1))
    assert len(candidate_pairs(truth, found)[0]) == 0


@pytest.mark.parametrize("holes", [0.0, 0.3], ids=["whole tubes", "tubes with holes"])
def test_overlaps_equal_those_of_two_tubes_by_themselves(holes: float) -> None:
    truth, found = sets(made_up(3, 4, 3, holes), made_up(3, 6, 4, holes))
    counting_lone_frames = replace(SAHA, lone_frame_counts=True)
    detection, of = candidate_pairs(truth, found)
    temporal, mean_box = overlap_parts(truth, found, detection, of, counting_lone_frames)
    expected = [tube_iou(truth.tubes[g], found.tubes[d]) for d, g in zip(detection, of)]
    np.testing.assert_allclose(temporal * mean_box, expected, atol=1e-12)
    assert max(expected) > 0.1


def test_pairs_are_compared_in_pieces_without_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, found = sets(made_up(4, 5, 5), made_up(4, 8, 6))
    at_once = tube_overlaps(truth, found, SAHA)
    for size in (1, 7, 40):
        monkeypatch.setattr(eval.tubes, "_CHUNK", size)
        in_pieces = tube_overlaps(truth, found, SAHA)
        np.testing.assert_array_equal(in_pieces.overlap, at_once.overlap)
        np.testing.assert_array_equal(in_pieces.detection, at_once.detection)


def test_leaving_out_hopeless_pairs_changes_no_other() -> None:
    truth, found = sets(made_up(4, 5, 7), made_up(4, 8, 8))
    every, some = tube_overlaps(truth, found, SAHA), tube_overlaps(truth, found, SAHA, at_least=0.3)
    assert len(some) < len(every)
    assert some.overlap[some.overlap >= 0.3].tolist() == every.overlap[every.overlap >= 0.3].tolist()


def test_nothing_overlaps_nothing() -> None:
    truth, found = sets(made_up(2, 2, 9), [])
    assert len(tube_overlaps(truth, found, SAHA)) == 0
    assert len(keep_after_nms(found, VIDEO_PROTOCOLS["act"])) == 0


@pytest.mark.parametrize(
    ("inclusive", "shift", "expected"),
    [
        (False, (0, 0), 50 / 150),
        (True, (0, 0), 66 / (2 * 121 - 66)),
        (False, (5, 5), 1),
        (False, (1, 2), 4 * 9 / (100 + 121 - 36)),
    ],
    ids=["continuous", "inclusive", "moved onto it", "one and two pixels"],
)
def test_box_iou_as_a_protocol_counts(inclusive: bool, shift: tuple[float, float], expected: float) -> None:
    truth = np.float32([[5, 0, 15, 10]]) if shift == (5, 5) else np.float32([[0, 0, 10, 10]])
    found = np.float32([[0, -5, 10, 5]]) if shift == (5, 5) else np.float32([[5, 0, 15, 10]])
    assert protocol_box_iou(truth, found, inclusive, shift)[0] == pytest.approx(expected)


def test_suppression_is_greedy_by_score_and_the_first_of_equal_scores_stays() -> None:
    one = Tube("run", np.arange(4), np.tile(np.float32([0, 0, 10, 10]), (4, 1)), None, 0.5)
    flat = tube_set([VideoAnnotation("a", [replace(one, id=i) for i in (2, 0, 1)])], {"a": 0}, LABELS)
    assert [flat.tubes[i].id for i in keep_after_nms(flat, VIDEO_PROTOCOLS["act"])] == [0]
