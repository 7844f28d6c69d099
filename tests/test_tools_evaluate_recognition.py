"""Evaluation and fusion of score files by their command lines."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.class_scores import ClassScores, read_scores, write_scores
from recognition.classifier_files import save_classifier
from recognition.classifier_start import build_classifier
from recognition.clip_sampling import ClipInput
from recognition.lgd3d import lgd3d_small
from recognition.lgd_classifier import LGDClassifierConfig
from tests.squares import square_videos

TOOLS = Path(__file__).parents[1] / "tools"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(tool: str, *words: str | Path) -> tuple[int, str, str]:
        code = runpy.run_path(str(TOOLS / f"{tool}.py"))["main"]([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Four videos; the first file names two right, the second three, their mean all."""
    names, labels = ("v0", "v1", "v2", "v3"), ("a", "a", "b", "b")
    rows = {
        "rgb": [[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.1, 0.9]],
        "flow": [[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.55, 0.45]],
    }
    for name, scores in rows.items():
        write_scores(tmp_path / f"{name}.csv", ClassScores(("a", "b"), names, labels, np.array(scores)))
    return tmp_path / "rgb.csv", tmp_path / "flow.csv"


def test_scores_are_judged_and_compared(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    rgb, flow = files
    code, out, err = call(
        "evaluate_recognition",
        *("--scores", flow, "--against", rgb, "--by-class"),
        *("--json", tmp_path / "result.json", "--confusion", tmp_path / "confusion.png"),
    )
    assert code == 0, err
    assert "4 videos, 2 classes" in out
    assert "top-1        75.00 %" in out
    assert "gain        +25.00 points of top-1" in out
    assert "b    50.0 % of 2   1 taken for a" in out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["top1"] == 0.75
    assert result["against"]["top1_gain"] == 0.25
    assert result["classes"]["b"]["taken_for"] == "a"
    with Image.open(tmp_path / "confusion.png") as picture:
        assert min(picture.size) > 300


def test_several_files_are_judged_one_by_one(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    code, out, _ = call("evaluate_recognition", "--scores", *files, "--json", tmp_path / "result.json")
    assert code == 0
    assert "mean of 2 files\ntop-1        62.50 %" in out
    assert json.loads((tmp_path / "result.json").read_text())["mean"]["top1"] == 0.625
    code, _, err = call("evaluate_recognition", "--scores", *files, "--save-scores", tmp_path / "x.npz")
    assert (code, "takes one score file, got 2" in err) == (2, True)


def test_a_model_is_judged_on_a_dataset(call: Call, tmp_path: Path) -> None:
    square_videos(tmp_path / "data", count=4)
    small = lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 32), stem_width=8)
    config = LGDClassifierConfig(2, small)
    clip = ClipInput(frames=8, short_side=32, crop=32, test_short_side=32, test_clips=2)
    model = tmp_path / "classifier.safetensors"
    network = build_classifier(config)
    save_classifier(model, network.state_dict(), config=config, class_names=("down", "right"), clip=clip, provenance={})
    (tmp_path / "data" / "videos" / "down1.mp4").write_bytes(b"broken")
    code, out, err = call(
        "evaluate_recognition",
        *("--weights", model, "--dataset", tmp_path / "data", "--part", "all", "--clips", "1"),
        *("--save-scores", tmp_path / "scores.npz"),
    )
    assert code == 0, err
    assert "3 videos, 2 classes" in out
    assert "left out: " in err
    assert "down1.mp4" in err
    scores = read_scores(tmp_path / "scores.npz")
    assert scores.class_names == ("down", "right")
    np.testing.assert_allclose(scores.scores.sum(axis=1), 1, rtol=1e-5)
    assert scores.about["clip"]["test_clips"] == 1
    code, _, err = call("evaluate_recognition", "--weights", model, "--dataset", tmp_path / "gone")
    assert (code, "no such dataset folder" in err) == (2, True)


def test_fusion_by_mean_and_by_weights_that_are_kept(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    both = tmp_path / "both.npz"
    code, out, err = call("fuse_scores", *files, "--output", both)
    assert code == 0, err
    assert json.loads(out)["top1"] == {str(files[0]): 0.5, str(files[1]): 0.75, "fused": 1.0}
    np.testing.assert_allclose(read_scores(both).scores[3], [0.325, 0.675], rtol=1e-5)
    weights = tmp_path / "weights.json"
    code, out, err = call("fuse_scores", *files, "--fit", "accuracy", "--save-weights", weights)
    assert code == 0, err
    assert "fitted to" in json.loads(out)["note"]
    code, out, err = call("fuse_scores", *files, "--weights", weights, "--output", both)
    assert code == 0, err
    assert json.loads(out)["top1"]["fused"] == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gone.npz", "--output", "x.npz"], "no such score file"),
        (["{rgb}", "{flow}", "--weights", "1,x", "--output", "x.npz"], "expected numbers as in 1,1.5"),
        (["{rgb}", "{flow}", "--weights", "1", "--output", "x.npz"], "1 weights for 2 files"),
        (["{rgb}", "{flow}", "--output", "x.txt"], "score files are .npz or .csv"),
    ],
)
def test_what_cannot_be_fused_is_one_line(call: Call, files: tuple[Path, Path], words: list[str], told: str) -> None:
    code, out, err = call("fuse_scores", *(word.format(rgb=files[0], flow=files[1]) for word in words))
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1
