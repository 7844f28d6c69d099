"""Boxes of videos as COCO's JSON."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations
from video.coco_writing import CocoError, write_coco


def table(**size: int) -> pd.DataFrame:
    """Two actors over frames 0 to 4; the first does two things at a time in frame 4."""
    still = np.tile(np.float32([10, 20, 50, 80]), (5, 1))
    walk = Tube("walk", np.arange(5), still, id=0)
    talk = Tube("talk", np.array([4]), still[:1], id=1)
    leave = Tube("walk", np.array([4]), np.float32([[300, 0, 330, 240]]), id=2)
    return table_from_annotations([VideoAnnotation("act/clip", [walk, talk, leave], 9, **size)])


def written(tmp_path: Path, **options: object) -> dict:
    write_coco(table(width=320, height=240), tmp_path / "boxes.json", **options)
    return json.loads((tmp_path / "boxes.json").read_text())


def test_every_frame_with_a_box_is_a_picture_named_from_one(tmp_path: Path) -> None:
    content = written(tmp_path)
    names = [f"act/clip/{number:05d}.png" for number in (1, 2, 3, 4, 5)]
    assert [image["file_name"] for image in content["images"]] == names
    assert {(image["width"], image["height"]) for image in content["images"]} == {(320, 240)}
    assert content["categories"] == [{"id": 1, "name": "talk"}, {"id": 2, "name": "walk"}]


def test_boxes_are_left_top_width_height_and_end_at_the_picture(tmp_path: Path) -> None:
    content = written(tmp_path)
    first = content["annotations"][0]
    assert (first["image_id"], first["category_id"], first["iscrowd"]) == (1, 2, 0)
    assert first["bbox"] == [10, 20, 50 - 10, 80 - 20]
    assert first["area"] == 40 * 60
    assert [300, 0, 320 - 300, 240] in [box["bbox"] for box in content["annotations"]]
    assert [box["id"] for box in content["annotations"]] == list(range(1, 5 + 1 + 1 + 1))


def test_with_one_class_an_actor_of_two_actions_is_one_box(tmp_path: Path) -> None:
    content = written(tmp_path, one_class="actor", every=4)
    assert content["categories"] == [{"id": 1, "name": "actor"}]
    assert [image["file_name"] for image in content["images"]] == ["act/clip/00001.png", "act/clip/00005.png"]
    assert [box["image_id"] for box in content["annotations"]] == [1, 2, 2]


def test_pictures_are_named_as_one_says(tmp_path: Path) -> None:
    content = written(tmp_path, frame_files="frames/{video}-{frame}.jpg")
    assert content["images"][0]["file_name"] == "frames/act/clip-1.jpg"


@pytest.mark.parametrize(
    "pattern", ["{video}.png", "{frame:05d}.png", "{video.__class__}/{frame}", "{video}{frame:>9d}"]
)
def test_a_pattern_without_both_names_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(CocoError, match=r"need \{video\} and \{frame\}"):
        written(tmp_path, frame_files=pattern)


def test_a_video_of_unknown_size_needs_one(tmp_path: Path) -> None:
    with pytest.raises(CocoError, match=r"boxes\.json: size of video 'act/clip' is unknown"):
        write_coco(table(), tmp_path / "boxes.json")
    assert write_coco(table(), tmp_path / "boxes.json", size=(320, 240)) == 5


def test_a_box_outside_of_its_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CocoError, match=r"lies outside of act/clip/00005\.png"):
        write_coco(table(width=200, height=240), tmp_path / "boxes.json")
    assert not list(tmp_path.iterdir())
