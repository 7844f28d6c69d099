"""Our own walk through torchvision's Faster R-CNN against its forward, and weights from files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18
from torchvision.models.detection import FasterRCNN, fasterrcnn_mobilenet_v3_large_320_fpn

from detection.detector_files import load_body_, load_detector, save_detector
from detection.detectors import (
    DetectorConfig,
    build_detector,
    detect_boxes,
    detection_losses,
    propose_boxes,
    resnet101,
    small,
    tiny,
    to_batch,
)
from recognition.model_files import ModelFileError


def pictures(count: int = 2, height: int = 64, width: int = 96, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def eager(model: FasterRCNN) -> FasterRCNN:
    """Untrained networks answer the same everywhere; larger weights make them choose."""
    torch.manual_seed(1)
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.3)
    torch.nn.init.normal_(model.rpn.head.cls_logits.weight, std=0.3)
    return model.eval()


def torchvision_answer(model: FasterRCNN, batch: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """As torchvision runs it, without resizing."""
    model.transform.min_size, model.transform.max_size = (min(batch.shape[-2:]),), max(batch.shape[-2:])
    model.roi_heads.score_thresh = 0.01
    with torch.inference_mode():
        return model(list(batch.float() / 255))


@pytest.mark.parametrize("size", [(64, 96), (70, 90)], ids=["multiples of the stride", "padded"])
def test_actors_are_those_of_torchvision(size: tuple[int, int]) -> None:
    model = eager(build_detector(tiny()))
    batch = pictures(2, *size)
    with torch.inference_mode():
        boxes, scores = detect_boxes(model, to_batch(batch))
    for own, own_scores, expected in zip(boxes, scores, torchvision_answer(model, batch)):
        wide = ((expected["boxes"][:, 2:] - expected["boxes"][:, :2]) >= 1).all(1)
        assert len(own) > 10
        torch.testing.assert_close(own_scores, expected["scores"][wide][: len(own)], atol=1e-4, rtol=0)
        torch.testing.assert_close(own, expected["boxes"][wide][: len(own)], atol=1e-3, rtol=0)


def test_people_are_those_of_a_torchvision_detector_of_91_classes() -> None:
    torch.manual_seed(0)
    model = eager(fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None))
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[1] = 5  # chance alone shows no people
    model.roi_heads.detections_per_img = 100_000  # people shall not compete with the other 89 classes
    batch = pictures(1)
    (expected,) = torchvision_answer(model, batch)
    person = expected["labels"] == 1
    with torch.inference_mode():
        (boxes,), (scores,) = detect_boxes(model, to_batch(batch), label=1, max_boxes=1000)
    assert len(boxes) == int(person.sum()) > 0
    torch.testing.assert_close(boxes, expected["boxes"][person], atol=1e-3, rtol=0)
    torch.testing.assert_close(scores, expected["scores"][person], atol=1e-4, rtol=0)


def test_objectness_boxes_are_those_of_the_region_proposal_network() -> None:
    model = eager(build_detector(tiny()))
    batch = to_batch(pictures())
    with torch.inference_mode():
        expected, _ = model.rpn(batch, model.backbone(batch.tensors))
        boxes, scores = propose_boxes(model, batch)
    for own, own_scores, theirs in zip(boxes, scores, expected):
        torch.testing.assert_close(own, theirs)
        assert (own_scores.diff() <= 0).all()


def test_without_proposals_there_are_no_actors() -> None:
    model = eager(build_detector(tiny()))
    model.rpn.score_thresh = 2.0  # nothing is that sure
    with torch.inference_mode():
        boxes, scores = detect_boxes(model, to_batch(pictures(2)))
    assert [tuple(b.shape) for b in boxes] == [(0, 4), (0, 4)]
    assert [len(s) for s in scores] == [0, 0]


def test_pictures_are_padded_right_and_below() -> None:
    batch = to_batch(torch.full((1, 3, 33, 64), 255, dtype=torch.uint8), mean=(0, 0, 0), std=(0.5, 0.5, 0.5))
    assert batch.tensors.shape == (1, 3, 64, 64)
    assert batch.image_sizes == [(33, 64)]
    assert (batch.tensors[:, :, :33] == 2).all()  # (255 / 255 - 0) / 0.5
    assert (batch.tensors[:, :, 33:] == 0).all()


def test_pictures_without_actors_are_learned_from_as_well() -> None:
    model = build_detector(tiny()).train()
    losses = detection_losses(model, to_batch(pictures()), [torch.zeros(0, 4), torch.tensor([[8.0, 8, 60, 60]])])
    assert len(losses) == 4
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_the_small_network_is_small() -> None:
    model = build_detector(small()).eval()
    assert sum(p.numel() for p in model.parameters()) < 4.5e6
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        detect_boxes(model, to_batch(pictures(1, 240, 320)))
    assert 0.9e9 < counter.get_total_flops() / 2 < 1.2e9  # a multiplication and an addition count as two


def test_the_network_of_the_paper_has_a_resnet_101_with_five_levels() -> None:
    model = build_detector(resnet101()).eval()
    assert len(model.backbone.body.layer3) == 23
    with torch.inference_mode():
        levels = model.backbone(to_batch(pictures(1, 64, 64)).tensors)
    assert [tuple(level.shape[1:]) for level in levels.values()] == [(256, s, s) for s in (16, 8, 4, 2, 1)]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"body": "resnet7"}, "unknown body 'resnet7'; known are small, resnet18"),
        ({"widths": (16, 32, 48)}, "4 stages"),
        ({"stem_width": 8}, "stem_width must be 16 or more"),
        ({"body": "resnet18"}, "5 levels"),
        ({"frozen_norm": True}, "frozen_norm needs"),
        ({"anchor_sizes": ((8,), (16,), (32,), (64, 90))}, "same number"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_by_its_config(settings: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DetectorConfig(**settings)


# ---- files


def test_a_detector_survives_its_file_in_half_precision(tmp_path: Path) -> None:
    model = build_detector(tiny())
    save_detector(tmp_path / "m.safetensors", model, tiny(), {"seed": 3})
    again = load_detector(tmp_path / "m.safetensors")
    assert again.config == tiny()
    assert again.provenance == {"seed": 3}
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(again.model.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def resnet18_config() -> DetectorConfig:
    return DetectorConfig(
        body="resnet18", frozen_norm=True, anchor_sizes=((8,), (16,), (32,), (64,), (128,)), head_width=16
    )


def test_imagenet_weights_of_a_file_go_into_the_body(tmp_path: Path) -> None:
    donor = resnet18()
    torch.nn.init.normal_(donor.bn1.running_mean)
    torch.save(donor.state_dict(), tmp_path / "resnet18.pth")
    model = build_detector(resnet18_config())
    load_body_(model, "resnet18", str(tmp_path / "resnet18.pth"))
    torch.testing.assert_close(model.backbone.body.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)
    torch.testing.assert_close(model.backbone.body.bn1.running_mean, donor.bn1.running_mean)


def test_what_is_no_such_body_is_refused(tmp_path: Path) -> None:
    model = build_detector(resnet18_config())
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "half.pth")
    with pytest.raises(ModelFileError, match=r"half\.pth: weights do not fit the network"):
        load_body_(model, "resnet18", str(tmp_path / "half.pth"))
    (tmp_path / "text.pth").write_text("<html>")
    with pytest.raises(ModelFileError, match=r"text\.pth: not a readable file"):
        load_body_(model, "resnet18", str(tmp_path / "text.pth"))
