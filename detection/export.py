"""The action scorer as one function of pixels and boxes, for export."""

from __future__ import annotations

from torch import Tensor, nn

from detection.scorer import LoadedScorer
from recognition.export import Normalise


class ScorerOnPixels(nn.Module):
    """A clip and boxes in it -> a probability a class and box: normalisation, RoIAlign and softmax inside.

    ``clips`` (1, T, H, W, C) uint8 pixels; ``regions`` (n, 5) float32: frame within the clip, then x1 y1 x2 y2 in
    pixels of the clip; the result is (n, classes) without the background.
    """

    def __init__(self, scorer: LoadedScorer) -> None:
        super().__init__()
        self.network = scorer.network
        self.normalise = Normalise(scorer.preprocessing)

    def forward(self, clips: Tensor, regions: Tensor) -> Tensor:
        logits, _ = self.network(self.normalise(clips), [regions])
        return self.network.class_probabilities(logits)
