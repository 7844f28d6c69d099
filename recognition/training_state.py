"""Training state on disk: what a killed run needs to go on as if nothing had happened.

Weights for use are safetensors (recognition/model_files.py); this is the optimizer, the position in the
data and the random number generator, written whole or not at all, read without executing code.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from linking.files import replace_when_whole

FORMAT = 1


class TrainingStateError(ValueError):
    """A training state that cannot be resumed from."""


def save_training_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, and containers of them) and torch's CPU generator state."""
    with replace_when_whole(path) as temporary:
        torch.save({"format": FORMAT, "torch_rng": torch.get_rng_state(), **state}, temporary)


def load_training_state(path: str | Path, *, settings: dict[str, Any]) -> dict[str, Any]:
    """Read a state and restore torch's generator.

    Args:
        path: as written by :func:`save_training_state`.
        settings: of the run that wants to resume; must equal the ``settings`` entry that was saved.

    Raises:
        TrainingStateError: the file is missing, damaged, or of a run with other settings.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingStateError(f"{path}: no such training state") from error
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise TrainingStateError(f"{path}: damaged training state; delete it to start again") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingStateError(f"{path}: not a training state of this version; delete it to start again")
    saved = state.get("settings", {})
    changed = sorted(key for key in {*saved, *settings} if saved.get(key) != settings.get(key))
    if changed:
        details = ", ".join(f"{key} was {saved.get(key)!r}, now {settings.get(key)!r}" for key in changed)
        raise TrainingStateError(f"{path}: cannot resume with other settings: {details}"[:300])
    torch.set_rng_state(state["torch_rng"])
    return state


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names, by which :func:`load_training_state` says what has changed."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
