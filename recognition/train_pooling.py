"""Training of temporal pooling on stored features, from folders to model file and scores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from eval.class_scores import write_scores
from eval.recognition import accuracy, intervals
from linking.files import replace_when_whole
from recognition.clip_views import ClipAugment
from recognition.feature_files import FeatureError, FeatureSet, feature_path, read_features
from recognition.model_files import file_sha256
from recognition.temporal_pooling import (
    FeatureClips,
    TemporalPooling,
    TemporalPoolingConfig,
    load_pooling,
    pooled_scores,
    save_pooling,
)
from recognition.train_classifier import ClassifierTraining, Run, train_classifier
from video.folds import held_out, parse_fold

MODEL_NAME = "pooling.safetensors"

POOLING_TRAINING = ClassifierTraining(
    epochs=30,
    batch=64,
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    warmup_epochs=1,
    weight_decay=0.01,
    gradient_norm=10,
    precision="fp32",
    augment=ClipAugment(flip=0, min_crop=1, colour=0),
)
"""The challenge report does not say how its pooling was trained."""


@dataclass(frozen=True)
class PoolingRecipe:
    """Network and training together, as files of settings see them."""

    network: TemporalPoolingConfig = field(default_factory=lambda: TemporalPoolingConfig(num_classes=1))
    """``num_classes`` and ``stream_widths`` are taken from the features."""
    train: ClassifierTraining = POOLING_TRAINING
    """Of no account are the settings of ``augment``."""


def held_out_features(videos: FeatureSet, fold: str) -> tuple[FeatureSet, FeatureSet]:
    """Training and validation videos of a fold ("0/5"), cut by source video as ``video.class_datasets`` does."""
    index, count = parse_fold(fold)
    inside = held_out({name: [label] for name, label in zip(videos.videos, videos.labels)}, index, count)
    return videos.of_videos(set(videos.videos) - inside), videos.of_videos(inside)


def train_pooling(
    recipe: PoolingRecipe, training: FeatureSet, validation: FeatureSet | None, run: Run
) -> dict[str, Any]:
    """Train, write the model file into ``run.output``, validate what was written; return the report.

    Raises ValueError where there is nothing to tell apart, or the streams of the two sets do not fit each other.
    """
    class_names = training.class_names
    if len(class_names) < 2:
        raise FeatureError(f"{training.folders[0]}: has {len(class_names)} classes; training needs two or more")
    config = dataclasses.replace(recipe.network, num_classes=len(class_names), stream_widths=training.widths)
    made_by = [_made_by(training, folder) for folder in training.folders]
    if validation is not None:
        _check_streams(validation, training.widths, made_by)
    torch.manual_seed(recipe.train.seed)
    network = TemporalPooling(config)
    about = {"network": config.to_dict(), "videos": len(training), "streams": made_by}
    settings = {"network": config.to_dict(), "train": asdict(recipe.train)}
    with replace_when_whole(run.output / "settings.json") as temporary:
        temporary.write_text(json.dumps(settings, indent=1) + "\n")
    clips = FeatureClips(training, class_names, config.clips)
    finished = train_classifier(network, clips, recipe.train, run, about=about)
    report: dict[str, Any] = {
        "finished": finished,
        "videos": len(training),
        "left_out": training.left_out,
        "classes": len(class_names),
    }
    path = run.output / MODEL_NAME
    provenance = {"folders": [str(folder.name) for folder in training.folders], "settings": settings, **report}
    save_pooling(path, network, class_names, streams={"streams": made_by}, provenance=provenance)
    if validation is not None:
        report |= validate_pooling(path, validation, run.output, run.processes.device)
    return report


def validate_pooling(model: Path, videos: FeatureSet, output: Path, device: str = "cpu") -> dict[str, Any]:
    """Write the scores of ``videos`` to ``output/scores.npz`` and say how good they are, where labels are known."""
    network, file = load_pooling(model, device)
    _check_streams(videos, network.config.stream_widths, file.preprocessing.get("streams", []))
    scores = pooled_scores(network, videos, file.class_names, device)
    about = {"model": file_sha256(model), "data": [folder.name for folder in videos.folders]}
    scores = dataclasses.replace(scores, about=about)
    write_scores(output / "scores.npz", scores)
    if not any(scores.labels):
        return {"scored": len(scores)}
    known = scores.labelled()
    found = {name: list(ends) for name, ends in intervals(known).items()}
    return {"validation": {**asdict(accuracy(known)), "intervals": found}}


def _check_streams(videos: FeatureSet, widths: tuple[int, ...], made_by: Sequence[Mapping[str, Any]]) -> None:
    """FeatureError unless the streams are those that a network was trained on."""
    if videos.widths != widths:
        raise FeatureError(
            f"{videos.folders[0]}: streams have {videos.widths} numbers, the network was trained on {widths}; "
            "give the same streams in the same order"
        )
    for folder, about in zip(videos.folders, made_by):
        if _made_by(videos, folder) != about:
            raise FeatureError(
                f"{folder}: made by another classifier, or from other clips, than what the network was trained on"
            )


def _made_by(videos: FeatureSet, folder: Path) -> dict[str, Any]:
    """What the first file of a stream says about the model and the clips it is from."""
    return dict(read_features(feature_path(folder, videos.videos[0])).about)
