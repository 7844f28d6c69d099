import math

import numpy as np
import pytest

from linking.actors import best_classes, group_by_actor, one_by_one
from linking.records import NO_SCORE, Detections, Tube
from linking.scores import ScoredVideo


def still(label: str, score: float, number: int, *, first: int = 0, frames: int = 10, x: float = 0) -> Tube:
    """A box of 10 x 10 that stays at ``x``."""
    boxes = np.tile(np.float32([x, 0, x + 10, 10]), (frames, 1))
    return Tube(
        label, np.arange(first, first + frames), boxes, np.full(frames, score, np.float32), score, number
    )


def shown(tubes: list[Tube], **options: float) -> list[tuple[int, list[str]]]:
    return [
        (actor.tube.id, [label for label, _ in actor.classes]) for actor in group_by_actor(tubes, **options)
    ]


def test_an_actor_is_shown_once_with_its_classes_best_first() -> None:
    tubes = [still("walk", 0.3, 1), still("run", 0.6, 2), still("jump", 0.1, 3)]
    assert shown(tubes) == [(2, ["run", "walk", "jump"])]
    assert group_by_actor(tubes)[0].classes == (("run", 0.6), ("walk", 0.3), ("jump", 0.1))
    assert group_by_actor(tubes, count=1)[0].tubes == (tubes[1], tubes[0], tubes[2])


def test_three_classes_are_kept_unless_told_otherwise() -> None:
    tubes = [
        still(label, score, k)
        for k, (label, score) in enumerate([("a", 0.4), ("b", 0.3), ("c", 0.2), ("d", 0.1)])
    ]
    assert shown(tubes) == [(0, ["a", "b", "c"])]
    assert shown(tubes, count=1) == [(0, ["a"])]


def test_two_tubes_of_one_class_are_two_actors_even_in_the_same_place() -> None:
    assert shown([still("fence", 0.9, 1), still("fence", 0.8, 2)]) == [(1, ["fence"]), (2, ["fence"])]


@pytest.mark.parametrize(
    ("x", "together"),
    [
        pytest.param(3, True, id="IoU 7/13 is above a half"),
        pytest.param(4, False, id="IoU 6/14 is below a half"),
    ],
)
def test_actors_are_told_apart_by_place(x: float, together: bool) -> None:
    assert len(shown([still("run", 0.9, 1), still("walk", 0.5, 2, x=x)])) == (1 if together else 2)


@pytest.mark.parametrize(
    ("first", "together"),
    [
        pytest.param(5, True, id="5 of 10 frames shared"),
        pytest.param(6, False, id="4 of 10 frames shared"),
        pytest.param(10, False, id="one action after the other"),
    ],
)
def test_actions_at_other_times_are_shown_by_themselves(first: int, together: bool) -> None:
    assert len(shown([still("run", 0.9, 1), still("walk", 0.5, 2, first=first)])) == (1 if together else 2)


def test_tubes_without_scores_come_last_and_ties_go_by_id() -> None:
    tubes = [still("a", NO_SCORE, 1), still("b", 0.5, 7, x=50), still("c", 0.5, 3, x=90)]
    assert [number for number, _ in shown(tubes)] == [3, 7, 1]
    assert math.isnan(group_by_actor(tubes)[2].classes[0][1])


def test_nothing_gives_nothing() -> None:
    assert group_by_actor([]) == []


def scored_video() -> ScoredVideo:
    """Three frames with two people, at x = 0 and x = 50, and scores for run, walk and jump."""
    boxes = np.float32([[0, 0, 10, 10], [50, 0, 60, 10]])
    left = [[0.2, 0.8, 0.1], [0.4, 0.6, 0.0], [0.9, 0.0, 0.0]]
    detections = [
        Detections(k, boxes, np.ones(2, np.float32), np.float32([scores, [0, 0, 1]]))
        for k, scores in enumerate(left)
    ]
    return ScoredVideo("v", ("run", "walk", "jump"), tuple(detections), 100, 100, 25.0)


def test_classes_too_weak_for_a_tube_fill_the_top_three() -> None:
    tube = still("walk", 0.9, 1, frames=2)
    (actor,) = group_by_actor([tube])
    classes = best_classes(actor, scored_video())
    assert [label for label, _ in classes] == ["walk", "run", "jump"]
    assert [score for _, score in classes] == pytest.approx([0.9, (0.2 + 0.4) / 2, 0.1 / 2])
    assert best_classes(actor, scored_video(), count=1) == (("walk", 0.9),)


def test_a_tube_without_scored_boxes_keeps_its_own_class() -> None:
    tube = still("walk", 0.9, 1, frames=2)
    unknown = Tube(tube.label, tube.frames, tube.boxes, score=0.9)
    (actor,) = group_by_actor([unknown])
    assert best_classes(actor, scored_video()) == (("walk", 0.9),)


def test_every_tube_can_be_an_actor_of_its_own_best_first() -> None:
    tubes = [still("walk", 0.3, 1), still("run", 0.6, 2), still("run", math.nan, 0)]
    assert [(actor.tube.id, actor.classes[0][0], len(actor.tubes)) for actor in one_by_one(tubes)] == [
        (2, "run", 1),
        (1, "walk", 1),
        (0, "run", 1),
    ]
