"""Features of clips on disk: one file a video, what networks for temporal pooling are trained on.

``.npz`` (``numpy.load(..., allow_pickle=False)``): ``features`` (clips, D) of any float type and ``label`` are needed.
``seconds`` (clips) are the middles of the clips, by which streams are joined; ``about`` is JSON, what made
them. The name of the video is that of the file below its folder, without the suffix.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from linking.files import replace_when_whole

_LARGEST_HALF = 65504.0


class FeatureError(ValueError):
    """Features that cannot be used; one line with the file, the cause and what to do."""


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """Features of the clips of one video, in their order."""

    features: np.ndarray
    """(clips, D) float32, finite, at least one clip."""
    label: str
    """Class of the video, "" where it is unknown."""
    seconds: np.ndarray | None = None
    """(clips,) float64 second of each clip's middle; None where it is not known."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What made them: the hash of the model, and what it was fed."""

    def __post_init__(self) -> None:
        features = np.asarray(self.features, np.float32)
        object.__setattr__(self, "features", features)
        if features.ndim != 2 or features.size == 0:
            raise FeatureError(f"features must be (clips, D) with at least one clip, got {features.shape}")
        if not np.isfinite(features).all():
            raise FeatureError("features must be finite numbers")
        if self.seconds is not None:
            seconds = np.asarray(self.seconds, np.float64)
            object.__setattr__(self, "seconds", seconds)
            if seconds.shape != features.shape[:1] or not np.isfinite(seconds).all():
                raise FeatureError(f"seconds must be a number for each of {len(features)} clips, got {seconds.shape}")


def feature_path(folder: str | os.PathLike[str], video: str) -> Path:
    """Where the features of a video lie; FeatureError for a name that leads out of the folder."""
    path = Path(folder, f"{video}.npz")
    if not video or not path.resolve().is_relative_to(Path(folder).resolve()):
        raise FeatureError(f"video {video[:100]!r} is not a name for a file in {folder}")
    return path


def write_features(path: str | os.PathLike[str], video: VideoFeatures) -> None:
    """Write a file, whole or not at all; in half precision, unless a number is too large for it."""
    fits = np.abs(video.features).max() <= _LARGEST_HALF
    arrays = {
        "features": video.features.astype(np.float16 if fits else np.float32),
        "label": np.array(video.label, str),
        "about": np.array(json.dumps(dict(video.about))),
    }
    if video.seconds is not None:
        arrays["seconds"] = video.seconds
    with replace_when_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_features(path: str | os.PathLike[str]) -> VideoFeatures:
    """Read a file of :func:`write_features`, or of anyone who keeps to the format; FeatureError where it is none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in ("features", "label") if name not in arrays]
            if missing:
                raise FeatureError(f"{path}: holds no array {missing[0]!r}; it is no file of features")
            features, label = arrays["features"], arrays["label"]
            seconds = arrays.get("seconds")
            about = json.loads(str(arrays["about"])) if "about" in arrays else {}
        if features.dtype.kind != "f" or label.ndim != 0 or label.dtype.kind != "U" or not isinstance(about, dict):
            raise FeatureError(f"{path}: features must be numbers with a fraction, label one text, about a JSON object")
        return VideoFeatures(features, str(label), seconds, about)
    except FileNotFoundError:
        raise FeatureError(f"{path}: no such file of features") from None
    except FeatureError as error:
        text = str(error)
        raise FeatureError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FeatureError(f"{path}: not a readable file of features ({' '.join(str(error).split())[:100]})") from None


def join_streams(streams: Sequence[VideoFeatures]) -> VideoFeatures:
    """Several streams of one video as one: the features of each clip of the first, and those of the others behind them.

    The clip of another stream is the one that is nearest in time; without seconds, all need the same number of clips.
    """
    first = streams[0]
    parts = [first.features]
    for other in streams[1:]:
        if first.label != other.label:
            raise FeatureError(f"one stream has the label {first.label!r}, another {other.label!r}")
        if first.seconds is not None and other.seconds is not None:
            nearest = np.abs(other.seconds - first.seconds[:, None]).argmin(axis=1)
            parts.append(other.features[nearest])
        elif len(other.features) == len(first.features):
            parts.append(other.features)
        else:
            raise FeatureError(
                f"streams have {len(first.features)} and {len(other.features)} clips and no seconds to join them by"
            )
    return VideoFeatures(np.concatenate(parts, axis=1), first.label, first.seconds)


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Videos whose features lie in one folder, or in one for each stream."""

    folders: tuple[Path, ...]
    """One a stream."""
    videos: tuple[str, ...]
    """Names that are in all folders."""
    labels: tuple[str, ...]
    """Of the videos, in their order."""
    widths: tuple[int, ...]
    """D of each stream."""
    left_out: int = 0
    """Videos that are in some of the folders only."""

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the labels, sorted."""
        return tuple(sorted(set(self.labels) - {""}))

    def read(self, index: int) -> VideoFeatures:
        """The joined features of one video; FeatureError where they cannot be read or are not as wide as the others."""
        paths = [feature_path(folder, self.videos[index]) for folder in self.folders]
        streams = [read_features(path) for path in paths]
        for path, stream, width in zip(paths, streams, self.widths):
            if stream.features.shape[1] != width:
                raise FeatureError(f"{path}: features have {stream.features.shape[1]} numbers, others there {width}")
        try:
            return join_streams(streams)
        except FeatureError as error:
            raise FeatureError(f"{paths[0]}: {error}") from None

    def of_videos(self, names: set[str]) -> FeatureSet:
        """Only these videos."""
        kept = [index for index, name in enumerate(self.videos) if name in names]
        videos, labels = (tuple(values[index] for index in kept) for values in (self.videos, self.labels))
        return FeatureSet(self.folders, videos, labels, self.widths, self.left_out)


def open_features(folders: Sequence[str | os.PathLike[str]]) -> FeatureSet:
    """The videos in a folder of features, or in one for each stream; FeatureError where there are none."""
    paths = tuple(Path(folder) for folder in folders)
    found = []
    for folder in paths:
        if not folder.is_dir():
            raise FeatureError(f"{folder}: no such folder of features")
        names = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.npz")}
        found.append({name for name in names if not name.rpartition("/")[2].startswith(".")})
    videos = sorted(set.intersection(*found))
    if not videos:
        raise FeatureError(f"{', '.join(map(str, paths))}: no video has features there; make them by extract_features")
    labels = tuple(read_features(feature_path(paths[0], video)).label for video in videos)
    widths = tuple(read_features(feature_path(folder, videos[0])).features.shape[1] for folder in paths)
    return FeatureSet(paths, tuple(videos), labels, widths, len(set.union(*found)) - len(videos))
