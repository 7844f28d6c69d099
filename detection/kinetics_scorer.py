"""A scorer without training: torchvision's Kinetics-400 classifiers asked about a part of the picture.

These networks end in the mean of their local map and a linear layer. Put the mean of the cells under a box in the place
of the mean of all cells, and the layer names what it sees there, one of 400 classes; a box around the whole picture
gets the network's own answer. What that means, and what it does not: docs/decisions/024.
"""

from __future__ import annotations

from importlib.metadata import version

import torch
from torchvision.models import WeightsEnum, get_model_weights

from detection.scorer import KIND, ActionScorer, LoadedScorer, ScorerConfig
from recognition.model_files import ModelFile, ModelFileError, file_sha256
from recognition.video_nets import NETWORKS, POOLED, VideoNet, VideoNetConfig, classifier_in, load_body_
from recognition.weights_location import CACHE_ONLY, Fetch, published_file, published_state

PREFIX = "torchvision:"
KNOWLEDGE = (
    "Kinetics labels whole clips: a score says how much the clip looks like the class where the box is, not that the "
    "person in it acts"
)


def kinetics_weights(name: str) -> tuple[str, WeightsEnum]:
    """Network and weights of ``r2plus1d_18`` or ``swin3d_b:KINETICS400_IMAGENET22K_V1``.

    ModelFileError where there are none, or none that can look at a box.
    """
    network, _, version_name = name.partition(":")
    if network not in NETWORKS:
        raise ModelFileError(f"{PREFIX}{name}: no such network with Kinetics weights; there are {', '.join(POOLED)}")
    if network not in POOLED:
        raise ModelFileError(
            f"{PREFIX}{name}: classifies by a token of the whole clip, not by a place in it; use one of "
            f"{', '.join(POOLED)}, or train it on boxes with train_detection.py"
        )
    published = get_model_weights(network)
    if version_name and version_name not in published.__members__:
        raise ModelFileError(f"{PREFIX}{name}: no such weights; there are {', '.join(published.__members__)}")
    return network, published[version_name] if version_name else published.DEFAULT


def kinetics_scorer(name: str, fetch: Fetch = CACHE_ONLY, device: str | torch.device = "cpu") -> LoadedScorer:
    """The scorer that :func:`kinetics_weights` names, ready for inference.

    ModelFileError or DownloadError, one line, where the weights cannot be had or do not fit.
    """
    network, weights = kinetics_weights(name)
    path = published_file(weights, fetch)
    state = published_state(weights, fetch)
    class_names = tuple(weights.meta["categories"])
    backbone = VideoNetConfig(network)
    config = zero_training(backbone, num_classes=len(class_names))
    scorer = ActionScorer(config)
    assert isinstance(scorer.backbone, VideoNet), "as the config says"
    load_body_(scorer.backbone, state, str(path))
    try:
        weight, bias = classifier_in(network, state)
        for layer in (scorer.region_classifier, scorer.clip_classifier):
            layer.load_state_dict({"weight": weight, "bias": bias})
    except (KeyError, RuntimeError):
        raise ModelFileError(f"{path}: has no classifier of {len(class_names)} classes; fetch the file again") from None
    preprocessing = backbone.preprocessing
    file = ModelFile(
        path=path,
        kind=KIND,
        config=config.to_dict(),
        class_names=class_names,
        preprocessing=preprocessing.to_dict(),
        provenance={"source": f"{PREFIX}{name}", "url": weights.url, "knowledge": KNOWLEDGE},
        state={},
        written_by=f"torchvision {version('torchvision')}",
        sha256=file_sha256(path),
    )
    return LoadedScorer(scorer.eval().to(device), class_names, preprocessing, file)


def zero_training(backbone: VideoNetConfig, *, num_classes: int) -> ScorerConfig:
    """A scorer that asks the classifier of ``backbone`` as it was trained: its clips, sizes and softmax."""
    return ScorerConfig(
        num_classes=num_classes,
        backbone=backbone,
        clip_frames=backbone.clip_frames,
        frame_rate=backbone.frame_rate,
        short_side=backbone.short_side,
        pooling="average",
        background=False,
        dropout=0.0,
    )
