import numpy as np
import pytest

from detection.report_lanes import beside_predictions, lanes_of
from linking.actors import group_by_actor
from linking.build import build_tubes
from linking.link import LinkConfig
from linking.records import Detections, Tube
from linking.scores import ScoredVideo
from linking.trim import TrimConfig

CLASSES = ("run", "jump", "sit", "wave")
FRAME_BY_FRAME = TrimConfig(share_frames=1)
RUNS, JUMPS, SITS = (0.8, 0.1, 0.06, 0.01), (0.1, 0.7, 0.06, 0.01), (0.01, 0.02, 0.9, 0.03)


def scored(frames: list[list[tuple[float, tuple[float, ...]]]], cuts: tuple[int, ...] = ()) -> ScoredVideo:
    """A video; each frame is a list of (x, class scores)."""
    detections = []
    for t, boxes in enumerate(frames):
        corners = np.array([(x, 0, x + 40, 80) for x, _ in boxes], np.float32).reshape(-1, 4)
        class_scores = np.array([scores for _, scores in boxes], np.float32).reshape(-1, len(CLASSES))
        detections.append(Detections(t, corners, np.full(len(boxes), 0.9), class_scores))
    return ScoredVideo("clip", CLASSES, tuple(detections), 320, 240, 25.0, cuts)


def tube(label: str, first: int, frames: int, *, x: float = 0, score: float = 0.5, number: int = 0) -> Tube:
    boxes = np.tile(np.float32([x, 0, x + 40, 80]), (frames, 1))
    scores = np.full(frames, score, np.float32)
    return Tube(label, np.arange(first, first + frames), boxes, scores, score, number)


def described(lanes) -> list[list[tuple[str, int, int]]]:
    return [[(run.tube.label, run.tube.first_frame, run.tube.end_frame) for run in lane.runs] for lane in lanes]


def test_one_person_who_runs_then_jumps_is_one_lane() -> None:
    video = scored([[(t, RUNS)] for t in range(20)] + [[(t, JUMPS)] for t in range(20, 50)])
    lanes = lanes_of(group_by_actor(build_tubes(video, trim=FRAME_BY_FRAME)), video, LinkConfig())
    assert described(lanes) == [[("run", 0, 20), ("jump", 20, 50)]]
    (lane,) = lanes
    assert lane.cut.tolist() == [], "every frame shows one of the two"
    assert [curve.label for curve in lane.curves] == ["run", "jump", "sit"], "best three"
    run, jump = lane.curves[:2]
    assert run.frames.tolist() == list(range(50))
    assert run.scores == pytest.approx([0.8] * 20 + [0.1] * 30)
    assert jump.scores == pytest.approx([0.1] * 20 + [0.7] * 30)


def test_what_was_trimmed_away_is_known_with_its_scores() -> None:
    video = scored([[(t, JUMPS)] for t in range(10)] + [[(t, RUNS)] for t in range(10, 40)])
    tubes = [one for one in build_tubes(video, trim=FRAME_BY_FRAME) if one.label == "run"]
    (lane,) = lanes_of(group_by_actor(tubes), video, LinkConfig())
    assert described([lane]) == [[("run", 10, 40)]]
    assert lane.cut.tolist() == list(range(10))
    assert lane.curves[0].scores[:11] == pytest.approx([0.1] * 10 + [0.8])
    (unlinked,) = lanes_of(group_by_actor(tubes), video)
    assert unlinked.cut.tolist() == [], "without the settings nobody knows"


def test_people_apart_and_people_at_once_keep_their_own_lanes() -> None:
    video = scored([[(t, RUNS), (200 - t, SITS)] for t in range(40)])
    lanes = lanes_of(group_by_actor(build_tubes(video)), video, LinkConfig())
    assert described(lanes) == [[("sit", 0, 40)], [("run", 0, 40)]]


@pytest.mark.parametrize(
    ("second", "cuts", "lanes"),
    [
        pytest.param(tube("jump", 12, 10, number=1), (), 1, id="goes on two frames later"),
        pytest.param(tube("jump", 18, 10, number=1), (), 2, id="a pause of eight frames is another"),
        pytest.param(tube("jump", 12, 10, x=20, number=1), (), 2, id="IoU 20/60 is somebody else"),
        pytest.param(tube("jump", 12, 10, number=1), (11,), 2, id="a new shot"),
    ],
)
def test_a_path_that_goes_on_where_another_ended_is_the_same_person(second: Tube, cuts: tuple, lanes: int) -> None:
    video = scored([[(0, RUNS)] for _ in range(30)], cuts)
    actors = group_by_actor([tube("run", 0, 10), second])
    assert len(lanes_of(actors, video)) == lanes
    # a third tube that overlaps both is never in their lane
    assert len(lanes_of([*actors, *group_by_actor([tube("sit", 5, 16, number=2)])], video)) == lanes + 1


def test_a_chain_of_paths_is_one_lane_in_order_of_time() -> None:
    best_last = [tube("sit", 20, 10, score=0.9, number=0), tube("run", 0, 10, score=0.8, number=1)]
    middle = tube("jump", 10, 10, score=0.1, number=2)
    lanes = lanes_of(group_by_actor([*best_last, middle]))
    assert described(lanes) == [[("run", 0, 10), ("jump", 10, 20), ("sit", 20, 30)]]


def test_without_scores_the_curves_are_those_of_the_tubes() -> None:
    strong, weak = tube("run", 0, 10, score=0.8), tube("jump", 2, 6, score=0.3, number=1)
    (lane,) = lanes_of(group_by_actor([strong, weak]))
    assert [(curve.label, curve.frames.tolist()) for curve in lane.curves] == [
        ("run", list(range(10))),
        ("jump", list(range(2, 8))),
    ]
    assert lane.runs[0].classes == (("run", 0.8), ("jump", 0.3))
    assert lane.runs[0].tubes == (strong, weak)
    assert lanes_of([]) == ()


def test_ground_truth_is_set_beside_the_nearest_of_its_class_and_of_others() -> None:
    truth = [tube("run", 0, 10), tube("sit", 0, 10, x=200)]
    half, quarter, other = tube("run", 0, 5), tube("run", 0, 10, x=24, number=1), tube("jump", 0, 10, number=2)
    first, second = beside_predictions(truth, [quarter, half, other])
    assert first.found is half
    assert first.iou == pytest.approx(5 / 10)
    assert first.other is other
    assert first.other_iou == pytest.approx(1)
    assert (second.found, second.iou, second.other, second.other_iou) == (None, 0, None, 0)
    assert beside_predictions([], [half]) == ()
