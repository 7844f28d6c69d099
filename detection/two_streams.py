"""Boxes of two detectors together: one sees frames, the other the motion in them.

Where clips are few, a network that sees RGB learns their people and places by heart. The mean of both is better than
either by far (docs/models/recipe.md). After Peng and Schmid 2016, "Multi-region two-stream
R-CNN for action detection", section 3, who take the boxes of both; here each also judges those of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from detection.detector_files import TrainedDetector, batch_maker
from detection.detectors import DetectorConfig, detect_boxes_by_all, with_mirrored
from detection.motion import flip_stack
from detection.proposal_batches import (
    ProposalConfig,
    ProposalError,
    check_frames,
    finished,
    network_size,
    scaled_frames,
)
from linking.records import Detections
from video.flow import FlowSettings

if TYPE_CHECKING:
    from detection.proposals import Proposer


_CORNERS = (0.65, 0.35)
"""Weights of RGB and flow in the corners of a box, for RGB shows edges more sharply; what others give stands in
docs/decisions/026-two-stream-proposals.md."""


class TwoStreamProposer:
    """A network that sees RGB frames and one that sees flow, at the same size."""

    flow: FlowSettings
    """Of the flow that the second one wants."""
    flow_frames: tuple[int, ...]
    """And of which frames, as offsets (``DetectorConfig.flow_frames``)."""

    def __init__(
        self,
        rgb: TrainedDetector,
        flow: TrainedDetector,
        config: ProposalConfig,
        *,
        alone: Proposer,
        device: str = "cpu",
    ) -> None:
        """``alone`` answers where there are frames only. ProposalError unless the first network is one of ours for RGB
        and the second one of ours for flow."""
        networks = rgb.config, flow.config
        if not all(isinstance(network, DetectorConfig) for network in networks):
            raise ProposalError("two streams of proposals are networks of train_proposals.py")
        seen, moving = networks
        assert isinstance(seen, DetectorConfig)
        assert isinstance(moving, DetectorConfig)
        if seen.flow is not None or moving.flow is None:
            raise ProposalError("of two streams of proposals the first sees RGB frames and the second flow")
        self.flow, self.flow_frames = moving.flow, moving.flow_frames
        self._alone = alone
        self._config = config
        self._device = torch.device(device)
        self._models = [
            trained.model.eval().to(device, memory_format=torch.channels_last) for trained in (rgb, flow)
        ]
        self._batch_of = [batch_maker(trained.config, trained.preprocessing) for trained in (rgb, flow)]
        self._trained_short_side = seen.trained_short_side
        self._mirror = seen.mirror and config.mirror

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        """Boxes of the RGB network alone."""
        return self._alone.propose(frames, indices)

    def propose_moving(
        self, frames: Sequence[np.ndarray], stacks: Sequence[np.ndarray], indices: Sequence[int]
    ) -> list[Detections]:
        """As ``Proposer.propose``, of frames of one size; ``stacks`` are (h, w, 2 n) uint8 of ``motion_stack``."""
        check_frames(frames, indices)
        found = []
        for start in range(0, len(frames), self._config.batch_size):
            part = slice(start, start + self._config.batch_size)
            answers = self._propose_batch(np.stack(frames[part]), np.stack(stacks[part]))
            for index, frame, (boxes, scores) in zip(indices[part], frames[part], answers):
                height, width = frame.shape[:2]
                found.append(finished(int(index), boxes, scores, height, width, self._config))
        return found

    @torch.inference_mode()
    def _propose_batch(self, frames: np.ndarray, stacks: np.ndarray) -> list[tuple[Tensor, Tensor]]:
        """(B, H, W, 3) and (B, h, w, 2 n) uint8 to boxes and scores of each, in pixels of the frames."""
        height, width = frames.shape[1:3]
        size = network_size(height, width, self._config, short_side=self._trained_short_side)
        pictures = scaled_frames(frames, size, self._device)
        moving = torch.from_numpy(stacks).to(self._device).permute(0, 3, 1, 2)
        if size != moving.shape[-2:]:
            moving = functional.interpolate(moving.float(), size, mode="bilinear", antialias=True, align_corners=False)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._config.precision == "bf16"):
            boxes, scores = self._boxes_of(pictures, moving)
            if self._mirror:
                mirrored = self._boxes_of(pictures.flip(-1), flip_stack(moving))
                boxes, scores = with_mirrored(boxes, scores, *mirrored, size[1], self._config.nms_iou)
        scale = torch.tensor([width / size[1], height / size[0]] * 2, device=self._device)
        return [(b * scale, s) for b, s in zip(boxes, scores)]

    def _boxes_of(self, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return detect_boxes_by_all(
            self._models,
            [batch_of(pictures) for batch_of, pictures in zip(self._batch_of, inputs)],
            corner_weights=_CORNERS,
            min_score=self._config.min_score,
            nms_iou=self._config.nms_iou,
            max_boxes=self._config.max_boxes,
        )
