"""Training of the action scorer on labelled clips, resumable at every epoch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from detection.scorer import ActionScorer, ScorerConfig
from detection.training_clips import ClipConfig, TrainingClips, collate
from linking.files import replace_when_whole
from recognition.classifier_files import NetworkConfig, load_classifier
from recognition.clip_sampling import FLOW_PREPROCESSING, ClipInput
from recognition.initialise import imagenet_weights, load_imagenet_, xavier_caffe_
from recognition.inject import InjectedConfig
from recognition.lgd3d import LGD3D, LGD3DConfig
from recognition.lgd_classifier import LGDClassifier, LGDClassifierConfig
from recognition.optimise import build_optimizer, cosine_rate
from recognition.preprocessing import Preprocessing, normalise_clips
from recognition.training_state import flat_settings, load_training_state, save_training_state
from recognition.video_nets import VideoNet, VideoNetConfig, load_kinetics_
from video.datasets import Dataset

_MIXUP_STREAM = 1
"""Tells the generator of mixup from that of the order of the clips."""


@dataclass(frozen=True)
class TrainConfig:
    """How the scorer is trained. The paper gives lr 0.01, /10 every 20 of 50 epochs, for classification only."""

    epochs: int = 60
    batch_clips: int = 8
    clips_per_video: int = 1
    """Clips an epoch takes from each video."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum 0.9 as in the authors' public code, or AdamW."""
    learning_rate: float = 0.02
    warmup_epochs: float = 2.0
    """Linear from zero; cosine to zero afterwards."""
    weight_decay: float = 1e-4
    """On matrices and kernels; biases and batch norms have none."""
    label_smoothing: float = 0.0
    mixup: float = 0.0
    """Clips are mixed in pairs, with a share drawn from Beta(mixup, mixup) a step (Zhang et al. 2018, "mixup: Beyond
    Empirical Risk Minimization"); each keeps its regions, and their losses weigh as much as its pixels. 0: not."""
    clip_loss: float = 1.0
    """Weight of the global path's loss; 1 as in Eq. 6."""
    gradient_norm: float = 10.0
    """Larger gradients are scaled down to this norm."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """bf16 is autocast: weights, batch norm and losses stay float32."""
    seed: int = 0
    clips: ClipConfig = field(default_factory=ClipConfig)

    def __post_init__(self) -> None:
        if self.mixup < 0:
            raise ValueError(f"mixup must be 0 or more, got {self.mixup}")


def build_scorer(
    config: ScorerConfig,
    *,
    seed: int = 0,
    body_weights: str | Path | None = None,
    start: Mapping[str, Tensor] | None = None,
) -> ActionScorer:
    """A scorer to be trained.

    Args:
        config: of the network.
        seed: of the random weights.
        body_weights: "imagenet" for torchvision's weights of the ResNet of the same depth, or a file of such
            weights, or a classifier of tools/train_recognition.py (.safetensors) on the same backbone and stream, as
            the paper starts from its Kinetics networks; None starts from Xavier (section 5.2 has both). For
            torchvision's video networks "kinetics", a file of their weights, or a classifier with LGD inside them.
        start: weights of another scorer with the same backbone; its classifiers are taken where they fit.
    """
    if not config.background:
        raise ValueError(
            "background = False is for classifiers of whole clips; training on regions needs the background"
        )
    torch.manual_seed(seed)
    network = ActionScorer(config)
    backbone = network.backbone
    if isinstance(backbone, LGD3D):
        xavier_caffe_(backbone)
    if body_weights is None:
        pass
    elif Path(body_weights).suffix == ".safetensors":
        _load_classifier(network, body_weights)
    elif isinstance(backbone, VideoNet):
        if body_weights == "imagenet":
            raise ValueError(f"{backbone.config.network} has weights of Kinetics; use kinetics, or a file")
        load_kinetics_(backbone, body_weights)
    elif body_weights == "kinetics":
        raise ValueError("there are no published weights of Kinetics for LGD-3D; use imagenet, or a file")
    else:
        weights = imagenet_weights(backbone.config.depths) if body_weights == "imagenet" else body_weights
        load_imagenet_(backbone, weights)
    if start is not None:
        _load_start(network, start)
    return network


def preprocessing_of(config: ScorerConfig) -> Preprocessing:
    """How clips are normalised: RGB as torchvision's weights of the network want it, flow around no motion."""
    if isinstance(config.backbone, VideoNetConfig):
        return config.backbone.preprocessing
    return Preprocessing() if config.flow is None else FLOW_PREPROCESSING


def train_scorer(
    network: ActionScorer,
    dataset: Dataset,
    config: TrainConfig,
    output: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    proposals: Mapping[str, dict[int, np.ndarray]] | None = None,
    flow_folder: Path | None = None,
    workers: int = 0,
    max_minutes: float | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> bool:
    """Train ``network`` in place; return whether all epochs were done, and leave it in eval mode.

    Args:
        network: from :func:`build_scorer`; as many classes as ``dataset`` has.
        dataset: annotated videos; its ``class_names`` are the classes.
        output: folder for ``state.pt`` (every epoch) and ``log.jsonl`` (a line an epoch).
        resume: go on from ``output/state.pt``; on a CPU the result is bit for bit that of a run that was never
            interrupted.
        proposals: video -> frame -> boxes of the proposal network, to take regions from as well.
        flow_folder: for a network of flow, the folder that tools/extract_flow.py wrote; without it flow is computed.
        workers: processes that prepare clips; 0 prepares them in this one.
        max_minutes: no epoch but the first starts after this time; the schedule does not change.
        on_epoch: called with each line of the log.
    """
    network.to(device)
    torch.manual_seed(config.seed)
    clips = TrainingClips(
        dataset,
        config.clips,
        seed=config.seed,
        clips_per_video=config.clips_per_video,
        proposals=proposals,
        flow=network.config.flow,
        flow_folder=flow_folder,
    )
    steps_per_epoch = max(1, len(clips) // config.batch_clips)
    optimizer = build_optimizer(
        network, config.optimizer, learning_rate=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: cosine_rate(step / steps_per_epoch, config.warmup_epochs, config.epochs)
    )
    settings = {
        "data": dataset.name,
        **flat_settings(asdict(config)),
        **flat_settings(asdict(network.config), "scorer."),
    }
    first_epoch, log = 0, []
    state_path = output / "state.pt"
    if resume:
        state = load_training_state(state_path, settings=settings)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first_epoch, log = state["epoch"], state["log"]
    preprocessing = preprocessing_of(network.config)
    started = time.monotonic()
    for epoch in range(first_epoch, config.epochs):
        late = max_minutes is not None and time.monotonic() - started > max_minutes * 60
        if late and epoch > first_epoch:
            break
        clips.epoch = epoch
        order = np.random.default_rng((config.seed, epoch)).permutation(len(clips)).tolist()
        loader = DataLoader(
            clips,
            batch_size=config.batch_clips,
            sampler=order,
            collate_fn=collate,
            drop_last=len(clips) >= config.batch_clips,
            num_workers=workers,
        )
        totals = _train_epoch(network, loader, optimizer, schedule, config, preprocessing, device, epoch)
        log.append({"epoch": epoch + 1, **totals, "minutes": round((time.monotonic() - started) / 60, 2)})
        save_training_state(
            state_path,
            {
                "settings": settings,
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "epoch": epoch + 1,
                "log": log,
            },
        )
        with replace_when_whole(output / "log.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in log))
        if on_epoch is not None:
            on_epoch(log[-1])
    network.eval()
    return len(log) == config.epochs


def scorer_loss(
    network: ActionScorer,
    region_logits: Tensor,
    clip_logits: Tensor,
    labels: Tensor,
    clip_target: Tensor,
    config: TrainConfig,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Region loss and clip loss, the detection form of Eq. 6.

    Regions: cross entropy over the classes and background, or binary cross entropies with ``multi_label``. Clips:
    cross entropy against the mixture of the clip's actions; a clip without an action says nothing about the classes.
    ``weights`` (n,) make the region loss a weighted mean.
    """
    classes = network.config.num_classes
    if network.config.multi_label:
        wanted = F.one_hot(labels, classes + 1)[:, :classes].float()
        losses = F.binary_cross_entropy_with_logits(region_logits, wanted, reduction="none").sum(dim=1)
    else:
        losses = F.cross_entropy(region_logits, labels, label_smoothing=config.label_smoothing, reduction="none")
    if weights is None:
        weights = torch.ones_like(losses)
    region = (weights * losses).sum() / weights.sum().clamp(min=1e-6)
    acting = clip_target.sum(dim=1) > 0
    if not acting.any():
        return region, clip_logits.sum() * 0
    clip = F.cross_entropy(clip_logits[acting], clip_target[acting], label_smoothing=config.label_smoothing)
    return region, clip


def mixed(
    clips: Tensor, regions: list[Tensor], labels: Tensor, target: Tensor, share: float
) -> tuple[Tensor, list[Tensor], Tensor, Tensor, Tensor]:
    """Each clip mixed with its mirror place in the batch, for mixup.

    Args:
        clips: (B, C, T, H, W), of which clip i keeps ``share`` and gets the rest from clip B - 1 - i.
        regions: (n, 5) a clip.
        labels: (sum of n,).
        target: (B, classes).

    Returns:
        The mixed clips; regions of both partners a clip, its own first; their labels; the mixed targets; and the weight
        of each region, (2 * sum of n,): ``share`` for a clip's own ones.
    """
    by_clip = labels.split([len(region) for region in regions])
    pairs = list(zip(regions, reversed(regions)))
    return (
        share * clips + (1 - share) * clips.flip(0),
        [torch.cat(pair) for pair in pairs],
        torch.cat([part for pair in zip(by_clip, reversed(by_clip)) for part in pair]),
        share * target + (1 - share) * target.flip(0),
        torch.cat(
            [
                torch.full((len(region),), weight, device=clips.device)
                for pair in pairs
                for region, weight in zip(pair, (share, 1 - share))
            ]
        ),
    )


def _train_epoch(
    network: ActionScorer,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    config: TrainConfig,
    preprocessing: Preprocessing,
    device: str,
    epoch: int,
) -> dict[str, float]:
    """One pass; the mean losses and the share of regions classified correctly."""
    network.train()
    rng = np.random.default_rng((config.seed, epoch, _MIXUP_STREAM))
    losses = {"region_loss": 0.0, "clip_loss": 0.0}
    correct = actions_correct = regions_seen = actions_seen = batches = 0
    for clip_batch, regions, labels, target in loader:
        if len(labels) == 0:
            continue
        clip_batch = normalise_clips(clip_batch, preprocessing, device=device)
        labels, target = labels.to(device), target.to(device)
        weights = None
        if config.mixup:
            share = float(rng.beta(config.mixup, config.mixup))
            clip_batch, regions, labels, target, weights = mixed(clip_batch, regions, labels, target, share)
        with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
            region_logits, clip_logits = network(clip_batch, [region.to(device) for region in regions])
        region, clip = scorer_loss(network, region_logits.float(), clip_logits.float(), labels, target, config, weights)
        loss = region + config.clip_loss * clip
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()}; lower learning_rate ({config.learning_rate})")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.gradient_norm)
        optimizer.step()
        schedule.step()
        batches += 1
        losses["region_loss"] += region.item()
        losses["clip_loss"] += clip.item()
        hits = region_logits.argmax(dim=1) == labels
        acting = labels < network.config.num_classes
        correct += int(hits.sum())
        actions_correct += int((hits & acting).sum())
        regions_seen += len(labels)
        actions_seen += int(acting.sum())
    return {
        **{name: round(total / max(1, batches), 5) for name, total in losses.items()},
        "region_accuracy": round(correct / max(1, regions_seen), 4),
        "action_accuracy": round(actions_correct / max(1, actions_seen), 4),
    }


def _load_classifier(network: ActionScorer, path: str | Path) -> None:
    """Give the scorer the backbone of a classifier; ValueError where it is another one or sees other pictures."""
    start = load_classifier(path)
    has, wants = _backbone_of(path, start.config), asdict(network.config.backbone)
    if "pool1_stride" in has and "pool1_stride" in wants:
        # it has no weights: a network of long clips fits one of short clips
        has["pool1_stride"] = wants["pool1_stride"]
    different = [
        f"backbone.{name} is {has.get(name)}, not {wants[name]}" for name in wants if has.get(name) != wants[name]
    ]
    if not isinstance(start.clip, ClipInput) or start.clip.preprocessing != preprocessing_of(network.config):
        different.append("it sees pixels of another range")
    elif start.clip.flow_settings != network.config.flow:
        different.append("it sees flow of other settings")
    if different:
        raise ValueError(f"{path}: does not fit the scorer: {different[0]}")
    if isinstance(start.network, LGDClassifier):
        network.backbone.load_state_dict(start.network.backbone.state_dict())
    else:  # without both classifiers
        state, own = start.network.state_dict(), network.backbone.state_dict()
        network.backbone.load_state_dict({name: state[name] for name in own})


def _backbone_of(path: str | Path, config: NetworkConfig) -> dict[str, Any]:
    """The fields of the backbone's config; ValueError where a scorer has no such backbone."""
    if isinstance(config, LGDClassifierConfig) and isinstance(config.backbone, LGD3DConfig):
        return asdict(config.backbone)
    if isinstance(config, InjectedConfig):
        return asdict(VideoNetConfig(config.network, lgd=True, rank_divisor=config.rank_divisor))
    raise ValueError(
        f"{path}: a scorer starts from an LGD-3D or P3D classifier, or one with LGD in torchvision's video networks; "
        "this is another network"
    )


def _load_start(network: ActionScorer, start: Mapping[str, Tensor]) -> None:
    own = network.state_dict()
    fitting = {name: value for name, value in start.items() if name in own and own[name].shape == value.shape}
    missing = [name for name in own if name.startswith("backbone.") and name not in fitting]
    if missing:
        raise ValueError(f"the weights to start from do not fit: {missing[0]} is missing or of another shape")
    network.load_state_dict({**own, **fitting})
