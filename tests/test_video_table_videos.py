"""Which file is which video, and names for what is made of it."""

from pathlib import Path

import pytest

from video.table_videos import match_files, nearest, output_names, same_video

TABLE = Path("tubes.csv")


def test_files_are_matched_by_name_without_folder_and_suffix() -> None:
    names = ["run/a", "walk/b.avi"]
    assert match_files(names, ["x/b.mp4", "a.mkv"], TABLE) == {"walk/b.avi": "x/b.mp4", "run/a": "a.mkv"}
    # the only file is the only video, whatever they are called
    assert match_files(["run/a"], ["b.mp4"], TABLE) == {"run/a": "b.mp4"}


def test_folders_tell_equal_names_apart() -> None:
    names = ["run/a", "walk/a"]
    assert match_files(names, ["videos/walk/a.avi"], TABLE) == {"walk/a": "videos/walk/a.avi"}
    with pytest.raises(ValueError, match=r"several videos of tubes\.csv could be meant: run/a, walk/a"):
        match_files(names, ["a.avi"], TABLE)


def test_ground_truth_may_spell_a_video_otherwise() -> None:
    assert same_video("a", ["a", "run/a"]) == "a"
    assert same_video("a", ["run/a.mp4", "b"]) == "run/a.mp4"
    assert same_video("a", ["run/a", "walk/a"]) is None
    assert same_video("a", []) is None


def test_names_of_files_hold_no_folders_and_are_never_the_same() -> None:
    assert output_names(["run/a", "walk/b.mp4"]) == ["a", "b"]
    assert output_names(["run/a", "walk/a"]) == ["run_a", "walk_a"]
    assert output_names(["a b", "a_b", "a?b"]) == ["a_b", "a_b_2", "a_b_3"]
    assert output_names(["../..", "视频 ü"]) == ["video", "视频_ü"]
    # an ending and the name of a temporary file must fit into 255 bytes
    assert len(output_names(["视" * 200])[0].encode()) <= 120


def test_the_nearest_names_are_told() -> None:
    assert nearest("frist", ["first", "second"]) == "; nearest: first"
    assert nearest("x", ["first", "second"]) == "; it has: first, second"
    assert nearest("x", []) == ""
