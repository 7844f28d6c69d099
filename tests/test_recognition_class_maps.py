"""Class activation maps of a video: which frame each belongs to, and where it lies in the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recognition.class_maps import video_maps
from recognition.classify import ClassifyConfig, VideoClips
from recognition.clip_sampling import ClipInput
from recognition.lgd3d import lgd3d_small
from recognition.lgd_classifier import LGDClassifier, LGDClassifierConfig
from recognition.preprocessing import Preprocessing

CLIP = ClipInput(
    frames=4, short_side=32, crop=32, test_short_side=32, preprocessing=Preprocessing((0.0,) * 3, (1 / 255,) * 3)
)


class Bright(nn.Module):
    """Class 0 is red, class 1 is green, class 2 nothing; cells of 16 pixels and two frames."""

    def class_maps(self, clips: Tensor) -> Tensor:
        cells = nn.functional.avg_pool3d(clips, (2, 16, 16))
        return torch.cat([cells[:, :2], torch.zeros_like(cells[:, :1])], dim=1)


def clips_with(values: dict[tuple[int, int], int]) -> VideoClips:
    """Two clips of frames 0..3 and 4..7, black but for a red or green frame of a clip."""
    clips = torch.zeros(2, 4, 32, 48, 3, dtype=torch.uint8)
    for (clip, frame), value in values.items():
        clips[clip, frame, ..., 0] = value
    return VideoClips(clips, np.arange(8).reshape(2, 4))


def test_a_map_belongs_to_the_frame_in_the_middle_of_its_cell() -> None:
    found = video_maps(Bright(), clips_with({(1, 2): 90}), [0], CLIP, ClassifyConfig(), size=(32, 48))
    assert found.frames.tolist() == [1, 3, 5, 7]
    # mean of the cell's two frames, less the mean over three classes
    values = found.maps[0, :, 0, 0]
    np.testing.assert_allclose(values, [0, 0, 0, 45 - 15], atol=1e-5)


def test_maps_of_the_same_frame_are_averaged() -> None:
    clips = clips_with({(0, 2): 90, (0, 3): 90})
    overlapping = replace(clips, frames=np.array([[0, 1, 2, 3], [0, 1, 2, 3]]))
    found = video_maps(Bright(), overlapping, [0], CLIP, ClassifyConfig(batch_clips=1), size=(32, 48))
    assert found.frames.tolist() == [1, 3]
    np.testing.assert_allclose(found.maps[0, :, 0, 0], [0, (60 + 0) / 2], atol=1e-5)


def test_cells_are_centred_at_multiples_of_the_stride() -> None:
    found = video_maps(Bright(), clips_with({}), [0, 1], CLIP, ClassifyConfig(), size=(320, 480))
    # 2 x 3 cells of 16 pixels, the last repeated: from -8 to 40 of 32 pixels, and to 56 of 48
    assert found.maps.shape == (2, 4, 3, 4)
    assert found.area == pytest.approx((-8 / 48, -8 / 32, 56 / 48, 40 / 32))


def test_a_middle_crop_lies_in_the_middle() -> None:
    clip = replace(CLIP, test_short_side=64, test_crop=32)
    clips = VideoClips(torch.zeros(1, 4, 32, 32, 3, dtype=torch.uint8), np.arange(4)[None])
    found = video_maps(Bright(), clips, [0], clip, ClassifyConfig(), size=(64, 128))
    # the crop is 48..80 of 128 and 16..48 of 64 pixels
    assert found.area == pytest.approx(((48 - 8) / 128, (16 - 8) / 64, (48 + 40) / 128, (16 + 40) / 64))


def test_a_network_without_a_map_of_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear has no map of the picture"):
        video_maps(nn.Linear(1, 1), clips_with({}), [0], CLIP, ClassifyConfig(), size=(32, 48))


def test_the_maps_of_lgd_lie_where_the_picture_is() -> None:
    """A spot that alone is bright is found where it is, not half a cell aside."""
    torch.manual_seed(0)
    small = lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 32), stem_width=8, block="none")
    network = LGDClassifier(LGDClassifierConfig(2, small)).eval()
    clips = torch.zeros(1, 8, 128, 128, 3, dtype=torch.uint8)
    clips[:, :, 60:68, 60:68] = 255  # centre (64, 64)
    empty = torch.zeros_like(clips)
    clip = replace(CLIP, frames=8, test_short_side=128)

    def maps_of(pixels: Tensor) -> np.ndarray:
        frames = VideoClips(pixels, np.arange(8)[None])
        found = video_maps(network, frames, [0], clip, ClassifyConfig(), size=(128, 128))
        assert found.area == pytest.approx((-1 / 16, -1 / 16, 17 / 16, 17 / 16))
        return found.maps[0].mean(axis=0)[:8, :8]

    response = np.abs(maps_of(clips) - maps_of(empty))
    rows, columns = np.mgrid[:8, :8] * 16  # centres of the cells in pixels
    assert (response * rows).sum() / response.sum() == pytest.approx(64, abs=4)
    assert (response * columns).sum() / response.sum() == pytest.approx(64, abs=4)
