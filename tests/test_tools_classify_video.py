"""Classification of videos by its command line: the best classes, their maps, and what cannot be read."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from recognition.classifier_files import save_classifier
from recognition.classifier_start import build_classifier
from recognition.clip_sampling import ClipInput
from recognition.lgd3d import lgd3d_small
from recognition.lgd_classifier import LGDClassifierConfig
from tests.squares import FRAMES, square_videos
from video.clips import read_video

TOOL = Path(__file__).parents[1] / "tools" / "classify_video.py"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    square_videos(folder, count=2)
    small = lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 32), stem_width=8)
    config = LGDClassifierConfig(2, small)
    clip = ClipInput(frames=8, short_side=32, crop=32, test_short_side=32, test_clips=2)
    state = build_classifier(config).state_dict()
    model = folder / "classifier.safetensors"
    save_classifier(model, state, config=config, class_names=("down", "right"), clip=clip, provenance={})
    return folder


@pytest.fixture
def call(data: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    main = runpy.run_path(str(TOOL))["main"]

    def run(*words: str | Path) -> tuple[int, str, str]:
        code = main(["--weights", str(data / "classifier.safetensors"), *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_best_classes_and_a_sheet_of_their_maps(call: Call, data: Path, tmp_path: Path) -> None:
    video = data / "videos" / "right0.mp4"
    code, out, err = call(video, "--maps", tmp_path / "maps.png", "--json", tmp_path / "out.json", "--top", 2)
    assert code == 0, err
    name, *lines = out.splitlines()
    assert name == str(video)
    assert sorted(line.split()[-1] for line in lines) == ["down", "right"]
    scores = json.loads((tmp_path / "out.json").read_text())["videos"][str(video)]
    assert sum(scores.values()) == pytest.approx(1)
    assert f"{100 * max(scores.values()):5.1f} %" in lines[0]
    with Image.open(tmp_path / "maps.png") as sheet:
        assert sheet.width > 400


def test_a_video_of_the_map_of_one_class(call: Call, data: Path, tmp_path: Path) -> None:
    code, _, err = call(data / "videos" / "right0.mp4", "--maps", tmp_path / "maps.mp4", "--map-class", "down")
    assert code == 0, err
    assert len(read_video(tmp_path / "maps.mp4")) == FRAMES


def test_a_dataset_marks_the_true_class_and_goes_on_after_a_broken_video(call: Call, data: Path) -> None:
    (data / "videos" / "down1.mp4").write_bytes(b"broken")
    code, out, err = call("--dataset", data, "--part", "all")
    assert code == 2
    assert "down1.mp4" in err
    assert "right0" in out
    (marked,) = [line for line in out.splitlines() if line.endswith("*")]
    assert marked.split()[-2] == "right"


def test_what_cannot_be_done_is_one_line(call: Call, data: Path, tmp_path: Path) -> None:
    code, _, err = call(data / "videos" / "right0.mp4", "--map-class", "fly", "--maps", tmp_path / "maps.png")
    assert (code, err) == (2, "error: unknown class 'fly'; the model knows down, right\n")
    code, _, err = call(tmp_path / "gone.mp4")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "no such file" in err
