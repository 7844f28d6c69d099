"""Curves of logs as the trainings write them."""

import json
import runpy
from pathlib import Path

import pytest
from PIL import Image

from eval.errors import EvaluationError
from eval.training_plot import plot_training, read_curves, training_figure

TOOL = Path(__file__).parents[1] / "tools" / "plot_training.py"


def run(folder: Path, *lines: dict[str, object]) -> Path:
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def scorer(folder: Path) -> Path:
    return run(folder, *({"epoch": k, "region_loss": 3 / k, "action_accuracy": k / 9, "minutes": k} for k in (1, 2, 3)))


def proposals(folder: Path) -> Path:
    return run(
        folder,
        {"iteration": 50, "seconds": 4.5, "loss_classifier": 0.5},
        {"iteration": 100, "seconds": 9.0, "loss_classifier": 0.4},
        {"iteration": 100, "validation": {"recall@1": 0.7, "frames": 268}},
        {"iteration": 100, "validation": {"recall@1": 0.6, "frames": 32}},
    )


def test_numbers_are_read_by_epoch_or_iteration(tmp_path: Path) -> None:
    by, curves = read_curves(scorer(tmp_path / "a"))
    assert by == "epoch"
    assert curves == {"region_loss": ([1, 2, 3], [3, 1.5, 1]), "action_accuracy": ([1, 2, 3], [1 / 9, 2 / 9, 3 / 9])}


def test_a_validation_of_two_datasets_is_two_curves(tmp_path: Path) -> None:
    by, curves = read_curves(proposals(tmp_path / "a") / "log.jsonl")
    assert by == "iteration"
    assert curves == {
        "loss_classifier": ([50, 100], [0.5, 0.4]),
        "validation recall@1": ([100], [0.7]),
        "validation recall@1 (2)": ([100], [0.6]),
    }


def test_every_number_has_a_panel_and_every_run_a_line(tmp_path: Path) -> None:
    runs = [scorer(tmp_path / "a"), scorer(tmp_path / "b"), proposals(tmp_path / "c")]
    figure = training_figure([read_curves(one) for one in runs], ["a", "b", "c"])
    lines = {axes.get_title(): len(axes.lines) for axes in figure.axes if axes.get_title()}
    assert lines == {
        "region loss": 2,
        "action accuracy": 2,
        "loss classifier": 1,
        "validation recall@1": 1,
        "validation recall@1 (2)": 1,
    }
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]


def test_the_program_writes_a_picture_or_says_why_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main, out = runpy.run_path(str(TOOL))["main"], tmp_path / "curves.png"
    assert main([str(scorer(tmp_path / "a")), "--output", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert main([str(tmp_path / "a"), "--names", "x", "y", "--output", str(out)]) == 2
    assert capsys.readouterr().err == "error: 2 names for 1 runs\n"
    with Image.open(out) as picture:
        assert min(picture.size) > 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(None, "not the log of a training", id="no file"),
        pytest.param("", "no epoch or iteration", id="empty"),
        pytest.param("loss 0.5\n", "not the log of a training", id="no JSON"),
        pytest.param('{"loss": 1}\n', "no epoch or iteration", id="nothing to count by"),
        pytest.param('{"epoch": 1}\n[1]\n', "no epoch or iteration", id="a list"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    log = tmp_path / "log.jsonl"
    if text is not None:
        log.write_text(text)
    with pytest.raises(EvaluationError, match=message):
        plot_training(tmp_path / "x.png", [log])
    assert not (tmp_path / "x.png").exists()
