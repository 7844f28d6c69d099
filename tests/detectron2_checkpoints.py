"""Checkpoints with the names and shapes of detectron2's model zoo, made up by a formula that is the same everywhere.

benchmarks/record_detectron2.py checks the names and shapes against detectron2 itself.
"""

import zlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

_FACTORS = {"stem.conv1": 0.01, "fpn_": 0.6, "objectness": 0.5, "anchor_deltas": 0.1, "bbox": 0.2, "cls": 0.15}
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def checkpoint(
    depth: int = 50, *, pyramid: bool = True, classes: int = 80, large_scale_jitter: bool = False
) -> dict[str, np.ndarray]:
    """Name to float32 weights; ``classes`` 0 is a region proposal network alone."""
    shapes = dict(names_and_shapes(depth, pyramid, classes, large_scale_jitter))
    return {name: made_up(name, shape) for name, shape in shapes.items()}


def made_up(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values by which signals neither die nor explode, with boxes and scores that differ from place to place."""
    values = uniform(zlib.crc32(name.encode()), shape)
    kind = name.rsplit(".", 1)[-1]
    if ".norm." in name:
        if kind == "weight":
            return (0.2 if "conv3" in name else 1) + 0.1 * values
        return 1 + 0.3 * values if kind == "running_var" else 0.1 * values
    if kind == "bias":
        bias = 0.1 * values
        if "cls_score" in name:
            bias[0] += 5  # chance alone shows no people
        return bias
    gain = np.sqrt(6 / np.prod(shape[1:])).astype(np.float32)
    for part, factor in _FACTORS.items():
        if part in name:
            gain *= np.float32(factor)
    return gain * values


def uniform(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in -1..1: the numbers of :func:`_noise` from a place that the seed names."""
    noise = _noise()
    return np.resize(np.roll(noise, seed % len(noise)), shape)


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    """A million numbers of splitmix64 (Steele, Lea, Flood 2014), bit for bit the same on every machine."""
    count = 1_000_003  # a prime, so that the rows of a matrix differ
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z >> np.uint64(41)).astype(np.float32) * np.float32(2**-22) - 1


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: coarse patches and noise."""
    coarse = uniform(seed, (height // 16 + 1, width // 16 + 1, 3)).repeat(16, 0).repeat(16, 1)[:height, :width]
    return (127.5 + 90 * coarse + 30 * uniform(seed + 1, (height, width, 3))).astype(np.uint8)


def names_and_shapes(
    depth: int, pyramid: bool, classes: int, large_scale_jitter: bool
) -> Iterator[tuple[str, tuple[int, ...]]]:
    body = "backbone.bottom_up" if pyramid else "backbone"
    yield from _convolution(f"{body}.stem.conv1", 64, 3, 7)
    before = 64
    for stage, blocks in zip((2, 3, 4, 5), BLOCKS[depth]):
        if stage == 5 and not pyramid:
            if not classes:
                break
            body = "roi_heads"
        inside = 16 * 2**stage
        for block in range(blocks):
            name = f"{body}.res{stage}.{block}"
            if block == 0:
                yield from _convolution(f"{name}.shortcut", 4 * inside, before, 1)
            yield from _convolution(f"{name}.conv1", inside, before, 1)
            yield from _convolution(f"{name}.conv2", inside, inside, 3)
            yield from _convolution(f"{name}.conv3", 4 * inside, inside, 1)
            before = 4 * inside
    norm = large_scale_jitter
    if pyramid:
        for level, width in zip((2, 3, 4, 5), (256, 512, 1024, 2048)):
            yield from _convolution(f"backbone.fpn_lateral{level}", 256, width, 1, norm=norm, bias=not norm)
            yield from _convolution(f"backbone.fpn_output{level}", 256, 256, 3, norm=norm, bias=not norm)
    width, anchors = (256, 3) if pyramid else (1024, 15)
    head = "proposal_generator.rpn_head"
    for name in ("conv.conv0", "conv.conv1") if large_scale_jitter else ("conv",):
        yield from _convolution(f"{head}.{name}", width, width, 3, norm=False, bias=True)
    yield from _convolution(f"{head}.objectness_logits", anchors, width, 1, norm=False, bias=True)
    yield from _convolution(f"{head}.anchor_deltas", 4 * anchors, width, 1, norm=False, bias=True)
    if not classes:
        return
    last = 1024 if pyramid else 2048
    if large_scale_jitter:
        for number in (1, 2, 3, 4):
            yield from _convolution(f"roi_heads.box_head.conv{number}", 256, 256, 3)
    layers = [(1, 256 * 49), (2, 1024)][: 1 if large_scale_jitter else 2] if pyramid else []
    for number, inputs in layers:
        yield from _linear(f"roi_heads.box_head.fc{number}", 1024, inputs)
    yield from _linear("roi_heads.box_predictor.cls_score", classes + 1, last)
    yield from _linear("roi_heads.box_predictor.bbox_pred", 4 * classes, last)


def _convolution(
    name: str, outputs: int, inputs: int, side: int, *, norm: bool = True, bias: bool = False
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs, side, side)
    if bias:
        yield f"{name}.bias", (outputs,)
    if norm:
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.norm.{part}", (outputs,)


def _linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)
