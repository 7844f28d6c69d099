"""torchvision's video networks as backbones: the same numbers as torchvision, and cells where they are said to be."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.video import mc3_18, s3d, swin3d_t
from torchvision.models.video.mvit import MSBlockConfig, MViT

from recognition.model_files import ModelFileError
from recognition.video_nets import (
    NETWORKS,
    WITH_LGD,
    VideoNet,
    VideoNetConfig,
    _MViTBody,
    classifier_in,
    load_body_,
    load_kinetics_,
)


@pytest.fixture(autouse=True)
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniform random weights in place of truncated normal ones, which take seconds for a large network."""
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, std=1.0: tensor.data.uniform_(-std, std))
    torch.manual_seed(0)


def net_of(network: str, **changes: object) -> VideoNet:
    return VideoNet(VideoNetConfig(network, **changes)).eval()  # type: ignore[arg-type]


# ---- the same numbers as torchvision


@pytest.mark.parametrize("build", [mc3_18, s3d, swin3d_t], ids=lambda build: build.__name__)
def test_the_classifier_on_the_mean_of_the_map_is_torchvisions_network(build: type[nn.Module]) -> None:
    """s3d ends in a pool of 2x7x7: at 13 frames of 209 x 209 that is its whole map."""
    host = build().eval()
    size = (13, 209, 209) if build is s3d else (4, 64, 80)
    clips = torch.randn(1, 3, *size)
    net = net_of(build.__name__)
    load_body_(net, host.state_dict(), "host")
    weight, bias = classifier_in(build.__name__, host.state_dict())
    with torch.no_grad():
        local, global_ = net(clips)
        torch.testing.assert_close(global_ @ weight.T + bias, host(clips), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(global_, local.mean(dim=(2, 3, 4)))


@pytest.mark.parametrize("relative", [False, True], ids=["v1", "v2"])
def test_an_mvit_without_its_head_computes_what_torchvisions_does(relative: bool) -> None:
    """A small one of torchvision's class, at the size it was built for."""
    blocks = [
        MSBlockConfig(1, 16, 32, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 4, 4]),
        MSBlockConfig(2, 32, 32, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 2, 2]),
    ]
    host = MViT(
        (32, 48), 4, blocks, residual_pool=relative, residual_with_cls_embed=False, rel_pos_embed=relative,
        proj_after_attn=relative, num_classes=7,
    ).eval()  # fmt: skip
    clips = torch.randn(2, 3, 4, 32, 48)
    with torch.no_grad():
        local, global_ = _MViTBody(host)(clips)
        torch.testing.assert_close(host.head(global_), host(clips), rtol=1e-5, atol=1e-6)
    assert local.shape == (2, 32, 2, 4, 6)  # half of the frames, an eighth of the pixels a side


def test_the_positions_of_an_mvit_are_stretched_to_the_grid_of_the_clip() -> None:
    net = net_of("mvit_v1_b")
    encoding = net.net.pos_encoding
    with torch.no_grad():
        encoding.class_pos.zero_()
        encoding.temporal_pos.copy_(100 * torch.arange(8.0)[:, None].expand(-1, 96))
        encoding.spatial_pos.copy_(torch.arange(56.0).repeat(56)[:, None].expand(-1, 96))  # the column
        same = net.net._positions((8, 56, 56))[1:, 0].unflatten(0, (8, 56, 56))
        other = net.net._positions((4, 28, 112))[1:, 0].unflatten(0, (4, 28, 112))
    assert same[3, 5, 9] == 309
    # twice as many columns: the middles of columns 20 and 21 lie a quarter to the sides of the old column 10's
    torch.testing.assert_close(other[0, 0, 20:22] - other[0, 0, 0], torch.tensor([9.75, 10.25]))
    # half as many frames: the middle of frame 1 lies between the old frames 2 and 3
    torch.testing.assert_close(other[1, 0, 0] - other[0, 0, 0], torch.tensor(200.0))


@pytest.mark.parametrize("network", ["mvit_v2_s", "mvit_v1_b", "swin3d_t"])
def test_transformers_take_pictures_that_are_not_square(network: str) -> None:
    with torch.no_grad():
        local, global_ = net_of(network)(torch.randn(1, 3, 4, 64, 96))
    assert local.shape == (1, 768, 2, 2, 3)
    assert global_.shape == (1, 768)


@pytest.mark.parametrize("network", ["mc3_18", "s3d"])
def test_lgd_changes_nothing_at_the_start_and_brings_its_own_global_vector(network: str) -> None:
    plain, with_lgd = net_of(network), net_of(network, lgd=True)
    with_lgd.net.load_state_dict(plain.net.state_dict())
    clips = torch.randn(1, 3, 8, 33, 40)
    with torch.no_grad():
        local, mean = plain(clips)
        same, global_ = with_lgd(clips)
    torch.testing.assert_close(same, local, rtol=0, atol=0)
    assert global_.shape == mean.shape
    assert not torch.allclose(global_, mean)


def test_every_matrix_of_the_global_path_learns_from_the_global_vector() -> None:
    net = net_of("mc3_18", lgd=True).train()
    local, global_ = net(torch.randn(2, 3, 4, 32, 32))
    (local.mean() + global_.square().sum()).backward()
    assert net.blocks is not None
    spread = [p for name, p in net.blocks.named_parameters() if "global_to_local.outer" in name]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in spread)


# ---- where the cells are


def seen_columns(network: str, cells: tuple[int, ...], length: int) -> list[tuple[int, int]]:
    """First and last column of the picture that each cell of the local map sees, along a strip of ``length`` pixels.

    All weights positive and pools averaging, so that nothing cancels and nothing loses a maximum; transformers
    without attention, which looks everywhere: what remains says where a cell lies.
    """
    net = net_of(network)
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1:
            parameter.data.fill_(0 if "attn.proj" in name else 1 / parameter[0].numel())
    for parent in list(net.modules()):
        for name, module in parent.named_children():
            if isinstance(module, nn.MaxPool3d):
                time, height, width = torch.broadcast_to(torch.tensor(module.padding), (3,)).tolist()
                edges = nn.ConstantPad3d((width, width, height, height, time, time), 0.0)
                setattr(parent, name, nn.Sequential(edges, nn.AvgPool3d(module.kernel_size, module.stride)))
            elif isinstance(module, nn.LayerNorm):
                setattr(parent, name, nn.Identity())
    clips = torch.ones(1, 3, 5 if network == "s3d" else 1, 33, length, requires_grad=True)
    local, _ = net(clips)
    found = []
    for cell in cells:
        (gradient,) = torch.autograd.grad(local[..., cell].sum(), clips, retain_graph=True)
        columns = gradient.abs().sum(dim=(0, 1, 2, 3)).nonzero()[:, 0]
        found.append((int(columns[0]), int(columns[-1])))
    return found


@pytest.mark.parametrize(("network", "length"), [("mc3_18", 416), ("s3d", 672), ("mvit_v2_s", 320), ("swin3d_t", 160)])
def test_a_cell_lies_in_the_middle_of_what_it_sees(network: str, length: int) -> None:
    """And the next cell a stride further on."""
    config = VideoNetConfig(network)
    middle_cell = length // config.spatial_stride // 2
    cells = (middle_cell, middle_cell + 1)
    for cell, (first, last) in zip(cells, seen_columns(network, cells, length)):
        assert first > 0
        assert last < length - 1
        middle = (first + last + 1) / 2  # of the columns' outer edges
        assert middle == config.cell_offset + cell * config.spatial_stride


def test_the_variants_of_a_network_share_its_geometry() -> None:
    def geometry(network: str) -> tuple[float, ...]:
        config = VideoNetConfig(network)
        return config.spatial_stride, config.cell_offset

    assert geometry("r3d_18") == geometry("mc3_18") == geometry("r2plus1d_18") == (16, 0.5)
    assert geometry("mvit_v1_b") == geometry("mvit_v2_s") == (32, 0.5)
    assert geometry("swin3d_t") == geometry("swin3d_s") == geometry("swin3d_b") == (32, 16)
    assert geometry("s3d") == (32, 8.5)


# ---- weights and settings


def test_weights_of_a_file_are_those_of_torchvision_with_or_without_the_classifier(tmp_path: Path) -> None:
    state = s3d(num_classes=5).state_dict()
    torch.save(state, tmp_path / "s3d.pth")
    net = net_of("s3d", lgd=True)
    load_kinetics_(net, tmp_path / "s3d.pth")
    torch.testing.assert_close(net.net.state_dict(), {k: v for k, v in state.items() if k.startswith("features")})
    torch.save(net.net.state_dict(), tmp_path / "body.pth")
    load_kinetics_(net_of("s3d"), tmp_path / "body.pth")
    torch.save({"features.0.0.0.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ModelFileError, match=r"other\.pth: weights do not fit the network: .* missing"):
        load_kinetics_(net, tmp_path / "other.pth")


def test_what_the_published_weights_were_trained_with_is_taken_from_torchvision() -> None:
    config = VideoNetConfig("r2plus1d_18")
    assert (config.short_side, config.clip_frames, config.frame_rate) == (128, 16, 15)
    assert config.preprocessing.mean == (0.43216, 0.394666, 0.37645)
    assert VideoNetConfig("mvit_v2_s").preprocessing.std == (0.225, 0.225, 0.225)


def test_a_config_survives_its_plain_values_and_refuses_what_there_is_not() -> None:
    config = VideoNetConfig("s3d", lgd=True, rank_divisor=8)
    assert VideoNetConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="swin3d_t takes no LGD; r3d_18, mc3_18, r2plus1d_18, s3d do"):
        VideoNetConfig("swin3d_t", lgd=True)
    with pytest.raises(ValueError, match="network must be one of"):
        VideoNetConfig("x3d")
    assert set(WITH_LGD) < set(NETWORKS)


def test_clips_that_are_too_small_or_of_a_wrong_shape_are_refused() -> None:
    net = net_of("s3d")
    with pytest.raises(ValueError, match="s3d needs clips of at least 5 frames and 17 pixels a side"):
        net(torch.zeros(1, 3, 4, 32, 32))
    with pytest.raises(ValueError, match="expected clips"):
        net(torch.zeros(1, 2, 8, 32, 32))
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 5, 17, 17))[0].shape == (1, 1024, 1, 1, 1)
