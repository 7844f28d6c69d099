"""COCO detectors of torchvision, from torch's own cache, with random weights of the published layout."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detection.proposals import ProposalConfig, open_proposer
from recognition.download import DownloadError
from recognition.weights_location import Fetch
from tests.published_layout import write_published


def test_detectors_of_torchvision_are_fetched_only_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    word, file = (
        "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn",
        r"fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9\.pth",
    )
    with pytest.raises(DownloadError, match=rf"{file}\): is not here; add --download"):
        open_proposer(word)
    with pytest.raises(DownloadError, match=rf"--offline forbids fetching it; put .*checkpoints/{file}"):
        open_proposer(word, fetch=Fetch(download=True, offline=True))
    assert list(tmp_path.iterdir()) == []


def test_a_file_under_torchvisions_name_that_holds_code_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writes:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "was run",))

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save(Writes(), tmp_path / "checkpoints" / "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth")
    with pytest.raises(DownloadError, match="is damaged or no file of torchvision"):
        open_proposer("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn")
    assert not (tmp_path / "was run").exists()


def test_a_detector_in_the_cache_is_used_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    torch.manual_seed(0)
    write_published(tmp_path, "fasterrcnn_mobilenet_v3_large_320_fpn", weights_backbone=None)
    proposer = open_proposer("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn", config=ProposalConfig(max_boxes=3))
    (found,) = proposer.propose([np.zeros((48, 64, 3), np.uint8)], [7])
    assert found.frame == 7
    assert len(found) <= 3


def test_a_file_of_another_layout_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save({"a": torch.zeros(1)}, tmp_path / "checkpoints" / "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth")
    with pytest.raises(ValueError, match="the weights do not fit the network") as caught:
        open_proposer("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn")
    assert "\n" not in str(caught.value)
