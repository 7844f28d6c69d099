"""Speed of LGD-3D's kernels: factored conv2d on frames against the same network as plain conv3d modules.

    python benchmarks/bench_lgd3d.py
    python benchmarks/bench_lgd3d.py --net small --size 112 112 --repeats 15 --json small.json

Every variant computes the same clip; its outputs are compared with the plain network's before anything is timed. The
variants take turns, so that a busy machine slows all of them alike; reported are medians of CPU seconds (all
threads), the ratio to the plain network within each turn, and GFLOP (two a multiply-add) per CPU second. The last
line is the rate of the same convolutions run one by one: what remains above it is the rest of the network.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

# A spinning thread pool counts its waiting as CPU time; must be set before torch starts its threads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from linking.files import replace_when_whole
from recognition import lgd3d
from recognition.fold import fold_batch_norm
from recognition.initialise import xavier_caffe_
from recognition.lgd3d import LGD3D
from recognition.lgd_block import TemporalConv
from recognition.memory import reuse_large_blocks

NETS = {"r50": lgd3d.lgd3d_resnet50, "r101": lgd3d.lgd3d_resnet101, "small": lgd3d.lgd3d_small}


def conv3d_forward(net: LGD3D, clips: Tensor) -> tuple[Tensor, Tensor]:
    """What ``net`` computes, written down plainly with 3-D operators on (B, C, T, H, W): the reference."""
    x = _conv3d(net.stem.conv, clips, (2, 2), padding=(0, 3, 3))
    x = _conv3d(net.stem.temporal, x, padding=(1, 0, 0))
    x = F.relu(_norm3d(net.stem.bn, x))
    x = F.max_pool3d(x, (2, 1, 1), stride=(net.config.pool1_stride, 1, 1))
    g = x.mean(dim=(2, 3, 4))
    for stage in (net.res2, net.res3, net.res4, net.res5):
        for block in stage:
            x, g = _block3d(block, x, g)
        if stage is net.res2:
            x = F.max_pool3d(x, (2, 1, 1), stride=(2, 1, 1))
    return x, g


def _block3d(block: Any, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    residual = _unit3d(block.unit, x)
    x = F.relu(residual + block.global_to_local(g)[:, :, None, None, None])
    return x, F.relu(block.local_to_global(x.mean(dim=(2, 3, 4))) + block.global_to_global(g))


def _unit3d(unit: Any, x: Tensor) -> Tensor:
    shortcut = x
    if unit.downsample is not None:
        shortcut = _norm3d(unit.downsample[1], _conv3d(unit.downsample[0], x, unit.downsample[0].stride))
    out = F.relu(_norm3d(unit.bn1, _conv3d(unit.conv1, x, unit.conv1.stride)))
    out = _conv3d(unit.conv2, out, unit.conv2.stride, padding=(0, 1, 1))
    out = _conv3d(unit.temporal, out, padding=(1, 0, 0))
    out = F.relu(_norm3d(unit.bn2, out))
    return _norm3d(unit.bn3, _conv3d(unit.conv3, out)) + shortcut


def _conv3d(
    conv: Any, x: Tensor, stride: tuple[int, ...] = (1, 1), padding: tuple[int, int, int] = (0, 0, 0)
) -> Tensor:
    kernel = conv.weight  # (O, I, kh, kw); of a temporal convolution (O, I, 3, 1)
    temporal = isinstance(conv, TemporalConv)
    return F.conv3d(x, kernel[..., None] if temporal else kernel[:, :, None], stride=(1, *stride), padding=padding)


def _norm3d(norm: Any, x: Tensor) -> Tensor:
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, norm.momentum, norm.eps
    )


def relative_difference(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value of ``b``."""
    return float((a.float() - b.float()).abs().max() / b.float().abs().max())


def random_net(config: lgd3d.LGD3DConfig, seed: int = 0) -> LGD3D:
    """Xavier start in evaluation mode: its speed is that of a trained network, its rounding errors need not be."""
    torch.manual_seed(seed)
    net = LGD3D(config)
    xavier_caffe_(net)
    return net.eval()


def conv_rate_alone(net: nn.Module, clips: Tensor, repeats: int = 3) -> float:
    """GFLOP per CPU second over all convolutions of ``net``, each run by itself on its own input: the ceiling."""
    calls: list[tuple[nn.Conv2d, tuple]] = []
    hooks = [
        module.register_forward_pre_hook(lambda conv, inputs: calls.append((conv, inputs)))
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
    ]
    net(clips)
    for hook in hooks:
        hook.remove()
    flop = seconds = 0.0
    for conv, inputs in calls:
        runs = []
        for _ in range(repeats):
            start = time.process_time()
            out = conv(*inputs)
            runs.append(time.process_time() - start)
        flop += 2 * out.numel() * conv.weight[0].numel()
        seconds += min(runs)
    return flop / seconds / 1e9


def under_autocast(net: nn.Module, clips: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        return net(clips)


@torch.inference_mode()
def measure(net: LGD3D, clips: Tensor, repeats: int) -> dict[str, Any]:
    """Differences first, then ``repeats`` turns of all variants, then the convolutions alone."""
    folded = fold_batch_norm(net)
    folded_bf16, clips_bf16 = fold_batch_norm(net).bfloat16(), clips.bfloat16()
    variants: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "conv3d fp32": lambda: conv3d_forward(net, clips),
        "frames fp32": lambda: net(clips),
        "frames fp32, folded": lambda: folded(clips),
        "frames bf16 autocast": lambda: under_autocast(net, clips),
        "frames bf16 autocast, folded": lambda: under_autocast(folded, clips),
        "frames bf16, folded": lambda: folded_bf16(clips_bf16),
    }
    reference = variants["conv3d fp32"]()
    differences = {
        name: max(relative_difference(a, b) for a, b in zip(run(), reference)) for name, run in variants.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        LGD3D(net.config).eval()(torch.empty(clips.shape))
    gflop = counter.get_total_flops() / 1e9
    plain = seconds["conv3d fp32"]
    rows = {
        name: {
            "cpu_ms": 1e3 * statistics.median(times),
            "speed_up": statistics.median(p / t for p, t in zip(plain, times)),
            "gflop_per_s": gflop / statistics.median(times),
            "relative_difference": differences[name],
        }
        for name, times in seconds.items()
    }
    alone = {"fp32": conv_rate_alone(folded, clips), "bf16": conv_rate_alone(folded_bf16, clips_bf16)}
    return {"gflop": gflop, "convolutions_alone_gflop_per_s": alone, "variants": rows}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETS, default="r50")
    parser.add_argument("--size", type=int, nargs=2, default=(120, 160), metavar=("HEIGHT", "WIDTH"), help="pixels")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--batch", type=int, default=1, help="clips at once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7, help="turns of all variants")
    parser.add_argument("--reuse-memory", action="store_true", help="with recognition.memory.reuse_large_blocks()")
    parser.add_argument("--json", help="write the figures here too")
    args = parser.parse_args(argv)

    torch.set_num_threads(args.threads)
    if args.reuse_memory and not reuse_large_blocks():
        print("--reuse-memory: this C library has no mallopt; measuring without", file=sys.stderr)
    net = random_net(NETS[args.net]())
    clips = torch.randn(args.batch, net.config.in_channels, args.frames, *args.size)
    result: dict[str, Any] = {
        "net": args.net,
        "clips": list(clips.shape),
        "threads": args.threads,
        "reuse_memory": args.reuse_memory,
        "torch": torch.__version__,
    }
    result |= measure(net, clips, args.repeats)
    print(f"{args.net}, clips {result['clips']}, {result['gflop']:.2f} GFLOP, {args.threads} thread(s)")
    print(f"{'variant':32}{'CPU ms':>9}{'speed-up':>10}{'GFLOP/s':>9}{'rel. diff':>11}")
    for name, row in result["variants"].items():
        print(
            f"{name:32}{row['cpu_ms']:9.0f}{row['speed_up']:10.2f}{row['gflop_per_s']:9.0f}"
            f"{row['relative_difference']:11.1e}"
        )
    alone = result["convolutions_alone_gflop_per_s"]
    print(f"the convolutions alone, GFLOP/s: fp32 {alone['fp32']:.0f}, bf16 {alone['bf16']:.0f}")
    if args.json:
        with replace_when_whole(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
