"""The fast reading of many paths must equal the definition: best path, take it away, best path of the rest."""

import itertools

import numpy as np
import pytest

from linking.candidates import candidates_of, usable
from linking.geometry import box_iou, nms
from linking.link_graph import link_graph
from linking.paths import PathRules, best_paths
from linking.records import Detections

EVERYTHING = PathRules(overlap_weight=1.0, max_paths=99, min_boxes=1, whole_video=False)


def random_video(rng, frames, most_boxes, classes, empty=0.15):
    """Boxes crowded into a small square, so that most overlap and paths compete."""
    detections = []
    for frame in range(frames):
        n = 0 if rng.random() < empty else int(rng.integers(1, most_boxes + 1))
        corner = rng.uniform(0, 20, (n, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(15, 30, (n, 2))], axis=1)
        scores = rng.uniform(0.05, 1, (n, classes))
        detections.append(Detections(frame, boxes, scores.max(axis=1, initial=0), scores))
    return candidates_of(detections, [found.class_scores for found in detections])


def all_paths(candidates, left, reach, min_overlap):
    """Every path there is through the boxes ``left``: ascending, neighbours close in time and overlapping."""
    time, overlap = candidates.time, box_iou(candidates.boxes, candidates.boxes)
    paths = [[box] for box in left]
    for path in paths:  # grows while it is read
        for box in left:
            if 0 < time[box] - time[path[-1]] <= reach and overlap[path[-1], box] >= min_overlap:
                paths.append([*path, box])
    return paths


def value(path, scores, overlap, time):
    """The overlap across a gap counts once for every frame that is bridged."""
    return sum(scores[i] + scores[j] + (time[j] - time[i]) * overlap[i, j] for i, j in itertools.pairwise(path))


def paths_by_definition(candidates, mask, column, *, reach, min_overlap, fits=lambda path: True):
    left = np.flatnonzero(mask[:, column]).tolist()
    scores = candidates.scores[:, column].astype(np.float64)
    overlap = box_iou(candidates.boxes, candidates.boxes)
    found = []
    while True:
        possible = [path for path in all_paths(candidates, left, reach, min_overlap) if fits(path)]
        if not possible:
            return found
        best = max(possible, key=lambda path: value(path, scores, overlap, candidates.time))
        found.append(best)
        left = [box for box in left if box not in best]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(("max_gap", "min_overlap"), [(0, 0.3), (1, 0.3), (2, 0.5)])
def test_paths_are_those_of_repeated_best_path_search(seed, max_gap, min_overlap):
    candidates = random_video(np.random.default_rng(seed), frames=6, most_boxes=3, classes=2)
    mask = candidates.scores >= 0.2
    graph = link_graph(candidates, mask, max_gap=max_gap, min_overlap=min_overlap)
    found = best_paths(candidates, graph, mask, EVERYTHING)
    for column in range(2):
        expected = paths_by_definition(candidates, mask, column, reach=max_gap + 1, min_overlap=min_overlap)
        # single boxes are paths of value 0, all alike, and come in any order
        assert sorted(path.tolist() for path in found[column]) == sorted(expected)


@pytest.mark.parametrize("seed", range(30))
def test_paths_through_the_whole_video_come_best_first(seed):
    candidates = random_video(np.random.default_rng(seed), frames=4, most_boxes=4, classes=1, empty=0)
    mask = np.ones_like(candidates.scores, bool)
    rules = PathRules(overlap_weight=1.0, max_paths=3, min_boxes=1, whole_video=True)
    graph = link_graph(candidates, mask, max_gap=0, min_overlap=0.0)
    found = best_paths(candidates, graph, mask, rules)[0]
    expected = paths_by_definition(candidates, mask, 0, reach=1, min_overlap=0, fits=lambda path: len(path) == 4)
    assert [path.tolist() for path in found] == expected[:3]


def test_a_frame_without_a_box_leaves_no_path_through_the_whole_video():
    box = np.float32([[0, 0, 10, 10]])
    detections = [Detections(frame, box, [1], [[1]]) for frame in (0, 1, 3)]
    candidates = candidates_of(detections, [found.class_scores for found in detections])
    rules = PathRules(overlap_weight=1.0, max_paths=3, min_boxes=1, whole_video=True)
    mask = np.ones((3, 1), bool)
    graph = link_graph(candidates, mask, max_gap=0, min_overlap=0.0)
    assert best_paths(candidates, graph, mask, rules) == [[]]


@pytest.mark.parametrize("seed", range(10))
def test_boxes_kept_per_frame_and_class_are_those_of_plain_nms(seed):
    candidates = random_video(np.random.default_rng(seed), frames=5, most_boxes=9, classes=3)
    kept = usable(candidates, score_threshold=0.3, nms_iou=0.4, top_boxes=2)
    for start, end in itertools.pairwise(candidates.start):
        for column in range(3):
            fit = np.flatnonzero(candidates.scores[start:end, column] >= np.float32(0.3)) + start
            best = fit[nms(candidates.boxes[fit], candidates.scores[fit, column], 0.4)][:2]
            assert set(np.flatnonzero(kept[start:end, column]) + start) == set(best)


def test_edges_join_overlapping_boxes_of_one_shot_across_a_gap():
    box = np.float32([[0, 0, 10, 10]])
    far = np.float32([[50, 50, 60, 60]])
    detections = [Detections(frame, boxes, [1]) for frame, boxes in ((3, box), (4, far), (6, box), (7, box))]
    candidates = candidates_of(detections, [np.ones((1, 1))] * 4)
    assert candidates.first_frame == 3
    assert candidates.time.tolist() == [0, 1, 3, 4]

    def edges(**options):
        graph = link_graph(candidates, np.ones((4, 1), bool), min_overlap=0.5, **options)
        return list(zip(graph.source.tolist(), graph.target.tolist(), graph.overlap.tolist()))

    assert edges(max_gap=0) == [(2, 3, 1.0)]
    assert edges(max_gap=2) == [(0, 2, 1.0), (2, 3, 1.0)]
    assert edges(max_gap=3) == [(0, 2, 1.0), (2, 3, 1.0), (0, 3, 1.0)]
    assert edges(max_gap=3, cuts=[7]) == [(0, 2, 1.0)]
    assert edges(max_gap=3, cuts=[4, 6]) == [(2, 3, 1.0)]
