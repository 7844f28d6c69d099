"""Networks as ONNX files, compared with what they compute here before anything is written.

The packages onnx, onnxscript and onnxruntime are needed for that and for nothing else (the extra ``export``).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from linking.files import replace_when_whole
from recognition.preprocessing import Preprocessing

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
"""Largest difference of a probability that is taken for rounding."""


class ExportError(ValueError):
    """A network that cannot be exported, or whose export computes something else."""


@dataclass(frozen=True, eq=False)
class Example:
    """An input to export with or to compare by."""

    tensors: Mapping[str, Tensor]
    """By the names that the inputs have in the file, in the order of the module's arguments."""


class ClassifierOnPixels(nn.Module):
    """Pixels (B, T, H, W, C) uint8 -> probabilities (B, classes) of the first head; normalisation is inside."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.normalise = Normalise(preprocessing)

    def forward(self, clips: Tensor) -> Tensor:
        return torch.softmax(self.network(self.normalise(clips))[0], dim=1)


class PoolingOnFeatures(nn.Module):
    """Features of a video's clips (B, clips, D), streams one behind the other -> probabilities (B, classes)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        return torch.softmax(self.network(features)[0], dim=1)


class Normalise(nn.Module):
    """``normalise_clips`` as a part of a network: (B, T, H, W, C) uint8 -> (B, C, T, H, W) float."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std) * 255, persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        return ((clips.float() - self.mean) / self.std).permute(0, 4, 1, 2, 3)


def export_onnx(
    module: nn.Module,
    path: str | os.PathLike[str],
    example: Example,
    others: Sequence[Example],
    *,
    output: str,
    about: Mapping[str, Any],
) -> float:
    """Write ``module`` (in eval mode, one output) as ONNX and return the largest difference of its results.

    Args:
        module: takes the tensors of ``example`` in their order.
        path: of the file, written whole or not at all.
        example: to export with. A first dimension in which one of ``others`` differs is left open in the file.
        others: further inputs; the file is compared with ``module`` on these and on ``example``.
        output: name of the output.
        about: plain values for the file's metadata, a JSON text each.

    Raises:
        ExportError: a package is missing, the network cannot be exported, or the file computes something else by more
            than TOLERANCE.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"export needs {', '.join(missing)}: pip install -e '.[export]', or {' '.join(missing)}")
    for name in PACKAGES:
        importlib.import_module(name)
    open_first = {
        name: {0: torch.export.Dim(f"number_of_{name}", min=1)}
        if any(len(other.tensors[name]) != len(tensor) for other in others)
        else None
        for name, tensor in example.tensors.items()
    }
    module.eval()
    # The exporter tells its progress on standard output, which is for results.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module,
                tuple(example.tensors.values()),
                dynamo=True,
                input_names=list(example.tensors),
                output_names=[output],
                dynamic_shapes=tuple(open_first.values()),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(f"the network cannot be exported: {_one_line(error)}") from None
    assert program is not None
    program.model.metadata_props.update({key: json.dumps(value) for key, value in about.items()})
    with replace_when_whole(path) as temporary:
        program.save(str(temporary))
        worst = max(_difference(module, temporary, one, output) for one in (example, *others))
        if not worst <= TOLERANCE:
            raise ExportError(f"{path}: not written, for its results are {worst:.2g} away from the network's")
    return worst


def _difference(module: nn.Module, path: Path, example: Example, output: str) -> float:
    """Between the module and the file: the largest of any number of the output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (found,) = session.run([output], {name: tensor.numpy() for name, tensor in example.tensors.items()})
    with torch.inference_mode():
        expected = module(*example.tensors.values()).numpy()
    assert found.shape == expected.shape, f"{found.shape} for {expected.shape}"
    return float(np.abs(found - expected).max(initial=0))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
