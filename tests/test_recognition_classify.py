"""Classification of videos: which clips are seen, how their scores are averaged, what happens to unreadable files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recognition.classify import ClassifyConfig, classify_dataset, classify_video, clip_scores, clips_of
from recognition.clip_sampling import ClipInput
from recognition.preprocessing import Preprocessing
from tests.squares import FRAMES, HEIGHT, WIDTH, square_videos
from video.class_datasets import ClassDataset, ClassifiedVideo, open_classes
from video.clips import read_video

CLIP = ClipInput(
    frames=4,
    short_side=24,
    crop=20,
    test_short_side=24,
    test_clips=3,
    preprocessing=Preprocessing((0.0,) * 3, (1 / 255,) * 3),  # the pixels as they are
)


class Brightness(nn.Module):
    """Logits are the mean red of a clip and zero; a second head says the opposite."""

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        red = clips[:, 0].mean(dim=(1, 2, 3)) / 100
        logits = torch.stack([red, torch.zeros_like(red)], dim=1)
        return logits, -logits


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ClassDataset:
    folder = tmp_path_factory.mktemp("squares")
    square_videos(folder, count=2)
    return open_classes(folder)


def test_the_clips_are_whole_frames_at_equal_distances(dataset: ClassDataset) -> None:
    found = clips_of(dataset.videos[0], CLIP)
    assert found.frames.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert found.clips.shape == (3, 4, 24, 24 * WIDTH // HEIGHT, 3)
    video = read_video(dataset.videos[0].path, size=(24, 32))
    assert len(video) == FRAMES
    np.testing.assert_array_equal(found.clips.flatten(0, 1).numpy(), video)
    assert clips_of(dataset.videos[0], replace(CLIP, test_crop=20)).clips.shape == (3, 4, 20, 20, 3)


def test_the_score_of_a_video_is_the_mean_of_its_clips_probabilities(dataset: ClassDataset) -> None:
    clips = clips_of(dataset.videos[0], CLIP).clips
    red = clips[..., 0].double().mean(dim=(1, 2, 3)) / 100
    expected = torch.sigmoid(red).mean().item()
    config = ClassifyConfig(batch_clips=2)
    scores = classify_video(Brightness(), dataset.videos[0], CLIP, config)
    assert scores.tolist() == pytest.approx([expected, 1 - expected], rel=1e-4)
    both = clip_scores(Brightness(), clips, CLIP, ClassifyConfig(paths="mean"), "cpu")
    np.testing.assert_allclose(both, 0.5, atol=1e-6)


def test_only_the_labelled_part_is_classified(dataset: ClassDataset) -> None:
    part = replace(dataset.videos[0], start=0.16, end=0.32)  # frames 4..7
    assert clips_of(part, CLIP).frames.tolist() == [[0, 1, 2, 3]]
    whole = clips_of(dataset.videos[0], CLIP).clips
    assert torch.equal(clips_of(part, CLIP).clips[0], whole[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataset_gives_a_row_a_video_and_a_line_for_each_that_cannot_be_read(
    dataset: ClassDataset, tmp_path: Path, workers: int
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    broken = ClassifiedVideo(tmp_path / "broken.mp4", "down", "broken")
    mixed = replace(dataset, videos=(broken, *dataset.videos))
    done: list[int] = []
    scores, failures = classify_dataset(
        Brightness(), mixed, ("bright", "dark"), CLIP, ClassifyConfig(), workers=workers, on_video=done.append
    )
    assert scores.videos == tuple(video.name for video in dataset.videos)
    assert scores.labels == ("down", "right")
    assert scores.class_names == ("bright", "dark")
    expected = classify_video(Brightness(), dataset.videos[1], CLIP, ClassifyConfig())
    np.testing.assert_array_equal(scores.scores[1], expected)
    assert len(failures) == 1
    assert "broken.mp4" in failures[0]
    assert done == [1, 2, 3]


def test_a_dataset_of_which_nothing_can_be_read(dataset: ClassDataset, tmp_path: Path) -> None:
    gone = replace(dataset, videos=(ClassifiedVideo(tmp_path / "gone.mp4", "down", "gone"),))
    scores, failures = classify_dataset(Brightness(), gone, ("bright", "dark"), CLIP, ClassifyConfig())
    assert scores.scores.shape == (0, 2)
    assert len(failures) == 1
