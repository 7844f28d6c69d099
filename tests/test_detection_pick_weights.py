"""Which networks a run takes, and what is said about them."""

import dataclasses
import json
from pathlib import Path

import pytest

from detection.detect import BUNDLED_SCORERS
from detection.pick_weights import SIZES, open_scorer, origins, pick_weights, picked_record, told
from detection.scorer import KIND, ActionScorer, LoadedScorer, ScorerConfig, load_scorer
from recognition.download import DownloadError
from recognition.lgd3d import lgd3d_small
from recognition.model_files import save_model
from recognition.preprocessing import Preprocessing
from recognition.weights_location import Fetch
from tests.file_server import serving

ASKED = Fetch(download=True)
BUNDLED = tuple(str(path) for path in BUNDLED_SCORERS.values())


@pytest.fixture(scope="module")
def scorer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backbone = lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 16), stem_width=8)
    network = ActionScorer(ScorerConfig(num_classes=2, backbone=backbone))
    header = {"preprocessing": Preprocessing().to_dict(), "provenance": {}, "class_names": ["a", "b"]}
    path = tmp_path_factory.mktemp("scorer") / "mine.safetensors"
    save_model(path, network.state_dict(), kind=KIND, config=network.config.to_dict(), **header)  # type: ignore[arg-type]
    return path


def test_without_download_it_is_what_comes_with_the_program_and_with_it_coco_and_kinetics() -> None:
    assert (pick_weights().scorers, pick_weights().proposals) == (BUNDLED, "bundled")
    cpu, gpu = pick_weights(fetch=ASKED), pick_weights(fetch=ASKED, device="cuda:1")
    assert (cpu.preset, cpu.scorers, cpu.proposals) == ("kinetics", (SIZES["cpu"].scorer,), SIZES["cpu"].proposals)
    assert (gpu.scorers, gpu.proposals) == ((SIZES["cuda"].scorer,), SIZES["cuda"].proposals)
    assert pick_weights("kinetics").scorers == cpu.scorers  # from the cache, or an error that names --download
    assert pick_weights("bundled", fetch=ASKED).scorers == BUNDLED


def test_what_the_user_names_is_taken_and_the_rest_goes_with_it() -> None:
    own = pick_weights(weights=["a.safetensors"], fetch=ASKED)
    assert (own.preset, own.scorers) == ("own", ("a.safetensors",))
    assert pick_weights(weights=["a.safetensors"]).proposals == "bundled"
    assert pick_weights(streams="rgb").proposals == "bundled-rgb"  # no flow for the boxes either
    assert pick_weights(streams="flow").proposals == "bundled"
    kinetics = pick_weights(weights=["torchvision:s3d"])
    assert kinetics.proposals == SIZES["cpu"].proposals  # boxes of any person, as the classes are of any kind
    assert pick_weights(weights=["torchvision:s3d"], proposals="bundled").proposals == "bundled"
    assert pick_weights(streams="rgb", fetch=ASKED).scorers == BUNDLED[:1]
    assert kinetics.settings == {"pipeline": {"clip_stride": 16}}
    assert pick_weights().settings == {}
    with pytest.raises(ValueError, match="unknown preset 'best'; known are auto, bundled, kinetics"):
        pick_weights("best")


def test_files_of_ones_own_need_no_words_and_what_comes_from_elsewhere_is_told_with_its_terms(
    scorer_file: Path,
) -> None:
    mine = load_scorer(scorer_file)
    picked = pick_weights(weights=[str(scorer_file)], proposals="boxes.safetensors")
    assert told(origins(picked, [mine])) == []
    picked = pick_weights(weights=["https://host/a.safetensors?key=1#sha256=00"], proposals="torchvision:x")
    lines = told(origins(picked, [mine]))
    assert lines[0] == "scorer: https://host/a.safetensors; terms as its publisher says"
    assert lines[1].startswith("proposals: torchvision:x; published by torchvision, which gives its weights no licence")
    assert "COCO" in lines[1]


def test_the_bundled_networks_are_one_line_and_kinetics_says_what_its_scores_mean(scorer_file: Path) -> None:
    mine = load_scorer(scorer_file)
    assert told(origins(pick_weights(), [mine, mine])) == ["scorer and proposals: bundled; Apache-2.0, as this program"]
    picked = pick_weights("kinetics", proposals="bundled")
    line, _ = told(origins(picked, [mine]))
    assert "Kinetics-400" in line
    assert "not that the person in it acts" in line
    record = picked_record(picked, origins(picked, [mine]))
    assert json.loads(json.dumps(record)) == record
    assert [network["part"] for network in record["networks"]] == ["scorer", "proposals"]
    assert record["networks"][0]["file"] == "mine.safetensors"


def test_a_scorer_is_opened_from_an_address(scorer_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serving(scorer_file.read_bytes()) as server:
        word = f"{server.url('mine.safetensors')}#sha256={server.sha256}"
        with pytest.raises(DownloadError, match="add --download"):
            open_scorer(word)
        fetched: LoadedScorer = open_scorer(word, ASKED)
    assert fetched.file.sha256 == load_scorer(scorer_file).file.sha256
    assert fetched.class_names == ("a", "b")


def test_a_scorer_of_clips_of_another_pace_takes_every_nth_frame() -> None:
    config = ScorerConfig(num_classes=2, frame_rate=15)
    assert [config.frame_step(fps) for fps in (12, 25, 30, 50)] == [1, 2, 2, 3]
    assert ScorerConfig(num_classes=2).frame_step(60) == 1
    with pytest.raises(ValueError, match="frame_rate must be above 0"):
        dataclasses.replace(config, frame_rate=0)
