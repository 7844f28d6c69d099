"""Frames and boxes for training: decoding into the cache, and boxes that stay on their actors."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from detection.actor_frames import ActorFrames, AugmentConfig, MotionConfig, load_actor_frames, training_picture
from detection.motion import motion_stack
from linking.records import Tube, VideoAnnotation
from video.datasets import LabelledVideo
from video.flow import FlowReader, FlowSettings
from video.flow_cache import flow_path, write_flow
from video.tvl1 import TVL1Config
from video.writing import VideoWriter

GREEN = np.array([0, 255, 0], np.uint8)


def in_memory(frames: list[tuple[np.ndarray, np.ndarray]], videos: list[int] | None = None) -> ActorFrames:
    """Frames as load_actor_frames gives them, without files."""
    pictures = [picture for picture, _ in frames]
    ends = np.cumsum([picture.size for picture in pictures])
    return ActorFrames(
        bytes=np.concatenate([picture.ravel() for picture in pictures]),
        offsets=np.concatenate([[0], ends[:-1]]),
        sizes=np.array([picture.shape[:2] for picture in pictures]),
        videos=np.array(videos or range(len(frames))),
        box_ends=np.cumsum([len(boxes) for _, boxes in frames]),
        boxes=np.concatenate([np.asarray(boxes, np.float32).reshape(-1, 4) for _, boxes in frames]),
        names=tuple(map(str, range(len(frames)))),
    )


def scene(box: tuple[int, int, int, int], size: tuple[int, int] = (120, 160)) -> tuple[np.ndarray, np.ndarray]:
    """A green actor on red."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[..., 0] = 200
    x1, y1, x2, y2 = box
    picture[y1:y2, x1:x2] = GREEN
    return picture, np.array([box], np.float32)


def write_clip(path: Path, frames: int, size: tuple[int, int] = (48, 64)) -> None:
    with VideoWriter(path, width=size[1], height=size[0], fps=25) as writer:
        for index in range(frames):
            writer.write(np.full((*size, 3), 10 * index, np.uint8))


def labelled(path: Path, frames: list[int], **known: int) -> LabelledVideo:
    boxes = np.tile(np.array([[8, 4, 40, 44]], np.float32), (len(frames), 1))
    return LabelledVideo(path, VideoAnnotation(path.stem, [Tube("act", np.array(frames), boxes)], **known))


# ---- decoding


def test_every_other_labelled_frame_is_kept_by_its_index(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 8)
    frames = load_actor_frames([labelled(tmp_path / "a.mp4", [2, 3, 4, 5, 6])], tmp_path, step=2)
    assert len(frames) == 3
    assert [round(float(frames.picture(i).mean()), -1) for i in range(3)] == [20, 40, 60]
    assert frames.actors(1).tolist() == [[8, 4, 40, 44]]


def test_an_annotation_longer_than_its_video_gives_the_common_part(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 4)
    frames = load_actor_frames([labelled(tmp_path / "a.mp4", list(range(9)))], tmp_path, step=1)
    assert len(frames) == 4


QUICK = FlowSettings(short_side=24, bound=4, tvl1=TVL1Config(scales=1, warps=1, outer_iterations=1, inner_iterations=5))


def test_flow_is_stacked_around_each_labelled_frame_wherever_it_comes_from(tmp_path: Path) -> None:
    texture = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=25) as writer:
        for k in range(7):
            writer.write(np.roll(texture, 2 * k, axis=1))
    video = labelled(tmp_path / "a.mp4", [1, 2, 3, 4, 5, 9])
    frames = load_actor_frames([video], tmp_path, step=2, motion=MotionConfig(QUICK, (-2, 0, 2)))
    assert len(frames) == 3  # 1, 3 and 5
    assert frames.picture(0).shape == (24, 32, 6)
    assert frames.actors(0).tolist() == [[4, 2, 20, 22]]  # at half the size
    flow = FlowReader(tmp_path / "a.mp4", QUICK).read(range(7))
    for index, around in enumerate([(0, 1, 3), (1, 3, 5), (3, 5, 6)]):
        np.testing.assert_array_equal(frames.picture(index), motion_stack([flow[k] for k in around]))
    write_flow(tmp_path / "a.mp4", flow_path(tmp_path / "flow", "a"), QUICK)
    files = MotionConfig(QUICK, (-2, 0, 2), tmp_path / "flow")
    stored = load_actor_frames([video], tmp_path / "b", step=2, motion=files)
    difference = stored.picture(1).astype(int) - frames.picture(1)
    assert np.abs(difference).mean() < 6  # JPEG
    # another stack is another cache
    assert load_actor_frames([video], tmp_path, step=2, motion=MotionConfig(QUICK, (0,))).picture(0).shape[-1] == 2


def test_a_training_picture_of_flow_keeps_its_actor_and_turns_round_with_the_mirror() -> None:
    stack = np.full((60, 80, 6), 128, np.uint8)
    stack[20:40, 10:30, 0::2] = 168  # someone goes right
    frames = dataclasses.replace(in_memory([(stack, np.array([[10, 20, 30, 40]]))]), channels=6)
    for flip, sign in ((0.0, 1), (1.0, -1)):
        settings = AugmentConfig(zoom=(1, 1), aspect=1, mosaic=0, empty=0, flip=flip, speed=1.5)
        factors = set()
        for seed in range(8):
            picture, boxes = training_picture(frames, lambda: 0, (120, 160), settings, np.random.default_rng(seed))
            assert picture.shape == (6, 120, 160)
            (box,) = boxes.round().int().tolist()
            middle = picture[:, (box[1] + box[3]) // 2, (box[0] + box[2]) // 2].int() - 128
            assert (middle[1::2].abs() <= 1).all()
            assert 40 / 1.55 < sign * int(middle[0]) < 40 * 1.55
            factors.add(int(middle[0]))
            assert abs(int(picture[0, 2, 80]) - 128) <= 2
        assert len(factors) > 3


def test_large_videos_and_their_boxes_are_scaled_down(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 1)
    frames = load_actor_frames([labelled(tmp_path / "a.mp4", [0])], tmp_path, short_side=24)
    assert frames.picture(0).shape == (24, 32, 3)
    assert frames.actors(0).tolist() == [[4, 2, 20, 22]]


def test_boxes_annotated_for_another_size_fit_the_video(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 1)
    video = labelled(tmp_path / "a.mp4", [0], width=128, height=96)
    assert load_actor_frames([video], tmp_path).actors(0).tolist() == [[4, 2, 20, 22]]


def test_frames_know_their_videos(tmp_path: Path) -> None:
    for name in "ab":
        write_clip(tmp_path / f"{name}.mp4", 3)
    videos = [labelled(tmp_path / "a.mp4", [0, 1]), labelled(tmp_path / "b.mp4", [2])]
    frames = load_actor_frames(videos, tmp_path, step=1)
    assert [group.tolist() for group in frames.by_video] == [[0, 1], [2]]
    assert frames.names == ("a", "b")


def test_the_cache_is_used_again_until_something_changes(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 3)
    said: list[str] = []
    for frames in ([0, 1], [0, 1], [0, 2]):
        load_actor_frames([labelled(tmp_path / "a.mp4", frames)], tmp_path / "cache", report=said.append)
    assert len(said) == 2


def test_videos_without_a_box_are_no_training_data(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 2)
    with pytest.raises(ValueError, match="none of the 1 videos has a frame with an annotated box"):
        load_actor_frames([LabelledVideo(tmp_path / "a.mp4", VideoAnnotation("a"))], tmp_path)


# ---- augmentation


def green_extent(picture: torch.Tensor) -> list[float] | None:
    red, green, _ = picture.int()
    rows, columns = torch.nonzero(green - red > 60, as_tuple=True)
    if not len(rows):
        return None
    return [float(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


@pytest.mark.parametrize("seed", range(30))
def test_the_box_stays_on_its_actor(seed: int) -> None:
    frames = in_memory([scene((50, 30, 90, 110))])
    config = AugmentConfig(mosaic=0, grey=0, empty=0.2)
    picture, boxes = training_picture(frames, lambda: 0, (96, 128), config, np.random.default_rng(seed))
    assert picture.shape == (3, 96, 128)
    assert picture.dtype == torch.uint8
    extent = green_extent(picture)
    if extent is None:
        assert len(boxes) == 0
    elif len(boxes):  # else the sliver of an actor that an "empty" window may show
        assert boxes.tolist()[0] == pytest.approx(extent, abs=2)


def test_windows_beside_the_actor_show_background_alone() -> None:
    frames = in_memory([scene((5, 5, 40, 60))])
    config = AugmentConfig(mosaic=0, empty=1)
    empty = 0
    for seed in range(20):
        _, boxes = training_picture(frames, lambda: 0, (64, 64), config, np.random.default_rng(seed))
        empty += len(boxes) == 0
    assert empty >= 15


def test_a_mosaic_shows_several_actors_in_their_quarters() -> None:
    frames = in_memory([scene((60, 20, 100, 110))])
    config = AugmentConfig(mosaic=1, empty=0)
    picture, boxes = training_picture(frames, lambda: 0, (128, 160), config, np.random.default_rng(0))
    assert len(boxes) == 4
    for x1, y1, x2, y2 in boxes.round().int().tolist():
        inside = picture[:, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].float()
        assert inside[1].mean() > inside[0].mean() + 50


def test_the_same_generator_gives_the_same_picture() -> None:
    frames = in_memory([scene((50, 30, 90, 110))])
    first, second = (
        training_picture(frames, lambda: 0, (64, 64), AugmentConfig(), np.random.default_rng(5)) for _ in range(2)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
