"""Model files: one .safetensors whose header holds all that is needed to rebuild and use the network.

The header's only key, ``lgd``, holds a JSON object: ``kind`` (what sort of network it is), ``config``,
``class_names``, ``preprocessing``, ``provenance``, ``format_version`` and ``written_by``. Loading never runs code
from the file, never skips a key, and refuses what does not fit with one line that names the file.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from linking.files import replace_when_whole

FORMAT_VERSION = 1
_OWNER = "lgd-action-detection"
_HEADER = "lgd"
_DAMAGED = ": the file is damaged or its training diverged"


class ModelFileError(ValueError):
    """A model file that cannot be used; the text is one line with the file, the cause and what to do."""


@dataclass(frozen=True, eq=False)
class ModelFile:
    """What a model file holds."""

    path: Path
    kind: str
    """What sort of network the weights are for, "action_scorer" say; loading asks for one kind."""
    config: dict[str, Any]
    """Options of the network, for its ``from_dict``."""
    class_names: tuple[str, ...]
    """In the order of the network's outputs; empty where the network has no classes."""
    preprocessing: dict[str, Any]
    """For ``Preprocessing.from_dict``."""
    provenance: dict[str, Any]
    """How the weights came to be: data, recipe, seed, results."""
    state: dict[str, Tensor]
    """Float32 on the CPU, whatever the file stores; integer tensors as they are."""
    written_by: str
    """Name and version of the program that wrote the file."""
    sha256: str
    """Of the file's bytes, for the provenance of results."""


def save_model(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, Tensor],
    *,
    kind: str,
    config: Mapping[str, Any],
    class_names: Sequence[str],
    preprocessing: Mapping[str, Any],
    provenance: Mapping[str, Any],
    store: Literal["float32", "float16"] = "float32",
) -> None:
    """Write ``path`` whole or not at all; the same input gives the same bytes.

    ``store="float16"`` halves the file; :func:`load_model` gives float32 back. Raises ModelFileError for
    weights that are not finite (also: not finite in float16) and for header values that JSON cannot hold.
    """
    path = Path(path)
    dtype = {"float32": torch.float32, "float16": torch.float16}[store]
    state = {}
    for name, tensor in state_dict.items():
        # A copy of its own, in plain memory order: safetensors takes neither views nor channels_last.
        tensor = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        state[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    _check_finite(str(path), state, f" in {store}; not written")
    header = {
        "format_version": FORMAT_VERSION,
        "written_by": f"{_OWNER} {_own_version()}",
        "kind": kind,
        "config": dict(config),
        "class_names": list(class_names),
        "preprocessing": dict(preprocessing),
        "provenance": dict(provenance),
    }
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: header values must be plain JSON ({error}); not written") from None
    with replace_when_whole(path) as temporary:
        # All under one key: safetensors writes several keys in an order that changes from run to run.
        save_file(state, temporary, metadata={_HEADER: text})


def load_model(path: str | os.PathLike[str], kind: str) -> ModelFile:
    """Read a file of :func:`save_model`; ModelFileError unless it is whole, of this ``kind`` and finite."""
    path = Path(path)
    header, state = _read(path)
    missing = [key for key in ("format_version", "kind") if key not in header]
    if missing:
        raise ModelFileError(f"{path}: the header has no {missing[0]!r}; it was not written by this program")
    version = header["format_version"]
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: format version {version!r}, this program reads up to {FORMAT_VERSION}: update the program"
        )
    if header["kind"] != kind:
        raise ModelFileError(f"{path}: holds a model of kind {header['kind']!r}, {kind!r} is needed here")
    for key, expected in _FIELDS.items():
        if not isinstance(header.get(key), expected):
            raise ModelFileError(f"{path}: the header's {key!r} is missing or not a {expected.__name__}")
    _check_finite(str(path), state, _DAMAGED)
    return ModelFile(
        path=path,
        kind=kind,
        config=header["config"],
        class_names=tuple(str(name) for name in header["class_names"]),
        preprocessing=header["preprocessing"],
        provenance=header["provenance"],
        state={name: t.float() if t.is_floating_point() else t for name, t in state.items()},
        written_by=header["written_by"],
        sha256=file_sha256(path),
    )


def kind_of(path: str | os.PathLike[str]) -> str:
    """What sort of network a model file holds; ModelFileError where it is none."""
    header, _ = _read(Path(path))
    return str(header.get("kind"))


def load_state_(net: nn.Module, model: ModelFile) -> None:
    """Copy ``model.state`` into ``net``, as :func:`load_state_strictly_` does."""
    load_state_strictly_(net, model.state, str(model.path))


def load_state_strictly_(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy ``state`` into ``net``, or leave it as it was and raise a ModelFileError that begins with ``source``.

    It raises unless every key has its place, every shape fits and every weight is finite.
    """
    own = net.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    misshapen = [
        f"{name} is {tuple(state[name].shape)} and must be {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    complaints = [
        f"{len(found)} {what} ({found[0]}{', ...' if len(found) > 1 else ''})"
        for what, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if found
    ]
    if complaints:
        raise ModelFileError(f"{source}: weights do not fit the network: {'; '.join(complaints)}")
    _check_finite(source, state, _DAMAGED)
    net.load_state_dict(dict(state), strict=True)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_FIELDS: dict[str, type] = {
    "config": dict,
    "class_names": list,
    "preprocessing": dict,
    "provenance": dict,
    "written_by": str,
}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors as stored."""
    if path.is_dir():
        raise ModelFileError(f"{path}: is a folder, a .safetensors model file is needed")
    try:
        if path.stat().st_size == 0:
            raise ModelFileError(f"{path}: the file is empty; copy or download it again")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such model file") from None
    except SafetensorError as error:
        raise ModelFileError(
            f"{path}: not a whole .safetensors file ({_one_line(error)}); copy or download it again"
        ) from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or _one_line(error)})") from None
    if _HEADER not in metadata:
        raise ModelFileError(f"{path}: has no model header; it was not written by this program")
    try:
        header = json.loads(metadata[_HEADER])
    except ValueError as error:
        raise ModelFileError(f"{path}: the model header is not JSON ({_one_line(error)})") from None
    if not isinstance(header, dict):
        raise ModelFileError(f"{path}: the model header must be a JSON object")
    return header, state


def _check_finite(source: str, state: Mapping[str, Tensor], consequence: str) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelFileError(f"{source}: weights {name!r} are not finite{consequence}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]


def _own_version() -> str:
    try:
        return importlib.metadata.version(_OWNER)
    except importlib.metadata.PackageNotFoundError:  # run from a folder that was never installed
        return "unknown"
