"""Boxes of a network that sees frames and one that sees flow, alone and in the pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detection.detector_files import load_detector, preprocessing_of, save_detector
from detection.detectors import DetectorConfig, build_detector, detect_boxes, detect_boxes_by_all, tiny, to_batch
from detection.motion import frames_around, motion_stack
from detection.pipeline import PipelineConfig, score_video
from detection.proposals import DetectorProposer, ProposalConfig, ProposalError, files_of, open_proposer
from detection.two_streams import TwoStreamProposer
from linking.records import Detections
from tests.proposal_samples import eager_detector
from tests.test_detection_streams import FLOW, Pictures, loaded, moving
from video.flow import flow_of_frames

CONFIG = ProposalConfig(max_boxes=100, min_score=0.0)


def flow_config() -> DetectorConfig:
    return replace(tiny(), flow=FLOW, flow_frames=(-1, 0, 2))


def write_rgb(path: Path, mirror: bool = False) -> Path:
    save_detector(path, eager_detector(), replace(tiny(), mirror=mirror), {})
    return path


def write_flow(path: Path) -> Path:
    torch.manual_seed(3)
    config = flow_config()
    save_detector(path, build_detector(config), config, {}, preprocessing=preprocessing_of(config))
    return path


@pytest.fixture
def two(tmp_path: Path) -> TwoStreamProposer:
    word = f"{write_rgb(tmp_path / 'rgb.safetensors')},{write_flow(tmp_path / 'flow.safetensors')}"
    proposer = open_proposer(word, config=CONFIG)
    assert isinstance(proposer, TwoStreamProposer)
    return proposer


# ---- networks


def pictures(count: int = 2, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (count, *size, 3)).astype(np.uint8)


def test_a_network_that_is_asked_twice_says_the_same() -> None:
    model = eager_detector().eval()
    batch = to_batch(torch.from_numpy(pictures()).permute(0, 3, 1, 2))
    with torch.inference_mode():
        alone = detect_boxes(model, batch, min_score=0.0)
        together = detect_boxes_by_all([model, model], [batch, batch], min_score=0.0)
    for one, both in zip(alone, together):
        for a, b in zip(one, both):
            torch.testing.assert_close(a, b)


def test_logits_and_corners_are_averaged() -> None:
    sure, unsure = eager_detector().eval(), eager_detector().eval()
    unsure.load_state_dict(sure.state_dict())
    with torch.no_grad():
        unsure.roi_heads.box_predictor.cls_score.bias += torch.tensor([2.0, 0.0])
    batch = to_batch(torch.from_numpy(pictures(1)).permute(0, 3, 1, 2))
    with torch.inference_mode():
        (boxes,), (scores,) = detect_boxes(sure, batch, min_score=0.0)
        (found,), (fused,) = detect_boxes_by_all([sure, unsure], [batch, batch], min_score=0.0)
    torch.testing.assert_close(found, boxes)
    torch.testing.assert_close(fused.logit(), scores.logit() - 1)


def test_a_flow_network_has_two_channels_a_picture_and_survives_its_file(tmp_path: Path) -> None:
    trained = load_detector(write_flow(tmp_path / "flow.safetensors"))
    assert trained.config == flow_config()
    assert trained.model.backbone.body.stem[0].in_channels == 6
    assert len(trained.preprocessing.mean) == 6
    with pytest.raises(ValueError, match="flow needs the small body"):
        DetectorConfig(body="resnet50", flow=FLOW, anchor_sizes=((32,), (64,), (128,), (256,), (512,)))


def test_both_networks_change_the_answer_and_frames_alone_are_answered_by_the_first(two: TwoStreamProposer) -> None:
    frames = list(pictures())
    still = [np.full((32, 48, 6), 128, np.uint8)] * 2
    moved = [np.random.default_rng(2).integers(0, 255, (32, 48, 6)).astype(np.uint8)] * 2
    a, b = (two.propose_moving(frames, stacks, [4, 7])[0] for stacks in (still, moved))
    assert a.frame == 4
    assert not np.array_equal(a.scores, b.scores)
    assert np.isfinite(a.boxes).all()
    (alone, _) = two.propose(frames, [4, 7])
    assert isinstance(two._alone, DetectorProposer)
    np.testing.assert_array_equal(alone.boxes, two._alone.propose(frames, [4, 7])[0].boxes)
    # what is asked together does not change the answer
    np.testing.assert_allclose(two.propose_moving(frames[:1], moved[:1], [4])[0].boxes, b.boxes, atol=1e-3)


def test_boxes_of_a_mirrored_video_are_the_mirrored_boxes(tmp_path: Path) -> None:
    word = f"{write_rgb(tmp_path / 'rgb.safetensors', mirror=True)},{write_flow(tmp_path / 'flow.safetensors')}"
    two = open_proposer(word, config=CONFIG)
    assert isinstance(two, TwoStreamProposer)
    (frame,) = pictures(1)
    stack = np.random.default_rng(2).integers(1, 255, (64, 96, 6)).astype(np.uint8)
    turned = stack[:, ::-1].copy()
    turned[..., 0::2] = 255 - turned[..., 0::2]
    (here,) = two.propose_moving([frame], [stack], [0])
    (there,) = two.propose_moving([frame[:, ::-1].copy()], [turned], [0])
    mirrored = np.stack([96 - there.boxes[:, 2], there.boxes[:, 1], 96 - there.boxes[:, 0], there.boxes[:, 3]], 1)
    np.testing.assert_allclose(here.boxes, mirrored, atol=1e-2)


def test_the_files_must_be_one_of_each(tmp_path: Path) -> None:
    rgb, flow = write_rgb(tmp_path / "rgb.safetensors"), write_flow(tmp_path / "flow.safetensors")
    assert files_of(f"{rgb},{flow}") == [rgb, flow]
    assert len(files_of("bundled")) == 2
    assert len(files_of("bundled-rgb")) == 1
    assert files_of("torchvision:x") == []
    with pytest.raises(ProposalError, match="goes with a network that sees frames"):
        open_proposer(flow)
    with pytest.raises(ProposalError, match="the first sees RGB frames and the second flow"):
        open_proposer(f"{rgb},{rgb}")
    only_objects = open_proposer(f"{rgb},{flow}", config=replace(CONFIG, mode="objectness"))
    assert isinstance(only_objects, DetectorProposer)


# ---- pipeline


class Watched(TwoStreamProposer):
    """Answers with one box, and remembers what it was shown."""

    def __init__(self) -> None:
        self.flow, self.flow_frames = FLOW, (-1, 0, 2)
        self.seen: dict[int, np.ndarray] = {}

    def propose_moving(
        self, frames: Sequence[np.ndarray], stacks: Sequence[np.ndarray], indices: Sequence[int]
    ) -> list[Detections]:
        self.seen |= dict(zip(indices, stacks))
        return [Detections(i, np.float32([[4, 4, 30, 28]]), np.float32([0.5])) for i in indices]


@pytest.mark.parametrize("streams", [("rgb",), ("rgb", "flow")], ids="+".join)
@pytest.mark.parametrize("count", [1, 2, 7, 25])
def test_key_frames_come_with_the_flow_around_them(count: int, streams: tuple[str, ...]) -> None:
    frames, watched = moving(count), Watched()
    config = PipelineConfig(proposal_stride=3, clip_stride=4, batch_frames=2, precision="fp32")
    scored = score_video(Pictures(frames), "v", watched, [loaded(stream) for stream in streams], config)
    assert [len(found) for found in scored.detections] == [1] * count
    assert sorted(watched.seen) == sorted({*range(0, count, 3), count - 1})
    flow = list(flow_of_frames(frames, FLOW))
    for frame, stack in watched.seen.items():
        around = frames_around(frame, (-1, 0, 2), 0, count - 1)
        np.testing.assert_array_equal(stack, motion_stack([flow[k] for k in around]))


class Shots(Pictures):
    """Two shots of 12 frames: dark noise, bright noise."""

    def _frames(self) -> Iterator[np.ndarray]:
        dark, bright = moving(12), moving(12)
        yield from (frame // 8 for frame in dark)
        yield from (200 + frame // 8 for frame in bright)


def test_flow_does_not_lead_across_a_cut() -> None:
    watched = Watched()
    config = PipelineConfig(proposal_stride=1, clip_stride=4, batch_frames=2, precision="fp32")
    scored = score_video(Shots([]), "v", watched, loaded("rgb"), config)
    assert scored.cuts == (12,)
    assert len(watched.seen) == 24
    flow = list(flow_of_frames(Shots([]), FLOW))
    for frame, bounds in ((11, (0, 10)), (10, (0, 10)), (12, (12, 23)), (13, (12, 23))):
        expected = motion_stack([flow[k] for k in frames_around(frame, (-1, 0, 2), *bounds)])
        np.testing.assert_array_equal(watched.seen[frame], expected)
