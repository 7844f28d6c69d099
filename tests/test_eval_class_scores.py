"""Score files: both forms give back what was written, and what is refused is refused with its place."""

import json
from pathlib import Path

import numpy as np
import pytest

from eval.class_scores import ClassScores, read_scores, write_scores
from eval.errors import EvaluationError

SCORES = ClassScores(
    ("clap", "wave, high"),
    ("a/1", 'b "two"', "ü"),
    ("clap", "", "jump"),
    np.array([[0.9, 0.1], [1 / 3, 2 / 3], [1e-8, 1]]),
    {"model": "abc", "clips": 10},
)


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_a_file_gives_back_what_was_written_to_the_bit(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores{suffix}"
    write_scores(path, SCORES)
    read = read_scores(path)
    assert (read.class_names, read.videos, read.labels) == (SCORES.class_names, SCORES.videos, SCORES.labels)
    np.testing.assert_array_equal(read.scores, SCORES.scores)
    assert read.about == (SCORES.about if suffix == ".npz" else {})


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_a_file_without_videos(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"none{suffix}"
    write_scores(path, ClassScores(("clap",), (), (), np.zeros((0, 1))))
    assert len(read_scores(path)) == 0


def test_targets_and_labelled_videos() -> None:
    assert SCORES.targets.tolist() == [0, -1, -1]
    assert SCORES.labelled().videos == ("a/1", "ü")
    chosen = SCORES.of_videos(["ü", "a/1"])
    assert chosen.labels == ("jump", "clap")
    np.testing.assert_array_equal(chosen.scores, SCORES.scores[[2, 0]])
    with pytest.raises(EvaluationError, match="no video has a label"):
        SCORES.of_videos(['b "two"']).labelled()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: expected columns video, label and one for each class"),
        ("video,clap\n", "line 1: expected columns"),
        ("video,label,clap\na,clap,0.5,0.5\n", "line 2: has 4 columns, the header 3"),
        ("video,label,clap\na,clap,half\n", "line 2: 'half' is not a number"),
        ("video,label,clap\na,clap,nan\n", "video 'a' has a score that is not a finite number"),
        ("video,label,clap\na,clap,1\na,clap,1\n", "video 'a' is there twice"),
        ("video,label,clap,clap\n", "class 'clap' is there twice"),
    ],
)
def test_a_damaged_csv_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(EvaluationError, match=told) as error:
        read_scores(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no such score file"):
        read_scores(tmp_path / "gone.npz")
    with pytest.raises(EvaluationError, match=r"score files are \.npz or \.csv"):
        read_scores(tmp_path / "scores.txt")
    with pytest.raises(EvaluationError, match=r"score files are \.npz or \.csv"):
        write_scores(tmp_path / "scores.txt", SCORES)
    (tmp_path / "half.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(EvaluationError, match="not a readable score file"):
        read_scores(tmp_path / "half.npz")
    np.savez(tmp_path / "other.npz", scores=np.zeros(3))
    with pytest.raises(EvaluationError, match="holds no array 'videos'"):
        read_scores(tmp_path / "other.npz")
    names = np.array(["a"])
    arrays = {"videos": names, "labels": names, "class_names": names, "about": np.array(json.dumps({}))}
    np.savez(tmp_path / "shape.npz", scores=np.zeros((2, 1)), **arrays)
    with pytest.raises(EvaluationError, match=r"do not fit scores of shape \(2, 1\)"):
        read_scores(tmp_path / "shape.npz")
