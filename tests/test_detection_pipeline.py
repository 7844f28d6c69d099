"""The streaming pipeline: which frames are proposed on, which clip scores which box, what memory holds."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from detection.clip_scores import ClipScores
from detection.pipeline import PipelineConfig, Timings, score_video
from detection.scorer import ActionScorer, LoadedScorer, ScorerConfig
from linking.records import Detections
from recognition.lgd3d import lgd3d_small
from recognition.model_files import ModelFile
from recognition.preprocessing import Preprocessing, normalise_clips
from video.source import VideoSource

HEIGHT, WIDTH = 48, 64
CONFIG = PipelineConfig(proposal_stride=1, clip_stride=4, min_actor_score=0.0, precision="fp32", actor_weight=0.0)


class Pictures(VideoSource):
    """A video in memory."""

    width, height, fps = WIDTH, HEIGHT, 10.0

    def __init__(self, frames: Sequence[np.ndarray]) -> None:
        super().__init__("pictures")
        self.pictures = frames

    def _frames(self) -> Iterator[np.ndarray]:
        yield from self.pictures


class OneBox:
    """Proposes one box that moves a pixel a frame, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        self.asked.append(list(indices))
        for frame, index in zip(frames, indices):
            assert frame[0, 0, 0] == index  # the picture belongs to the index
        return [Detections(i, np.float32([[i, 8, i + 20, 40]]), np.float32([0.81])) for i in indices]


def pictures(count: int, seed: int = 0) -> Pictures:
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 255, (HEIGHT, WIDTH, 3))
    frames = [np.roll(texture, k, axis=1).astype(np.uint8) for k in range(count)]
    for index, frame in enumerate(frames):
        frame[0, 0, 0] = index
    return Pictures(frames)


@pytest.fixture(scope="module")
def scorer() -> LoadedScorer:
    torch.manual_seed(0)
    config = ScorerConfig(
        num_classes=3,
        backbone=lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 32), stem_width=8),
        clip_frames=8,
        short_side=HEIGHT,
    )
    network = ActionScorer(config).eval()
    with torch.no_grad():  # random weights of the usual size would give every box the same scores
        network.region_classifier.weight.mul_(100)
    file = ModelFile(None, "", {}, ("a", "b", "c"), {}, {}, {}, "", "")  # type: ignore[arg-type]
    return LoadedScorer(network, ("a", "b", "c"), Preprocessing(), file)


def run(scorer: LoadedScorer, video: VideoSource, config: PipelineConfig = CONFIG, proposer: object = None):
    return score_video(video, "v", proposer or OneBox(), scorer, config)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 16, 19])
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_every_frame_is_answered_in_order(scorer: LoadedScorer, count: int, stride: int) -> None:
    scored = run(scorer, pictures(count), replace(CONFIG, proposal_stride=stride))
    assert [d.frame for d in scored.detections] == list(range(count))
    for found in scored.detections:  # the box moves in a straight line, so stride does not matter here
        np.testing.assert_allclose(found.boxes, [[found.frame, 8, found.frame + 20, 40]], rtol=1e-6)
        assert found.class_scores is not None
        assert found.class_scores.shape == (1, 3)
    assert (scored.width, scored.height, scored.fps) == (WIDTH, HEIGHT, 10.0)


def test_a_clip_scores_the_frames_in_its_middle(scorer: LoadedScorer) -> None:
    """Frames 8..11 at clip_stride 4 belong to the clip of the 8 frames 6..13, centred on frame 10."""
    video = pictures(20)
    scored = run(scorer, video)
    clip = normalise_clips(np.stack(video.pictures[6:14]), Preprocessing())
    regions = torch.tensor([[k - 6.0, k, 8, k + 20, 40] for k in range(8, 12)])
    with torch.no_grad():
        logits, _ = scorer.network(clip, [regions])
    expected = scorer.network.class_probabilities(logits).numpy()
    got = np.concatenate([d.class_scores for d in scored.detections[8:12] if d.class_scores is not None])
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
    assert got.std() > 1e-3  # the comparison would see a wrong clip


def test_batching_does_not_change_the_scores(scorer: LoadedScorer) -> None:
    one = run(scorer, pictures(19), replace(CONFIG, batch_clips=1, batch_frames=1))
    many = run(scorer, pictures(19), replace(CONFIG, batch_clips=4, batch_frames=3))
    for a, b in zip(one.detections, many.detections):
        np.testing.assert_allclose(a.class_scores, b.class_scores, rtol=1e-3, atol=1e-6)


def test_proposals_run_on_every_kth_frame_and_on_the_last(scorer: LoadedScorer) -> None:
    proposer = OneBox()
    run(scorer, pictures(11), replace(CONFIG, proposal_stride=4, batch_frames=2), proposer)
    assert proposer.asked == [[0, 4], [8, 10]]


def test_nothing_is_carried_across_a_cut(scorer: LoadedScorer) -> None:
    frames = [*pictures(6, seed=1).pictures, *pictures(6, seed=2).pictures]
    frames[6:] = [np.full_like(frame, 250) for frame in frames[6:]]
    for index, frame in enumerate(frames):
        frame[0, 0, 0] = index
    proposer = OneBox()
    scored = run(scorer, Pictures(frames), replace(CONFIG, proposal_stride=4, batch_frames=1), proposer)
    assert scored.cuts == (6,)
    assert [index for asked in proposer.asked for index in asked] == [0, 4, 5, 6, 10, 11]
    assert [d.frame for d in scored.detections] == list(range(12))


def test_frames_without_boxes_run_no_network(scorer: LoadedScorer) -> None:
    class Nothing:
        def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
            return [Detections(i, np.zeros((0, 4)), np.zeros(0)) for i in indices]

    timings = Timings()
    scored = score_video(pictures(9), "v", Nothing(), scorer, CONFIG, timings=timings)
    assert [len(d) for d in scored.detections] == [0] * 9
    assert (timings.frames, timings.key_frames, timings.clips, timings.boxes) == (9, 9, 0, 0)


@pytest.mark.parametrize("count", [4, 5, 8])
def test_an_empty_last_frame_is_answered_once(scorer: LoadedScorer, count: int) -> None:
    """An empty Detections is falsy, which once made the last frame be asked for a second time."""

    class Beginning(OneBox):
        def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
            found = super().propose(frames, indices)
            return [d if d.frame < 2 else Detections(d.frame, np.zeros((0, 4)), np.zeros(0)) for d in found]

    scored = run(scorer, pictures(count), replace(CONFIG, batch_frames=4), Beginning())
    assert [len(d) for d in scored.detections] == [1, 1] + [0] * (count - 2)


def test_the_best_boxes_are_scored_and_weighted_by_the_actor_score(scorer: LoadedScorer) -> None:
    class Many:
        def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
            boxes = np.float32([[0, 0, 20, 20], [10, 10, 40, 40], [20, 5, 60, 45]])
            return [Detections(i, boxes, np.float32([0.01, 0.25, 0.64])) for i in indices]

    config = replace(CONFIG, max_boxes=2, min_actor_score=0.3)
    scored = run(scorer, pictures(4), config, Many())
    np.testing.assert_allclose(scored.detections[0].scores, [0.64])
    plain = scored.detections[0].class_scores
    weighted = run(scorer, pictures(4), replace(config, actor_weight=0.5), Many()).detections[0].class_scores
    assert plain is not None
    np.testing.assert_allclose(weighted, plain * 0.8, rtol=1e-5)


def test_it_can_be_stopped_between_two_frames(scorer: LoadedScorer) -> None:
    seen: list[int] = []
    scored = score_video(
        pictures(20), "v", OneBox(), scorer, CONFIG, on_frame=seen.append, until=lambda: len(seen) >= 7
    )
    assert scored.num_frames == 7


def test_frames_are_let_go_as_soon_as_no_clip_needs_them(scorer: LoadedScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    original = ClipScores.add_frame

    def watch(self: ClipScores, frame: np.ndarray) -> None:
        original(self, frame)
        held.append(len(self.frames))

    monkeypatch.setattr(ClipScores, "add_frame", watch)
    run(scorer, pictures(120), replace(CONFIG, proposal_stride=4, batch_frames=2))
    assert max(held) <= 8 + 4 + 2 * 4  # a clip, its stride, and the frames that wait for their proposals


@pytest.mark.parametrize(("name", "value"), [("proposal_stride", 0), ("max_boxes", -1)])
def test_settings_without_sense_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 1 or more"):
        PipelineConfig(**{name: value})


def test_a_clip_stride_beyond_the_clip_is_refused(scorer: LoadedScorer) -> None:
    with pytest.raises(ValueError, match="clip_stride must be at most 8"):
        run(scorer, pictures(4), replace(CONFIG, clip_stride=9))
