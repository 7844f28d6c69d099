"""Pixels to network input."""

import json

import numpy as np
import pytest
import torch

from recognition.preprocessing import Preprocessing, normalise_clips


def test_pixels_become_standard_scores_in_channel_order():
    pixels = np.zeros((2, 1, 1, 3), np.uint8)  # two frames of one pixel
    pixels[1, 0, 0] = (255, 51, 0)
    out = normalise_clips(pixels, Preprocessing(mean=(0.5, 0.1, 0.0), std=(0.25, 0.5, 1.0)))
    assert out.shape == (1, 3, 2, 1, 1)
    assert out[0, :, 0, 0, 0].tolist() == pytest.approx([-0.5 / 0.25, -0.1 / 0.5, 0])
    assert out[0, :, 1, 0, 0].tolist() == pytest.approx([0.5 / 0.25, 0.1 / 0.5, 0])


def test_defaults_are_the_transforms_of_torchvisions_weights():
    from torchvision.transforms._presets import ImageClassification

    pixels = torch.randint(
        0, 256, (1, 4, 24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    expected = ImageClassification(crop_size=24, resize_size=24)(
        pixels[0].permute(0, 3, 1, 2)
    )  # (T, C, H, W)
    assert torch.allclose(normalise_clips(pixels, Preprocessing())[0].transpose(0, 1), expected, atol=1e-6)


def test_input_is_left_as_it_was_and_may_be_a_view():
    pixels = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 3, 4, 5, 3)
    before = pixels.copy()
    turned = normalise_clips(pixels[:, ::2, :, 1:4], Preprocessing())
    assert torch.equal(turned, normalise_clips(pixels[:, ::2, :, 1:4].copy(), Preprocessing()))
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (np.zeros((4, 8, 8, 3), np.float32), "uint8 pixels, got torch.float32"),
        (np.zeros((4, 8, 8, 4), np.uint8), r"\(B, T, H, W, 3\) or one dimension less, got \(4, 8, 8, 4\)"),
        (np.zeros((8, 8, 3), np.uint8), r"got \(8, 8, 3\)"),
    ],
)
def test_other_arrays_are_refused(clips, message):
    with pytest.raises(ValueError, match=message):
        normalise_clips(clips, Preprocessing())


def test_preprocessing_survives_json_and_refuses_nonsense():
    flow = Preprocessing(mean=(0.5, 0.5), std=(0.25, 0.25))
    assert Preprocessing.from_dict(json.loads(json.dumps(flow.to_dict()))) == flow
    with pytest.raises(ValueError, match="unknown option 'means'; Preprocessing has mean, std"):
        Preprocessing.from_dict({"means": (0, 0, 0)})
    with pytest.raises(ValueError, match="one number a channel"):
        Preprocessing(mean=(0.5,))
    with pytest.raises(ValueError, match="std positive"):
        Preprocessing(std=(1, 0, 1))
    with pytest.raises(ValueError, match="mean must be finite"):
        Preprocessing(mean=(0.5, float("nan"), 0.5))
