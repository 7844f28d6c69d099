"""Training an actor detector: it learns, it resumes to the bit, and what it reports is right."""

import json
import math
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detection.actor_frames import ActorFrames, AugmentConfig
from detection.detector_files import load_detector
from detection.detectors import build_detector, tiny
from detection.train_proposals import (
    ProposalTraining,
    evaluate,
    learning_rate,
    proposal_quality,
    spread_frames,
    train,
)
from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations, write_tubes
from recognition.training_state import TrainingStateError
from video.flow import QUICK_FLOW
from video.writing import VideoWriter

TOOL = Path(__file__).parents[1] / "tools" / "train_proposals.py"


def scenes(count: int, seed: int = 0) -> ActorFrames:
    """Frames of noise with one striped actor each."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(60, 120, (count, 64, 96, 3)).astype(np.uint8)
    boxes = np.zeros((count, 4), np.float32)
    for picture, box in zip(pictures, boxes):
        x, y, w, h = rng.integers([2, 2, 20, 30], [60, 24, 32, 38])
        picture[y : y + h, x : x + w] = 0
        picture[y : y + h : 2, x : x + w] = 255
        box[:] = x, y, x + w, y + h
    size = pictures[0].size
    return ActorFrames(
        bytes=pictures.ravel(),
        offsets=np.arange(count) * size,
        sizes=np.full((count, 2), (64, 96)),
        videos=np.arange(count),
        box_ends=np.arange(count) + 1,
        boxes=boxes,
        names=tuple(map(str, range(count))),
    )


def config(iterations: int, **settings: object) -> ProposalTraining:
    gentle = AugmentConfig(zoom=(0.9, 1.1), mosaic=0, empty=0, brightness=0.1, grey=0)
    detector = replace(tiny(), anchor_sizes=((24, 34), (30, 40), (36, 48), (48, 64)))
    given = {"batch_size": 2, "canvases": ((64, 96),), "learning_rate": 0.03, "warm_up": 10, "precision": "fp32"}
    return ProposalTraining(detector, gentle, iterations=iterations, **{**given, **settings})


def trained(folder: Path, settings: ProposalTraining, **options: object) -> tuple[torch.nn.Module, bool]:
    torch.manual_seed(0)
    model = build_detector(settings.detector)
    result = train(model, [scenes(4)], [], settings, folder, **options)
    return model, result.finished


def test_a_few_scenes_are_learned_by_heart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = config(150, batch_size=4, validate_every=150)
    model = build_detector(settings.detector)
    frames = scenes(4)
    before = evaluate(model, frames, range(4))
    train(model, [frames], [frames], settings, tmp_path)
    after = evaluate(model, frames, range(4))
    assert before["recall@1"] < 0.5
    assert after["recall@1"] == 1
    assert after["average_precision"] == 1
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["validation"]["recall@1"] == 1
    assert lines[0]["loss_classifier"] > lines[-2]["loss_classifier"]


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = config(6, save_every=2)
    whole, finished = trained(tmp_path / "whole", settings)
    assert finished

    _, finished = trained(tmp_path / "cut", settings, max_seconds=-1)
    assert not finished  # the time was over before the first step
    _interrupt(tmp_path / "cut", settings, after=3)
    again, finished = trained(tmp_path / "cut", settings, resume=True)
    assert finished
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def _interrupt(folder: Path, settings: ProposalTraining, after: int) -> None:
    """A run that is killed after some steps; the state on disk is older."""

    def killed(steps: range) -> object:
        yield from steps[:after]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(folder, settings, progress=killed)


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    trained(tmp_path, config(2))
    with pytest.raises(TrainingStateError, match="learning_rate was"):
        trained(tmp_path, config(2, learning_rate=0.5), resume=True)


def test_a_run_that_explodes_says_so(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        trained(tmp_path, config(4, learning_rate=1e30, warm_up=1, max_gradient=1e30))


def test_the_rate_rises_then_falls_along_a_cosine() -> None:
    settings = ProposalTraining(iterations=100, warm_up=10, learning_rate=1.0)
    assert learning_rate(0, settings) == pytest.approx(1 / 10)
    assert learning_rate(50, settings) == pytest.approx(0.5)
    assert learning_rate(99, settings) == pytest.approx(0.5 * (1 + math.cos(0.99 * math.pi)))


def test_validation_frames_are_spread_over_each_video() -> None:
    frames = replace(scenes(7), videos=np.array([0, 0, 0, 0, 0, 0, 1]))
    assert spread_frames(frames, 2) == [1, 4, 6]


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-1.0,)])
def test_shares_must_fit_the_datasets(tmp_path: Path, shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="dataset_shares needs 1 numbers"):
        trained(tmp_path, config(1, dataset_shares=shares))


# ---- quality

A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (60, 60, 70, 70)


def boxes(*values: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 4)


def test_recall_counts_actors_among_the_best_boxes() -> None:
    found = [(boxes(FAR, A), np.array([0.9, 0.8])), (boxes(), np.zeros(0))]
    quality = proposal_quality(found, [boxes(A, B), boxes(A)], boxes_per_frame=(1, 2))
    assert quality["recall@1"] == 0
    assert quality["recall@2"] == pytest.approx(1 / 3, abs=1e-4)
    assert (quality["frames"], quality["actors"]) == (2, 3)


def test_average_precision_of_a_false_alarm_between_two_actors() -> None:
    found = [(boxes(A, FAR, B), np.array([0.9, 0.8, 0.7]))]
    # precision 1/1 at the first actor, 2/3 at the second
    assert proposal_quality(found, [boxes(A, B)])["average_precision"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)


def test_a_second_box_on_one_actor_is_a_false_alarm() -> None:
    found = [(boxes(A, A), np.array([0.9, 0.8])), (boxes(B), np.array([0.1]))]
    # hits at ranks 1 and 3 of 3: precisions 1 and 2/3
    quality = proposal_quality(found, [boxes(A), boxes(B)])
    assert quality["average_precision"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)


def test_half_an_overlap_is_found_and_less_is_not() -> None:
    half = (boxes((0, 0, 10, 5)), np.array([0.9]))
    less = (boxes((0, 0, 10, 4)), np.array([0.9]))
    assert proposal_quality([half], [boxes(A)])["recall@1"] == 1
    assert proposal_quality([less], [boxes(A)])["recall@1"] == 0


def test_no_frames_is_zero_everywhere() -> None:
    assert proposal_quality([], [])["recall@10"] == 0
    assert proposal_quality([], [])["average_precision"] == 0


# ---- the tool


def small_dataset(folder: Path) -> Path:
    annotations = []
    for number in range(4):
        frames = scenes(3, seed=number)
        path = folder / "videos" / "wave" / f"v{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, width=96, height=64, fps=10) as writer:
            for index in range(3):
                writer.write(frames.picture(index))
        tube = Tube("wave", np.arange(3), frames.boxes)
        annotations.append(VideoAnnotation(f"wave/v{number}", [tube]))
    write_tubes(table_from_annotations(annotations), folder / "tubes.csv")
    return folder


def run_tool(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *map(str, words)], capture_output=True, text=True)


def main(words: list[str]) -> int:
    """The tool in this process: no time is lost on importing torch."""
    return runpy.run_path(str(TOOL))["main"](words)


def test_the_tool_trains_resumes_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small_dataset(tmp_path / "data")
    words = ["--dataset", data, "--fold", "0/2", "--output", tmp_path / "run", "--preset", "tiny", "--threads", 1]
    words += ["--iterations", 3, "--set", "batch_size=2", "--set", "canvases=[[64, 96]]", "--seed", 4]
    assert main([*map(str, words), "--max-minutes", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"] is False
    second = run_tool(*words, "--resume")
    assert second.returncode == 0, second.stderr
    report = json.loads(second.stdout)
    assert report["finished"] is True
    (numbers,) = report["validation"]
    assert numbers["dataset"] == "data"
    assert numbers["frames"] == 2 * 2  # 2 videos held out, every other of 3 frames
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["seed"] == 4
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "frames", "log.jsonl", "proposals.safetensors", "settings.json", "state.pt"
    }  # fmt: skip


def test_the_tool_trains_a_network_that_sees_flow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small_dataset(tmp_path / "data")
    words = ["--dataset", data, "--fold", "0/2", "--output", tmp_path / "run", "--preset", "small-flow", "--threads", 1]
    words += ["--iterations", 2, "--set", "batch_size=2", "--set", "canvases=[[64, 96]]", "--set", "validate_every=2"]
    words += ["--set", "detector.widths=[16, 16, 32, 32]", "--set", "detector.trained_short_side=64"]
    words += ["--set", "detector.flow_frames=[0, 1]"]
    assert main([*map(str, words)]) == 0
    (numbers,) = json.loads(capsys.readouterr().out)["validation"]
    assert numbers["frames"] == 4
    trained = load_detector(tmp_path / "run" / "proposals.safetensors")
    assert trained.config.flow == QUICK_FLOW
    assert trained.model.backbone.body.stem[0].in_channels == 4
    # and goes on from its weights
    words += ["--weights", tmp_path / "run" / "proposals.safetensors"]
    assert main([*map(str, words), "--output", str(tmp_path / "more")]) == 0
    capsys.readouterr()
    assert main(["--dataset", str(data), "--flow", str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    assert "--flow is for networks that see flow" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--preset", "huge"], "unknown preset 'huge'; known are small, small-flow, tiny, resnet101"),
        (["--resume"], "nothing to resume"),
        (["--set", "speed=3"], "unknown setting speed; known are detector, augment, iterations"),
        ([], "no such dataset"),
    ],
)
def test_the_tool_says_what_is_wrong_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    assert main(["--dataset", str(tmp_path / "nothing"), "--output", str(tmp_path / "run"), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert text in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
