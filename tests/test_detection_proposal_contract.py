"""Every source of boxes keeps the same contract (detection/proposals.py).

detectron2 takes part where it is installed. With REQUIRE_DETECTRON2=1 its absence is a failure, not a skip.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import get_model, get_model_weights

from detection.detector_files import save_detector
from detection.detectron2_networks import Detectron2Config, build_detectron2_network
from detection.proposals import BUNDLED, ProposalConfig, Proposer, open_proposer
from recognition.preprocessing import Preprocessing
from tests.proposal_samples import (
    INDICES,
    SIZES,
    assert_same,
    detector_proposer,
    frames,
    make_eager,
    table_proposer,
)

MOBILENET = "fasterrcnn_mobilenet_v3_large_320_fpn"
SETTINGS = {"max_boxes": 5, "min_score": 0.0, "short_side": 40}

DETECTRON2 = [
    pytest.param("detectron2", id="detectron2"),
    pytest.param("detectron2 objectness", id="detectron2, objectness"),
]


def need_detectron2() -> None:
    if importlib.util.find_spec("detectron2") is None:
        if os.environ.get("REQUIRE_DETECTRON2") == "1":
            pytest.fail("detectron2 is not installed, and REQUIRE_DETECTRON2=1 asks for it")
        pytest.skip("detectron2 is not installed")


def small_detectron2(folder: Path) -> str:
    """CONFIG:WEIGHTS of a small network of detectron2 with random weights."""
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    (folder / "small.yaml").write_text(
        "MODEL:\n"
        "  PIXEL_STD: [57.4, 57.1, 58.4]\n"
        "  BACKBONE: {NAME: build_resnet_fpn_backbone}\n"
        "  RESNETS: {DEPTH: 18, RES2_OUT_CHANNELS: 64, OUT_FEATURES: [res2, res3, res4, res5]}\n"
        "  FPN: {IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: 32}\n"
        "  ANCHOR_GENERATOR: {SIZES: [[8], [16], [32], [64], [128]]}\n"
        "  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6], PRE_NMS_TOPK_TEST: 200, POST_NMS_TOPK_TEST: 50}\n"
        "  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [p2, p3, p4, p5], NUM_CLASSES: 80}\n"
        "  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 2, FC_DIM: 64, POOLER_RESOLUTION: 7}\n"
    )
    config = get_cfg()
    config.merge_from_file(str(folder / "small.yaml"))
    config.MODEL.DEVICE = "cpu"
    torch.manual_seed(0)
    model = build_model(config)
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.05)
    torch.nn.init.normal_(model.proposal_generator.rpn_head.objectness_logits.weight, std=0.05)
    torch.save({"model": model.state_dict()}, folder / "small.pth")
    return f"{folder / 'small.yaml'}:{folder / 'small.pth'}"


def converted_file(folder: Path) -> Path:
    """A region proposal network in detectron2's way, without a pyramid: nothing is padded."""
    torch.manual_seed(0)
    config = Detectron2Config("resnet50", "c4", classes=0, proposals_before_nms=300, proposals=50)
    model = build_detectron2_network(config)
    torch.nn.init.normal_(model.rpn.head.cls_logits.weight, std=0.05)
    preprocessing = Preprocessing((0.5,) * 3, (1 / 255,) * 3)
    path = folder / "rpn.safetensors"
    save_detector(path, model, config, {}, preprocessing=preprocessing, class_names=(), store="float32")
    return path


def made(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Proposer:
    mode = "objectness" if "objectness" in kind else "actor"
    if kind.startswith("detectron2"):
        need_detectron2()
        return open_proposer(f"detectron2:{small_detectron2(folder)}", config=ProposalConfig(mode=mode, **SETTINGS))
    if kind == "table":
        return table_proposer(folder)
    if kind == "bundled":
        return open_proposer(BUNDLED, config=ProposalConfig(**SETTINGS))
    if kind == "converted objectness":
        return open_proposer(converted_file(folder), config=ProposalConfig(mode=mode, **SETTINGS))
    if kind == "torchvision":
        torch.manual_seed(0)
        model = make_eager(get_model(MOBILENET, weights=None, weights_backbone=None))
        name = Path(get_model_weights(MOBILENET).DEFAULT.url).name
        (folder / "checkpoints").mkdir()
        torch.save(model.state_dict(), folder / "checkpoints" / name)
        monkeypatch.setattr(torch.hub, "_hub_dir", str(folder))
        return open_proposer(f"torchvision:{MOBILENET}", config=ProposalConfig(**SETTINGS))
    return detector_proposer(mode=mode, short_side=40)


@pytest.fixture(
    scope="module",
    params=["actor", "objectness", "bundled", "torchvision", "converted objectness", "table", *DETECTRON2],
)
def proposer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Proposer:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return made(request.param, tmp_path_factory.mktemp("source"), monkeypatch)


def test_answers_come_in_the_order_of_the_frames(proposer: Proposer) -> None:
    assert [found.frame for found in proposer.propose(frames(), INDICES)] == INDICES


def test_boxes_lie_inside_their_own_frame_and_are_few_and_best_first(proposer: Proposer) -> None:
    answers = proposer.propose(frames(), INDICES)
    assert sum(map(len, answers)) > 0
    for found, (height, width) in zip(answers, SIZES):
        assert len(found) <= 5
        assert found.boxes.dtype == np.float32
        assert (found.boxes >= 0).all()
        assert (found.boxes[:, 2] <= width).all()
        assert (found.boxes[:, 3] <= height).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert (np.diff(found.scores) <= 0).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert found.class_scores is None


def test_a_frame_gets_the_same_boxes_alone_and_among_others(proposer: Proposer) -> None:
    together = proposer.propose(frames(), INDICES)
    for frame, index, found in zip(frames(), INDICES, together):
        assert_same(proposer.propose([frame], [index])[0], found)


def test_the_order_in_which_frames_are_asked_for_does_not_matter(proposer: Proposer) -> None:
    forward = proposer.propose(frames(), INDICES)
    backward = proposer.propose(frames()[::-1], INDICES[::-1])[::-1]
    for a, b in zip(forward, backward):
        assert_same(a, b)


def test_boxes_are_in_pixels_of_the_frame_and_not_of_the_network(proposer: Proposer) -> None:
    """At a short side of 40, networks see 107 x 80 as 54 x 40: left alone, no box would reach beyond 54."""
    answers = proposer.propose(frames([(80, 107)] * 4), [0, 3, 7, 12])
    assert max(found.boxes[:, 2].max(initial=0) for found in answers) > 54
    assert max(found.boxes[:, 3].max(initial=0) for found in answers) > 40


def test_an_empty_picture_is_an_ordinary_frame(proposer: Proposer) -> None:
    (found,) = proposer.propose([np.zeros((48, 64, 3), np.uint8)], [5])
    assert found.boxes.shape == (len(found), 4)
    assert found.frame == 5


def test_a_frame_in_which_nothing_is_found_has_no_boxes() -> None:
    config = ProposalConfig(min_score=1.0)
    (found,) = open_proposer(BUNDLED, config=config).propose([np.zeros((48, 64, 3), np.uint8)], [5])
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_no_frames_no_answers(proposer: Proposer) -> None:
    assert proposer.propose([], []) == []


def test_a_frame_without_an_index_is_refused(proposer: Proposer) -> None:
    with pytest.raises(ValueError, match="2 frames and 1 indices"):
        proposer.propose(frames()[:2], [0])


def test_floats_are_no_frame(proposer: Proposer) -> None:
    with pytest.raises(ValueError, match="uint8"):
        proposer.propose([np.zeros((48, 64, 3), np.float32)], [0])
