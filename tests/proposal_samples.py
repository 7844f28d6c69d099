"""Frames and small sources of boxes for the tests of proposals."""

from pathlib import Path

import numpy as np
import torch
from torchvision.models.detection import FasterRCNN

from detection.detectors import build_detector, tiny
from detection.proposals import DetectorProposer, ProposalConfig, TableProposer
from linking.records import Detections
from linking.tables import table_from_detections, write_tubes

SIZES = [(48, 64), (48, 64), (72, 40), (48, 64), (33, 97)]
INDICES = [7, 3, 0, 12, 5]


def frames(sizes: list[tuple[int, int]] = SIZES, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def make_eager(model: FasterRCNN, seed: int = 0) -> FasterRCNN:
    """Untrained networks answer the same everywhere; larger weights make them choose."""
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.5)
    torch.nn.init.normal_(model.rpn.head.cls_logits.weight, std=0.5)
    return model.eval()


def eager_detector(seed: int = 0) -> FasterRCNN:
    """A tiny untrained network that answers something everywhere."""
    torch.manual_seed(seed)
    return make_eager(build_detector(tiny()), seed)


def detector_proposer(**settings: object) -> DetectorProposer:
    config = ProposalConfig(**{"max_boxes": 5, "min_score": 0.0, **settings})
    return DetectorProposer(eager_detector(), config, trained_short_side=240, mean=(0.5,) * 3, std=(0.25,) * 3)


def table_proposer(folder: Path, **settings: object) -> TableProposer:
    rng = np.random.default_rng(1)
    found = []
    for index in (0, 3, 7, 12):  # nothing in frame 5
        corner = rng.uniform(-5, 20, (8, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(8, 60, (8, 2))], axis=1)
        found.append(Detections(index, boxes, rng.uniform(0, 1, 8)))
    write_tubes(table_from_detections("clip", found), folder / "boxes.csv")
    return TableProposer(folder / "boxes.csv", "clip", ProposalConfig(**{"max_boxes": 5, **settings}))


def assert_same(a: Detections, b: Detections) -> None:
    assert a.frame == b.frame
    np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
