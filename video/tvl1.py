"""TV-L1 optical flow of many picture pairs at once, on the CPU or a GPU.

Zach, Pock and Bischof, "A duality based approach for realtime TV-L1 optical flow" (DAGM 2007), in the form of Sanchez
Perez, Meinhardt-Llopis and Facciolo, "TV-L1 optical flow estimation" (IPOL 2013), with the details and defaults of
OpenCV's DualTVL1OpticalFlow, on which flow networks are commonly trained: no smoothing before the pyramid, a median
filter of the flow, and stopping by the change of an iteration.

The energy, for flow u from picture I0 to I1, is  sum |grad u1| + |grad u2| + lambda |I1(x + u) - I0(x)|.  I1 is
linearised around the flow of the last warp; then a thresholding step for the data and a step of the dual variables p
for the smoothness take turns (Zach et al., section 2; IPOL, algorithm 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from video.median import median_filter

MIN_SIDE = 8
"""Pixels; smaller pictures show no motion worth the name."""
_MIN_COARSE_SIDE = 16
"""Pixels of the coarsest pyramid level, as in OpenCV."""
_PIXELS_AT_ONCE = {"cpu": 160_000, "cuda": 2_500_000}
"""Of all pairs solved at once. On a CPU more leave its cache and fewer are spent on calling operations: of 320 x 240
pixels 2 pairs, of 160 x 120 pixels 8, which takes two thirds of the time of one by one. On a GPU they fill it."""
_FLAT = torch.finfo(torch.float32).eps
"""Squared gradients below it count as this: there the data say nothing about motion."""


@dataclass(frozen=True)
class TVL1Config:
    """Settings of the solver; symbols are those of the IPOL paper, intensities run from 0 to 255."""

    tau: float = 0.25  # step of the dual variables; the iteration is stable up to 0.25
    lambda_: float = 0.15  # weight of the data against smoothness; smaller is smoother
    theta: float = 0.3  # how tightly the data step and the smoothness step are coupled
    scales: int = 5  # levels of the pyramid, fewer where the coarsest would be below 16 pixels
    scale_step: float = 0.8  # size of a level over that of the next finer one
    warps: int = 5  # times a level that I1 is linearised anew
    epsilon: float = 0.01  # px; a warp ends when an iteration changes the flow by less (root mean square); 0: never
    outer_iterations: int = 10  # at most so many rounds a warp, each begun by a median filter
    inner_iterations: int = 30  # at most so many iterations a round
    check_every: int = 5  # iterations between two looks at the change; OpenCV looks after each
    median_size: int = 5  # px, side of the median filter's window (odd); 1: no filter

    def __post_init__(self) -> None:
        for name in ("tau", "lambda_", "theta"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} of TV-L1 must be a positive number, got {value}")
        if not 0.1 <= self.scale_step <= 0.95:
            raise ValueError(f"scale_step of TV-L1 must be 0.1 to 0.95, got {self.scale_step}")
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ValueError(f"epsilon of TV-L1 must be 0 or more pixels, got {self.epsilon}")
        for name in ("scales", "warps", "outer_iterations", "inner_iterations", "check_every", "median_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of TV-L1 must be at least 1, got {getattr(self, name)}")
        if self.median_size % 2 == 0:
            raise ValueError(f"median_size of TV-L1 must be odd, got {self.median_size}")


@torch.no_grad()
def tvl1_flow(first: Tensor, second: Tensor, config: TVL1Config | None = None, *, batch: int | None = None) -> Tensor:
    """(B, 2, H, W) float32 flow: what is at (x, y) in ``first`` is at (x + flow[:, 0], y + flow[:, 1]) in ``second``.

    ``first`` and ``second`` are (B, H, W) grey pictures, uint8 or float32 of the same range 0..255, on one device.
    ``batch`` pairs are solved at once, ``pairs_at_once`` where it is not given. The flow of a pair does not depend on
    the others: each ends its iterations by itself. Equal pictures give exactly zero. ValueError for other shapes and
    types, numbers that are not finite, and sides below 8 px.
    """
    config = config or TVL1Config()
    _check(first, second)
    batch = batch or pairs_at_once(first.shape[1], first.shape[2], first.device.type)
    if len(first) == 0:
        return first.new_zeros(0, 2, *first.shape[1:], dtype=torch.float32)
    flows = [
        _solve(a[:, None].float(), b[:, None].float(), config) for a, b in zip(first.split(batch), second.split(batch))
    ]
    return torch.cat(flows)


def pairs_at_once(height: int, width: int, device: str) -> int:
    """How many pairs of pictures of that size a ``device`` ("cpu", "cuda", "cuda:1") solves fastest together."""
    return max(1, _PIXELS_AT_ONCE.get(device.partition(":")[0], _PIXELS_AT_ONCE["cuda"]) // (height * width))


def _check(first: Tensor, second: Tensor) -> None:
    for pictures in (first, second):
        if pictures.dtype not in (torch.uint8, torch.float32):
            raise ValueError(f"TV-L1 takes pictures of uint8 or float32 in 0..255, got {pictures.dtype}")
    if first.ndim != 3 or first.shape != second.shape or first.device != second.device:
        raise ValueError(
            f"TV-L1 takes two (B, H, W) batches of one shape on one device, got {tuple(first.shape)} on {first.device} "
            f"and {tuple(second.shape)} on {second.device}"
        )
    if min(first.shape[1:]) < MIN_SIDE:
        raise ValueError(
            f"pictures of {first.shape[2]}x{first.shape[1]} pixels are too small for optical flow: "
            f"each side needs at least {MIN_SIDE}"
        )
    for pictures in (first, second):
        if pictures.is_floating_point() and not pictures.isfinite().all():
            raise ValueError("pictures for TV-L1 must hold finite numbers")


def _solve(first: Tensor, second: Tensor, config: TVL1Config) -> Tensor:
    """(B, 2, H, W) from (B, 1, H, W) pictures: coarse to fine."""
    firsts, seconds = _pyramid(first, config), _pyramid(second, config)
    flow = torch.zeros_like(firsts[-1]).repeat(1, 2, 1, 1)
    for level in reversed(range(len(firsts))):
        height, width = firsts[level].shape[2:]
        if level < len(firsts) - 1:
            flow = F.interpolate(flow, size=(height, width), mode="bilinear") / config.scale_step
        flow = _solve_scale(firsts[level], seconds[level], flow, config)
    return flow


def _pyramid(picture: Tensor, config: TVL1Config) -> list[Tensor]:
    """Finest level first."""
    levels = [picture]
    for _ in range(config.scales - 1):
        if round(min(levels[-1].shape[2:]) * config.scale_step) < _MIN_COARSE_SIDE:
            break
        levels.append(_shrunk(levels[-1], config.scale_step))
    return levels


def _shrunk(picture: Tensor, scale: float) -> Tensor:
    """Bilinear, at the points (x + 1/2) / scale - 1/2, without smoothing; sides are rounded.

    The scale is kept to the letter: F.interpolate would stretch the picture to the rounded size, in x otherwise than in
    y, and the error on generated pairs grows by half.
    """
    _, _, height, width = picture.shape
    x = (2 * torch.arange(round(width * scale), device=picture.device) + 1) / (scale * width) - 1
    y = (2 * torch.arange(round(height * scale), device=picture.device) + 1) / (scale * height) - 1
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1).expand(len(picture), -1, -1, -1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


class _State(NamedTuple):
    """Flow and dual variables of one scale, laid out so that every operation runs over contiguous memory.

    Rows have one column of padding, which stays zero. With it, and with a last row and column of ``p`` that stay
    zero, the left and upper neighbour of any element is the element so many places before it, also across
    the borders of rows and pictures. To save operations ``u`` is the flow times r = tau / theta and ``p`` the dual
    variable times tau.
    """

    u: Tensor
    """(2, B, H, W + 1): x and y."""
    p: Tensor
    """(2, 2, B, H, W + 1): direction of the derivative, then component of the flow."""

    def of(self, pairs: Tensor) -> _State:
        return _State(self.u.index_select(1, pairs), self.p.index_select(2, pairs))

    def write(self, pairs: Tensor, other: _State) -> None:
        self.u.index_copy_(1, pairs, other.u)
        self.p.index_copy_(2, pairs, other.p)


class _Data(NamedTuple):
    """Second picture linearised around a flow: the residual is rho(u) = constant + slope . u, up to a factor.

    What the thresholding step needs is -rho / |gradient|^2, so this is what is stored.
    """

    gradient: Tensor
    """(2, B, H, W + 1), of the warped second picture, times r."""
    slope: Tensor
    """(2, B, H, W + 1), -gradient / |gradient|^2 / r: times the scaled flow."""
    constant: Tensor
    """(B, H, W + 1)."""

    def of(self, pairs: Tensor) -> _Data:
        return _Data(
            self.gradient.index_select(1, pairs),
            self.slope.index_select(1, pairs),
            self.constant.index_select(0, pairs),
        )


def _solve_scale(first: Tensor, second: Tensor, flow: Tensor, config: TVL1Config) -> Tensor:
    """Improve ``flow`` (B, 2, H, W) at one scale."""
    pairs, _, height, width = first.shape
    rate = config.tau / config.theta
    state = _State(flow.new_zeros(2, pairs, height, width + 1), flow.new_zeros(2, 2, pairs, height, width + 1))
    inside = state.u[..., :width]  # without the padding
    inside.copy_(flow.transpose(0, 1)).mul_(rate)
    canvas, places = _canvas(second)
    for _ in range(config.warps):
        data = _linearise(first, canvas, places, inside.transpose(0, 1) / rate, rate)
        _minimise(state, data, config)
    return (inside / rate).transpose(0, 1).contiguous()


def _canvas(picture: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3, h, w) picture and its central differences (halved at the border) on a larger canvas, and its places.

    The canvas is black beyond the picture, which is what is seen where the flow leaves it. Its sides are powers of
    two, so that whole pixels become relative coordinates of grid_sample, and pixels again, without rounding.
    """
    _, _, height, width = picture.shape
    across, down = F.pad(picture, (1, 1, 0, 0), mode="replicate"), F.pad(picture, (0, 0, 1, 1), mode="replicate")
    dx, dy = (across[..., 2:] - across[..., :-2]) / 2, (down[..., 2:, :] - down[..., :-2, :]) / 2
    size = [1 << (side - 1).bit_length() for side in (height, width)]
    canvas = F.pad(torch.cat([picture, dx, dy], 1), (0, size[1] - width, 0, size[0] - height))
    x = (2 * torch.arange(width, device=picture.device) + 1) / size[1] - 1
    y = (2 * torch.arange(height, device=picture.device) + 1) / size[0] - 1
    return canvas, torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1)


def _linearise(first: Tensor, canvas: Tensor, places: Tensor, flow: Tensor, rate: float) -> _Data:
    """The second picture and its gradient seen through the flow (bicubic), made into what the iterations need."""
    pairs, _, height, width = first.shape
    half_size = flow.new_tensor([canvas.shape[3] / 2, canvas.shape[2] / 2])
    grid = torch.addcdiv(places, flow.permute(0, 2, 3, 1), half_size)
    warped = F.grid_sample(canvas, grid, mode="bicubic", align_corners=False)
    picture, gradient = warped[:, 0], warped[:, 1:]
    inverse = gradient.square().sum(1).clamp_(min=_FLAT).reciprocal_().neg_()  # (B, H, W)
    residual = picture.sub_(first[:, 0]).sub_((gradient * flow).sum(1))
    data = _Data(
        flow.new_zeros(2, pairs, height, width + 1),
        flow.new_zeros(2, pairs, height, width + 1),
        flow.new_zeros(pairs, height, width + 1),
    )
    torch.mul(gradient.transpose(0, 1), rate, out=data.gradient[..., :width])
    torch.mul(gradient.transpose(0, 1), inverse / rate, out=data.slope[..., :width])
    torch.mul(residual, inverse, out=data.constant[..., :width])
    return data


class _Scratch(NamedTuple):
    """Memory of intermediate results."""

    step: Tensor
    """(B, H, W + 1)."""
    change: Tensor
    """(2, B, H, W + 1)."""
    differences: Tensor
    """(2, 2, B, H, W + 1) of the flow, as ``p``; zero where they are never written, in the last row and column."""
    norm: Tensor
    """(2, B, H, W + 1)."""

    @classmethod
    def like(cls, state: _State) -> _Scratch:
        u = state.u
        return cls(torch.empty_like(u[0]), torch.empty_like(u), torch.zeros_like(state.p), torch.empty_like(u))


def _minimise(state: _State, data: _Data, config: TVL1Config) -> None:
    """Iterate in place until every pair has come to rest; a pair at rest takes no part any more."""
    pairs, height, row = state.u.shape[1:]
    enough = (config.epsilon * config.tau / config.theta) ** 2 * height * (row - 1)
    active = torch.arange(pairs, device=state.u.device)
    part, part_data, scratch = state, data, _Scratch.like(state)
    for _ in range(config.outer_iterations):
        if config.median_size > 1:
            inside = part.u[..., : row - 1]
            inside.copy_(median_filter(inside, config.median_size))
        done = 0
        while done < config.inner_iterations:
            count = min(config.check_every, config.inner_iterations - done)
            change = _iterate(part, part_data, scratch, count, config)
            done += count
            if config.epsilon == 0:
                continue
            moving = torch.nonzero(change > enough).flatten()
            if len(moving) == len(active):
                continue
            if part is not state:
                state.write(active, part)
            if len(moving) == 0:
                return
            active, part, part_data = active[moving], part.of(moving), part_data.of(moving)
            scratch = _Scratch.like(part)
    if part is not state:
        state.write(active, part)


def _iterate(state: _State, data: _Data, scratch: _Scratch, count: int, config: TVL1Config) -> Tensor:
    """``count`` iterations in place; (B,) squared change of the scaled flow in the last of them, summed over pixels."""
    pairs, _, row = state.u.shape[1:]
    below = row  # the lower neighbour of an element is so many places behind it
    u = state.u.view(-1)
    px, py = state.p.view(2, -1)
    step, change, differences, norms = scratch
    ux, uy = differences.view(2, -1)
    norm = norms.view(-1)
    # what crosses the border of a picture: from the last column into the padding, from there into the next row
    beyond_right, beyond_below = differences[0, ..., -2:], differences[1, ..., -1, :]
    limit = config.lambda_ * config.theta
    for iteration in range(count):
        # the data: a step along the gradient, as long as the residual asks for but no longer than lambda theta
        torch.addcmul(data.constant, data.slope[0], state.u[0], out=step)
        step.addcmul_(data.slope[1], state.u[1]).clamp_(-limit, limit)
        if iteration == count - 1:
            change.copy_(state.u)
        state.u.addcmul_(data.gradient, step)
        # the smoothness: plus the divergence of p, by differences to the left and upwards
        u.add_(px)
        u[1:].sub_(px[:-1])
        u.add_(py)
        u[below:].sub_(py[:-below])
        # the dual variables, by differences to the right and downwards
        torch.sub(u[1:], u[:-1], out=ux[:-1])
        beyond_right.zero_()
        torch.sub(u[below:], u[:-below], out=uy[:-below])
        beyond_below.zero_()
        torch.mul(ux, ux, out=norm).addcmul_(uy, uy).sqrt_().add_(1)
        state.p.add_(differences, alpha=config.tau)
        px.div_(norm)
        py.div_(norm)
    # over the last dimension first, whatever the number of pairs: so a pair's sum does not depend on it
    return change.sub_(state.u).view(2, pairs, -1).square_().sum(2).sum(0)
