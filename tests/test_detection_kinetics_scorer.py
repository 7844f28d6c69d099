"""Kinetics classifiers asked about boxes, with random weights of the published layout from torch's own cache."""

from pathlib import Path

import pytest
import torch

from detection.kinetics_scorer import kinetics_scorer, kinetics_weights
from detection.region_pooling import align_regions, average_regions
from recognition.download import DownloadError
from recognition.model_files import ModelFileError
from tests.published_layout import network_with, write_published


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda tensor, std=1.0: tensor.data.uniform_(-std, std))
    torch.manual_seed(0)
    return tmp_path


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("mc3_18", (4, 70, 50)),  # a map of 5 x 4 cells, the last ones cut by the edge of the picture
        ("s3d", (13, 209, 209)),  # the one size at which torchvision's last pool, of 2x7x7, sees the whole map
        ("swin3d_t", (4, 70, 100)),
    ],
)
def test_a_box_around_the_picture_gets_the_classifiers_own_answer(
    torch_home: Path, network: str, size: tuple[int, int, int]
) -> None:
    """To float32 rounding; half of the picture gets another one."""
    state = write_published(torch_home, network)
    scorer = kinetics_scorer(network)
    assert len(scorer.class_names) == 400
    clips = torch.randn(1, 3, *size)
    height, width = size[1:]
    boxes = torch.tensor([[0.0, 0, 0, width, height], [0, 0, 0, width / 2, height], [0, -9, -9, width + 9, height + 9]])
    with torch.inference_mode():
        own = network_with(network, state)(clips)
        logits, of_clip = scorer.network(clips, [boxes])
    assert own.std() > 0.05  # so that equal means something
    torch.testing.assert_close(logits[:1], own, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits[2:], own, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(of_clip, own, rtol=1e-4, atol=1e-4)
    assert (logits[1] - own[0]).abs().max() > 0.05
    probabilities = scorer.network.class_probabilities(logits)
    torch.testing.assert_close(probabilities[:1], own.softmax(dim=1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))  # no background takes a part


def test_a_scorer_knows_its_classes_its_clips_and_where_it_comes_from(torch_home: Path) -> None:
    write_published(torch_home, "s3d")
    scorer = kinetics_scorer("s3d")
    config = scorer.network.config
    assert scorer.class_names[:2] == ("abseiling", "air drumming")
    assert (config.clip_frames, config.frame_rate, config.short_side) == (32, 15, 256)
    assert [config.frame_step(fps) for fps in (5, 15, 25, 29.97, 60)] == [1, 1, 2, 2, 4]
    assert scorer.preprocessing.mean == (0.43216, 0.394666, 0.37645)
    assert scorer.file.path.name == "s3d-d76dad2f.pth"
    assert scorer.file.provenance["source"] == "torchvision:s3d"
    assert "whole clips" in scorer.file.provenance["knowledge"]
    assert len(scorer.file.sha256) == 64


def test_every_word_that_names_no_weights_for_boxes_is_one_line() -> None:
    for name, told in [
        ("x3d", "no such network with Kinetics weights; there are r3d_18"),
        ("mvit_v2_s", "classifies by a token of the whole clip"),
        ("s3d:V9", "no such weights; there are KINETICS400_V1"),
    ]:
        with pytest.raises(ModelFileError, match=told) as caught:
            kinetics_scorer(name)
        assert len(str(caught.value)) < 300
    with pytest.raises(DownloadError, match="is not here; add --download"):
        kinetics_scorer("swin3d_b:KINETICS400_IMAGENET22K_V1")
    assert kinetics_weights("swin3d_b:KINETICS400_IMAGENET22K_V1")[1].url.endswith("swin3d_b_22k-7c6ae6fa.pth")


def test_weights_of_another_network_are_refused(torch_home: Path) -> None:
    folder = torch_home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"features.0.0.0.weight": torch.zeros(1)}, folder / "s3d-d76dad2f.pth")
    with pytest.raises(ModelFileError, match=r"s3d-d76dad2f\.pth: weights do not fit the network"):
        kinetics_scorer("s3d")


# ---- pooling


def ruler(cells: int) -> torch.Tensor:
    """A map of one row whose cells hold their own number."""
    return torch.arange(float(cells)).reshape(1, 1, 1, cells)


def along(x1: float, x2: float) -> torch.Tensor:
    return torch.tensor([[0.0, x1, 0, x2, 16]])


@pytest.mark.parametrize(("stride", "offset"), [(16, 0.5), (32, 8.5), (32, 16.0), (16, 0.0)])
def test_both_poolings_look_where_the_cells_are(stride: int, offset: float) -> None:
    """A box from the middle of one cell to that of another has its own middle half way."""
    for first, last in [(2, 4), (3, 8), (5, 5.5)]:
        box = along(offset + stride * first, offset + stride * last)
        expected = pytest.approx((first + last) / 2, abs=1e-5)
        assert align_regions(ruler(12), box, 7, stride, offset).item() == expected
    # the squares of cells 3, 4 and 5, whole
    box = along(offset + stride * 2.5, offset + stride * 5.5)
    assert average_regions(ruler(12), box, (16, stride * 12), stride, offset).item() == pytest.approx(4, abs=1e-5)


def test_a_narrow_box_is_pooled_where_it_is() -> None:
    """Two pixels at the middle of cell 3."""
    box = along(16 * 3 - 1, 16 * 3 + 1)
    assert align_regions(ruler(12), box, 7, 16, 0.0).item() == pytest.approx(3, abs=1e-5)
    assert average_regions(ruler(12), box, (16, 192), 16, 0.0).item() == pytest.approx(3)


def test_a_cell_counts_by_the_share_of_it_that_is_covered() -> None:
    """Swin's cells 0, 1 and 2 are 0-32, 32-64 and, in a picture of 80, 64-80."""
    size = (16, 80)
    assert average_regions(ruler(3), along(0, 80), size, 32, 16).item() == pytest.approx((0 + 1 + 2) / 3)
    half_of_1_and_half_of_2 = along(48, 72)
    expected = (1 * 16 / 32 + 2 * 8 / 16) / (16 / 32 + 8 / 16)
    assert average_regions(ruler(3), half_of_1_and_half_of_2, size, 32, 16).item() == pytest.approx(expected)


def test_a_box_without_area_or_outside_of_the_picture_still_has_a_place() -> None:
    size = (16, 80)
    for box, cell in [(along(40, 40), 1), (along(-50, -20), 0), (along(90, 99), 2)]:
        assert average_regions(ruler(3), box, size, 32, 16).item() == pytest.approx(cell)
    assert average_regions(ruler(3), torch.zeros(0, 5), size, 32, 16).shape == (0, 1)
