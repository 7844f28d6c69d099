import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from linking.records import Detections, Tube, VideoAnnotation
from linking.scores import ScoredVideo, read_scores, write_scores
from linking.settings import read_settings, with_settings
from linking.tables import annotations_from_table, read_tubes, table_from_annotations, write_tubes

TOOL = Path(__file__).parents[1] / "tools" / "link_tubes.py"


def start(*arguments):
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def refused(capsys):
    """The one line on stderr of a run that ends in exit code 2; in this process, because starting one takes seconds."""
    main = runpy.run_path(str(TOOL))["main"]

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("error: ")
        assert output.err.count("\n") == 1
        return output.err

    return run


@pytest.fixture
def folder(tmp_path):
    """Scores of two videos: an actor who runs for 20 frames (one missed) and stands for 20, and nothing at all."""
    detections = []
    for t in range(40):
        boxes = np.float32([(t, 0, t + 40, 80)] if t != 5 else []).reshape(-1, 4)
        n = len(boxes)
        scores = np.tile([0.8 if t < 20 else 0.1, 0.0], (n, 1))
        detections.append(Detections(t, boxes, np.full(n, 0.9), scores))
    nothing = tuple(Detections(t, np.zeros((0, 4)), np.zeros(0), np.zeros((0, 2))) for t in range(3))
    for name, found in (("a/clip", tuple(detections)), ("empty", nothing)):
        scored = ScoredVideo(name, ("run", "jump"), found, 320, 240, 25.0)
        write_scores(tmp_path / "scores" / f"{name}.npz", scored)
    return tmp_path / "scores"


def test_a_folder_of_scores_becomes_one_table_with_its_settings_beside(folder, tmp_path):
    done = start(folder, "--output", tmp_path / "tubes.json", "--max-gap", 3, "--set", "trim.class_alpha.run=1.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [
        "a/clip: 40 frames, 1 tubes, best: run 0.80 in frames 0-19",
        "empty: 3 frames, 0 tubes",
    ]
    clip, empty = annotations_from_table(read_tubes(tmp_path / "tubes.json"))
    assert (clip.video, clip.num_frames, clip.width, clip.height) == ("a/clip", 40, 320, 240)
    (tube,) = clip.tubes
    assert (tube.label, tube.first_frame, tube.end_frame) == ("run", 0, 20)
    assert np.flatnonzero(np.isnan(tube.scores)).tolist() == [5]
    assert (empty.video, empty.num_frames, empty.tubes) == ("empty", 3, ())
    report = json.loads((tmp_path / "tubes.settings.json").read_text())
    assert report["settings"]["link"]["max_gap"] == 3
    assert report["settings"]["trim"]["class_alpha"] == {"run": 1.5}
    assert [entry["video"] for entry in report["inputs"]] == ["a/clip", "empty"]
    assert len(report["inputs"][0]["sha256"]) == 64


def test_options_beat_set_beats_file(folder, tmp_path):
    (tmp_path / "c.toml").write_text("trimmed = false\n[link]\nmax_gap = 1\nmin_boxes = 3\ntop_boxes = 4\n")
    done = start(
        folder / "a", "-o", tmp_path / "t.csv", "--config", tmp_path / "c.toml", "--set", "link.min_boxes=5",
        "--set", "link.max_gap=2", "--max-gap", "6",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "t.settings.json").read_text())["settings"]
    assert [settings["link"][key] for key in ("top_boxes", "min_boxes", "max_gap")] == [4, 5, 6]
    assert not settings["trimmed"]
    (clip,) = annotations_from_table(read_tubes(tmp_path / "t.csv"))
    assert clip.tubes[0].end_frame == 40


def test_settings_and_files_that_cannot_be_used_end_in_one_line(folder, tmp_path, refused):
    done = start(folder, "-o", tmp_path / "t.csv", "--alpha", "-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: trim: alpha must be a number, 0 or more; alpha is -1.0\n"
    output = tmp_path / "t.csv"
    assert "unknown setting link.gap; known are link.score_threshold" in refused(
        folder, "-o", output, "--set", "link.gap=3"
    )
    assert "max_gap must be 0 or more, got -1" in refused(folder, "-o", output, "--max-gap", "-1")
    assert "names 'walk', which is no class" in refused(folder, "-o", output, "--set", "trim.class_alpha.walk=1")
    assert "unknown preset 'best'; there are default, online, paper, singh" in refused(
        folder, "-o", output, "--preset", "best"
    )
    assert "unknown suffix '.txt'" in refused(folder, "-o", tmp_path / "t.txt")
    assert "no such file or folder" in refused(tmp_path / "none", "-o", output)
    (tmp_path / "bare").mkdir()
    assert "no score files (.npz) in this folder" in refused(tmp_path / "bare", "-o", output)
    assert "video 'empty' is in" in refused(folder / "empty.npz", folder / "empty.npz", "-o", output)
    (folder / "bad.npz").write_text("text")
    assert "bad.npz: not a whole .npz score file" in refused(folder, "-o", output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "scores"]  # nothing was written


def described(path):
    return [
        (clip.video, [(tube.label, tube.first_frame, tube.end_frame) for tube in clip.tubes])
        for clip in annotations_from_table(read_tubes(path))
    ]


def test_the_online_linker_by_preset_or_setting(folder, tmp_path):
    done = start(folder, "-o", tmp_path / "online.json", "--preset", "online", "--max-gap", "4")
    assert done.returncode == 0, done.stderr
    assert described(tmp_path / "online.json") == [("a/clip", [("run", 0, 20)]), ("empty", [])]
    settings = json.loads((tmp_path / "online.settings.json").read_text())["settings"]
    assert (settings["linker"], settings["online"]["max_gap"]) == ("online", 4)
    assert settings["link"]["max_gap"] == 10  # the linker that was not used keeps its own
    assert "fusion" not in settings
    main = runpy.run_path(str(TOOL))["main"]
    assert main([str(folder), "-o", str(tmp_path / "singh.json"), "--preset", "singh"]) == 0
    assert described(tmp_path / "singh.json")[0] == ("a/clip", [("run", 0, 40)])  # no background


@pytest.fixture
def flow(folder):
    """A second stream of both videos, under other file names, and of a third one: the actor runs all the time."""
    detections = []
    for t in range(40):
        boxes = np.float32([(t, 0, t + 40, 80)] if t != 5 else []).reshape(-1, 4)
        scores = np.tile([0.6, 0.2], (len(boxes), 1))
        detections.append(Detections(t, boxes, np.full(len(boxes), 0.9), scores))
    nothing = tuple(Detections(t, np.zeros((0, 4)), np.zeros(0), np.zeros((0, 2))) for t in range(3))
    place = folder.parent / "flow"
    for name, video, found in (("x", "a/clip", tuple(detections)), ("y", "empty", nothing), ("z", "more", nothing)):
        write_scores(place / f"{name}.npz", ScoredVideo(video, ("run", "jump"), found, 320, 240, 25.0))
    return place


def test_a_second_stream_is_matched_by_video_name_and_fused(folder, flow, tmp_path):
    main = runpy.run_path(str(TOOL))["main"]

    def scores(*options):
        output = tmp_path / "t.json"
        assert main([str(folder), "-o", str(output), "--fuse-with", str(flow), "--no-trim", *options]) == 0
        (tube,) = [t for t in annotations_from_table(read_tubes(output))[0].tubes if t.label == "run"]
        return tube.scores[[0, 39]].tolist()

    # the first stream never says jump, so by the product it is running or nothing
    assert scores() == pytest.approx([(0.8 + 0.6 + 0.2) / 2, (0.1 + 0.6 + 0.2) / 2])
    assert scores("--fusion", "mean") == pytest.approx([(0.8 + 0.6) / 2, (0.1 + 0.6) / 2])
    assert scores("--fusion", "boost", "--fusion-weight", "0.5") == pytest.approx([0.8 + 0.3, 0.1 + 0.3])
    report = json.loads((tmp_path / "t.settings.json").read_text())
    assert (report["settings"]["fusion"]["method"], report["settings"]["fusion"]["weight"]) == ("boost", 0.5)
    assert [Path(entry["file"]).name for entry in report["fused_with"]] == ["x.npz", "y.npz"]
    by_class = ("--set", "link.class_agnostic=false")
    assert scores("--set", "fusion.method=union", *by_class) == pytest.approx([0.8, 0.6])


def test_a_second_stream_that_does_not_fit(folder, flow, tmp_path, refused):
    output = tmp_path / "t.csv"
    (flow / "x.npz").unlink()
    message = refused(folder, "-o", output, "--fuse-with", flow)
    assert "flow: the second stream lacks 1 of 2 videos: a/clip" in message
    assert "need a second stream, --fuse-with" in refused(folder, "-o", output, "--fusion", "mean")
    assert "need a second stream, --fuse-with" in refused(folder, "-o", output, "--set", "fusion.iou=0.5")
    assert "unknown setting fusion.x; known are fusion.method" in refused(
        folder, "-o", output, "--fuse-with", flow, "--set", "fusion.x=1"
    )
    assert "fusion is a group of settings" in refused(folder, "-o", output, "--set", "fusion=mean")
    assert "second stream's share" in refused(folder, "-o", output, "--fuse-with", flow, "--fusion-weight", "2")
    (flow / "x.npz").write_bytes((flow / "y.npz").read_bytes())
    assert "y.npz: video 'empty' is in" in refused(folder, "-o", output, "--fuse-with", flow)
    assert not output.exists()


# ---- fitting the trimming


@pytest.fixture
def training(tmp_path):
    """Six videos whose actor runs for 20 frames at 0.9 and stands at 0.54, 0.6 of that: only threshold 0.7 cuts."""
    truth = []
    for k in range(6):
        scores = [0.9] * 20 + [0.54] * 60
        detections = tuple(Detections(t, [[10, 10, 50, 90]], [0.9], [[s, 0.0]]) for t, s in enumerate(scores))
        write_scores(
            tmp_path / "scores" / f"v{k}.npz", ScoredVideo(f"v{k}", ("run", "jump"), detections, 320, 240, 25.0)
        )
        tube = Tube("run", np.arange(20), np.tile(np.float32([10, 10, 50, 90]), (20, 1)))
        truth.append(VideoAnnotation(f"v{k}", [tube], 80))
    write_tubes(table_from_annotations(truth), tmp_path / "truth.json")
    return tmp_path


FIT = ("--set", "trim.top_frames=10")  # the level is that of the ten best boxes, 0.9


def in_process(*arguments):
    return runpy.run_path(str(TOOL))["main"]([str(argument) for argument in arguments])


def test_fitted_trimming_is_a_file_of_settings_for_linking_and_detection(training, capsys):
    scores, trim, tubes = training / "scores", training / "trim.toml", training / "tubes.csv"
    assert in_process(scores, "--fit-trimming", training / "truth.json", "-o", trim, *FIT) == 0
    output = capsys.readouterr().out
    assert "mean AP in percent: 50.0 with the default, 100.0 on held-out videos" in output
    assert [line.split() for line in output.splitlines() if line.startswith("jump")] == [
        ["jump", "0", "-", "-", "-", "3", "0.5", "default:", "no", "ground", "truth"]
    ]
    settings = read_settings(trim)
    assert settings.keys() == {"trim"}
    assert settings["trim"]["class_threshold"] == {"run": 0.7}
    lengths = []
    for extra in ((), ("--config", trim)):
        assert in_process(scores, "-o", tubes, *FIT, *extra) == 0
        lengths.append({len(tube) for video in annotations_from_table(read_tubes(tubes)) for tube in video.tubes})
    assert lengths == [{80}, {20}]
    # tools/detect_video.py reads the same file into settings of its own
    from detection.detect import DetectConfig

    assert with_settings(DetectConfig(), settings).trim.class_threshold == {"run": 0.7}
    # the comment names the inputs, a line each
    text = trim.read_text("utf-8")
    for name in ("scores", "truth", "preset", "versions", "fitted on", "objective", "rule", "held out"):
        assert f"\n# {name}:" in text


def test_fitting_refuses_what_is_no_training_video(training, refused, capsys):
    scores, truth, output = training / "scores", training / "truth.json", training / "trim.toml"
    (training / "test.txt").write_text("v0\nv5\n")
    parts = ("--test-list", training / "test.txt")
    assert "2 scored videos are not of the part train, 'v0' for one; trimming fitted to test videos" in refused(
        scores, "--fit-trimming", truth, "-o", output, *parts
    )
    write_scores(scores / "w.npz", replace(read_scores(scores / "v0.npz"), video="v0.avi"))
    assert "1 of 7 scored videos are unknown to the ground truth: 'v0.avi' and 'v0' agree without suffix" in refused(
        scores, "--fit-trimming", truth, "-o", output
    )
    assert "fitted trimming is written as .toml" in refused(
        scores, "--fit-trimming", truth, "-o", training / "trim.json"
    )
    assert "folds must be 2 or more" in refused(scores / "v0.npz", "--fit-trimming", truth, "-o", output, "--folds", 1)
    write_scores(scores / "v0.npz", replace(read_scores(scores / "v0.npz"), class_names=("run", "swim")))
    assert "its classes are not those of" in refused(
        scores / "v0.npz", scores / "v1.npz", "--fit-trimming", truth, "-o", output
    )
    assert not output.exists()
    other = [VideoAnnotation("v1", [Tube("Run", [0], [[10, 10, 50, 90]])])]
    write_tubes(table_from_annotations(other), training / "other.json")
    assert in_process(scores / "v1.npz", "--fit-trimming", training / "other.json", "-o", output) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == (
        "warning: true tubes of 1 labels that the scores do not know: "
        "'Run' and 'run' agree without regard to capitals, spaces, - and _ (1 of 1 names do)"
    )
    assert "none of the scored videos has a true tube" in said[1]
    # on purpose it can be had, and is said
    on_purpose = ("--part", "all", *parts, "--ignore-unknown-videos")
    assert in_process(scores / "v1.npz", scores / "w.npz", "--fit-trimming", truth, "-o", output, *on_purpose) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert warnings[0].startswith("warning: ")
    assert warnings[0].endswith("; they were left out")
    assert warnings[1] == "warning: fitted to test videos, scores on them look better than they are"


def test_clips_of_one_source_are_never_on_both_sides(training, capsys):
    """All six are of one source by the dataset's ``group``, so nothing can be held out and the default stays."""
    (training / "dataset.toml").write_text("tubes = 'truth.json'\ngroup = '(v)[0-9]'\n")
    described = training / "dataset.toml"
    assert in_process(training / "scores", "--fit-trimming", described, "-o", training / "trim.toml", *FIT) == 0
    assert "default: too few sources" in capsys.readouterr().out
