"""Training of the scorer by its command line, on a dataset of one's own: a folder of videos and a tube table."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detection.scorer import load_scorer
from recognition.video_nets import VideoNetConfig
from tests.published_layout import write_published
from tests.squares import square_videos

TOOL = Path(__file__).parents[1] / "tools" / "train_detection.py"
QUICK = [
    "--preset=tiny",
    "--set=train.clips.height=48",
    "--set=train.clips.width=64",
    "--set=train.clips.frames=8",
    "--set=train.clips.key_frames=4",
    "--set=scorer.clip_frames=8",
    "--set=scorer.short_side=48",
    "--set=scorer.backbone.widths=[16, 16, 16, 32]",
]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    square_videos(folder)
    return folder


@pytest.fixture
def run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    main = runpy.run_path(str(TOOL))["main"]

    def call(*words: str, output: Path = tmp_path / "run") -> tuple[int, str, str]:
        code = main(["--dataset", str(data), "--output", str(output), *QUICK, *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_training_leaves_a_scorer_that_loads_with_its_history(run: Run, tmp_path: Path) -> None:
    code, out, err = run("--epochs", "2", "--fold", "0/2", "--seed", "3")
    assert code == 0, err
    report = json.loads(out)
    assert report["finished"] is True
    (validation,) = report["validation"].values()
    assert validation["tubes"] == 4
    assert 0 <= validation["top1"] <= 1
    scorer = load_scorer(tmp_path / "run" / "scorer.safetensors")
    assert scorer.class_names == ("down", "right")
    provenance = scorer.file.provenance
    assert provenance["fold"] == "0/2"
    assert provenance["videos"] == [4]
    assert provenance["settings"]["train"]["seed"] == 3
    assert provenance["validation"] == report["validation"]
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["scorer"]["num_classes"] == 2


def test_a_run_can_be_stopped_by_time_and_resumed(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("--epochs", "2", "--max-minutes", "0")
    assert code == 0
    assert json.loads(out)["finished"] is False
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 1
    code, out, err = run("--epochs", "2", "--resume")
    assert code == 0, err
    assert json.loads(out)["finished"] is True


def test_training_goes_on_from_other_weights(run: Run, tmp_path: Path) -> None:
    assert run("--epochs", "1")[0] == 0
    weights = tmp_path / "run" / "scorer.safetensors"
    code, _, err = run("--epochs", "1", "--weights", str(weights), output=tmp_path / "more")
    assert code == 0, err
    started_from = load_scorer(tmp_path / "more" / "scorer.safetensors").file.provenance["started_from"]
    assert started_from == load_scorer(weights).file.sha256


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--preset", "huge"], "unknown preset 'huge'; known are small, small-flow, tiny"),
        (["--resume"], "nothing to resume"),
        (["--set", "train.speed=1"], "unknown setting train.speed; known are"),
        (["--fold", "half"], "expected I/N"),
        (["--fold", "9/3"], "fold index must be"),
        (["--dataset", "nowhere"], "no such dataset folder"),
        (["--body-weights", "imagenet"], "torchvision has no ImageNet weights for depths"),
        (["--set", "train.learning_rate=1e9", "--epochs", "3"], "lower learning_rate"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Run, words: list[str], told: str) -> None:
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert told in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_video_network_of_torchvision_is_trained_from_its_kinetics_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """s3d with LGD, the smallest of them; random weights of the published layout lie in torch's cache."""
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "hub"))
    torch.manual_seed(0)
    published = write_published(tmp_path, "s3d")
    main = runpy.run_path(str(TOOL))["main"]
    words = ["--dataset", data, "--output", tmp_path / "run", "--preset", "lgd-s3d", "--body-weights", "kinetics"]
    words += ["--epochs", 1, *[word for word in QUICK[1:] if "short_side" not in word and "widths" not in word]]
    words += ["--set=scorer.short_side=48", "--set=train.batch_clips=2", "--set=train.learning_rate=1e-6"]
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    scorer = load_scorer(tmp_path / "run" / "scorer.safetensors")
    assert scorer.network.config.backbone == VideoNetConfig("s3d", lgd=True)
    assert scorer.preprocessing == VideoNetConfig("s3d").preprocessing
    name = "features.15.branch0.0.weight"
    trained = scorer.network.backbone.net.get_parameter(name)
    torch.testing.assert_close(trained, published[name], rtol=0, atol=2e-3)  # half precision, a few tiny steps
