from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from detection.scorer import KIND, ActionScorer, ScorerConfig, load_scorer
from recognition.lgd3d import lgd3d_small
from recognition.model_files import ModelFileError, save_model
from recognition.preprocessing import Preprocessing

TINY = lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 32), stem_width=8)


def scorer(**changes: object) -> ActionScorer:
    torch.manual_seed(0)
    return ActionScorer(ScorerConfig(num_classes=3, backbone=TINY, **changes)).eval()


def test_a_region_is_pooled_where_it_lies() -> None:
    """Cell i of the local map is centred at pixel 16 i: a map that holds its own column number gives x / 16."""
    network = scorer()
    columns = torch.arange(10.0).expand(1, 32, 4, 8, 10).contiguous()
    regions = [torch.tensor([[8.0, 32, 16, 96, 80], [8.0, 64, 16, 96, 80]])]
    pooled = network.pool_regions(columns, regions, 16, 128, 160)
    torch.testing.assert_close(pooled[:, 0], torch.tensor([(32 + 96) / 2 / 16, (64 + 96) / 2 / 16]))


def test_own_pools_the_temporal_cell_of_the_frame_and_mean_all_of_them() -> None:
    cells = torch.arange(4.0).reshape(1, 1, 4, 1, 1).expand(1, 32, 4, 8, 10).contiguous()
    box = [0.0, 0, 160, 128]
    regions = [torch.tensor([[0.0, *box[:2], *box[2:]], [7, *box], [15, *box]])]
    assert scorer(temporal="own").pool_regions(cells, regions, 16, 128, 160)[:, 0].tolist() == [0, 1, 3]
    assert scorer().pool_regions(cells, regions, 16, 128, 160)[:, 0].tolist() == [1.5, 1.5, 1.5]


@pytest.mark.parametrize("head", ["local", "local+global"])
def test_regions_of_a_clip_do_not_see_the_other_clips(head: str) -> None:
    network = scorer(head=head)
    clips = torch.randn(2, 3, 16, 64, 80)
    regions = [torch.tensor([[8.0, 4, 4, 60, 60]]), torch.tensor([[8.0, 10, 4, 70, 50], [8.0, 0, 0, 20, 20]])]
    with torch.no_grad():
        both, _ = network(clips, regions)
        second, _ = network(clips[1:], regions[1:])
    torch.testing.assert_close(both[1:], second, rtol=1e-4, atol=1e-5)


def test_only_the_head_with_the_global_vector_knows_what_is_far_from_the_region() -> None:
    """Weights on the second half of the features: nothing is left of the region but where its clip's vector is."""
    network = scorer(head="local+global")
    clips = torch.randn(2, 3, 16, 64, 80)
    regions = [torch.tensor([[8.0, 4, 4, 60, 60], [8.0, 20, 4, 40, 20]]), torch.tensor([[8.0, 10, 4, 70, 50]])]
    with torch.no_grad():
        network.region_classifier.weight[:, :32] = 0
        logits, _ = network(clips, regions)
        _, global_ = network.backbone(clips)
        expected = torch.nn.functional.linear(global_, network.region_classifier.weight[:, 32:])
    torch.testing.assert_close(logits, expected[[0, 0, 1]])
    with pytest.raises(ValueError, match="head must be"):
        scorer(head="global")


def test_probabilities_leave_the_background_out() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, np.log(7.0)]])
    torch.testing.assert_close(scorer().class_probabilities(logits), torch.full((1, 3), 1 / (3 + 7)))
    multi = scorer(multi_label=True)
    assert isinstance(multi.region_classifier, nn.Linear)
    assert multi.region_classifier.out_features == 3
    torch.testing.assert_close(multi.class_probabilities(torch.zeros(1, 3)), torch.full((1, 3), 0.5))


def test_a_clip_without_regions_is_no_problem() -> None:
    with torch.no_grad():
        logits, clips = scorer()(torch.zeros(1, 3, 16, 64, 64), [torch.zeros(0, 5)])
    assert logits.shape == (0, 4)
    assert clips.shape == (1, 3)


def write(path: Path, network: ActionScorer, **changes: object) -> Path:
    header = {
        "kind": KIND,
        "config": network.config.to_dict(),
        "class_names": ["a", "b", "c"],
        "preprocessing": Preprocessing().to_dict(),
        "provenance": {},
    } | changes
    save_model(path, network.state_dict(), **header)  # type: ignore[arg-type]
    return path


def test_a_model_file_rebuilds_the_same_network(tmp_path: Path) -> None:
    network = scorer()
    loaded = load_scorer(write(tmp_path / "s.safetensors", network))
    clip, regions = torch.randn(1, 3, 16, 64, 64), [torch.tensor([[8.0, 4, 4, 60, 60]])]
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(clip, regions)[0], network(clip, regions)[0], rtol=0, atol=0)
    assert loaded.class_names == ("a", "b", "c")


def test_a_model_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    network = scorer()
    with pytest.raises(ModelFileError, match="2 class names for 3 classes"):
        load_scorer(write(tmp_path / "names.safetensors", network, class_names=["a", "b"]))
    with pytest.raises(ModelFileError, match="does not fit this version"):
        load_scorer(write(tmp_path / "old.safetensors", network, config={"num_classes": 3}))
    other = {**network.config.to_dict(), "num_classes": 4}
    with pytest.raises(ModelFileError, match="region_classifier"):
        load_scorer(write(tmp_path / "s.safetensors", network, config=other, class_names=list("abcd")))
