"""tools/convert_annotations.py, from the command line on."""

import pickle
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from linking.records import NO_SCORE, Tube, VideoAnnotation
from linking.tables import read_tubes, table_from_annotations, write_tubes

TOOL = Path(__file__).parents[1] / "tools" / "convert_annotations.py"


def table(path: Path, *names: str, score: float = NO_SCORE) -> Path:
    boxes = np.tile(np.float32([10, 20, 30, 60]), (3, 1))
    tubes = [Tube("run", np.arange(3), boxes, np.full(3, score), score)]
    write_tubes(table_from_annotations([VideoAnnotation(name, tubes, 9, 320, 240) for name in names]), path)
    return path


def convert(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The script's own main, in this process."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        code = runpy.run_path(str(TOOL))["main"]([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())


def test_what_was_read_and_what_is_lost_is_printed(tmp_path: Path) -> None:
    done = convert(table(tmp_path / "a.json", "run/a", "run/b"), "--output", tmp_path / "b.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "table: 2 videos, 2 tubes, 6 boxes, 1 classes (run), frames 0-2",
        f"written as table: {tmp_path / 'b.csv'}",
        "lost: lengths and sizes of the videos",
    ]
    assert len(read_tubes(tmp_path / "b.csv")) == 2 * 3


def test_there_and_back_through_every_format_that_holds_ground_truth(tmp_path: Path) -> None:
    source = here = table(tmp_path / "0.json", "run/a")
    for number, (kind, suffix) in enumerate([("jhmdb", ".pkl"), ("cvat", ".xml"), ("ucf24", ".pkl"), ("mot", "")], 1):
        there = tmp_path / f"{number}{suffix}"
        assert convert(here, "--output", there, "--to", kind).returncode == 0
        here = there
    assert convert(here, "--output", tmp_path / "end.json").returncode == 0
    for column in ("video", "label", "frame", "x1", "y1", "x2", "y2"):
        assert read_tubes(tmp_path / "end.json")[column].tolist() == read_tubes(source)[column].tolist()


def test_several_inputs_become_one_output(tmp_path: Path) -> None:
    inputs = [table(tmp_path / f"{name}.csv", name) for name in "ab"]
    assert "2 videos" in convert(*inputs, "--output", tmp_path / "both.csv").stdout
    twice = convert(inputs[0], inputs[0], "--output", tmp_path / "twice.csv")
    assert (twice.returncode, twice.stdout) == (2, "")
    assert "give each video once" in twice.stderr
    assert not (tmp_path / "twice.csv").exists()


def test_the_part_of_a_dataset_is_chosen_by_split_or_list(tmp_path: Path) -> None:
    rows = np.float32([[1, 5, 5, 9, 9]])
    data = {
        "labels": ["run"],
        "gttubes": {name: {0: [rows]} for name in ("run/a", "run/b")},
        "nframes": {"run/a": 1, "run/b": 1},
        "train_videos": [["run/a"], ["run/b"]],
        "test_videos": [["run/b"], ["run/a"]],
    }
    (tmp_path / "gt.pkl").write_bytes(pickle.dumps(data))
    (tmp_path / "list.txt").write_text("run/a\n")
    for arguments, names in (
        ((), ["run/a", "run/b"]),
        (("--part", "test"), ["run/b"]),
        (("--part", "test", "--split", "2"), ["run/a"]),
        (("--test-list", tmp_path / "list.txt"), ["run/a"]),
        (("--test-list", tmp_path / "list.txt", "--part", "train"), ["run/b"]),
    ):
        assert convert(tmp_path / "gt.pkl", "--output", tmp_path / "out.csv", *arguments).returncode == 0
        assert read_tubes(tmp_path / "out.csv")["video"].tolist() == names


def test_seconds_and_fractions_of_ava_become_frames_and_pixels(tmp_path: Path) -> None:
    (tmp_path / "ava.csv").write_text("a,902,.25,.5,.75,1,7,0\n")
    (tmp_path / "list.txt").write_text("7: sit\n")
    arguments = ("--fps", "25", "--start", "900", "--size", "400x200", "--class-names", tmp_path / "list.txt")
    assert convert(tmp_path / "ava.csv", "--output", tmp_path / "out.csv", *arguments).returncode == 0
    (row,) = read_tubes(tmp_path / "out.csv").to_dict("records")
    assert (row["label"], row["frame"]) == ("sit", (902 - 900) * 25)
    assert [row[side] for side in ("x1", "y1", "x2", "y2")] == [100, 100, 300, 200]


def test_boxes_in_no_tube_are_counted_and_warnings_shown(tmp_path: Path) -> None:
    (tmp_path / "det.txt").write_text("1,-1,1,1,9,9,0.5,-1,-1,-1\n1,-1,1,1,0,9,0.5,-1,-1,-1\n")
    done = convert(tmp_path / "det.txt", "--output", tmp_path / "out.csv", "--video", "mine", "--label", "dog")
    assert "mot: 1 videos, 0 tubes, 1 boxes (1 in no tube), 1 classes (dog), frames 0-0" in done.stdout
    assert done.stderr.startswith("warning: ")
    assert read_tubes(tmp_path / "out.csv")["video"].tolist() == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("missing.csv", "--output", "out.csv"), "No such file"),
        (("a.csv", "--output", "out.pkl"), "say one of"),
        (("a.csv", "--output", "out.csv", "--to", "coco"), "is unknown"),
        (("a.csv", "--output", "out.csv", "--from", "coco"), "unknown kind"),
        (("a.csv", "--output", "out", "--to", "act"), "no score"),
        (("a.csv", "--output", "out.csv", "--size", "big"), "width x height"),
        (("a.csv", "--output", "out.csv", "--class-names", "missing.txt"), "not a readable list"),
        (("a.csv", "--output", "out.csv", "--test-list", "missing.txt"), "not a readable list"),
        (("a.csv", "--output", "out.csv", "--from", "cvat"), "a.csv"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table(Path("a.csv"), "a")
    done = convert(*arguments)
    assert (done.returncode, done.stdout.count("written")) == (2, 0)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert text in line
    assert len(line) < 320
    assert [path.name for path in Path().iterdir()] == ["a.csv"]


def test_started_as_a_program_it_ends_with_the_code_of_its_outcome(tmp_path: Path) -> None:
    good, bad = table(tmp_path / "a.csv", "a"), tmp_path / "missing.csv"
    for source, code in ((good, 0), (bad, 2)):
        command = [sys.executable, str(TOOL), str(source), "--output", str(tmp_path / "out.json")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


def test_help_starts_with_an_example_and_imports_nothing_heavy() -> None:
    code = f"import sys, runpy; sys.argv = ['x', '--help']; runpy.run_path({str(TOOL)!r}, run_name='__main__')"
    check = f"try:\n  {code}\nexcept SystemExit:\n  print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    assert "python tools/convert_annotations.py JHMDB-GT.pkl --output tubes.csv" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
