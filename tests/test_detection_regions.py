import numpy as np
import pytest

from detection.regions import RegionConfig, sample_regions
from linking.geometry import box_iou
from linking.records import Tube, VideoAnnotation

CLASSES = {"jump": 0, "wave": 1}
BACKGROUND = 2
SIZE = (100, 200)


def standing(label: str, frames: range, x: float, tube_id: int = 0) -> Tube:
    return Tube(
        label,
        np.arange(frames.start, frames.stop),
        np.tile(np.float32([x, 20, x + 30, 90]), (len(frames), 1)),
        id=tube_id,
    )


def draw(annotation: VideoAnnotation, frames: range, seed: int = 0, **changes: object):
    return sample_regions(
        annotation, CLASSES, np.array(frames), SIZE, RegionConfig(**changes), np.random.default_rng(seed)
    )


@pytest.mark.parametrize("seed", range(5))
def test_actors_keep_their_label_and_backgrounds_keep_away(seed: int) -> None:
    two = VideoAnnotation("v", [standing("jump", range(20), 10), standing("wave", range(20), 120, 1)])
    where, boxes, labels = draw(two, range(5, 13), seed, per_actor=3, background=6)
    assert np.bincount(labels, minlength=3)[:2].tolist() == [3, 3]
    assert set(where.tolist()) <= set(range(5, 13))
    actors = np.stack([two.tubes[0].boxes[0], two.tubes[1].boxes[0]])
    overlap = box_iou(boxes, actors)
    for label in (0, 1):
        assert (overlap[labels == label, label] >= 0.5).all()
    assert (overlap[labels == BACKGROUND] <= 0.3).all()


def test_the_first_box_of_an_actor_is_the_annotated_one() -> None:
    one = VideoAnnotation("v", [standing("wave", range(20), 50)])
    _, boxes, labels = draw(one, range(5, 13), per_actor=4, background=0)
    assert labels.tolist() == [1] * 4
    np.testing.assert_array_equal(boxes[0], one.tubes[0].boxes[0])
    assert not np.array_equal(boxes[1], boxes[0])


def test_an_actor_who_does_not_act_yet_is_background() -> None:
    later = VideoAnnotation("v", [standing("jump", range(50, 60), 50)])
    seen = [draw(later, range(5, 13), seed, background=4) for seed in range(5)]
    labels = np.concatenate([labels for _, _, labels in seen])
    boxes = np.concatenate([boxes for _, boxes, _ in seen])
    assert set(labels.tolist()) == {BACKGROUND}
    assert (box_iou(boxes, later.tubes[0].boxes[:1]) == 1).any()  # the very place where the action will be


def test_a_video_without_annotation_gives_background_only() -> None:
    _, boxes, labels = draw(VideoAnnotation("v"), range(8), background=4)
    assert labels.tolist() == [BACKGROUND] * 4
    assert boxes.shape == (4, 4)
    assert (boxes >= 0).all()
    assert (boxes <= np.array([200, 100, 200, 100])).all()


def test_proposals_become_actors_or_background_by_their_overlap() -> None:
    one = VideoAnnotation("v", [standing("wave", range(20), 50)])
    near, far = np.float32([52, 22, 82, 92]), np.float32([150, 0, 190, 50])
    proposals = {frame: np.stack([near, far]) for frame in range(20)}
    _, boxes, labels = sample_regions(
        one,
        CLASSES,
        np.arange(5, 13),
        SIZE,
        RegionConfig(per_actor=1, background=8),
        np.random.default_rng(1),
        proposals,
    )
    rows = {tuple(box.tolist()): int(label) for box, label in zip(boxes, labels)}
    assert rows[tuple(near.tolist())] == 1
    assert rows[tuple(far.tolist())] == BACKGROUND
