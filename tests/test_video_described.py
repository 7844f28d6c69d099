"""Datasets described by a .toml: any annotation format, classes kept and renamed, parts by patterns, sources."""

from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations, write_tubes
from video.annotations import read_annotations
from video.cvat_writing import write_cvat
from video.datasets import DatasetError, fold, open_dataset
from video.video_folder import find_videos, video_files

NAMES = ("day1_part1", "day1_part2", "day2_part1", "day3_part1")


def annotations() -> list[VideoAnnotation]:
    """Four videos: one tube of "wave" each, and in the first one of "Jump " beside it."""
    boxes = np.float32([[0, 0, 5, 9], [1, 0, 6, 9]])
    videos = [VideoAnnotation(name, [Tube("wave", [0, 1], boxes)], 2, 20, 10) for name in NAMES]
    return [
        VideoAnnotation(NAMES[0], [*videos[0].tubes, Tube("Jump ", [0, 1], boxes + 8, id=1)], 2, 20, 10),
        *videos[1:],
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """clips/*.MP4 and boxes.csv."""
    (tmp_path / "clips").mkdir()
    for name in NAMES:
        (tmp_path / "clips" / f"{name}.MP4").touch()
    write_tubes(table_from_annotations(annotations()), tmp_path / "boxes.csv")
    return tmp_path


def describe(folder: Path, text: str, annotation: str = "boxes.csv") -> Path:
    path = folder / "my.toml"
    path.write_text(f'videos = "clips"\nannotations = "{annotation}"\n{text}', encoding="utf-8")
    return path


def names_of(path: Path, part: str) -> list[str]:
    return [video.annotation.video for video in open_dataset(path, part=part).videos]  # type: ignore[arg-type]


def test_videos_and_classes_follow_from_a_table_alone(folder: Path) -> None:
    dataset = open_dataset(describe(folder, ""))
    assert (dataset.name, dataset.class_names) == ("my", ("Jump ", "wave"))
    assert [video.path.name for video in dataset.videos] == [f"{name}.MP4" for name in NAMES]


def test_classes_are_renamed_and_kept(folder: Path) -> None:
    renamed = open_dataset(describe(folder, '[rename]\n"Jump " = "jump"\n'))
    assert renamed.class_names == ("jump", "wave")
    assert renamed.videos[0].annotation.labels == ["jump", "wave"]
    kept = open_dataset(describe(folder, 'keep = ["jump"]\n[rename]\n"Jump " = "jump"\n'))
    assert kept.class_names == ("jump",)
    assert [len(video.annotation.tubes) for video in kept.videos] == [1, 0, 0, 0], "others stay as videos without tubes"
    merged = open_dataset(describe(folder, '[rename]\n"Jump " = "wave"\n'))
    assert merged.class_names == ("wave",)


@pytest.mark.parametrize(
    ("parts", "train", "test"),
    [
        ('test = ["day1*"]', [2, 3], [0, 1]),
        ('test = "day[23]*"', [0, 1], [2, 3]),
        ('train = ["day2_part1", "day3_part1.MP4"]', [2, 3], [0, 1]),
        ('train = ["day1*"]\ntest = ["day3*"]', [0, 1], [3]),
    ],
)
def test_parts_are_names_or_patterns_and_the_rest(folder: Path, parts: str, train: list, test: list) -> None:
    path = describe(folder, f"[parts]\n{parts}\n")
    assert names_of(path, "train") == [NAMES[k] for k in train]
    assert names_of(path, "test") == [NAMES[k] for k in test]
    assert names_of(path, "all") == [NAMES[k] for k in sorted(train + test)]


def test_a_listed_video_without_a_row_is_one_in_which_nothing_happens(folder: Path) -> None:
    (folder / "clips" / "empty.mp4").touch()
    path = describe(folder, '[parts]\ntest = ["day1*", "empty"]\n')
    assert names_of(path, "test") == [NAMES[0], NAMES[1], "empty"]
    assert read_annotations(path).videos[-1].tubes == ()


def test_folds_follow_the_sources_that_the_group_pattern_names(folder: Path) -> None:
    dataset = open_dataset(describe(folder, "group = '(.+)_part'\n"))
    for index in range(3):
        train, held = fold(dataset, index, 3)
        days = [{video.annotation.video[:4] for video in part.videos} for part in (train, held)]
        assert days[0].isdisjoint(days[1])
    with pytest.raises(ValueError, match="3 source videos cannot make 4 folds"):
        fold(dataset, 0, 4)


def test_an_export_of_cvat_is_annotation_too(folder: Path) -> None:
    write_cvat([video for video in annotations() if len(video.tubes) == 1], folder / "tasks")
    (folder / "train.txt").write_text("day2_part1\n")
    dataset = open_dataset(describe(folder, '[parts]\ntrain = "train.txt"\n', "tasks"))
    (video,) = dataset.videos
    assert (video.annotation.video, video.annotation.width) == ("day2_part1", 20)
    assert names_of(folder / "my.toml", "test") == ["day1_part2", "day3_part1"]


def test_the_action_may_be_an_attribute_in_cvat(folder: Path) -> None:
    write_cvat(annotations()[1:2], folder / "boxes.xml", attribute="action")
    assert open_dataset(describe(folder, "", "boxes.xml")).class_names == ("person",)
    assert open_dataset(describe(folder, '[format]\nattribute = "action"\n', "boxes.xml")).class_names == ("wave",)


def test_several_files_of_annotation_are_taken_together(folder: Path) -> None:
    for number, video in enumerate(annotations()[1:]):
        write_tubes(table_from_annotations([video]), folder / f"{number}.csv")
    path = folder / "my.toml"
    path.write_text('videos = "clips"\nannotations = ["0.csv", "2.csv"]\n')
    assert names_of(path, "all") == [NAMES[1], NAMES[3]]
    write_tubes(table_from_annotations(annotations()[1:2]), folder / "2.csv")
    with pytest.raises(ValueError, match=r"2\.csv: video 'day1_part2' is in .*0\.csv too"):
        open_dataset(path)


def test_a_folder_needs_no_description_where_nothing_else_can_be_meant(folder: Path) -> None:
    for file in (folder / "clips").iterdir():
        file.rename(folder / file.name)
    assert len(open_dataset(folder)) == 4
    write_cvat(annotations()[1:2], folder / "task.xml")
    with pytest.raises(
        DatasetError, match=r"which is the annotation: boxes\.csv, task\.xml\? say it in a dataset\.toml"
    ):
        open_dataset(folder)


def test_a_description_stands_for_its_annotation(folder: Path) -> None:
    read = read_annotations(describe(folder, '[rename]\n"Jump " = "jump"\n[parts]\ntest = ["day1*"]\n'))
    assert (read.kind, read.class_names, len(read.videos)) == ("table", ("jump", "wave"), 4)
    assert read.splits[0].test == NAMES[:2]
    assert set(read.table["label"]) == {"jump", "wave"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kepp = ['wave']", r"unknown key 'kepp'; known are name, .*; 'keep' perhaps\?"),
        ("keep = 'wave'", "keep has the wrong type"),
        ("rename = ['a']", r"\[rename\] must be a table of texts"),
        ("[rename]\nwave = 3", r"\[rename\] must be a table of texts"),
        ("parts = 'train.txt'", "parts must be a table"),
        ("[parts]\ntrain = 3", r"parts\.train must be a file of names"),
        ("[parts]\ntrain = ['week*']", r"parts\.train: no annotated video has a name like 'week\*', 'day1_part1' say"),
        ("group = '(day'", "group is not a regular expression"),
        ("group = 'day'", "group needs brackets around the name of the source"),
        ("tubes = 'boxes.csv'", "'annotations' and 'tubes' say the same"),
        ("[format]\nspeed = 2", "unknown key 'speed'; known are kind, attribute"),
        ("[format]\nfps = '25'", r"format\.fps has the wrong type"),
        ("[format]\nsize = [0, 3]", r"format\.size must be width and height"),
        ("[format]\nkind = 'xls'", "unknown kind 'xls'; known are table"),
        ("class_names = ['wave']", "'Jump ' is not among the class_names"),
        ("name = 'ä", "not a readable TOML file"),
    ],
)
def test_a_wrong_description_is_refused_in_one_line(folder: Path, text: str, message: str) -> None:
    path = describe(folder, text)
    with pytest.raises(ValueError, match=message) as caught:
        open_dataset(path)
    assert len(str(caught.value).splitlines()) == 1
    assert "my.toml" in str(caught.value) or "kind" in message


def test_a_description_in_another_encoding_is_named(folder: Path) -> None:
    (folder / "my.toml").write_bytes("name = 'Küche'".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"my\.toml: not a readable TOML file: not UTF-8 text \(byte 9\)"):
        open_dataset(folder / "my.toml")


def test_without_parts_nothing_is_for_testing(folder: Path) -> None:
    with pytest.raises(DatasetError, match="nothing is known to be for testing"):
        open_dataset(describe(folder, ""), part="test")


def test_video_files_are_found_below_by_the_end_of_their_path(tmp_path: Path) -> None:
    for name in ("a/one.mp4", "b/two.AVI", "b/deep/one.mkv", ".hidden.mp4", "notes.txt", "pictures/0001.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = [str(path.relative_to(tmp_path)) for path in video_files(tmp_path)]
    assert files == ["a/one.mp4", "b/deep/one.mkv", "b/two.AVI", "pictures"]
    found = find_videos(tmp_path, ["two", "one", "a/one", "none"])
    assert found == {"two": tmp_path / "b/two.AVI", "a/one": tmp_path / "a/one.mp4"}, "'one' could be either of two"
