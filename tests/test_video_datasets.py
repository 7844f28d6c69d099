"""Datasets on disk: recognised by content, parts, missing files, folds without leakage."""

import pickle
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations, write_tubes
from video.datasets import (
    Dataset,
    DatasetError,
    LabelledVideo,
    find_video,
    fold,
    open_dataset,
    resized_annotation,
)
from video.folds import source_of

SHARED = Path(__file__).parents[2] / "shared" / "jhmdb"
JHMDB_NAMES = ("wave/a_wave_f_nm_np1_fr_med_0", "wave/b.dot_wave_f_nm_np1_fr_med_0", "jump/c_jump_f_nm_np1_fr_med_0")


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def make_jhmdb(folder: Path, names: tuple[str, ...] = JHMDB_NAMES, *, frames: int = 1) -> Path:
    """Annotation of three videos, a box in the first of their ``frames``; the first two are for training."""
    folder.mkdir(exist_ok=True)
    labels = ["jump", "wave"]
    data = {
        "labels": labels,
        "gttubes": {n: {labels.index(n.split("/")[0]): [np.float32([[1, 0, 0, 9, 9]])]} for n in names},
        "nframes": dict.fromkeys(names, frames),
        "train_videos": [list(names[:2])],
        "test_videos": [list(names[2:])],
        "resolution": dict.fromkeys(names, (240, 320)),
    }
    (folder / "JHMDB-GT.pkl").write_bytes(pickle.dumps(data, protocol=0))
    return folder


def names_of(dataset: Dataset) -> list[str]:
    return [video.annotation.video for video in dataset.videos]


def test_jhmdb_parts(tmp_path: Path) -> None:
    folder = make_jhmdb(tmp_path / "jhmdb")
    for name in JHMDB_NAMES:
        touch(folder / "videos" / f"{name}.avi")
    train = open_dataset(folder)
    assert (train.name, train.class_names) == ("jhmdb", ("jump", "wave"))
    assert names_of(train) == sorted(JHMDB_NAMES[:2])
    assert train.videos[1].path == folder / "videos/wave/b.dot_wave_f_nm_np1_fr_med_0.avi"
    assert names_of(open_dataset(folder, part="test")) == [JHMDB_NAMES[2]]
    assert len(open_dataset(folder, part="all")) == 3
    with pytest.raises(DatasetError, match="split must be 1 to 1, got 2"):
        open_dataset(folder, split=2)


def test_clips_of_jhmdb_are_cut_to_their_action_where_the_annotation_says_so(tmp_path: Path) -> None:
    for frames in (1, 2):
        folder = make_jhmdb(tmp_path / str(frames), frames=frames)
        for name in JHMDB_NAMES:
            touch(folder / "videos" / f"{name}.avi")
        # of all clips, whatever part is opened
        assert [open_dataset(folder, part=part).cut_to_action for part in ("train", "test")] == [frames == 1] * 2


@pytest.mark.parametrize("images", ["rgb-images", "Frames", "Rename_Images"])
def test_videos_may_be_folders_of_images(tmp_path: Path, images: str) -> None:
    folder = make_jhmdb(tmp_path)
    for name in JHMDB_NAMES:
        touch(folder / images / name / "00001.png")
    assert open_dataset(folder).videos[0].path == folder / images / JHMDB_NAMES[0]


def test_missing_videos_are_left_out_with_one_warning(tmp_path: Path) -> None:
    folder = make_jhmdb(tmp_path)
    touch(folder / "videos" / f"{JHMDB_NAMES[0]}.avi")
    with pytest.warns(UserWarning, match=f"1 of 2 annotated videos are not there .* {JHMDB_NAMES[1]}") as caught:
        dataset = open_dataset(folder)
    assert len(caught) == 1
    assert names_of(dataset) == [JHMDB_NAMES[0]]
    with pytest.raises(DatasetError, match="none of the 1 videos is there"):
        open_dataset(folder, part="test")


def test_ucf24_parts_come_from_the_test_list(tmp_path: Path) -> None:
    names = ["Dive/v_Dive_g01_c01", "Walk/v_Walk_g01_c01", "Walk/v_Walk_g02_c01"]
    data = {n: {"annotations": [], "label": int(n < "E") ^ 1, "numf": 5} for n in names}
    (tmp_path / "pyannot.pkl").write_bytes(pickle.dumps(data))
    for name in names:
        touch(tmp_path / "videos" / f"{name}.mp4")
    with pytest.raises(DatasetError, match="testlist01"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, part="all")) == 3
    (tmp_path / "testlist01.txt").write_text(f"{names[2]}\n")
    assert names_of(open_dataset(tmp_path)) == names[:2]
    assert names_of(open_dataset(tmp_path, part="test")) == names[2:]
    assert open_dataset(tmp_path).class_names == ("Dive", "Walk")
    with pytest.raises(DatasetError, match="split 1 only"):
        open_dataset(tmp_path, split=2)


def make_table(folder: Path) -> Path:
    """A tube table of two videos, in each of which something happens, and a third file without a tube."""
    annotations = [
        VideoAnnotation(video, [Tube(label, [0, 1], [[0, 0, 5, 5], [1, 0, 6, 5]])])
        for video, label in (("monday", "stir"), ("tuesday", "cut"))
    ]
    folder.mkdir(exist_ok=True)
    write_tubes(table_from_annotations(annotations), folder / "tubes.csv")
    for name in ("monday", "tuesday", "wednesday"):
        touch(folder / "videos" / f"{name}.mp4")
    return folder


def test_a_tube_table_beside_videos_is_a_dataset(tmp_path: Path) -> None:
    dataset = open_dataset(make_table(tmp_path / "kitchen"))
    assert (dataset.name, dataset.class_names) == ("kitchen", ("cut", "stir"))
    assert names_of(dataset) == ["monday", "tuesday"]
    assert dataset.videos[0].annotation.tubes[0].boxes[1].tolist() == [1, 0, 6, 5]
    with pytest.raises(DatasetError, match="nothing is known to be for testing"):
        open_dataset(tmp_path / "kitchen", part="test")


def test_dataset_toml_names_classes_and_parts(tmp_path: Path) -> None:
    folder = make_table(tmp_path)
    (folder / "dataset.toml").write_text(
        'name = "kitchen"\nclass_names = ["stir", "cut", "wash"]\n[parts]\ntrain = "train.txt"\ntest = "test.txt"\n'
    )
    (folder / "train.txt").write_text("monday\nwednesday\n")
    (folder / "test.txt").write_text("tuesday\n")
    train = open_dataset(folder / "dataset.toml")
    assert (train.name, train.class_names) == ("kitchen", ("stir", "cut", "wash"))
    assert names_of(train) == ["monday", "wednesday"]
    assert train.videos[1].annotation.tubes == (), "a listed video in which nothing happens"
    assert names_of(open_dataset(folder, part="test")) == ["tuesday"]
    assert len(open_dataset(folder, part="all")) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", "unknown key 'nmae'; known are name, videos"),
        ("class_names = ['cut']", "'stir' is not among the class_names"),
        ("class_names = ['cut', 'cut']", "class_names has the wrong type, or repeats"),
        ("name = ", "not a readable TOML"),
        ("[parts]\ntest = 'test.txt'", "test.txt: not a readable list"),
        ("[parts]\nval = 'val.txt'", "unknown part 'val'; known are train, test"),
        ("[parts]\ntrain = 'missing.txt'", "missing.txt: not a readable list"),
    ],
)
def test_a_wrong_dataset_toml_is_named(tmp_path: Path, text: str, message: str) -> None:
    folder = make_table(tmp_path)
    (folder / "dataset.toml").write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(folder)


def test_what_is_no_dataset_says_what_one_would_be(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such dataset folder"):
        open_dataset(tmp_path / "missing")
    with pytest.raises(DatasetError, match=r"expected JHMDB-GT\.pkl"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="no folder of videos"):
        open_dataset(make_jhmdb(tmp_path))
    with pytest.raises(DatasetError, match="part must be"):
        open_dataset(tmp_path, part="validation")  # type: ignore[arg-type]


def test_a_video_is_found_by_its_annotated_name(tmp_path: Path) -> None:
    touch(tmp_path / "wave" / "a.b.mkv")
    touch(tmp_path / "flat.mp4")
    assert find_video(tmp_path, "wave/a.b") == tmp_path / "wave" / "a.b.mkv"
    assert find_video(tmp_path, "wave/flat") == tmp_path / "flat.mp4"
    assert find_video(tmp_path, "wave/other") is None
    assert find_video(tmp_path / "wave", "../flat") is None, "names do not lead out of the folder"


def test_boxes_follow_the_size_of_a_copy() -> None:
    annotation = VideoAnnotation("v", [Tube("a", [0], [[10, 20, 30, 40]])], 1, width=320, height=240)
    copy = resized_annotation(annotation, 160, 240)
    assert copy.tubes[0].boxes.tolist() == [[5, 20, 15, 40]]
    assert (copy.width, copy.height) == (160, 240)
    assert resized_annotation(annotation, 320, 240) is annotation
    with pytest.raises(ValueError, match="for which size"):
        resized_annotation(VideoAnnotation("v"), 10, 10)


def dataset_of(names: list[str]) -> Dataset:
    """A dataset of videos named class/clip, in which the class happens."""
    videos = [LabelledVideo(Path(n), VideoAnnotation(n, [Tube(n.split("/")[0], [0], [[0, 0, 1, 1]])])) for n in names]
    return Dataset("made", tuple(sorted({n.split("/")[0] for n in names})), tuple(videos))


def clips(label: str, source: str, count: int) -> list[str]:
    return [f"{label}/{source}_{label}_f_nm_np1_fr_med_{i}" for i in range(count)]


def test_a_source_is_never_in_both_parts_and_every_video_is_validated_once() -> None:
    names = [n for i in range(10) for n in clips("wave", f"film{i}", 1 + i % 4) + clips("jump", f"film{i}", 2)]
    dataset = dataset_of(names)
    validated: Counter[str] = Counter()
    for index in range(3):
        train, validation = fold(dataset, index, 3)
        assert len(train) + len(validation) == len(dataset)
        sources = [{source_of(n) for n in names_of(part)} for part in (train, validation)]
        assert sources[0].isdisjoint(sources[1])
        assert train.class_names == dataset.class_names
        validated.update(names_of(validation))
    assert validated == Counter(names)


def test_folds_have_nearly_the_same_classes() -> None:
    names = [n for label in ("a", "b", "c") for i in range(10) for n in clips(label, f"{label}{i}", 2)]
    for index in range(5):
        _, validation = fold(dataset_of(names), index, 5)
        counts = Counter(n.split("/")[0] for n in names_of(validation))
        assert counts == {"a": 20 // 5, "b": 20 // 5, "c": 20 // 5}


def test_the_seed_decides_between_equal_sources() -> None:
    dataset = dataset_of([n for i in range(12) for n in clips("wave", f"film{i}", 1)])
    first = [names_of(fold(dataset, 0, 3, seed)[1]) for seed in range(5)]
    assert first[0] == names_of(fold(dataset, 0, 3, 0)[1])
    assert len({tuple(names) for names in first}) > 1


def test_impossible_folds_are_refused() -> None:
    dataset = dataset_of(clips("wave", "one", 5))
    with pytest.raises(ValueError, match="1 source videos cannot make 2 folds"):
        fold(dataset, 0, 2)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        fold(dataset, 2, 2)


@pytest.mark.parametrize(
    ("video", "source"),
    [
        ("brush_hair/red_head_brush_hair_u_cm_np1_fr_goo_1", "red_head"),
        ("Basketball/v_Basketball_g01_c02", "v_Basketball_g01"),
        ("my own video", "my own video"),
    ],
)
def test_sources_by_name(video: str, source: str) -> None:
    assert source_of(video) == source


def test_the_training_part_of_real_jhmdb() -> None:
    if not (SHARED / "videos").is_dir():
        pytest.skip("J-HMDB is not on this machine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = open_dataset(SHARED, part="train")
    assert (len(dataset), len(dataset.class_names)) == (660, 21)
    for index in range(5):
        _, validation = fold(dataset, index, 5)
        assert len({label for video in validation.videos for label in video.annotation.labels}) == 21
