"""The kernel classifier of LGD (CVPR 2019, section 4.3): second-order features of both paths, one linear layer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from recognition.lgd_block import check_choice
from recognition.sketch import TensorSketch

SketchForm = Literal["none", "channels", "sqrt_l2", "l2_sqrt"]
SKETCH_FORMS = ("none", "channels", "sqrt_l2", "l2_sqrt")

# Far below any entry that matters; keeps the slope of the signed root finite at zero. A lower bound and not added, for
# onnxscript takes a sum with 1e-8 for one with nothing and leaves it out: then entries of zero become NaN.
_TINY = 1e-8


class KernelHead(nn.Module):
    """Eq. 7: one linear layer on Phi = [mean over positions of phi(x_i), phi(g)] (Eq. 5), phi a tensor sketch.

    With ``form="none"`` the inner product of two Phi is, on average, the sum of the two kernels of Eq. 4: the mean
    of <x_i, y_j>^2 over all pairs of positions, and <g, h>^2.

    Args:
        channels: C of the local map and of the global vector.
        num_classes: outputs.
        sketch_size: d; Phi has 2 d entries. The paper does not give it; 8192 is that of compact bilinear pooling.
        form: how each half of Phi is normalised before the layer. "none": not at all, Eq. 5. "channels": divided
            by C, Eq. 5 up to scale. "sqrt_l2": signed square root, then length 1 (compact bilinear pooling, Gao et
            al., CVPR 2016), whose short features need ten times the learning rate in the layer or more. "l2_sqrt":
            length 1, then signed square root (later code of the LGD authors' group).
        dropout: share of Phi zeroed before the layer in training.
        seed: of the hashes, which both halves share.

    Deviation: the paper names no normalisation, but |Phi| grows with |x|^2, into the thousands for a network that
    starts from Xavier, where no usual learning rate trains the layer. Hence the forms.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        sketch_size: int = 8192,
        form: SketchForm = "l2_sqrt",
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_choice("sketch form", form, SKETCH_FORMS)
        self.form = form
        self.sketch = TensorSketch(channels, sketch_size, seed=seed)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * sketch_size, num_classes)

    def forward(self, local: Tensor, global_: Tensor) -> Tensor:
        """(B, C, T, H, W), (B, C) -> (B, num_classes) logits."""
        features = self.dropout(self.features(local, global_))
        return self.classifier(features.to(self.classifier.weight.dtype))

    def features(self, local: Tensor, global_: Tensor) -> Tensor:
        """Phi of Eq. 5 in the head's form: (B, 2 * sketch_size), float32 (float64 for float64)."""
        halves = self.sketch.mean(_positions(local)), self.sketch(global_)
        return torch.cat([half * self._scale(half) for half in halves], dim=1)

    def class_maps(self, local: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, num_classes, T, H, W): what each position adds to each class.

        The mean over the positions, plus the share of the global half and the bias, is the logit exactly, in every
        form: a half is its mean sketch times a scale an entry, and the scale is taken from the whole clip.
        """
        sketches = self.sketch(_positions(local))  # (B, N, d)
        scaled = sketches * self._scale(sketches.mean(dim=1))[:, None]
        weight = self.classifier.weight[:, : self.sketch.size].to(scaled.dtype)
        maps = torch.einsum("bnd,kd->bkn", scaled, weight)
        return maps.unflatten(2, local.shape[2:])

    def _scale(self, half: Tensor) -> Tensor:
        """What a half of Phi (B, d) is multiplied by, entry by entry."""
        if self.form == "none":
            return torch.ones_like(half)
        if self.form == "channels":
            return torch.full_like(half, 1 / self.sketch.in_features)
        if self.form == "sqrt_l2":
            root = torch.rsqrt(half.abs().clamp_min(_TINY))
            return root / _length(half * root)
        length = _length(half)
        return torch.rsqrt((half / length).abs().clamp_min(_TINY)) / length


def _positions(local: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, T*H*W, C)."""
    return local.permute(0, 2, 3, 4, 1).flatten(1, 3)


def _length(half: Tensor) -> Tensor:
    """(B, d) -> (B, 1), never zero."""
    return torch.linalg.vector_norm(half, dim=1, keepdim=True).clamp_min(_TINY)
