"""check_dataset.py by its command line, and a real training on what it found sound: a .toml, an export of CVAT."""

import json
import runpy
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from detection.dataset_page import MAX_SHOWN, dataset_page, examples_of
from detection.scorer import load_scorer
from linking.tables import read_tubes, write_tubes
from tests.headless_browser import Browser, find_chromium
from tests.squares import square_videos
from tests.test_tools_train_detection import QUICK
from video.cvat_writing import write_cvat
from video.dataset_checks import check_dataset

TOOLS = Path(__file__).parents[1] / "tools"
NASTY = "</style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight videos, right0, down1, ..., in clips/, an export of CVAT for each in tasks/, and my.toml."""
    dataset = square_videos(tmp_path)
    (tmp_path / "videos").rename(tmp_path / "clips")
    (tmp_path / "tubes.csv").unlink()
    write_cvat([video.annotation for video in dataset.videos], tmp_path / "tasks")
    (tmp_path / "my.toml").write_text(
        'name = "squares"\nvideos = "clips"\nannotations = "tasks"\n[parts]\ntest = ["*6", "*7"]\n'
    )
    return tmp_path


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(name: str, *words: object) -> tuple[int, str, str]:
        main = runpy.run_path(str(TOOLS / f"{name}.py"))["main"]
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_sound_dataset_ends_with_0_and_an_error_with_1(folder: Path, tool: Run) -> None:
    code, out, err = tool("check_dataset", folder / "my.toml")
    assert (code, err) == (0, "")
    assert "8 videos (8 readable), 3.8 seconds, 96 frames, 8 tubes, 96 boxes, 2 classes" in out
    assert "parts: train 6 videos, test 2 videos" in out
    assert "error" not in out.replace("0 errors", "")
    (folder / "clips" / "down1.mp4").unlink()
    code, out, _ = tool("check_dataset", folder / "my.toml")
    assert code == 1
    assert "error: annotated videos that are not there (1)" in out
    assert f"{folder / 'tasks' / 'down1.xml'}, line " in out
    assert "squares: 1 error" in out


def test_json_holds_findings_with_places_and_the_numbers(folder: Path, tool: Run) -> None:
    (folder / "clips" / "down1.mp4").write_text("no video")
    code, out, _ = tool("check_dataset", folder / "my.toml", "--json")
    result = json.loads(out)
    assert (code, result["errors"]) == (1, 1)
    group = next(group for group in result["findings"] if group["severity"] == "error")
    assert (group["kind"], group["count"]) == ("video-unreadable", 1)
    assert group["findings"][0]["video"] == "down1"
    assert result["statistics"]["tubes"] == 8
    assert {one["name"]: one["by_part"] for one in result["statistics"]["classes"]} == {
        "right": {"train": 3, "test": 1},
        "down": {"train": 3, "test": 1},
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "error: nowhere: no such dataset folder"),
        (["{folder}/empty"], "no dataset: expected JHMDB-GT.pkl"),
        (["{folder}/wrong.toml"], "unknown key 'annotation'; known are name, videos, annotations"),
    ],
)
def test_what_cannot_be_checked_ends_with_2_in_one_line(folder: Path, tool: Run, words: list[str], told: str) -> None:
    (folder / "empty").mkdir()
    (folder / "wrong.toml").write_text('annotation = "boxes.csv"')
    code, out, err = tool("check_dataset", *(word.format(folder=folder) for word in words))
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1


def test_the_preview_shows_every_class_and_asks_for_nothing(folder: Path, tool: Run) -> None:
    code, out, _ = tool("check_dataset", folder / "my.toml", "--preview", folder / "look.html", "--thumbnails", 2)
    assert code == 0
    assert f"preview: {folder / 'look.html'}" in out
    page = (folder / "look.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 2 * 2
    assert "http" not in page.replace("http-equiv", "")
    assert all(text in page for text in ("right", "down", "Height of boxes", "Actors in a frame"))
    assert tool("check_dataset", folder / "my.toml", "--preview", folder / "again.html", "--thumbnails", 2)[0] == 0
    assert (folder / "again.html").read_text() == page, "the same pictures every time"


def test_names_are_text_on_the_page_whatever_is_in_them(folder: Path) -> None:
    checked = check_dataset(folder / "my.toml")
    for number in range(MAX_SHOWN + 5):
        checked.findings.add("error", "box-empty", f"{number} {NASTY}", file=NASTY, line=1)
    page = dataset_page(checked, {})

    seen = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.add(tag)

    Tags().feed(page)
    assert not {"script", "img"} & seen
    assert page.count("&lt;script&gt;document.title") >= MAX_SHOWN
    assert "and 5 more" in page
    chromium = find_chromium()
    if chromium is None:
        return
    (folder / "nasty.html").write_text(page)
    with Browser(chromium) as browser:
        for width in (390, 1100):
            browser.open(folder / "nasty.html", width=width)
            assert browser.value("document.title") == "squares"
            assert browser.value("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
            assert browser.complaints() == []


def test_pictures_are_of_different_videos_with_the_box_in_them(folder: Path) -> None:
    examples = examples_of(check_dataset(folder / "my.toml"), 3)
    assert {name: len({one.video for one in found}) for name, found in examples.items()} == {"right": 3, "down": 3}
    assert examples_of(check_dataset(folder / "my.toml"), 0) == {}


def test_ctrl_c_leaves_no_page(folder: Path, tool: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in ("video.dataset_video_checks.look_into", "detection.dataset_page.dataset_page"):
        with monkeypatch.context() as patch:
            patch.setattr(place, pressed)
            code, out, err = tool("check_dataset", folder / "my.toml", "--preview", folder / "look.html")
        assert (code, out, err) == (130, "", "stopped\n")
        assert list(folder.glob("*.html*")) == list(folder.glob(".*.html")) == []


def test_the_same_description_trains_detects_and_judges(
    folder: Path, tool: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way of docs/own-data.md, small: proposals, scorer, detection of the test part, evaluation."""
    monkeypatch.chdir(folder)
    quick = ["--iterations=2", "--set=canvases=[[48,64]]", "--set=batch_size=2", "--set=precision=fp32"]
    code, _, err = tool("train_proposals", "--dataset", "my.toml", "--output", "runs", "--preset", "tiny", *quick)
    assert code == 0, err
    code, _, err = tool("train_detection", "--dataset", "my.toml", "--output", "runs", "--epochs", 1, *QUICK)
    assert code == 0, err
    scorer = load_scorer(Path("runs/scorer.safetensors"))
    assert scorer.class_names == ("down", "right"), "inferred from the labels"
    assert (scorer.file.provenance["datasets"], scorer.file.provenance["videos"]) == (["squares"], [6])
    code, _, err = tool(
        *("detect_video", "--dataset", "my.toml", "--weights", "runs/scorer.safetensors"),
        *("--proposals", "runs/proposals.safetensors", "--no-video", "--no-report", "--output", "found"),
    )
    assert code == 0, err
    truth = read_tubes("found/ground_truth.csv")
    assert sorted(truth["video"].unique()) == ["down7", "right6"]
    # one perfect tube, of one of the two test videos
    one = truth[truth["video"] == "right6"].assign(score=1.0, tube_score=0.9)
    write_tubes(one, "tubes.csv")
    code, _, err = tool(
        *("evaluate_tubes", "--ground-truth", "my.toml", "--detections", "tubes.csv", "--json", "result.json")
    )
    assert code == 0, err
    result = json.loads(Path("result.json").read_text())
    assert result["protocols"]["saha"]["video_map"]["0.5"]["overall"] == pytest.approx((1 + 0) / 2)
    about = result["provenance"]["ground_truth"]
    assert (about["path"], about["videos"]) == ("my.toml", 2)
    assert [Path(part["path"]).name for part in about["annotations"]] == ["tasks"]
    code, _, err = tool("convert_annotations", "my.toml", "--part", "test", "--output", "test.csv")
    assert code == 0, err
    assert np.array_equal(read_tubes("test.csv")["x1"], truth["x1"])
