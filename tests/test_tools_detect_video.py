"""The main job by its command line, with small random networks: what is written, what is said, what is refused."""

import json
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from detection.detector_files import save_detector
from detection.detectors import build_detector
from detection.detectors import tiny as tiny_detector
from detection.scorer import KIND, ActionScorer, ScorerConfig
from linking.build import SelectConfig, TubeConfig
from linking.online import OnlineConfig
from linking.records import Tube, VideoAnnotation
from linking.scores import read_scores
from linking.tables import annotations_from_table, read_tubes, table_from_annotations, write_tubes
from linking.trim import TrimConfig
from recognition.lgd3d import lgd3d_small
from recognition.model_files import save_model
from recognition.preprocessing import Preprocessing
from tests.published_layout import write_published
from video.clips import read_video
from video.datasets import open_dataset
from video.writing import VideoWriter

TOOL = Path(__file__).parents[1] / "tools" / "detect_video.py"
WIDTH, HEIGHT, FRAMES = 80, 64, 21
CLASSES = ("jump", "run", "wave")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video, networks with random weights, and the annotation of two squares that cross the picture."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(1)
    config = ScorerConfig(
        num_classes=len(CLASSES),
        backbone=lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 32), stem_width=8),
        short_side=48,
    )
    network = ActionScorer(config)
    header = {"kind": KIND, "config": config.to_dict(), "preprocessing": Preprocessing().to_dict(), "provenance": {}}
    save_model(folder / "scorer.safetensors", network.state_dict(), class_names=CLASSES, **header)  # type: ignore[arg-type]
    save_detector(folder / "boxes.safetensors", build_detector(tiny_detector()), tiny_detector(), {})

    rng = np.random.default_rng(0)
    background = rng.integers(0, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    left, right = [], []
    with VideoWriter(folder / "squares.mp4", width=WIDTH, height=HEIGHT, fps=10) as writer:
        for k in range(FRAMES):
            frame = background.copy()
            x1, x2 = 2 + 2 * k, WIDTH - 22 - 2 * k
            frame[4:24, x1 : x1 + 20] = (255, 180, 0)
            frame[36:56, x2 : x2 + 20] = (0, 200, 255)
            left.append((x1, 4, x1 + 20, 24))
            right.append((x2, 36, x2 + 20, 56))
            writer.write(frame)
    tubes = [
        Tube("jump", np.arange(FRAMES), np.float32(left), id=0),
        Tube("wave", np.array([3, 4, 5, 6, 12, 13]), np.float32(right)[[3, 4, 5, 6, 12, 13]], id=4),
    ]
    annotation = VideoAnnotation("squares", tubes, FRAMES, WIDTH, HEIGHT)
    write_tubes(table_from_annotations([annotation]), folder / "truth.csv")
    return folder


@pytest.fixture
def run(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the tool's main with the small networks and an output folder; exit code, stdout, stderr."""
    main = runpy.run_path(str(TOOL))["main"]

    def call(*words: object, networks: bool = True) -> tuple[int, str, str]:
        argv = [str(word) for word in words]
        if "--output" not in argv:
            argv += ["--output", str(tmp_path / "out")]
        if networks and "--weights" not in argv:
            argv += ["--weights", str(files / "scorer.safetensors")]
        if networks and "--proposals" not in argv:
            argv += ["--proposals", str(files / "boxes.safetensors")]
        code = main(argv)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_run_leaves_tubes_video_plot_scores_and_a_record(run: Run, files: Path, tmp_path: Path) -> None:
    code, out, err = run(files / "squares.mp4", "--score-threshold", 0)
    assert code == 0, err
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {
        "tubes.csv",
        "tubes.json",
        "run.json",
        "report.html",
        "squares.annotated.mp4",
        "squares.tubes.png",
        "squares.scores.npz",
    }
    (annotation,) = annotations_from_table(read_tubes(folder / "tubes.csv"))
    assert annotation.video == "squares"
    assert len(annotation.tubes) > 0
    record = json.loads((folder / "run.json").read_text())
    assert len(record["videos"][0]["tubes"]) == len(annotation.tubes)
    assert record["videos"][0]["num_frames"] == FRAMES
    (weights,) = record["weights"]
    assert (weights["file"], weights["stream"], len(weights["sha256"])) == ("scorer.safetensors", "rgb", 64)
    assert len(record["proposals"]["sha256"]) == 64
    assert record["settings"]["pipeline"]["proposal_stride"] == 2
    assert len(read_video(folder / "squares.annotated.mp4")) == FRAMES
    assert read_scores(folder / "squares.scores.npz").num_frames == FRAMES
    assert annotation.tubes[0].label in out
    for stage in ("decode", "propose", "score", "link", "draw"):
        assert f"{stage} " in err
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"#0 {annotation.tubes[0].label}" in page
    assert page.count('src="data:video/mp4;base64,') == 1
    assert page.count('src="data:image/jpeg;base64,') >= 6
    assert record["weights"][0]["sha256"] in page


def test_the_report_can_be_left_out_and_has_no_pictures_without_a_video(run: Run, files: Path, tmp_path: Path) -> None:
    """With the annotation of a dataset, which is shown beside the tubes."""
    (tmp_path / "data" / "videos").mkdir(parents=True)
    (tmp_path / "data" / "videos" / "squares.mp4").write_bytes((files / "squares.mp4").read_bytes())
    (tmp_path / "data" / "tubes.csv").write_bytes((files / "truth.csv").read_bytes())
    dataset = ["--dataset", tmp_path / "data", "--part", "all", "--no-video", "--score-threshold", 0]
    code, _, err = run(*dataset)
    assert code == 0, err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Ground truth beside predictions" in page
    assert "<video" not in page
    assert "<img" not in page
    assert "report.html" in err
    code, _, err = run(*dataset, "--no-report", "--output", tmp_path / "quiet")
    assert code == 0, err
    assert not (tmp_path / "quiet" / "report.html").exists()
    assert (tmp_path / "quiet" / "tubes.csv").exists()
    assert "report.html" not in err


def test_ground_truth_of_a_dataset_is_in_pixels_of_its_videos(run: Run, tmp_path: Path) -> None:
    """UCF101-24 is annotated at 320 x 240, whatever the size of the videos."""
    tool = runpy.run_path(str(TOOL.parent / "make_puppets.py"))["main"]
    words = ["--layout", "ucf24", "--classes", "jump", "--videos-per-class", "1", "--test-videos-per-class", "1"]
    assert tool([str(tmp_path / "data"), *words, "--size", "160x120", "--frames", "16-20"]) == 0
    code, _, err = run("--dataset", tmp_path / "data", "--no-video", "--score-threshold", 0)
    assert code == 0, err
    (written,) = annotations_from_table(read_tubes(tmp_path / "out" / "ground_truth.csv"))
    (item,) = open_dataset(tmp_path / "data", part="test").videos
    assert (item.annotation.width, item.annotation.height) == (320, 240)
    for tube, true in zip(written.tubes, item.annotation.tubes, strict=True):
        np.testing.assert_allclose(tube.boxes, true.boxes / 2, atol=1e-3)


def test_clips_cut_to_their_action_are_not_trimmed_unless_asked_for(run: Run, tmp_path: Path) -> None:
    tool = runpy.run_path(str(TOOL.parent / "make_puppets.py"))["main"]
    words = ["--layout", "jhmdb", "--classes", "jump", "--videos-per-class", "1", "--test-videos-per-class", "1"]
    assert tool([str(tmp_path / "data"), *words, "--size", "160x120", "--frames", "16-20"]) == 0
    dataset = ["--dataset", tmp_path / "data", "--no-video", "--no-report", "--score-threshold", 0]
    for options, trimmed, said in (
        ([], False, True),
        (["--no-trim"], False, False),
        (["--trim"], True, False),
        (["--set", "trimmed=true"], True, False),
    ):
        code, _, err = run(*dataset, *options)
        assert code == 0, err
        settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
        assert (settings["trimmed"], settings["whole_clip"]) == (trimmed, not trimmed), options
        assert ("cut to their actions" in err) == said
        assert "video-mAP counts them" not in err
    code, _, err = run(*dataset[:-2])
    assert code == 0, err
    assert "tubes that score below 0.1 are left out; video-mAP counts them too (--score-threshold 0.001)" in err


def test_tubes_of_a_table_keep_their_frames_boxes_and_ids(run: Run, files: Path, tmp_path: Path) -> None:
    code, _, err = run(files / "squares.mp4", "--proposals", files / "truth.csv", "--no-video")
    assert code == 0, err
    (truth,) = annotations_from_table(read_tubes(files / "truth.csv"))
    (found,) = annotations_from_table(read_tubes(tmp_path / "out" / "tubes.csv"))
    by_id = {tube.id: tube for tube in found.tubes}
    assert sorted(by_id) == [0, 4]
    for tube in truth.tubes:
        np.testing.assert_array_equal(by_id[tube.id].frames, tube.frames)
        np.testing.assert_array_equal(by_id[tube.id].boxes, tube.boxes)
        assert by_id[tube.id].label in CLASSES
        assert not np.isnan(np.asarray(by_id[tube.id].scores)).any()


def test_boxes_of_a_table_without_tubes_are_linked(run: Run, files: Path, tmp_path: Path) -> None:
    table = read_tubes(files / "truth.csv")
    loose = table.assign(tube=pd.NA, label="")
    write_tubes(loose, tmp_path / "loose.csv")
    code, _, err = run(
        files / "squares.mp4", "--proposals", tmp_path / "loose.csv", "--no-video", "--no-trim", "--score-threshold", 0
    )
    assert code == 0, err
    (found,) = annotations_from_table(read_tubes(tmp_path / "out" / "tubes.csv"))
    whole = [tube for tube in found.tubes if len(tube) == FRAMES]
    assert whole
    np.testing.assert_array_equal(whole[0].boxes, annotations_from_table(table)[0].tubes[0].boxes)


def test_several_videos_share_one_table_and_equal_names_get_numbers(run: Run, files: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "squares.mp4").write_bytes((files / "squares.mp4").read_bytes())
    code, out, _ = run(files / "squares.mp4", other / "squares.mp4", "--no-video", "--score-threshold", 0, "--json")
    assert code == 0
    record = json.loads(out)
    assert [video["video"] for video in record["videos"]] == ["squares", "squares-2"]
    names = {annotation.video for annotation in annotations_from_table(read_tubes(tmp_path / "out" / "tubes.json"))}
    assert names == {"squares", "squares-2"}


def test_the_online_linker_is_chosen_by_an_option_or_a_file(run: Run, files: Path, tmp_path: Path) -> None:
    """As tools/link_tubes.py writes it; the same tubes come from linking the stored scores online."""
    fitted = tmp_path / "fitted.toml"
    fitted.write_text('linker = "online"\n[online]\nmin_boxes = 5\n[trim.class_threshold]\nwave = 0.3\n')
    quiet = ["--no-video", "--no-report", "--score-threshold", 0]
    assert run(files / "squares.mp4", "--config", fitted, *quiet)[0] == 0
    found = read_tubes(tmp_path / "out" / "tubes.csv")
    config = TubeConfig(
        linker="online", online=OnlineConfig(min_boxes=5), trim=TrimConfig(class_threshold={"wave": 0.3}),
        select=SelectConfig(min_score=0),
    )  # fmt: skip
    (same,) = annotations_from_table(found)
    again = config.build(read_scores(tmp_path / "out" / "squares.scores.npz"))
    assert len(again) > 0
    assert [(tube.label, tube.first_frame) for tube in same.tubes] == [(t.label, t.first_frame) for t in again]
    assert run(files / "squares.mp4", "--linker", "online", *quiet)[0] == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["linker"] == "online"


def test_only_the_asked_labels_are_given(run: Run, files: Path, tmp_path: Path) -> None:
    code, _, _ = run(files / "squares.mp4", "--labels", "wave,run", "--no-video", "--score-threshold", 0)
    assert code == 0
    assert set(read_tubes(tmp_path / "out" / "tubes.csv")["label"]) <= {"wave", "run"}


def test_nothing_found_is_a_result(run: Run, files: Path, tmp_path: Path) -> None:
    code, out, _ = run(files / "squares.mp4", "--score-threshold", 1.0)
    assert code == 0
    assert "nothing found" in out
    assert len(read_tubes(tmp_path / "out" / "tubes.csv")) == 0
    assert (tmp_path / "out" / "squares.annotated.mp4").is_file()


def test_a_single_frame_and_a_picture_folder_are_videos(run: Run, files: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for k, frame in enumerate(read_video(files / "squares.mp4")[:3]):
        Image.fromarray(frame).save(folder / f"{k + 8}.png")  # 8, 9, 10: natural order
    with VideoWriter(tmp_path / "one.mp4", width=64, height=48, fps=25) as writer:
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    code, out, err = run(folder, tmp_path / "one.mp4", "--json")
    assert code == 0, err
    assert [video["num_frames"] for video in json.loads(out)["videos"]] == [3, 1]


def test_one_bad_video_does_not_stop_the_others(run: Run, files: Path, tmp_path: Path) -> None:
    code, out, err = run(tmp_path / "gone.mp4", files / "squares.mp4", "--no-video", "--json")
    assert code == 2
    record = json.loads(out)
    assert [video["video"] for video in record["videos"]] == ["squares"]
    assert "no such file" in record["failed"]["gone"]
    assert err.startswith("error: ")


def bad_video(kind: str, folder: Path, good: Path) -> Path:
    path = folder / f"{kind}.mp4"
    data = good.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not a video\n" * 50)
    elif kind == "truncated":
        path.write_bytes(data[: len(data) // 3].replace(b"moov", b"free"))
    elif kind == "folder":
        path.mkdir()
    elif kind == "sound":
        from tests.video_samples import write_sound

        return write_sound(folder / "sound.m4a", "aac")  # a container of videos, without one
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated", "folder", "sound"])
def test_an_unreadable_video_is_one_line_and_leaves_nothing(run: Run, files: Path, tmp_path: Path, kind: str) -> None:
    path = bad_video(kind, tmp_path, files / "squares.mp4")
    code, out, err = run(path)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert len(err) < 300
    assert path.name in err
    assert not (tmp_path / "out").exists()


ROW = "squares,0,jump,3,{box},0.5,0.5\n"
HEADER = "video,tube,label,frame,x1,y1,x2,y2,score,tube_score\n"


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ("nan,4,20,24", ["boxes.csv", "line 2", "x1"]),
        ("20,4,2,24", ["boxes.csv", "line 2", "x2"]),
        ("2,4,20,4", ["boxes.csv", "line 2", "y2"]),
        ("500,4,520,24", ["boxes.csv", "frame 3", "80x64"]),
    ],
)
def test_a_bad_box_in_a_table_is_named(run: Run, files: Path, tmp_path: Path, box: str, told: list[str]) -> None:
    (tmp_path / "boxes.csv").write_text(HEADER + ROW.format(box=box))
    code, _, err = run(files / "squares.mp4", "--proposals", tmp_path / "boxes.csv")
    assert code == 2
    assert err.count("\n") == 1
    for word in told:
        assert word in err
    assert not (tmp_path / "out").exists()


def test_a_table_of_other_videos_names_what_it_has(run: Run, files: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(HEADER + ROW.replace("squares", "squares_b").format(box="2,4,20,24"))
    code, _, err = run(files / "squares.mp4", "--proposals", tmp_path / "boxes.csv")
    assert code == 2
    assert "'squares_b'" in err


def test_weights_that_do_not_fit_are_refused_before_any_work(run: Run, files: Path, tmp_path: Path) -> None:
    for weights, told in [
        (files / "boxes.safetensors", "action-scorer"),  # a model, but of another kind
        (files / "squares.mp4", "safetensors"),
        (tmp_path / "gone.safetensors", "no such model file"),
    ]:
        code, _, err = run(files / "squares.mp4", "--weights", weights)
        assert code == 2
        assert told in err
        assert err.count("\n") == 1
    code, _, err = run(files / "squares.mp4", "--proposals", files / "scorer.safetensors")
    assert code == 2
    assert "action-scorer" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--labels", "wave,fly"], "unknown 'fly'; the weights know jump, run, wave"),
        (["--set", "pipeline.speed=3"], "unknown setting pipeline.speed; known are"),
        (["--set", "link.max_gap=-1"], "max_gap"),
        (["--proposal-stride", "0"], "proposal_stride must be 1 or more"),
        (["--clip-stride", "99"], "clip_stride must be at most 16"),
        (["--proposals", "yolo"], "unknown source of boxes"),
        (["--device", "cuda:9"], "--device cuda"),
    ],
)
def test_a_wrong_option_is_one_line(run: Run, files: Path, words: list[str], told: str) -> None:
    code, _, err = run(files / "squares.mp4", *words)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1


def test_a_kinetics_classifier_finds_400_classes_without_training(
    run: Run, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s3d, with random weights of the published layout in torch's cache."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    video = files / "squares.mp4"
    code, _, err = run(video, "--weights", "torchvision:s3d")
    assert code == 2
    assert "s3d-d76dad2f.pth" in err
    assert "add --download" in err
    torch.manual_seed(0)
    write_published(tmp_path, "s3d")
    words = ["--weights", "torchvision:s3d", "--no-video", "--score-threshold", 0, "--max-frames", 10]
    code, _, err = run(video, *words)
    assert code == 0, err
    assert "Kinetics labels whole clips" in err
    scored = read_scores(tmp_path / "out" / "squares.scores.npz")
    assert len(scored.class_names) == 400
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    scorer, proposals = record["picked"]["networks"]
    assert (record["picked"]["preset"], scorer["source"]) == ("own", "torchvision:s3d")
    assert "Kinetics-400" in scorer["terms"]
    assert "whole clips" in scorer["knowledge"]
    assert proposals["source"].endswith("boxes.safetensors")
    assert record["settings"]["pipeline"]["clip_stride"] == 16


def test_help_shows_an_example_and_does_not_wait_for_torch() -> None:
    shown = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True, check=True)
    assert "python tools/detect_video.py my.mp4" in shown.stdout
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", TOOL, "--help"], capture_output=True, text=True, check=True
    )
    assert " torch\n" not in loaded.stderr


def test_videos_or_a_dataset_but_not_both() -> None:
    for words in ([], ["a.mp4", "--dataset", "d"]):
        shown = subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True)
        assert shown.returncode == 2
        assert "give videos or --dataset" in shown.stderr


def test_ctrl_c_leaves_nothing_half_written(files: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.mp4"
    frames = read_video(files / "squares.mp4")
    with VideoWriter(long, width=WIDTH, height=HEIGHT, fps=10) as writer:
        for k in range(3000):
            writer.write(frames[k % FRAMES])
    words = [TOOL, long, "--output", tmp_path / "out", "--weights", files / "scorer.safetensors"]
    process = subprocess.Popen(
        [
            sys.executable,
            *map(str, words),
            "--proposals",
            str(files / "boxes.safetensors"),
            "--set",
            "pipeline.precision=fp32",
        ],
        stderr=subprocess.PIPE,
        # a shell's background jobs start with Ctrl-C ignored, and so would this process
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
