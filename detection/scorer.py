"""The action scorer: the local feature of LGD-3D, or of another video network, pooled over each box and classified.

LGD (CVPR 2019) section 5.6: "the prediction score of each proposal is estimated by the ROI-pooled local
feature". What the paper leaves open (resolution, region size, background class) is settled as in the
Fast R-CNN of Saha et al. (BMVC 2016); each choice is a field of :class:`ScorerConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from detection.region_pooling import align_regions, average_regions
from recognition.lgd3d import LGD3D, LGD3DConfig
from recognition.model_files import ModelFile, ModelFileError, load_model, load_state_
from recognition.preprocessing import Preprocessing
from recognition.video_nets import VideoNet, VideoNetConfig
from video.flow import FlowSettings

KIND = "action-scorer"
"""What model files of scorers say they are."""


@dataclass(frozen=True)
class ScorerConfig:
    """Everything that shapes the scorer, stored in its model file."""

    num_classes: int
    """Action classes, background not counted."""
    backbone: LGD3DConfig | VideoNetConfig = field(default_factory=LGD3DConfig)
    """The network whose local feature is pooled: LGD-3D, or one of torchvision's with LGD or without."""
    clip_frames: int = 16
    """Frames of a clip (section 5.2)."""
    frame_rate: float | None = None
    """Frames a second of a clip; faster videos give every n-th frame. None: consecutive frames, as in the paper."""
    short_side: int = 120
    """Shorter side of the clip in pixels; the paper tests classifiers at 120 and does not say for detection."""
    region_size: int = 7
    """RoIAlign output cells a side before averaging, as in Fast R-CNN."""
    pooling: Literal["align", "average"] = "align"
    """"align": RoIAlign, then the mean; "average": the mean of the cells, each as much as the box covers of it."""
    temporal: Literal["mean", "own"] = "mean"
    """Temporal cells a box is pooled from: all of its clip, or only the one that holds its frame."""
    head: Literal["local", "local+global"] = "local"
    """What a region is classified by: its local feature (section 5.6), or the clip's global vector beside it."""
    multi_label: bool = False
    """False: softmax over the classes and background. True: an independent sigmoid a class."""
    background: bool = True
    """False: softmax over the classes alone, as classifiers of whole clips have it (docs/decisions/024); such a scorer
    cannot be trained on regions."""
    dropout: float = 0.5
    """Before both classifiers, as in the authors' public LGD code."""
    flow: FlowSettings | None = None
    """The optical flow that clips are made of (section 5.2: two-direction TV-L1), computed from frames of the size that
    its ``short_side`` says; None: RGB frames."""
    steady_flow: bool = False
    """Take the mean displacement off each flow picture, most of what the camera does (Simonyan and Zisserman 2014,
    section 3: mean flow subtraction)."""
    mirror: bool = False
    """Clips are scored mirrored as well, and the two answers averaged: better, at twice the time (docs/training.md)."""

    def __post_init__(self) -> None:
        if (self.flow is None) != (self.backbone.input == "rgb"):
            raise ValueError(f"flow = {self.flow} does not go with a backbone for {self.backbone.input!r}")
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be 1 or more, got {self.num_classes}")
        if self.temporal not in ("mean", "own"):
            raise ValueError(f"temporal must be 'mean' or 'own', got {self.temporal!r}")
        if self.pooling not in ("align", "average"):
            raise ValueError(f"pooling must be 'align' or 'average', got {self.pooling!r}")
        if self.head not in ("local", "local+global"):
            raise ValueError(f"head must be 'local' or 'local+global', got {self.head!r}")
        if self.multi_label and not self.background:
            raise ValueError("multi_label has no background class that background = False could leave out")
        if self.steady_flow and self.flow is None:
            raise ValueError("steady_flow is for flow, and this scorer sees RGB frames")
        if self.frame_rate is not None and not self.frame_rate > 0:
            raise ValueError(f"frame_rate must be above 0, got {self.frame_rate}")

    def frame_step(self, fps: float) -> int:
        """Every how manieth frame of a video of ``fps`` frames a second a clip takes; 1 or more."""
        return 1 if self.frame_rate is None else max(1, round(fps / self.frame_rate))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model file; :meth:`from_dict` is the way back."""
        return {**asdict(self), "backbone": self.backbone.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ScorerConfig:
        flow = values.get("flow")
        backbone = VideoNetConfig if "network" in values["backbone"] else LGD3DConfig
        return cls(
            **{
                **values,
                "backbone": backbone.from_dict(values["backbone"]),
                "flow": None if flow is None else FlowSettings.from_dict(flow),
            }
        )


class ActionScorer(nn.Module):
    """A video network, RoIAlign on its local map, and a linear classifier a region.

    A second classifier on the global vector is trained beside it with the clip's label (Eq. 6), so that the
    last global matrices receive a gradient too; detection itself uses the regions only.
    """

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__()
        self.config = config
        backbone = config.backbone
        self.backbone = VideoNet(backbone) if isinstance(backbone, VideoNetConfig) else LGD3D(backbone)
        channels = backbone.out_channels
        # Softmax needs a background class; sigmoids say "none of these" by all being low.
        has_background = config.background and not config.multi_label
        outputs = config.num_classes + has_background
        self.dropout = nn.Dropout(config.dropout)
        self.region_classifier = nn.Linear(channels if config.head == "local" else 2 * channels, outputs)
        self.clip_classifier = nn.Linear(channels, config.num_classes)
        for layer in (self.region_classifier, self.clip_classifier):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, clips: Tensor, regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Region and clip logits.

        Args:
            clips: (B, 3, T, H, W) float, normalised; two channels for flow.
            regions: per clip (n, 5) float: frame within the clip, then x1 y1 x2 y2 in pixels of the clip.

        Returns:
            (sum of n, classes + 1) region logits, background last (none with ``multi_label``, none without
            ``background``), and (B, classes) clip logits from the global vector.
        """
        if self.config.steady_flow:
            clips = clips - clips.mean(dim=(3, 4), keepdim=True)
        local, global_ = self.backbone(clips)  # (B, C, T', H', W'), (B, C)
        pooled = self.pool_regions(local, regions, *clips.shape[2:])  # (sum of n, C)
        if self.config.head == "local+global":
            repeats = torch.tensor([len(region) for region in regions], device=global_.device)
            pooled = torch.cat([pooled, global_.repeat_interleave(repeats, dim=0).to(pooled)], dim=1)
        return self.region_classifier(self.dropout(pooled)), self.clip_classifier(self.dropout(global_))

    def pool_regions(self, local: Tensor, regions: list[Tensor], clip_frames: int, height: int, width: int) -> Tensor:
        """Average of the local map over each region: (sum of n, C) float32. The clip has these frames and pixels."""
        cells = local.shape[2]
        rows = []
        for clip, region in enumerate(regions):
            if self.config.temporal == "own":
                cell = (region[:, 0] * cells / clip_frames).long().clamp(0, cells - 1)
                image = clip * cells + cell
            else:
                image = torch.full_like(region[:, 0], clip)
            rows.append(torch.cat([image[:, None].to(region), region[:, 1:]], dim=1))
        if self.config.temporal == "own":
            maps = local.transpose(1, 2).flatten(0, 1)  # (B T', C, H', W')
        else:
            maps = local.mean(dim=2)  # (B, C, H', W')
        backbone = self.config.backbone
        if self.config.pooling == "average":
            size = (height, width)
            return average_regions(maps, torch.cat(rows), size, backbone.spatial_stride, backbone.cell_offset)
        return align_regions(
            maps, torch.cat(rows), self.config.region_size, backbone.spatial_stride, backbone.cell_offset
        )

    def class_probabilities(self, region_logits: Tensor) -> Tensor:
        """(n, classes) probabilities in 0..1 without the background."""
        if self.config.multi_label:
            return region_logits.float().sigmoid()
        return region_logits.float().softmax(dim=1)[:, : self.config.num_classes]


@dataclass(frozen=True)
class LoadedScorer:
    """A scorer ready for inference, with what its model file says about it."""

    network: ActionScorer
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    file: ModelFile


def load_scorer(path: str | Path, device: str | torch.device = "cpu") -> LoadedScorer:
    """Rebuild the scorer of a model file written by training; ModelFileError in one line if it does not fit."""
    file = load_model(path, kind=KIND)
    try:
        network = ActionScorer(ScorerConfig.from_dict(file.config))
        preprocessing = Preprocessing.from_dict(file.preprocessing)
    except (TypeError, KeyError, ValueError) as error:
        raise ModelFileError(f"{path}: its configuration does not fit this version: {error}") from error
    if len(file.class_names) != network.config.num_classes:
        raise ModelFileError(f"{path}: {len(file.class_names)} class names for {network.config.num_classes} classes")
    load_state_(network, file)
    return LoadedScorer(network.eval().to(device), file.class_names, preprocessing, file)
