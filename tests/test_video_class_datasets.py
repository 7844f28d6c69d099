"""Datasets of labelled videos: recognised by content, parts and splits, missing files counted, folds by source."""

import warnings
from pathlib import Path

import pytest

from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations, write_tubes
from video.class_datasets import (
    ClassDataset,
    ClassifiedVideo,
    fold_classes,
    frame_range,
    mix_classes,
    open_classes,
)
from video.datasets import DatasetError
from video.folds import source_of
from video.kinetics import read_kinetics_lists

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(dataset: ClassDataset) -> list[str]:
    return [video.name for video in dataset.videos]


@pytest.fixture
def kinetics(tmp_path: Path) -> Path:
    folder = tmp_path / "k400"
    train = 'abseiling,aaaaaaaaaaa,5,15,train,0\n"bending back",bbbbbbbbbbb,0,10,train,1\n'
    write(folder / "annotations" / "train.csv", HEADER + train)
    write(folder / "annotations" / "val.csv", HEADER + "zumba,ccccccccccc,100,110,val,0\n")
    touch(folder / "videos_train" / "abseiling" / "aaaaaaaaaaa_000005_000015.mp4")
    touch(folder / "videos_train" / "bending_back" / "bbbbbbbbbbb.mkv")
    touch(folder / "val" / "ccccccccccc_100_110" / "img_00001.jpg")
    touch(folder / "videos_train" / "abseiling" / "a thumbnail.jpg")
    return folder


def test_kinetics_is_read_from_lists_and_any_of_the_usual_file_names(kinetics: Path) -> None:
    train = open_classes(kinetics)
    assert train.class_names == ("abseiling", "bending back", "zumba")
    assert names(train) == ["abseiling/aaaaaaaaaaa_000005_000015", "bending back/bbbbbbbbbbb_000000_000010"]
    assert [video.path.name for video in train.videos] == ["aaaaaaaaaaa_000005_000015.mp4", "bbbbbbbbbbb.mkv"]
    assert (train.videos[0].start, train.videos[0].end) == (5, 15)
    held_out = open_classes(kinetics, part="val")
    assert [video.path.name for video in held_out.videos] == ["ccccccccccc_100_110"]
    assert names(open_classes(kinetics, part="test")) == names(held_out)
    assert len(open_classes(kinetics, part="all")) == 3


def test_missing_kinetics_videos_are_counted_and_left_out(kinetics: Path) -> None:
    (kinetics / "videos_train" / "bending_back" / "bbbbbbbbbbb.mkv").unlink()
    with pytest.warns(UserWarning, match="1 of 2 listed videos are not there") as told:
        train = open_classes(kinetics)
    assert len(told) == 1
    assert (len(train), train.missing) == (1, 1)
    assert len(train.class_names) == 3


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("abseiling,,5,15,train", "line 2: expected a label and a youtube_id"),
        ("abseiling,aaaaaaaaaaa,15,5,train", "line 2: expected time_start < time_end"),
        ("abseiling,aaaaaaaaaaa,five,15,train", "got 'five' and '15'"),
        ("abseiling,aaaaaaaaaaa,5,15,dev", "expected split to be one of train, val"),
        ("../up,aaaaaaaaaaa,5,15,train", "expected a label"),
    ],
)
def test_a_damaged_row_is_named_by_file_and_line(tmp_path: Path, row: str, told: str) -> None:
    path = write(tmp_path / "list.csv", "label,youtube_id,time_start,time_end,split\n" + row)
    with pytest.raises(DatasetError, match=told) as error:
        read_kinetics_lists([path])
    assert str(path) in str(error.value)


def test_a_list_without_the_split_says_it_in_its_name(tmp_path: Path) -> None:
    text = "label,youtube_id,time_start,time_end\nzumba,aaaaaaaaaaa,0,10\n"
    paths = [write(tmp_path / name, text) for name in ("kinetics_validate.csv", "train.csv")]
    assert [clip.part for clip in read_kinetics_lists(paths)] == ["val", "train"]
    with pytest.raises(DatasetError, match="expected split"):
        read_kinetics_lists([write(tmp_path / "list.csv", text)])


def test_times_matter_only_in_files_that_hold_more_than_the_clip() -> None:
    video = ClassifiedVideo(Path("x"), "zumba", "x", start=20, end=30)
    assert frame_range(video, 1000, 25) == range(500, 750)
    assert frame_range(video, 250, 25) == range(250)  # ten seconds: cut already
    assert frame_range(video, 748, 25) == range(500, 748)  # the container's last frames are often missing
    assert frame_range(ClassifiedVideo(Path("x"), "zumba", "x"), 1000, 25) == range(1000)
    assert frame_range(ClassifiedVideo(Path("x"), "zumba", "x", 0, 0.3), 1, 25) == range(1)


@pytest.fixture
def ucf101(tmp_path: Path) -> Path:
    folder = tmp_path / "ucf101"
    lists = folder / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 YoYo\r\n2 Archery\r\n")
    write(lists / "trainlist01.txt", "Archery/v_Archery_g08_c01.avi 2\r\nYoYo/v_YoYo_g08_c01.avi 1\r\n")
    write(lists / "testlist01.txt", "Archery/v_Archery_g01_c01.avi\r\n")
    write(lists / "trainlist02.txt", "Archery/v_Archery_g01_c01.avi 2\r\n")
    write(lists / "testlist02.txt", "YoYo/v_YoYo_g08_c01.avi\r\n")
    videos = folder / "UCF-101"
    touch(*(videos / name / f"v_{name}_g{k:02d}_c01.avi" for name, k in (("Archery", 1), ("Archery", 8), ("YoYo", 8))))
    return folder


def test_ucf101_has_the_classes_in_their_official_order_and_several_splits(ucf101: Path) -> None:
    train = open_classes(ucf101)
    assert train.class_names == ("YoYo", "Archery")
    assert names(train) == ["Archery/v_Archery_g08_c01", "YoYo/v_YoYo_g08_c01"]
    assert names(open_classes(ucf101, part="test")) == ["Archery/v_Archery_g01_c01"]
    assert names(open_classes(ucf101, split=2)) == ["Archery/v_Archery_g01_c01"]
    with pytest.raises(DatasetError, match=r"trainlist03\.txt: missing"):
        open_classes(ucf101, split=3)
    write(ucf101 / "ucfTrainTestlist" / "classInd.txt", "1 YoYo\n3 Archery\n")
    with pytest.raises(DatasetError, match=r"classInd\.txt, line 2: expected '2 ClassName'"):
        open_classes(ucf101)


def test_hmdb51_has_three_parts_of_which_one_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "hmdb51"
    lines = "a;b_wave_f_cm_np1_fr_goo_1.avi 1 \nc_wave_f_cm_np1_fr_goo_2.avi 2 \nd_wave_f_cm_np1_fr_goo_3.avi 0 \n"
    write(folder / "testTrainMulti_7030_splits" / "wave_test_split1.txt", lines)
    write(folder / "testTrainMulti_7030_splits" / "clap_test_split1.txt", "e_clap_f_cm_np1_fr_goo_1.avi 2 \n")
    touch(folder / "wave" / "a;b_wave_f_cm_np1_fr_goo_1.avi", folder / "wave" / "c_wave_f_cm_np1_fr_goo_2.avi")
    touch(folder / "clap" / "e_clap_f_cm_np1_fr_goo_1.avi")
    train, test = open_classes(folder), open_classes(folder, part="test")
    assert train.class_names == test.class_names == ("clap", "wave")
    assert names(train) == ["wave/a;b_wave_f_cm_np1_fr_goo_1"]
    assert names(test) == ["clap/e_clap_f_cm_np1_fr_goo_1", "wave/c_wave_f_cm_np1_fr_goo_2"]
    with pytest.raises(DatasetError, match="has no split 2, only 1"):
        open_classes(folder, split=2)


def test_any_folder_of_videos_by_class(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    touch(
        folder / "stir" / "b.v2.mp4", folder / "cut" / "a.mp4", folder / "cut" / "notes.txt", folder / ".git" / "x.mp4"
    )
    touch(folder / "cut" / "pictures" / "1.jpg")
    dataset = open_classes(folder)
    assert dataset.class_names == ("cut", "stir")
    assert names(dataset) == ["cut/a", "cut/pictures", "stir/b.v2"]
    assert names(open_classes(folder, part="all")) == names(dataset)
    with pytest.raises(DatasetError, match="has no folders train, val or test; hold videos out with a fold"):
        open_classes(folder, part="test")


def test_folders_of_parts_share_one_list_of_classes(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "cut" / "a.mp4", tmp_path / "val" / "stir" / "a.mp4")
    train, val = open_classes(tmp_path), open_classes(tmp_path, part="val")
    assert train.class_names == val.class_names == ("cut", "stir")
    assert (names(train), names(val)) == (["train/cut/a"], ["val/stir/a"])
    assert names(open_classes(tmp_path, part="test")) == names(val)
    assert names(open_classes(tmp_path, part="all")) == ["train/cut/a", "val/stir/a"]


def tube(label: str, frames: int, id: int = 0) -> Tube:
    return Tube(label, range(frames), [[0, 0, 9, 9]] * frames, id=id)


def test_a_detection_dataset_gives_the_label_annotated_longest(tmp_path: Path) -> None:
    annotations = [
        VideoAnnotation("a", [tube("walk", 3), tube("wave", 5, 1)]),
        VideoAnnotation("b", [tube("walk", 4), tube("wave", 4, 1)]),
    ]
    write_tubes(table_from_annotations(annotations), tmp_path / "tubes.csv")
    touch(tmp_path / "videos" / "a.mp4", tmp_path / "videos" / "b.mp4")
    dataset = open_classes(tmp_path)
    assert [(video.name, video.label) for video in dataset.videos] == [("a", "wave"), ("b", "walk")]


def test_what_is_no_dataset_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such dataset folder"):
        open_classes(tmp_path / "gone")
    with pytest.raises(DatasetError, match="no dataset: expected lists of Kinetics"):
        open_classes(tmp_path)
    with pytest.raises(DatasetError, match="part must be"):
        open_classes(tmp_path, part="half")  # type: ignore[arg-type]


def test_folds_keep_clips_of_one_source_together() -> None:
    videos = tuple(
        ClassifiedVideo(Path("x"), label, f"{label}/{label[0] * 10}{source}_{k:06d}_{k + 10:06d}")
        for label in ("zumba", "yoga")
        for source in range(4)
        for k in (0, 10)
    )
    dataset = ClassDataset("k", ("yoga", "zumba"), videos)
    folds = [fold_classes(dataset, k, 4) for k in range(4)]
    assert sorted(name for _, validation in folds for name in names(validation)) == sorted(names(dataset))
    for train, validation in folds:
        assert len(train) + len(validation) == len(dataset)
        assert {source_of(n) for n in names(train)}.isdisjoint({source_of(n) for n in names(validation)})
        assert {video.label for video in validation.videos} == {"yoga", "zumba"}
    with pytest.raises(ValueError, match="k: 8 source videos cannot make 9 folds"):
        fold_classes(dataset, 0, 9)


def test_mixed_datasets_share_classes_and_keep_names_apart() -> None:
    one = ClassDataset("one", ("clap", "wave"), (ClassifiedVideo(Path("a"), "wave", "v"),), missing=2)
    two = ClassDataset("two", ("run", "wave"), (ClassifiedVideo(Path("b"), "wave", "v"),), missing=1)
    mixed = mix_classes([one, two])
    assert mixed.class_names == ("clap", "wave", "run")
    assert names(mixed) == ["v", "two/v"]
    assert (mixed.name, mixed.missing) == ("one+two", 3)
    with pytest.raises(ValueError, match="nothing to mix"):
        mix_classes([])


def test_the_official_lists_are_read_whole(tmp_path: Path) -> None:
    labels = Path(__file__).parents[2] / "shared" / "realdata" / "labels"
    if not labels.is_dir():
        pytest.skip("the official lists are not on this machine")
    clips = read_kinetics_lists([labels / "kinetics-400_val.csv"])
    assert (len(clips), len({clip.label for clip in clips})) == (19906, 400)
    first = open_first_of_ucf101(labels / "ucfTrainTestlist", tmp_path)
    assert (len(first.class_names), first.missing) == (101, 9536)


def open_first_of_ucf101(lists: Path, folder: Path) -> ClassDataset:
    for file in lists.iterdir():
        write(folder / file.name, file.read_bytes().decode())
    touch(folder / "videos" / "Archery" / "v_Archery_g08_c01.avi")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return open_classes(folder)
