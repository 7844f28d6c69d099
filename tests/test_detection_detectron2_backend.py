"""detectron2 as a source of boxes: what is said without it; with it, the boxes of its own DefaultPredictor.

With REQUIRE_DETECTRON2=1 its absence is a failure, not a skip.
"""

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from detection import detectron2_backend
from detection.detectron2_backend import find_config, zoo_weights
from detection.proposals import ProposalConfig, ProposalError, open_proposer
from recognition.download import DownloadError
from recognition.model_files import ModelFileError
from tests.detectron2_checkpoints import picture
from tests.test_detection_proposal_contract import need_detectron2, small_detectron2

ROOT = Path(__file__).parents[1]


def test_without_detectron2_one_line_says_what_to_do(tmp_path: Path) -> None:
    """In an interpreter that cannot have it, from the command line."""
    (tmp_path / "detectron2.py").write_text("raise ImportError('no module')")  # whoever imports it fails
    code = (
        "import importlib.util, runpy, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'detectron2' else found(name, *rest)\n"
        "sys.argv = ['detect_video.py', 'assets/demo.mp4', '--proposals', 'detectron2:COCO-Detection/x', '--output', "
        f"{str(tmp_path / 'out')!r}]\n"
        "runpy.run_path('tools/detect_video.py', run_name='__main__')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith("error: detectron2:COCO-Detection/x: detectron2 is not installed")
    assert "install.html" in line
    assert "convert_detectron2.py" in line
    assert len(line) < 300


# ---- its files, with a made-up package in its place


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two files of the model zoo that are read and not run."""
    zoo = tmp_path / "detectron2" / "model_zoo"
    (zoo / "configs" / "COCO").mkdir(parents=True)
    (zoo / "configs" / "COCO" / "rcnn.yaml").write_text("MODEL: {}\n")
    (zoo / "configs" / "COCO" / "lazy.py").write_text("model = 1\n")
    (zoo / "model_zoo.py").write_text(
        "import pkg_resources_that_is_gone\n"
        "class _ModelZooUrls:\n"
        "    S3_PREFIX = 'https://example.org/'\n"
        "    CONFIG_PATH_TO_URL_SUFFIX = {'COCO/rcnn': '137/model_final.pkl'}\n"
        "    computed = len([])\n"
    )
    monkeypatch.setattr(detectron2_backend, "_package", lambda: tmp_path / "detectron2")
    return zoo


@pytest.mark.parametrize("name", ["COCO/rcnn", "COCO/rcnn.yaml"])
def test_a_config_of_the_zoo_is_found_by_its_name_with_its_weights(package: Path, name: str) -> None:
    assert find_config(name) == package / "configs" / "COCO" / "rcnn.yaml"
    assert zoo_weights(name) == "https://example.org/COCO/rcnn/137/model_final.pkl"


def test_lazy_configs_are_found_and_files_come_first(package: Path, tmp_path: Path) -> None:
    assert find_config("COCO/lazy") == package / "configs" / "COCO" / "lazy.py"
    assert zoo_weights("COCO/lazy") is None
    (tmp_path / "own.yaml").write_text("MODEL: {}\n")
    assert find_config(str(tmp_path / "own.yaml")) == tmp_path / "own.yaml"


def test_a_config_that_does_not_exist_is_said(package: Path) -> None:
    with pytest.raises(ProposalError, match="detectron2:COCO/none: no such"):
        find_config("COCO/none")


# ---- with detectron2


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    need_detectron2()
    return small_detectron2(tmp_path_factory.mktemp("detectron2"))


@pytest.mark.parametrize("mode", ["actor", "objectness"])
def test_the_boxes_are_those_of_its_own_predictor(small: str, mode: str) -> None:
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultPredictor

    path, _, weights = small.partition(":")
    config = get_cfg()
    config.merge_from_file(path)
    config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", weights
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST, config.TEST.DETECTIONS_PER_IMAGE = 0.0, -1
    config.INPUT.MIN_SIZE_TEST = 96
    if mode == "objectness":
        config.MODEL.META_ARCHITECTURE = "ProposalNetwork"
    frame = picture(120, 161)
    with torch.no_grad():
        answer = DefaultPredictor(config)(frame[:, :, ::-1])
    if mode == "objectness":
        expected = answer["proposals"].proposal_boxes.tensor.numpy()
        scores = answer["proposals"].objectness_logits.sigmoid().numpy()
    else:
        people = answer["instances"][answer["instances"].pred_classes == 0]
        expected, scores = people.pred_boxes.tensor.numpy(), people.scores.numpy()
    settings = ProposalConfig(mode=mode, max_boxes=1000, min_score=0.0, short_side=96)
    (found,) = open_proposer(f"detectron2:{small}", config=settings).propose([frame], [0])
    assert len(found) == len(expected) > 5
    np.testing.assert_allclose(found.boxes, expected, atol=1e-4)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)


def test_its_model_zoo_is_not_imported(small: str) -> None:
    assert importlib.util.find_spec("detectron2") is not None
    open_proposer(f"detectron2:{small}")
    assert "detectron2.model_zoo" not in sys.modules


def test_weights_that_do_not_fit_are_named(small: str, tmp_path: Path) -> None:
    path, _, weights = small.partition(":")
    state = torch.load(weights, weights_only=True)["model"]
    stem = "backbone.bottom_up.stem.conv1.weight"
    state["another.weight"] = state.pop(stem)
    state["roi_heads.box_predictor.cls_score.weight"] = torch.zeros(2, 64)
    torch.save({"model": state}, tmp_path / "other.pth")
    with pytest.raises(ProposalError) as caught:
        open_proposer(f"detectron2:{path}:{tmp_path / 'other.pth'}")
    assert f"1 missing ({stem})" in str(caught.value)
    assert "1 unexpected (another.weight)" in str(caught.value)
    assert "1 of another shape (roi_heads.box_predictor.cls_score.weight)" in str(caught.value)


def test_a_config_without_weights_is_refused(small: str) -> None:
    with pytest.raises(ProposalError, match=r"small\.yaml: names no weights"):
        open_proposer(f"detectron2:{small.partition(':')[0]}")


def test_weights_that_are_not_there_are_refused(small: str, tmp_path: Path) -> None:
    with pytest.raises((ProposalError, ModelFileError), match="none\\.pth"):
        open_proposer(f"detectron2:{small.partition(':')[0]}:{tmp_path / 'none.pth'}")


def test_weights_of_the_zoo_are_fetched_only_if_asked_for(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in detectron2's cache is taken; here it is a file that does not fit."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match=r"model_final_280758\.pkl: is not here; add --download"):
        open_proposer("detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x")
    cached = tmp_path / "detectron2/COCO-Detection/faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(pickle.dumps({"model": {"a": np.zeros(1)}}))
    with pytest.raises(ProposalError, match=r"model_final_280758\.pkl: weights do not fit"):
        open_proposer("detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x")


@pytest.mark.parametrize("name", ["COCO-Detection/rpn_R_50_FPN_1x", "COCO-Detection/retinanet_R_50_FPN_1x"])
def test_networks_without_a_second_stage_find_no_actors(small: str, name: str) -> None:
    with pytest.raises(ProposalError, match=r"objectness|GeneralizedRCNN"):
        open_proposer(f"detectron2:{name}:x.pth")
