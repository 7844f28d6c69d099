"""Training a classifier from data to model file: one stage, or the two stages of LGD with a kernel head."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from eval.class_scores import ClassScores, write_scores
from eval.recognition import accuracy, intervals
from linking.files import replace_when_whole
from recognition.class_clips import ClassClips, TrainingClips
from recognition.classifier_files import LoadedClassifier, family_of, load_classifier, save_classifier
from recognition.classifier_presets import Recipe
from recognition.classifier_start import build_second_stage
from recognition.classify import ClassifyConfig, classify_dataset
from recognition.clip_views import crop_size
from recognition.model_files import ModelFileError
from recognition.sound_clips import SoundClips, SoundInput
from recognition.train_classifier import Run, train_classifier
from video.class_datasets import ClassDataset
from video.clip_store import ClipStore

MODEL_NAME = "classifier.safetensors"
_LARGEST_HALF = 65504.0


@dataclass(frozen=True)
class TrainingData:
    """What a classifier is trained and validated on."""

    training: ClassDataset
    validation: ClassDataset | None
    about: Mapping[str, Any]
    """For the model file: names, split, fold."""
    cache: Path | None = None
    """Folder for small copies of the videos, see ``video.clip_store``."""
    cache_gigabytes: float = 4.0
    flow_folder: Path | None = None
    """Of tools/extract_flow.py, for networks on flow; None computes flow when it is asked for."""

    def clips(self, recipe: Recipe, workers: int) -> TrainingClips:
        """The training clips that a recipe asks for."""
        clip, train = recipe.clip, recipe.train
        gigabytes = self.cache_gigabytes / max(1, workers)
        if isinstance(clip, SoundInput):
            return SoundClips(
                self.training, clip, seed=train.seed, clips_per_video=train.clips_per_video, gigabytes=gigabytes
            )
        store = ClipStore(
            lambda height, width: crop_size(height, width, clip),
            gigabytes=gigabytes,
            folder=self.cache,
            flow=clip.flow_settings,
            flow_folder=self.flow_folder,
        )
        return ClassClips(
            self.training, clip, train.augment, store, seed=train.seed, clips_per_video=train.clips_per_video
        )


def train_stage(recipe: Recipe, start: Callable[[], nn.Module], data: TrainingData, run: Run) -> dict[str, Any]:
    """Train, write the model file into ``run.output`` and validate what was written; return the report.

    ``start`` makes the network that training begins with. Only the first of several processes writes and validates; the
    others get a report without validation.
    """
    began = time.monotonic()
    is_first = run.processes.is_first
    settings = {"network": recipe.network.to_dict(), "clip": recipe.clip.to_dict(), "train": asdict(recipe.train)}
    if is_first:
        with replace_when_whole(run.output / "settings.json") as temporary:
            temporary.write_text(json.dumps({"family": family_of(recipe.network), **settings}, indent=1) + "\n")
    network = start()
    validation = data.validation
    if validation is not None and recipe.train.validate_every:
        run = dataclasses.replace(run, validate=lambda net: _glance(net, recipe, validation, run, data.flow_folder))
    about = {"data": data.training.name, "videos": len(data.training), **settings}
    about.pop("train")
    finished = train_classifier(network, data.clips(recipe, run.workers), recipe.train, run, about=about)
    report: dict[str, Any] = {"finished": finished, "minutes": round((time.monotonic() - began) / 60, 2)}
    if is_first:
        path = run.output / MODEL_NAME

        def write() -> None:
            save_classifier(
                path,
                network.state_dict(),
                config=recipe.network,
                class_names=data.training.class_names,
                clip=recipe.clip,
                provenance={**data.about, "settings": settings, **report},
                store=_precision_for(network.state_dict()),
            )

        write()
        if validation is not None:
            # measured on the file as it was written, in half precision
            scores, failures = validate(load_classifier(path, run.processes.device), validation, run, data.flow_folder)
            write_scores(run.output / "scores.npz", scores)
            report["validation"] = {
                **asdict(accuracy(scores)),
                "intervals": {name: list(ends) for name, ends in intervals(scores).items()},
                "unreadable": failures,
            }
            write()
    run.processes.agreed(True)  # none goes on before the file is there
    return report


def second_stage_start(first: Path, recipe: Recipe) -> nn.Module:
    """The network that stage two begins with, from the folder of stage one."""
    return build_second_stage(load_classifier(first / MODEL_NAME), recipe.network, seed=recipe.train.seed)


def is_finished(folder: Path) -> bool:
    """Whether a stage was trained to its end in ``folder``."""
    try:
        return load_classifier(folder / MODEL_NAME).file.provenance.get("finished") is True
    except ModelFileError:
        return False


def validate(
    model: LoadedClassifier, dataset: ClassDataset, run: Run, flow_folder: Path | None = None
) -> tuple[ClassScores, list[str]]:
    """Scores of the videos of ``dataset`` by the paper's test protocol, and a line for each that cannot be read."""
    scores, failures = classify_dataset(
        model.network,
        dataset,
        model.class_names,
        model.clip,
        ClassifyConfig(flow_folder=flow_folder),
        run.processes.device,
        workers=run.workers,
    )
    return dataclasses.replace(scores, about={"model": model.file.sha256, "data": dataset.name}), failures


def _glance(
    network: nn.Module, recipe: Recipe, dataset: ClassDataset, run: Run, flow_folder: Path | None
) -> dict[str, float]:
    """Top-1 by one clip a video, for validation on the way."""
    clip = dataclasses.replace(recipe.clip, test_clips=1)
    config = ClassifyConfig(flow_folder=flow_folder)
    scores, _ = classify_dataset(
        network, dataset, dataset.class_names, clip, config, run.processes.device, workers=run.workers
    )
    return {"val_top1": accuracy(scores).top1} if len(scores) else {}


def _precision_for(state: Mapping[str, Tensor]) -> Literal["float32", "float16"]:
    """Half precision, unless a number is too large for it."""
    fits = all(v.abs().max() < _LARGEST_HALF for v in state.values() if v.is_floating_point() and v.numel())
    return "float16" if fits else "float32"
