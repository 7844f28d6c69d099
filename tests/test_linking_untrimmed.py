import dataclasses

import numpy as np

from linking.build import TubeConfig, build_tubes
from linking.link import LinkConfig
from linking.online import OnlineConfig
from linking.records import Detections
from linking.scores import ScoredVideo
from linking.untrimmed import untrimmed_paths

RUNS, IDLE = 0.8, 0.1  # an idle runner is still above the threshold of linking, 0.05


def video(scores: list[float]) -> ScoredVideo:
    """Somebody who moves to the right by a pixel a frame; the class scores of every frame."""
    detections = [
        Detections(t, np.float32([[t, 0, t + 40, 80]]), np.float32([0.9]), np.float32([[score, 0.0]]))
        for t, score in enumerate(scores)
    ]
    return ScoredVideo("clip", ("run", "jump"), tuple(detections), 320, 240, 25.0)


def test_a_trimmed_tube_is_given_the_whole_path_it_was_cut_from() -> None:
    scored = video([RUNS] * 20 + [IDLE] * 30)
    (tube,) = build_tubes(scored)
    assert (tube.first_frame, tube.end_frame) == (0, 20)
    (path,) = untrimmed_paths([tube], scored, LinkConfig())
    assert (path.label, path.first_frame, path.end_frame) == ("run", 0, 50)


def test_two_runs_of_one_path_get_the_same_path() -> None:
    scored = video([RUNS] * 20 + [IDLE] * 40 + [RUNS] * 20)
    tubes = build_tubes(scored)
    assert sorted((tube.first_frame, tube.end_frame) for tube in tubes) == [(0, 20), (60, 80)]
    first, second = untrimmed_paths(tubes, scored, LinkConfig())
    assert first is second
    assert len(first) == 80


def test_paths_of_online_linking_are_found_too() -> None:
    scored = video([RUNS] * 20 + [IDLE] * 30)
    tubes = TubeConfig(linker="online").build(scored)
    paths = untrimmed_paths(tubes, scored, OnlineConfig())
    assert [len(tube) for tube in tubes] == [20]
    assert [len(path) for path in paths] == [50]


def test_a_tube_of_other_boxes_or_settings_stands_for_itself() -> None:
    scored = video([RUNS] * 20 + [IDLE] * 30)
    (tube,) = build_tubes(scored)
    moved = dataclasses.replace(tube, boxes=tube.boxes + np.float32(1))
    other = dataclasses.replace(tube, label="jump")
    assert untrimmed_paths([moved, other], scored, LinkConfig()) == [moved, other]
    assert untrimmed_paths([tube], scored, LinkConfig(score_threshold=0.9)) == [tube]
    assert untrimmed_paths([], scored, LinkConfig()) == []
