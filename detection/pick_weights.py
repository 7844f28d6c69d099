"""Which networks a run uses, where they come from and under which terms: chosen by the user, or by what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from detection.detect import BUNDLED_SCORERS, bundled_scorers
from detection.kinetics_scorer import KNOWLEDGE, PREFIX, kinetics_scorer
from detection.scorer import LoadedScorer, load_scorer
from recognition.download import without_secrets
from recognition.weights_location import CACHE_ONLY, Fetch, locate_weights

PRESETS = ("auto", "bundled", "kinetics")
_OWN_TERMS = "Apache-2.0, as this program"
_UNKNOWN_TERMS = "terms as its publisher says"
_TORCHVISION_TERMS = (
    "published by torchvision, which gives its weights no licence of their own: it is for you to see that the terms of "
    "{data} allow your use"
)
_KINETICS = "Kinetics-400 (labels CC BY 4.0, videos their owners')"
_COCO = "COCO (labels CC BY 4.0, pictures their owners')"


@dataclass(frozen=True)
class _Size:
    scorer: str
    proposals: str


SIZES = {
    "cpu": _Size("torchvision:r2plus1d_18", "torchvision:fasterrcnn_mobilenet_v3_large_fpn"),
    "cuda": _Size("torchvision:swin3d_s", "torchvision:fasterrcnn_resnet50_fpn_v2"),
}
"""What the preset "kinetics" takes, by device. CPU s a clip, bf16, one core: r2plus1d_18 0.7, swin3d_t 6.6."""


@dataclass(frozen=True)
class Picked:
    """Words for the networks of a run."""

    preset: str
    """"bundled", "kinetics", or "own" where the user named the weights."""
    scorers: tuple[str, ...]
    """What :func:`open_scorer` takes."""
    proposals: str
    """What ``open_proposer`` takes."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of ``DetectConfig``, where the user says nothing else."""


@dataclass(frozen=True)
class Origin:
    """Where one network comes from, for people and for run.json."""

    part: str
    """"scorer" or "proposals"."""
    source: str
    file: str | None
    terms: str
    knowledge: str | None = None
    """What its scores can mean, where that is not what one would think."""


def pick_weights(
    preset: str = "auto",
    *,
    weights: Sequence[str] = (),
    streams: str | None = None,
    proposals: str | None = None,
    device: str = "cpu",
    fetch: Fetch = CACHE_ONLY,
) -> Picked:
    """The networks of a run.

    ``weights``, ``streams`` and ``proposals`` are what the user named; the preset says the rest. "auto" is "kinetics"
    where fetching was asked for, for then there is more than what comes with the program, and "bundled" otherwise: what
    lies in the cache by chance decides nothing. ValueError for an unknown preset or stream.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known are {', '.join(PRESETS)}")
    size = SIZES["cuda" if device.startswith("cuda") else "cpu"]
    if preset == "auto":
        preset = "kinetics" if fetch.download and not streams else "bundled"
    if weights:
        chosen = tuple(weights)
    elif preset == "kinetics":
        chosen = (size.scorer,)
    else:
        chosen = tuple(str(path) for path in bundled_scorers(streams))
    is_kinetics = any(word.startswith(PREFIX) for word in chosen)
    # a clip lasts a second or more: eight frames further on it would say much the same
    settings = {"pipeline": {"clip_stride": 16}} if is_kinetics else {}
    if proposals is None:
        # without a stream of flow there shall be none for the boxes either
        bundled = "bundled-rgb" if streams and "flow" not in streams else "bundled"
        proposals = size.proposals if is_kinetics or preset == "kinetics" else bundled
    return Picked("own" if weights else preset, chosen, proposals, settings)


def open_scorer(word: str, fetch: Fetch = CACHE_ONLY, device: str = "cpu") -> LoadedScorer:
    """The scorer of a file, an address, the hub, or ``torchvision:NAME``; ValueError, one line, where there is none."""
    if word.startswith(PREFIX):
        return kinetics_scorer(word.removeprefix(PREFIX), fetch, device)
    return load_scorer(locate_weights(word, fetch).path, device)


def origins(picked: Picked, scorers: Sequence[LoadedScorer]) -> list[Origin]:
    """Where each network of a run comes from."""
    found = []
    for word, scorer in zip(picked.scorers, scorers):
        file = Path(scorer.file.path).name
        if word.startswith(PREFIX):
            found.append(Origin("scorer", word, file, _TORCHVISION_TERMS.format(data=_KINETICS), KNOWLEDGE))
        elif Path(word) in BUNDLED_SCORERS.values():
            found.append(Origin("scorer", "bundled", file, _OWN_TERMS))
        else:
            found.append(Origin("scorer", _shown(word), file, _UNKNOWN_TERMS))
    word = picked.proposals
    if word.startswith(PREFIX):
        found.append(Origin("proposals", word, None, _TORCHVISION_TERMS.format(data=_COCO)))
    elif word in ("bundled", "bundled-rgb"):
        found.append(Origin("proposals", "bundled", None, _OWN_TERMS))
    else:
        found.append(Origin("proposals", _shown(word), None, _UNKNOWN_TERMS))
    return found


def told(found: Sequence[Origin]) -> list[str]:
    """Lines for a person, one a source; files of the user's own go without saying."""
    parts: dict[tuple[str, str, str | None], list[str]] = {}
    for origin in found:
        if origin.terms != _UNKNOWN_TERMS or "://" in origin.source:
            parts.setdefault((origin.source, origin.terms, origin.knowledge), []).append(origin.part)
    return [
        f"{' and '.join(dict.fromkeys(names))}: {source}; {terms}" + (f". {knowledge}" if knowledge else "")
        for (source, terms, knowledge), names in parts.items()
    ]


def picked_record(picked: Picked, found: Sequence[Origin]) -> dict[str, Any]:
    """The same for run.json."""
    return {"preset": picked.preset, "networks": [asdict(origin) for origin in found]}


def _shown(word: str) -> str:
    """A word of the command line without what an address may hide."""
    return without_secrets(word) if "://" in word and not word.startswith("hf://") else word
