"""The generated dataset: exact boxes, official layouts that the real readers read, everything from the seed."""

import json
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from video.clips import read_video
from video.datasets import open_dataset, resized_annotation
from video.folds import source_of
from video.puppet_actions import ACTIONS
from video.puppet_figures import Placement, draw_sticks
from video.puppet_places import still_camera
from video.puppet_poses import Joints, Moment, Pose, joints_of
from video.puppet_props import Stick
from video.puppet_scenes import render
from video.puppet_stories import Style, random_source, told_scene, trimmed_scene, untrimmed_scene
from video.puppets import (
    MARKER,
    PRESETS,
    PuppetsConfig,
    PuppetsError,
    draw,
    for_layout,
    generate,
    plan,
    write_demo,
)

SMALL = Style(width=64, height=48)
TINY = PuppetsConfig(
    classes=("wave", "sit"), train_per_class=3, test_per_class=1, min_frames=6, max_frames=8, style=SMALL, seed=3
)


# ---- bodies and motions


def test_a_standing_puppet_is_one_body_height_tall_with_its_feet_on_the_ground() -> None:
    joints = joints_of(Pose())
    assert min(joints.left_toe[1], joints.right_toe[1]) == pytest.approx(0.03, abs=0.005)
    assert joints.head[1] + 0.068 == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("label", ACTIONS)
def test_limbs_keep_their_length_and_feet_stay_above_the_ground_in_every_action(label: str) -> None:
    for progress in np.linspace(0, 1, 9):
        joints = joints_of(ACTIONS[label].motion(Moment(progress, 7.0 * progress, travel=0.5)))
        assert np.linalg.norm(joints.left_hand - joints.left_elbow) == pytest.approx(0.155)
        assert np.linalg.norm(joints.right_ankle - joints.right_knee) == pytest.approx(0.23)
        assert min(joints.left_toe[1], joints.right_toe[1], joints.left_ankle[1], joints.right_ankle[1]) > 0.02


def test_standing_up_is_sitting_down_played_backwards() -> None:
    for progress in (0.0, 0.3, 0.5, 0.8, 1.0):
        sitting = joints_of(ACTIONS["sit"].motion(Moment(progress, 0.0)))
        rising = joints_of(ACTIONS["stand"].motion(Moment(1.0 - progress, 0.0)))
        for field in fields(Joints):
            np.testing.assert_allclose(getattr(rising, field.name), getattr(sitting, field.name), atol=1e-9)


def test_throw_and_shoot_ball_differ_only_in_what_stands_far_away() -> None:
    throw, shoot = ACTIONS["throw"], ACTIONS["shoot_ball"]
    assert throw.motion is shoot.motion
    moment = Moment(0.3, 0.0, reach=2.0)
    joints = joints_of(throw.motion(moment))
    near, far_throw = (props(joints, moment) for props in throw.props)
    same, far_shoot = (props(joints, moment) for props in shoot.props)
    np.testing.assert_equal([s.start for s in near], [s.start for s in same])
    assert min(stick.start[0] for stick in far_throw + far_shoot) > 1.5
    assert {s.colour for s in far_throw} != {s.colour for s in far_shoot}


# ---- drawing


def test_a_ball_covers_the_pixels_it_should_and_the_box_is_tight() -> None:
    image = np.zeros((20, 20, 3), np.float32)
    centre = np.array([0.0, 0.0, 0.0])
    # a disc of radius 3 about the corner point (10, 10) covers columns and rows 7 to 12
    box = draw_sticks(image, [Stick(centre, centre, 3.0, 3.0, (255, 255, 255))], Placement(10, 10, 1.0, 0.0), masked=1)
    assert box.tolist() == [10 - 3, 10 - 3, 10 + 3, 10 + 3]
    assert (image[10, 10] > 200).all()
    assert (image[10, 13:] < 130).all()
    np.testing.assert_allclose(image, image[:, ::-1], atol=1e-3)


def test_what_lies_outside_the_picture_has_no_box() -> None:
    image = np.zeros((20, 20, 3), np.float32)
    centre = np.array([0.0, 0.0, 0.0])
    stick = Stick(centre, centre, 3.0, 3.0, (255, 255, 255))
    assert draw_sticks(image, [stick], Placement(-10, 10, 1.0, 0.0), masked=1) is None
    assert draw_sticks(image, [stick], Placement(0, 10, 1.0, 0.0), masked=1).tolist() == [0, 7, 3, 13]
    assert draw_sticks(image, [], Placement(0, 0, 1.0, 0.0), masked=1) is None


def test_boxes_are_where_the_picture_changes() -> None:
    """A puppet without props, drawn on its own: the box is that of the changed pixels, up to half-covered edges."""
    rng = np.random.default_rng(0)
    style = replace(SMALL, camera=0.0, bystanders=0, noise=0.0)
    scene = trimmed_scene(rng, random_source(rng, style), style, "jump", 6)
    empty = [frame for frame, _ in render(replace(scene, actors=()))]
    for (frame, (box,)), plain in zip(render(scene), empty, strict=True):
        changed = (np.abs(frame.astype(int) - plain.astype(int)).max(axis=2)) > 40
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        around = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert np.abs(box - around).max() <= 2
        assert not (np.abs(frame.astype(int) - plain).max(axis=2) > 0)[: max(box[1] - 2, 0)].any()


@pytest.mark.parametrize("label", ACTIONS)
def test_every_action_stays_in_the_picture(label: str) -> None:
    style = replace(SMALL, noise=0.0)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        _, tubes = draw(trimmed_scene(rng, random_source(rng, style), style, label, 8))
        (tube,) = tubes
        assert (tube.label, tube.first_frame, len(tube.boxes)) == (label, 0, 8)
        width, height = (tube.boxes[:, 2:] - tube.boxes[:, :2]).T
        assert width.min() >= 3
        assert height.min() >= 8
        assert (tube.boxes[:, :2] >= 0).all()
        assert (tube.boxes[:, 2:] <= [64, 48]).all()


def test_untrimmed_actors_wait_before_and_after() -> None:
    style = replace(SMALL, camera=0.0, bystanders=0, noise=0.0)
    rng = np.random.default_rng(1)
    scene = told_scene(rng, random_source(rng, style, people=1), style, [("wave", 10, 30)], 40)
    frames, (tube,) = draw(scene)
    assert (tube.first_frame, len(tube.boxes)) == (10, 20)
    movement = np.array([np.abs(b.astype(int) - a.astype(int)).mean() for a, b in pairwise(frames)])
    assert movement[12:28].mean() > 4 * movement[:8].mean()
    assert movement[12:28].mean() > 4 * movement[32:].mean()


def test_a_scene_may_hold_several_actors_with_their_own_times() -> None:
    rng = np.random.default_rng(5)
    source = random_source(rng, SMALL)
    counts = {len(draw(untrimmed_scene(rng, source, SMALL, "clap", 12, 3))[1]) for _ in range(8)}
    assert counts <= {1, 2, 3}
    assert len(counts) > 1


def test_a_still_camera_shows_a_still_background() -> None:
    rng = np.random.default_rng(0)
    scene = trimmed_scene(rng, random_source(rng, SMALL), SMALL, "wave", 5)
    frames = [frame for frame, _ in render(replace(scene, actors=(), camera=still_camera(5), noise=0.0))]
    assert all(np.array_equal(frame, frames[0]) for frame in frames)
    assert frames[0].std() > 3, "a texture, not one colour"


# ---- the dataset


@pytest.fixture(scope="module")
def jhmdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("puppets") / "jhmdb"
    generate(folder, TINY)
    return folder


@pytest.fixture(scope="module")
def ucf24(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("puppets") / "ucf24"
    generate(folder, replace(TINY, layout="ucf24", min_frames=10, max_frames=12))
    return folder


def test_the_jhmdb_layout_is_read_back_box_by_box(jhmdb: Path) -> None:
    dataset = open_dataset(jhmdb, part="all")
    assert dataset.class_names == ("sit", "wave")
    assert len(dataset) == 2 * (3 + 1)
    drawn = {clip.name: draw(clip.scene()) for clip in plan(TINY)}
    for video in dataset.videos:
        frames, tubes = drawn[video.annotation.video]
        assert video.annotation.num_frames == len(frames) == len(read_video(video.path))
        assert (video.annotation.width, video.annotation.height) == (64, 48)
        for tube, expected in zip(video.annotation.tubes, tubes, strict=True):
            assert tube.label == expected.label
            assert tube.frames.tolist() == list(range(len(frames)))
            np.testing.assert_array_equal(tube.boxes, expected.boxes)


def test_the_ucf24_layout_is_read_back_box_by_box(ucf24: Path) -> None:
    config = replace(TINY, layout="ucf24", min_frames=10, max_frames=12)
    drawn = {clip.name: draw(clip.scene()) for clip in plan(config)}
    dataset = open_dataset(ucf24, part="all")
    assert dataset.class_names == ("Sit", "Wave")
    for video in dataset.videos:
        frames, tubes = drawn[video.annotation.video]
        assert video.annotation.num_frames == len(frames)
        # the layout's boxes are for 320x240 pixels, these videos have 64x48
        own = resized_annotation(video.annotation, 64, 48)
        for tube, expected in zip(own.tubes, tubes, strict=True):
            assert tube.frames.tolist() == list(range(expected.first_frame, expected.first_frame + len(expected.boxes)))
            np.testing.assert_allclose(tube.boxes, expected.boxes, atol=1e-4)


def test_videos_look_as_they_were_drawn(jhmdb: Path) -> None:
    clip = plan(TINY)[0]
    frames, _ = draw(clip.scene())
    decoded = read_video(jhmdb / "videos" / f"{clip.name}.avi")
    assert np.abs(decoded.astype(int) - np.array(frames)).mean() < 8


def test_no_source_is_in_both_parts(jhmdb: Path, ucf24: Path) -> None:
    for folder in (jhmdb, ucf24):
        train, test = (open_dataset(folder, part=part) for part in ("train", "test"))
        assert (len(train), len(test)) == (6, 2)
        sources = [{source_of(video.annotation.video) for video in part.videos} for part in (train, test)]
        assert len(sources[0]) == 2 * 2, "3 clips of a class make 2 sources"
        assert sources[0].isdisjoint(sources[1])


def test_the_split_files_say_what_the_pickle_says(jhmdb: Path) -> None:
    from video.jhmdb import read_jhmdb_pickle, read_split_files

    split, official = read_jhmdb_pickle(jhmdb / "JHMDB-GT.pkl").split(1), read_split_files(jhmdb / "splits")[1]
    assert set(split.train) == set(official.train)
    assert set(split.test) == set(official.test)


def test_the_seed_decides_everything(jhmdb: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", TINY)
    assert (tmp_path / "again" / "JHMDB-GT.pkl").read_bytes() == (jhmdb / "JHMDB-GT.pkl").read_bytes()
    assert json.loads((jhmdb / MARKER).read_text())["config"]["seed"] == 3
    first = [draw(plan(replace(TINY, seed=seed))[0].scene())[0][0] for seed in (3, 3, 4)]
    assert np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], first[2])


def test_a_class_does_not_depend_on_the_others() -> None:
    alone = plan(replace(TINY, classes=("wave",)))
    together = [clip for clip in plan(TINY) if clip.label == "wave"]
    assert [clip.name for clip in alone] == [clip.name for clip in together]
    assert np.array_equal(draw(alone[0].scene())[0][0], draw(together[0].scene())[0][0])


def test_clips_of_a_source_share_the_place_but_not_the_performance() -> None:
    first, second = (clip.scene() for clip in plan(TINY)[:2])
    assert np.array_equal(np.asarray(first.background), np.asarray(second.background))
    assert first.actors[-1].placement != second.actors[-1].placement


def test_only_a_folder_made_here_is_replaced(jhmdb: Path, tmp_path: Path) -> None:
    config = replace(TINY, classes=("wave",), train_per_class=1, test_per_class=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for overwrite, message in ((False, "not empty"), (True, "not made here")):
        with pytest.raises(PuppetsError, match=message):
            generate(tmp_path / "mine", config, overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.tex").exists()
    (tmp_path / "empty").mkdir()
    seen: list[tuple[int, int]] = []
    counts = generate(tmp_path / "empty", config, progress=lambda done, total: seen.append((done, total)))
    assert counts["videos"] == counts["tubes"] == counts["sources"] == 1
    assert seen == [(1, 1)]
    generate(tmp_path / "empty", replace(config, seed=9), overwrite=True)
    assert json.loads((tmp_path / "empty" / MARKER).read_text())["config"]["seed"] == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mine"], "nothing temporary is left"


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "new", TINY, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("fly",)}, "puppets cannot 'fly'; they can brush_hair"),
        ({"classes": ()}, "at least one name"),
        ({"classes": ("wave", "wave")}, "each once"),
        ({"layout": "ava"}, "jhmdb or ucf24"),
        ({"train_per_class": 0}, "train_per_class must be 1 or more"),
        ({"min_frames": 50}, r"frames must be 2 <= min <= max, got 50\.\.8"),
        ({"style": Style(width=33, height=48)}, "even sides"),
    ],
)
def test_impossible_wishes_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(PuppetsError, match=message):
        replace(TINY, **changes)


def test_presets_are_named_after_jhmdb_classes_and_change_layout() -> None:
    assert set(PRESETS["quick"].classes) < set(PRESETS["full"].classes)
    assert len(PRESETS["full"].classes) == 21
    assert PRESETS["quick"].style.min_person * PRESETS["quick"].style.height >= 40
    untrimmed = for_layout(PRESETS["quick"], "ucf24")
    assert (untrimmed.style.width, untrimmed.style.height) == (320, 240)
    assert untrimmed.min_frames == 2 * PRESETS["quick"].min_frames


def test_the_demo_clip_has_two_actions(tmp_path: Path) -> None:
    parts = write_demo(tmp_path / "demo.mp4")
    frames = read_video(tmp_path / "demo.mp4")
    assert frames.shape == (125, 240, 320, 3)
    assert (tmp_path / "demo.mp4").stat().st_size < 400_000
    assert [(tube.label, tube.first_frame, len(tube.boxes)) for tube in parts] == [("wave", 8, 68), ("jump", 56, 62)]
