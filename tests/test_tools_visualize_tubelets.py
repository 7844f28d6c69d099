import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations, write_tubes
from tests.video_samples import write_numbered
from video.clips import read_video

TOOL = Path(__file__).parents[1] / "tools" / "visualize_tubelets.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """As a user runs it."""
    return subprocess.run([sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def main() -> Callable[..., int]:
    """The tool's entry point in this process, which saves the start of Python."""
    spec = importlib.util.spec_from_file_location("visualize_tubelets", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *arguments: module.main([str(argument) for argument in arguments])


def tube(number: int, label: str, score: float, *, frames: int = 6) -> Tube:
    boxes = np.tile(np.float32([10, 10, 50, 50]), (frames, 1))
    return Tube(label, np.arange(frames), boxes, np.full(frames, score, np.float32), score, number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 8 frames, a table of both and their ground truth."""
    folder = tmp_path_factory.mktemp("data")
    videos = ["run/first", "walk/second"]
    for name in videos:
        write_numbered(folder / f"{Path(name).name}.mp4", frames=8)
    found = [VideoAnnotation(name, [tube(1, "run", 0.9), tube(2, "walk", 0.4)]) for name in videos]
    write_tubes(table_from_annotations(found), folder / "tubes.csv")
    truth = Tube("run", np.arange(8), np.tile(np.float32([12, 12, 52, 52]), (8, 1)), id=0)
    write_tubes(table_from_annotations([VideoAnnotation(videos[0], [truth])]), folder / "truth.csv")
    late = [VideoAnnotation("first", [tube(4, "run", 0.9, frames=9)])]
    write_tubes(table_from_annotations(late), folder / "late.csv")
    return folder


def test_each_video_gets_its_pictures(folder: Path, tmp_path: Path) -> None:
    files = ["--video", folder / "second.mp4", folder / "first.mp4", "--ground-truth", folder / "truth.csv"]
    done = run(folder / "tubes.csv", *files, "--output", tmp_path / "out", "--format", "svg")
    assert done.returncode == 0, done.stderr
    kinds = ["plot.svg", "sheet.png", "tubes.mp4"]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"{name}_{kind}" for name in ("first", "second") for kind in kinds]
    assert sorted(done.stdout.split()) == [str(tmp_path / "out" / name) for name in written]
    assert "no ground truth of video 'walk/second'" in done.stderr
    assert read_video(tmp_path / "out" / "first_tubes.mp4").shape[0] == 8


def test_an_actor_is_shown_once_unless_all_tubes_are_wanted(
    folder: Path, tmp_path: Path, main: Callable
) -> None:
    only = ["--video", folder / "first.mp4"]
    assert main(folder / "tubes.csv", *only, "--output", tmp_path / "best") == 0
    assert main(folder / "tubes.csv", *only, "--output", tmp_path / "all", "--every-tube") == 0
    heights = [Image.open(tmp_path / name / "first_sheet.png").height for name in ("best", "all")]
    assert heights[1] > 1.8 * heights[0], "a row a tube"
    # without its file a video has its plot only
    assert (tmp_path / "best" / "second_plot.png").exists()
    assert not (tmp_path / "best" / "second_tubes.mp4").exists()


HEADER = "video,tube,label,frame,x1,y1,x2,y2,score,tube_score\n"


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("first,1,run,0,10,10,,50,0.5,0.5", "line 2"),
        ("first,1,run,0,50,10,10,50,0.5,0.5", "line 2"),
        ("first,1,run,-1,10,10,50,50,0.5,0.5", "line 2"),
        ("first,,run,0,10,10,50,50,0.5,", "tube"),
        ("", "there is no tube in this table"),
    ],
)
def test_bad_tables_are_named_with_their_line(
    tmp_path: Path, main: Callable, capsys, row: str, cause: str
) -> None:
    table = tmp_path / "bad.csv"
    table.write_text(HEADER + row + "\n")
    assert main(table, "--output", tmp_path / "out") == 2
    expect_refusal(*capsys.readouterr(), cause, tmp_path / "out")


@pytest.mark.parametrize(
    ("table", "files", "cause"),
    [
        ("tubes.csv", ["frist.mp4"], "no video of this name; nearest: run/first"),
        ("tubes.csv", ["gone/second.mp4", "first.mp4"], "second.mp4: no such file"),
        ("tubes.csv", ["first.mp4", "first.mp4"], "video 'run/first' was given already"),
        ("late.csv", ["first.mp4"], "tube 4 (run) has a box in frame 8, but the video has 8 frames"),
    ],
)
def test_files_that_do_not_fit_the_table_are_named(
    folder: Path, tmp_path: Path, main: Callable, capsys, table: str, files: list[str], cause: str
) -> None:
    output = tmp_path / "out"
    assert main(folder / table, "--video", *[folder / file for file in files], "--output", output) == 2
    expect_refusal(*capsys.readouterr(), cause, output)


def test_an_error_is_one_line_for_the_shell(tmp_path: Path) -> None:
    done = run(tmp_path / "nothing.csv", "--output", tmp_path / "out")
    assert done.returncode == 2
    expect_refusal(done.stdout, done.stderr, "nothing.csv", tmp_path / "out")


def test_a_video_in_which_nothing_was_found_can_be_looked_at(
    folder: Path, tmp_path: Path, main: Callable
) -> None:
    (tmp_path / "none.csv").write_text(HEADER)
    assert main(tmp_path / "none.csv", "--video", folder / "first.mp4", "--output", tmp_path / "out") == 0
    names = ["first_plot.png", "first_sheet.png", "first_tubes.mp4"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def expect_refusal(stdout: str, stderr: str, cause: str, output: Path) -> None:
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert cause in stderr
    assert stdout == ""
    assert not output.exists() or list(output.iterdir()) == []
