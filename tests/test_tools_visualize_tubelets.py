import dataclasses
import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linking.build import TubeConfig, build_tubes
from linking.records import Detections, Tube, VideoAnnotation
from linking.scores import ScoredVideo, write_scores
from linking.tables import table_from_annotations, write_tubes
from tests.video_samples import write_numbered
from video.clips import read_video
from video.ground_truth_pickles import write_jhmdb
from video.jhmdb import Split

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
    kinds = ["plot.svg", "sheet.png", "strip.svg", "tubes.mp4"]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"{name}_{kind}" for name in ("first", "second") for kind in kinds]
    assert sorted(done.stdout.split()) == [str(tmp_path / "out" / name) for name in written]
    assert "no ground truth of video 'walk/second'" in done.stderr
    assert read_video(tmp_path / "out" / "first_tubes.mp4").shape[0] == 8


def test_an_actor_is_shown_once_unless_all_tubes_are_wanted(folder: Path, tmp_path: Path, main: Callable) -> None:
    only = ["--video", folder / "first.mp4"]
    assert main(folder / "tubes.csv", *only, "--output", tmp_path / "best") == 0
    assert main(folder / "tubes.csv", *only, "--output", tmp_path / "all", "--every-tube") == 0
    heights = [Image.open(tmp_path / name / "first_sheet.png").height for name in ("best", "all")]
    assert heights[1] > 1.8 * heights[0], "a row a tube"
    # without its file a video has its plot only
    assert (tmp_path / "best" / "second_plot.png").exists()
    assert not (tmp_path / "best" / "second_tubes.mp4").exists()


def test_only_what_was_asked_for_is_made(folder: Path, tmp_path: Path, main: Callable) -> None:
    only = ["--video", folder / "first.mp4", "--only", "plot", "strip", "--frames", 2]
    assert main(folder / "tubes.csv", *only, "--output", tmp_path) == 0
    # a strip needs pictures, a plot does not
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first_plot.png",
        "first_strip.png",
        "second_plot.png",
    ]


def test_errors_are_named_in_every_picture(folder: Path, tmp_path: Path, main: Callable) -> None:
    found = [tube(1, "run", 0.9, frames=8), tube(2, "walk", 0.4)]
    far = Tube("jump", np.arange(8), np.tile(np.float32([60, 12, 90, 40]), (8, 1)), id=1)
    near = Tube("run", np.arange(8), np.tile(np.float32([12, 12, 52, 52]), (8, 1)), id=0)
    # the truth names the video with its folder and suffix
    write_tubes(table_from_annotations([VideoAnnotation("run/first.mp4", [near, far])]), tmp_path / "truth.json")
    write_tubes(table_from_annotations([VideoAnnotation("first", found)]), tmp_path / "tubes.csv")
    words = [tmp_path / "tubes.csv", "--video", folder / "first.mp4", "--ground-truth", tmp_path / "truth.json"]
    words += ["--every-tube", "--trails", "--format", "svg"]
    # 38 x 38 of 1600 + 1600 - 38 x 38 pixels are common: 0.82
    for iou, said in (("0.5", "correct"), ("0.9", "wrong place")):
        assert main(*words, "--errors", "--iou", iou, "--output", tmp_path / iou) == 0
        strip = (tmp_path / iou / "first_strip.svg").read_text(encoding="utf-8")
        assert f"{said}, IoU 0.82" in strip
        assert "truth: jump" in strip
        assert "missed: jump" in (tmp_path / iou / "first_plot.svg").read_text(encoding="utf-8")
    assert (tmp_path / "0.9" / "first_tubes.mp4").exists()
    # without --errors tubes keep their colours, and the strip shows how they overlap with the truth
    assert main(*words, "--only", "strip", "--output", tmp_path / "plain") == 0
    plain = (tmp_path / "plain" / "first_strip.svg").read_text(encoding="utf-8")
    assert "correct" not in plain
    assert "IoU with the truth" in plain


def test_a_tube_without_a_score_has_no_verdict(folder: Path, tmp_path: Path, main: Callable, capsys) -> None:
    words = [folder / "truth.csv", "--video", folder / "first.mp4", "--ground-truth", folder / "truth.csv"]
    assert main(*words, "--errors", "--output", tmp_path / "out") == 2
    expect_refusal(*capsys.readouterr(), "detected tube 0 (run) has no score", tmp_path / "out")
    assert main(*words, "--only", "plot", "--output", tmp_path / "out") == 0


def test_ground_truth_is_of_any_format_and_of_one_split_if_wanted(
    folder: Path, tmp_path: Path, main: Callable, capsys
) -> None:
    split = Split(train=("run/first",), test=("walk/second",))
    true = Tube("run", np.arange(8), np.tile(np.float32([12, 12, 52, 52]), (8, 1)), id=0)
    videos = [VideoAnnotation(name, [true], 8, 96, 64) for name in ("run/first", "walk/second")]
    write_jhmdb(videos, tmp_path / "truth.pkl", ("run",), (split,))
    words = [folder / "tubes.csv", "--only", "plot", "--output", tmp_path, "--ground-truth", tmp_path / "truth.pkl"]
    assert main(*words) == 0
    assert capsys.readouterr().err == ""
    assert main(*words, "--split", 1) == 0
    assert "no ground truth of video 'run/first'; it has: walk/second" in capsys.readouterr().err
    assert main(*words, "--ground-truth", folder / "first.mp4") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_ctrl_c_leaves_whole_files_only(folder: Path, tmp_path: Path, main: Callable, capsys, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eval.film_strip.plot_film_strip", interrupted)
    files = ["--video", folder / "first.mp4", "--output", tmp_path]
    assert main(folder / "tubes.csv", *files) == 130
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert sorted(captured.out.split()) == sorted(str(path) for path in tmp_path.iterdir())


def test_a_report_of_any_table_needs_no_networks(folder: Path, tmp_path: Path, main: Callable, capsys) -> None:
    page = tmp_path / "pages" / "report.html"
    files = ["--video", folder / "first.mp4", "--ground-truth", folder / "truth.csv"]
    assert main(folder / "tubes.csv", *files, "--report", page) == 0
    # the pictures lie in the folder of the page
    assert capsys.readouterr().out.split()[-1] == str(page)
    assert (page.parent / "first_tubes.mp4").exists()
    text = page.read_text(encoding="utf-8")
    assert 'href="#video-2">walk/second</a>' in text
    assert text.count("<video ") == 1
    assert text.count("<img ") == 6
    assert "IoU" in text
    # nobody knows how fast the video is whose file was not given
    assert text.count("a second the video has is not known; times are those of 25") == 1
    assert f"sha256 <code>{hashlib.sha256((folder / 'tubes.csv').read_bytes()).hexdigest()}" in text


def test_scores_show_in_the_report_what_was_trimmed_away(tmp_path: Path, main: Callable, capsys) -> None:
    # somebody who runs for 20 of 50 frames, with the record of the run beside the table
    detections = [
        Detections(t, np.float32([[t, 0, t + 40, 80]]), np.float32([0.9]), np.float32([[0.8 if t < 20 else 0.1, 0.05]]))
        for t in range(50)
    ]
    scored = ScoredVideo("clip", ("run", "jump"), tuple(detections), 320, 240, 10.0)
    write_scores(tmp_path / "clip.scores.npz", scored)
    write_tubes(table_from_annotations([VideoAnnotation("clip", build_tubes(scored))]), tmp_path / "tubes.csv")
    timings = {"decode": 1.25, "frames": 50}
    record = {
        "videos": [{"video": "clip", "fps": 10.0, "timings": timings, "warnings": ["a damaged frame"]}],
        "settings": dataclasses.asdict(TubeConfig()),
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    words = [tmp_path / "tubes.csv", "--report", tmp_path / "report.html"]
    assert main(*words, "--scores", tmp_path / "clip.scores.npz") == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Trimmed away: 2.00 s to 5.00 s." in text
    assert "a damaged frame" in text
    assert "<td>1.25" in text
    # without the record nobody knows how the tubes were linked
    (tmp_path / "run.json").unlink()
    assert main(*words, "--scores", tmp_path / "clip.scores.npz") == 0
    assert "Trimmed away" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    # scores of a video that the table does not have
    write_scores(tmp_path / "other.npz", dataclasses.replace(scored, video="clap"))
    capsys.readouterr()
    assert main(*words, "--scores", tmp_path / "other.npz") == 2
    assert "other.npz: it is of video 'clap', which the table does not have; nearest: clip" in capsys.readouterr().err


def test_a_report_or_a_folder_must_be_asked_for(tmp_path: Path) -> None:
    for words, told in [
        ([], "give --output, --report or both"),
        (["--output", "o", "--scores", "s"], "give --report too"),
        (["--output", "o", "--errors"], "give --ground-truth too"),
    ]:
        done = run(tmp_path / "tubes.csv", *words)
        assert done.returncode == 2
        assert told in done.stderr


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
def test_bad_tables_are_named_with_their_line(tmp_path: Path, main: Callable, capsys, row: str, cause: str) -> None:
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


def test_a_video_in_which_nothing_was_found_can_be_looked_at(folder: Path, tmp_path: Path, main: Callable) -> None:
    (tmp_path / "none.csv").write_text(HEADER)
    assert main(tmp_path / "none.csv", "--video", folder / "first.mp4", "--output", tmp_path / "out") == 0
    names = ["first_plot.png", "first_sheet.png", "first_strip.png", "first_tubes.mp4"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def expect_refusal(stdout: str, stderr: str, cause: str, output: Path) -> None:
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert cause in stderr
    assert stdout == ""
    assert not output.exists() or list(output.iterdir()) == []
