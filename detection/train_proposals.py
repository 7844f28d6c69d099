"""Training a Faster R-CNN to find actors, and measuring how many it finds.

Stochastic gradient descent with a warm-up and a half cosine, as in torchvision's detection references. A run that is
stopped goes on from its last saved state with the same numbers it would have had (bit for bit on a CPU).
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from detection.actor_frames import ActorFrames, AugmentConfig, resized, training_picture
from detection.detectors import DetectorConfig, detect_boxes, detection_losses, to_batch, with_mirrored
from detection.detectron2_networks import Detectron2Config
from detection.motion import flip_stack
from linking.files import replace_when_whole
from linking.geometry import box_iou
from recognition.training_state import load_training_state, save_training_state

STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class ProposalTraining:
    """Everything that decides what a training run computes."""

    detector: DetectorConfig | Detectron2Config = field(default_factory=DetectorConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    iterations: int = 6000
    """Steps of the optimizer."""
    batch_size: int = 12
    """Pictures in a step."""
    canvases: tuple[tuple[int, int], ...] = ((160, 224), (192, 256), (224, 288), (256, 320))
    """Heights and widths of training pictures; one is drawn for each step."""
    learning_rate: float = 0.02
    """Highest rate, reached after the warm-up."""
    warm_up: int = 300
    """Steps in which the rate rises from zero."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """Applied to the weights of convolutions and linear layers, not to biases and batch norm."""
    max_gradient: float = 5.0
    """Longer gradients are scaled to this norm; training from scratch is unstable at its beginning."""
    dataset_shares: tuple[float, ...] = ()
    """Share of pictures taken from each dataset; empty: by their numbers of videos."""
    frame_step: int = 2
    """Every which frame of a video is used; neighbours hardly differ."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """bf16 takes two thirds of the time on CPUs that have it."""
    seed: int = 0
    save_every: int = 200
    """Steps between two saved states."""
    validate_every: int = 1000
    """Steps between two validations."""
    validation_frames: int = 2
    """Frames of each validation video that are looked at while training."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "canvases", tuple((int(h), int(w)) for h, w in self.canvases))
        if min(self.iterations, self.batch_size, self.save_every, self.validate_every) < 1 or not self.canvases:
            raise ValueError("iterations, batch_size, save_every, validate_every and canvases need at least one")


@dataclass(frozen=True)
class TrainingResult:
    finished: bool
    """False when the time limit came first; the run can be resumed."""
    iterations: int
    seconds: float
    """Of this run and those it resumed."""


def train(
    model: FasterRCNN,
    datasets: Sequence[ActorFrames],
    validation: Sequence[ActorFrames],
    config: ProposalTraining,
    output: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    batch_of: Callable[[Tensor], ImageList] = to_batch,
    max_seconds: float = math.inf,
    progress: Callable[[range], Iterable[int]] = lambda steps: steps,
) -> TrainingResult:
    """Train ``model`` in place; write the state and a log (JSON lines) into the folder ``output``.

    ``batch_of`` makes the network's input of (B, 3, H, W) pictures in 0..255. ``progress`` wraps the range of steps, a
    bar say. Raises FloatingPointError when the loss is no longer a number, and TrainingStateError where ``resume``
    finds nothing it could go on from with these settings.
    """
    model.to(device, memory_format=torch.channels_last)
    optimizer = _optimizer(model, config)
    settings = resolved(config)
    first, spent = 0, 0.0
    if resume:
        state = load_training_state(output / STATE_FILE, settings=settings)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first, spent = state["iteration"], state["seconds"]
    else:
        torch.manual_seed(config.seed)
    log = _Log(output / LOG_FILE, first)
    shares = _shares(datasets, config)
    started = time.monotonic()
    sums: dict[str, float] = {}
    summed = 0
    step = first
    model.train()
    for step in progress(range(first, config.iterations)):
        if time.monotonic() - started + spent > max_seconds:
            break
        # A generator for each step: the position in the data is the number of the step and nothing else.
        rng = np.random.default_rng([config.seed, step])
        pictures, boxes = _draw_batch(datasets, shares, config, rng)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.precision == "bf16"):
            losses = detection_losses(model, batch_of(pictures.to(device)), [b.to(device) for b in boxes])
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_gradient)
        optimizer.step()
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss.detach())
        summed += 1
        done = step + 1
        seconds = time.monotonic() - started + spent
        if done % 50 == 0 or done == config.iterations:
            means = {name: round(value / summed, 4) for name, value in sums.items()}
            if not all(map(math.isfinite, means.values())):
                raise FloatingPointError(f"the loss is no longer a number at step {done}; lower learning_rate")
            log.write({"iteration": done, "seconds": round(seconds, 1), **means})
            sums, summed = {}, 0
        if done % config.validate_every == 0 or done == config.iterations:
            for frames in validation:
                chosen = spread_frames(frames, config.validation_frames)
                quality = evaluate(
                    model, frames, chosen, device=device, batch_of=batch_of, short_side=flow_short_side(config.detector)
                )
                log.write({"iteration": done, "validation": quality})
            model.train()
        if done % config.save_every == 0 or done == config.iterations:
            _save_state(output, model, optimizer, settings, done, seconds)
    else:
        model.eval()
        return TrainingResult(True, config.iterations, time.monotonic() - started + spent)
    seconds = time.monotonic() - started + spent
    _save_state(output, model, optimizer, settings, step, seconds)
    model.eval()
    return TrainingResult(False, step, seconds)


def resolved(config: ProposalTraining) -> dict[str, Any]:
    """All settings as plain values, equal to what JSON gives back."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return values


def learning_rate(step: int, config: ProposalTraining) -> float:
    """Rises evenly over the warm-up, then falls along half a cosine to zero after the last step."""
    rise = min(1.0, (step + 1) / max(1, config.warm_up))
    return config.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / config.iterations))


def evaluate(
    model: FasterRCNN,
    frames: ActorFrames,
    chosen: Sequence[int],
    *,
    device: str = "cpu",
    batch_of: Callable[[Tensor], ImageList] = to_batch,
    mirror: bool = False,
    short_side: int | None = None,
) -> dict[str, float]:
    """:func:`proposal_quality` of boxes in the ``chosen`` frames, as they are stored or at ``short_side``.

    With ``mirror`` their mirror images are looked at as well, as ``DetectorConfig.mirror`` asks for."""
    model.eval()
    found: list[tuple[np.ndarray, np.ndarray]] = []
    with torch.inference_mode():
        for index in chosen:
            picture = torch.from_numpy(frames.picture(index).copy()).permute(2, 0, 1)[None].to(device)
            scale = 1.0 if short_side is None else short_side / min(picture.shape[-2:])
            if scale != 1:
                height, width = (round(scale * side) for side in picture.shape[-2:])
                picture = resized(picture[0], (height, width))[None]
            boxes, scores = detect_boxes(model, batch_of(picture), min_score=0.0)
            if mirror:
                flipped = picture.flip(-1) if frames.channels == 3 else flip_stack(picture)
                mirrored = detect_boxes(model, batch_of(flipped), min_score=0.0)
                boxes, scores = with_mirrored(boxes, scores, *mirrored, picture.shape[-1])
            found.append((boxes[0].cpu().numpy() / scale, scores[0].cpu().numpy()))
    return proposal_quality(found, [frames.actors(index) for index in chosen])


def flow_short_side(network: DetectorConfig | Detectron2Config) -> int | None:
    """To what flow, whose pictures are small, is scaled for ``network``; None for one that sees RGB frames."""
    sees_flow = isinstance(network, DetectorConfig) and network.flow is not None
    return network.trained_short_side if sees_flow else None


def proposal_quality(
    found: Sequence[tuple[np.ndarray, np.ndarray]],
    actors: Sequence[np.ndarray],
    *,
    iou: float = 0.5,
    boxes_per_frame: Sequence[int] = (1, 10, 100),
) -> dict[str, float]:
    """Recall of the actors with the best k boxes of each frame, and average precision, at one IoU.

    Recall is the share of annotated boxes that one of the k boxes overlaps by ``iou`` or more. Average precision
    is the area under the interpolated precision over all points, each actor found by its surest box only. Where
    a dataset names one actor of several people, the others count as false alarms.

    Args:
        found: boxes (n, 4) and scores (n,) of each frame, best first.
        actors: (m, 4) annotated boxes of each frame.
    """
    reached = dict.fromkeys(boxes_per_frame, 0)
    hits = [np.zeros(0, bool)]
    for (boxes, _), truth in zip(found, actors):
        overlap = box_iou(boxes, truth)
        for k in reached:
            reached[k] += int((overlap[:k].max(axis=0, initial=0) >= iou).sum())
        hits.append(_surest_hits(overlap, iou))
    total = sum(map(len, actors))
    result = {f"recall@{k}": count / max(1, total) for k, count in reached.items()}
    scores = np.concatenate([np.zeros(0), *(scores for _, scores in found)])
    result["average_precision"] = _average_precision(scores, np.concatenate(hits), total)
    return {name: round(value, 4) for name, value in result.items()} | {"frames": len(actors), "actors": total}


def _surest_hits(overlap: np.ndarray, iou: float) -> np.ndarray:
    """(boxes,) bool: boxes, by falling score, that take an actor no surer box has taken."""
    free = np.ones(overlap.shape[1], bool)
    hits = np.zeros(len(overlap), bool)
    for row, values in enumerate(overlap):
        values = np.where(free, values, -1)
        if len(values) and values.max() >= iou:
            free[values.argmax()] = False
            hits[row] = True
    return hits


def _average_precision(scores: np.ndarray, hits: np.ndarray, actors: int) -> float:
    order = np.argsort(-scores, kind="stable")
    right = hits[order].cumsum()
    precision = right / np.arange(1, len(right) + 1)
    at_least = np.maximum.accumulate(precision[::-1])[::-1]
    return float(at_least[hits[order]].sum() / max(1, actors))


def spread_frames(frames: ActorFrames, per_video: int) -> list[int]:
    """Up to ``per_video`` frames of every video, evenly spread over it."""
    return [frame for indices in frames.by_video for frame in spread(indices.tolist(), per_video)]


def spread(frames: Sequence[int], count: int) -> list[int]:
    """Up to ``count`` of ``frames``, evenly spread."""
    count = min(count, len(frames))
    return [frames[int((k + 0.5) / count * len(frames))] for k in range(count)]


def _draw_batch(
    datasets: Sequence[ActorFrames], shares: np.ndarray, config: ProposalTraining, rng: np.random.Generator
) -> tuple[Tensor, list[Tensor]]:
    canvas = config.canvases[rng.integers(len(config.canvases))]
    pictures, boxes = [], []
    for _ in range(config.batch_size):
        frames = datasets[rng.choice(len(datasets), p=shares)]
        videos = frames.by_video

        def draw_frame(videos: list[np.ndarray] = videos) -> int:
            # Videos first: a long one shows no more than a short one.
            indices = videos[rng.integers(len(videos))]
            return int(indices[rng.integers(len(indices))])

        picture, actors = training_picture(frames, draw_frame, canvas, config.augment, rng)
        pictures.append(picture)
        boxes.append(actors)
    return torch.stack(pictures), boxes


def _shares(datasets: Sequence[ActorFrames], config: ProposalTraining) -> np.ndarray:
    if not config.dataset_shares:
        counts = np.array([len(frames.by_video) for frames in datasets], float)
        return counts / counts.sum()
    shares = np.asarray(config.dataset_shares, float)
    if len(shares) != len(datasets) or (shares < 0).any() or shares.sum() <= 0:
        raise ValueError(f"dataset_shares needs {len(datasets)} numbers, one a dataset, got {config.dataset_shares}")
    return shares / shares.sum()


def _optimizer(model: FasterRCNN, config: ProposalTraining) -> torch.optim.SGD:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=True)


def _save_state(
    output: Path,
    model: FasterRCNN,
    optimizer: torch.optim.SGD,
    settings: dict[str, Any],
    iteration: int,
    seconds: float,
) -> None:
    state = {
        "settings": settings,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "iteration": iteration,
        "seconds": seconds,
    }
    save_training_state(output / STATE_FILE, state)


class _Log:
    """JSON lines; what a resumed run will write again is cut off first."""

    def __init__(self, path: Path, first: int) -> None:
        self.path = path
        lines = path.read_text().splitlines() if first and path.exists() else []
        with replace_when_whole(path) as temporary:
            kept = [line for line in lines if json.loads(line)["iteration"] <= first]
            temporary.write_text("".join(f"{line}\n" for line in kept))

    def write(self, entry: dict[str, Any]) -> None:
        with self.path.open("a") as out:
            out.write(json.dumps(entry) + "\n")
