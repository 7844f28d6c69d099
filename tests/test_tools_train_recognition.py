"""Training of classifiers by its command line, on small videos of a moving square."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.class_scores import read_scores
from recognition.classifier_files import load_classifier
from tests.squares import square_videos

TOOL = Path(__file__).parents[1] / "tools" / "train_recognition.py"
NARROW = "--set=network.backbone.depths=[1,1,1,1]", "--set=network.backbone.widths=[16,16,16,32]"
QUICK = [
    *NARROW,
    "--set=network.backbone.stem_width=8",
    "--set=network.sketch_size=64",
    "--set=clip.frames=8",
    "--set=clip.short_side=36",
    "--set=clip.crop=32",
    "--set=clip.test_short_side=36",
    "--set=train.batch=4",
    "--set=train.warmup_epochs=0",
    "--set=train.precision=fp32",
]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    square_videos(folder)
    return folder


@pytest.fixture
def run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    main = runpy.run_path(str(TOOL))["main"]

    def call(*words: str, output: Path = tmp_path / "run") -> tuple[int, str, str]:
        code = main(["--dataset", str(data), "--output", str(output), *QUICK, *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def provenance(path: Path) -> dict[str, Any]:
    return load_classifier(path / "classifier.safetensors").file.provenance


def test_training_leaves_a_classifier_that_loads_with_its_history(run: Call, tmp_path: Path) -> None:
    code, out, err = run("--epochs=2", "--fold=0/2", "--seed=3", "--set=train.validate_every=1")
    assert code == 0, err
    report = json.loads(out)
    assert report["finished"] is True
    assert report["validation"]["videos"] == 4
    assert report["validation"]["intervals"]["top1"][0] <= report["validation"]["top1"]
    output = tmp_path / "run"
    model = load_classifier(output / "classifier.safetensors")
    assert model.class_names == ("down", "right")
    history = provenance(output)
    assert (history["fold"], history["videos"], history["finished"]) == ("0/2", [4], True)
    assert history["settings"]["train"]["seed"] == 3
    assert history["validation"] == report["validation"]
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2]
    assert all("val_top1" in line for line in log)
    settings = json.loads((output / "settings.json").read_text())
    assert (settings["family"], settings["network"]["num_classes"]) == ("lgd", 2)
    scores = read_scores(output / "scores.npz")
    assert len(scores) == 4
    assert scores.about["model"]


def test_videos_of_kinetics_that_are_gone_are_told_and_counted(run: Call, data: Path, tmp_path: Path) -> None:
    kinetics = tmp_path / "kinetics"
    rows = ["label,youtube_id,time_start,time_end,split", "right,gone,3,13,train"]
    for number, video in enumerate(sorted((data / "videos").glob("*.mp4"))):
        kinetics.mkdir(exist_ok=True)
        (kinetics / f"id{number}_000003_000013.mp4").symlink_to(video)
        rows.append(f"{'right' if number % 2 else 'down'},id{number},3,13,train")
    (kinetics / "train.csv").write_text("\n".join(rows))
    code, _, err = run("--epochs=1", "--dataset", str(kinetics))
    assert code == 0, err
    listed = len(rows) - 1
    assert f"warning: {kinetics}: 1 of {listed} listed videos are not there and are left out, for example" in err
    assert "UserWarning" not in err
    history = provenance(tmp_path / "run")
    assert (history["videos"], history["missing"]) == ([listed - 1], [1])


def test_two_stages_by_one_command_and_on_after_a_stop(run: Call, tmp_path: Path) -> None:
    words = ["--epochs=2", "--long", "--set=second.clip.frames=12", "--set=second.train.batch=4"]
    code, out, err = run(*words, "--max-minutes=0")
    assert code == 0, err
    assert json.loads(out)["finished"] is False
    output = tmp_path / "run"
    assert not (output / "classifier.safetensors").exists()
    assert provenance(output / "stage1")["finished"] is False
    code, out, err = run(*words, "--resume")
    assert code == 0, err
    assert json.loads(out)["finished"] is True
    second = load_classifier(output / "classifier.safetensors")
    assert second.config.head == "kernel"  # type: ignore[union-attr]
    assert second.config.backbone.pool1_stride == 4  # type: ignore[union-attr]
    assert second.clip.frames == 12
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [0.5]  # a quarter of two epochs
    before = (output / "stage1" / "classifier.safetensors").stat().st_mtime_ns
    code, _, err = run(*words, "--resume")
    assert code == 0, err
    assert (output / "stage1" / "classifier.safetensors").stat().st_mtime_ns == before


def test_torchrun_with_two_processes_gives_the_losses_of_one_with_twice_the_clips(
    run: Call, data: Path, tmp_path: Path
) -> None:
    """LGD-3D with batch norm and dropout: 2 + 2 clips a step, against 4 in one process that takes them in two parts."""
    words = ["--epochs=4", "--set=train.learning_rate=0.01"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(TOOL)),
            *("--dataset", str(data), "--output", str(tmp_path / "two"), *QUICK, *words),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    code, _, err = run(*words, "--set=train.accumulate=2", output=tmp_path / "one")
    assert code == 0, err
    curves, weights = [], []
    for folder in (tmp_path / "two", tmp_path / "one"):
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        curves.append([line["loss"] for line in lines])
        weights.append(load_classifier(folder / "classifier.safetensors").network.state_dict())
    # rounding only: the sums of the gradients in another order
    assert len(curves[0]) == 4
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    for name in ("backbone.res2.0.unit.conv1.weight", "head.local.weight"):
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=0, atol=2e-3)


def test_training_goes_on_from_another_classifier(run: Call, tmp_path: Path) -> None:
    assert run("--epochs=1")[0] == 0
    weights = tmp_path / "run" / "classifier.safetensors"
    code, _, err = run("--epochs=1", "--weights", str(weights), output=tmp_path / "more")
    assert code == 0, err
    assert provenance(tmp_path / "more")["started_from"] == load_classifier(weights).file.sha256


def test_copies_of_the_videos_are_kept_for_the_next_run(run: Call, tmp_path: Path) -> None:
    assert run("--epochs=1", "--cache", str(tmp_path / "cache"), "--workers=1")[0] == 0
    assert len(list((tmp_path / "cache").glob("*.jpegs"))) == 8


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--preset", "huge"], "unknown preset 'huge'; known are lgd3d-small, p3d-small"),
        (["--resume"], "nothing to resume"),
        (["--set", "train.speed=1"], "unknown setting train.speed; known are"),
        (["--set", "second.train.epochs=1"], "ask for it with --kernel or --long"),
        (["--fold", "half"], "expected I/N"),
        (["--validate", "test"], "nothing is known to be for testing"),
        (["--dataset", "nowhere"], "no such dataset folder"),
        (["--body-weights", "imagenet"], "torchvision has no ImageNet weights for depths"),
        (["--weights", "gone.safetensors"], "no such model file"),
        (["--set", "train.accumulate=3"], "a batch of 4 clips cannot be cut into"),
        (["--set", "train.learning_rate=1e30", "--set", "train.gradient_norm=1e30"], "lower learning_rate"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Call, words: list[str], told: str) -> None:
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert told in err.splitlines()[-1]
    assert len(err.splitlines()[-1]) < 500
    assert "Traceback" not in err
