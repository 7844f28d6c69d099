import pytest
import torch

from recognition.cpu_precision import float32_on_cpu
from recognition.video_nets import VideoNet, VideoNetConfig


@pytest.mark.parametrize("lgd", [False, True])
def test_a_network_of_conv3d_has_finite_gradients_in_bf16_on_maps_of_two_time_steps(lgd):
    net = VideoNet(VideoNetConfig("s3d", lgd=lgd), generator=torch.Generator().manual_seed(0)).train()
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            local, global_ = net(torch.randn(1, 3, 8, 48, 64))
        assert local.dtype == torch.float32
        (local.square().mean() + global_.float().square().mean()).backward()
        wrong = [name for name, weight in net.named_parameters() if not torch.isfinite(weight.grad).all()]
        assert wrong == []
        net.zero_grad()


def test_half_precision_stays_where_no_gradients_are_asked_for():
    layer, clips = torch.nn.Conv3d(3, 4, 1), torch.zeros(1, 3, 2, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        with float32_on_cpu(clips):
            assert layer(clips).dtype == torch.float32
        with torch.inference_mode(), float32_on_cpu(clips):
            assert layer(clips).dtype == torch.bfloat16
