"""Training of the action scorer on a few generated videos: a square that moves right or down."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detection.regions import RegionConfig
from detection.scorer import LoadedScorer, ScorerConfig, load_scorer
from detection.train_scorer import TrainConfig, build_scorer, mixed, scorer_loss, train_scorer
from detection.training_clips import AugmentConfig, ClipConfig, TrainingClips, collate
from detection.validate_scorer import validate_scorer
from linking.geometry import box_iou
from recognition.classifier_files import save_classifier
from recognition.clip_sampling import FLOW_PREPROCESSING, ClipInput
from recognition.lgd3d import LGD3DConfig, lgd3d_small
from recognition.lgd_classifier import LGDClassifier, LGDClassifierConfig
from recognition.model_files import ModelFile
from recognition.preprocessing import Preprocessing
from recognition.training_state import TrainingStateError
from tests.squares import square_videos
from video.datasets import Dataset
from video.flow import FlowError, FlowSettings
from video.flow_cache import flow_path, write_flow
from video.tvl1 import TVL1Config

SCORER = ScorerConfig(
    num_classes=2,
    backbone=lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 32, 32, 64), stem_width=8),
    clip_frames=8,
    short_side=48,
    dropout=0.0,
)
CLIPS = ClipConfig(
    frames=8,
    height=48,
    width=64,
    key_frames=4,
    regions=RegionConfig(per_actor=2, background=2),
    augment=AugmentConfig(min_crop=0.9, aspect=0.0, flip=0.0, colour=0.1),
)
TRAIN = TrainConfig(epochs=3, batch_clips=4, optimizer="adamw", learning_rate=5e-3, warmup_epochs=0.5, clips=CLIPS)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return square_videos(tmp_path_factory.mktemp("squares"))


def test_regions_stay_on_the_actor_under_every_augmentation(dataset: Dataset) -> None:
    """The square is the only bright thing: the true region must hold it, whatever crop, flip and scale was drawn."""
    config = replace(
        CLIPS,
        regions=RegionConfig(per_actor=1, background=0),
        augment=AugmentConfig(min_crop=0.6, aspect=0.2, flip=0.5, colour=0.0),
        positive=1.0,
    )
    clips = TrainingClips(dataset, config, seed=3)
    overlaps = []
    for epoch in range(4):
        clips.epoch = epoch
        for index in range(len(clips)):
            sample = clips[index]
            assert sample.clip.dtype == torch.uint8
            for frame, *box in sample.regions.tolist():
                bright = sample.clip[int(frame), :, :, 0].numpy() > 170
                rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
                seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                overlaps.append(box_iou(np.array([box]), np.array([seen]))[0, 0])
    assert len(overlaps) > 20
    assert np.median(overlaps) > 0.85
    assert min(overlaps) > 0.6


def test_items_depend_on_seed_epoch_and_index_only(dataset: Dataset) -> None:
    one, other = TrainingClips(dataset, CLIPS, seed=1), TrainingClips(dataset, CLIPS, seed=1, cache_gigabytes=0)
    other[5]
    assert torch.equal(one[2].clip, other[2].clip)
    assert torch.equal(one[2].regions, other[2].regions)
    other.epoch = 1
    assert not torch.equal(one[2].clip, other[2].clip)


def test_clip_targets_mix_the_labels_and_background_counts_for_nothing() -> None:
    network = build_scorer(SCORER)
    labels = torch.tensor([0, 2])
    logits = torch.zeros(2, 3)
    clip_logits = torch.zeros(2, 2)
    region, clip = scorer_loss(network, logits, clip_logits, labels, torch.tensor([[0.5, 0.5], [0.0, 0.0]]), TRAIN)
    assert region.item() == pytest.approx(np.log(3))
    assert clip.item() == pytest.approx(np.log(2))
    _, none = scorer_loss(network, logits, clip_logits, labels, torch.zeros(2, 2), TRAIN)
    assert none.item() == 0


def test_mixed_clips_keep_the_regions_of_both_and_their_shares() -> None:
    clips = torch.stack([torch.full((3, 8, 4, 4), value) for value in (0.0, 10.0, 20.0)])
    boxes = torch.arange(20.0).reshape(4, 5)
    regions = [boxes[:1], boxes[1:1], boxes[1:4]]
    labels = torch.tensor([0, 1, 2, 1])
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    mixture, both, kinds, targets, weights = mixed(clips, regions, labels, target, 0.75)
    assert mixture[:, 0, 0, 0, 0].tolist() == [5, 10, 15]
    assert [len(part) for part in both] == [4, 0, 4]
    torch.testing.assert_close(both[0], boxes)
    torch.testing.assert_close(both[2], boxes[[1, 2, 3, 0]])
    assert kinds.tolist() == [0, 1, 2, 1, 1, 2, 1, 0]
    assert weights.tolist() == [0.75, 0.25, 0.25, 0.25, 0.75, 0.75, 0.75, 0.25]
    assert targets.tolist() == [[0.75, 0.25], [0.0, 0.0], [0.25, 0.75]]
    with pytest.raises(ValueError, match="mixup must be 0 or more"):
        replace(TRAIN, mixup=-0.1)


def test_regions_count_by_their_weights() -> None:
    network = build_scorer(SCORER)
    logits = torch.tensor([[100.0, 0, 0], [100.0, 0, 0]])
    labels, target = torch.tensor([0, 1]), torch.zeros(1, 2)
    region, _ = scorer_loss(network, logits, torch.zeros(1, 2), labels, target, TRAIN, torch.tensor([0.75, 0.25]))
    assert region.item() == pytest.approx(25)


def test_multi_label_asks_every_class_by_itself() -> None:
    network = build_scorer(replace(SCORER, multi_label=True))
    logits = torch.tensor([[100.0, -100.0], [-100.0, -100.0]])
    region, _ = scorer_loss(network, logits, torch.zeros(1, 2), torch.tensor([0, 2]), torch.zeros(1, 2), TRAIN)
    assert region.item() == pytest.approx(0, abs=1e-6)


def test_flow_clips_are_read_from_the_folder_and_mirrored_with_their_motion(dataset: Dataset, tmp_path: Path) -> None:
    """Squares that move right or down: flow says so, and a mirrored clip says left instead of right."""
    flow = FlowSettings(short_side=48, bound=8, tvl1=TVL1Config(scales=3, scale_step=0.5, warps=3, epsilon=0.05))
    for item in dataset.videos[:2]:
        write_flow(item.path, flow_path(tmp_path, item.annotation.video), flow)
    seen = {}
    for mirrored in (0.0, 1.0):
        augment = AugmentConfig(min_crop=1.0, aspect=0.0, flip=mirrored, colour=0.9)
        clips = TrainingClips(
            dataset, replace(CLIPS, augment=augment, positive=1.0), seed=0, flow=flow, flow_folder=tmp_path
        )
        for index in (0, 1):
            sample = clips[index]
            assert sample.clip.shape == (8, 48, 64, 2)
            frame, x1, y1, x2, y2 = (round(v) for v in sample.regions[0].tolist())
            inside = sample.clip[frame, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].float() - 128
            seen[mirrored, dataset.videos[index].annotation.tubes[0].label] = inside.mean(dim=(0, 1)).tolist()
    ways = {label for _, label in seen}
    for label in ways:
        (x, y), (x_mirrored, y_mirrored) = seen[0.0, label], seen[1.0, label]
        assert x_mirrored == pytest.approx(-x - 1, abs=1.5)  # 255 - v: no motion, 128, becomes 127
        assert y_mirrored == pytest.approx(y, abs=1.5)
    assert max(abs(value) for pair in seen.values() for value in pair) > 5  # something moves
    with pytest.raises(FlowError, match="extract_flow"):
        TrainingClips(dataset, CLIPS, seed=0, flow=flow, flow_folder=tmp_path)[5]


@pytest.mark.parametrize("mixup", [0.0, 0.2])
def test_it_learns_to_tell_two_motions_apart(dataset: Dataset, tmp_path: Path, mixup: float) -> None:
    config = replace(TRAIN, epochs=16, clips_per_video=2, mixup=mixup)
    network = build_scorer(SCORER)
    assert train_scorer(network, dataset, config, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["region_loss"] < 0.5 * log[0]["region_loss"]
    file = ModelFile(tmp_path, "", {}, dataset.class_names, {}, {}, {}, "", "")
    report = validate_scorer(LoadedScorer(network, dataset.class_names, Preprocessing(), file), dataset)
    assert report.tubes == 8
    assert report.top1 >= 7 / 8


def test_a_run_that_was_stopped_ends_with_the_same_bits(dataset: Dataset, tmp_path: Path) -> None:
    config = replace(TRAIN, mixup=0.3)
    straight = build_scorer(replace(SCORER, dropout=0.5))
    train_scorer(straight, dataset, config, tmp_path / "straight")

    class Stop(Exception):
        pass

    def stop(line: dict) -> None:
        if line["epoch"] == 2:
            raise Stop

    first = build_scorer(replace(SCORER, dropout=0.5))
    with pytest.raises(Stop):
        train_scorer(first, dataset, config, tmp_path / "stopped", on_epoch=stop)
    second = build_scorer(replace(SCORER, dropout=0.5), seed=99)
    train_scorer(second, dataset, config, tmp_path / "stopped", resume=True)
    for (name, a), b in zip(straight.state_dict().items(), second.state_dict().values()):
        assert torch.equal(a, b), name


def test_a_state_of_other_settings_is_not_resumed(dataset: Dataset, tmp_path: Path) -> None:
    train_scorer(build_scorer(SCORER), dataset, replace(TRAIN, epochs=1), tmp_path)
    with pytest.raises(TrainingStateError, match=r"learning_rate was 0\.005, now 0\.1"):
        train_scorer(build_scorer(SCORER), dataset, replace(TRAIN, epochs=1, learning_rate=0.1), tmp_path, resume=True)
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:1000])
    with pytest.raises(TrainingStateError, match="damaged"):
        train_scorer(build_scorer(SCORER), dataset, replace(TRAIN, epochs=1), tmp_path, resume=True)


def test_a_start_with_another_backbone_is_refused() -> None:
    other = build_scorer(replace(SCORER, backbone=lgd3d_small(widths=(16, 32, 32, 128))))
    with pytest.raises(ValueError, match="do not fit"):
        build_scorer(SCORER, start=other.state_dict())
    same = build_scorer(replace(SCORER, num_classes=5), seed=4)
    started = build_scorer(SCORER, start=same.state_dict())
    torch.testing.assert_close(started.backbone.stem.conv.weight, same.backbone.stem.conv.weight)


def write_classifier(
    path: Path, backbone: LGD3DConfig = SCORER.backbone, clip: ClipInput | None = None
) -> LGDClassifier:
    torch.manual_seed(5)
    config = LGDClassifierConfig(num_classes=3, backbone=backbone)
    network = LGDClassifier(config)
    names, clip = ("a", "b", "c"), clip or ClipInput()
    save_classifier(path, network.state_dict(), config=config, class_names=names, clip=clip, provenance={})
    return network


def test_a_scorer_starts_from_the_backbone_of_a_classifier(tmp_path: Path) -> None:
    """Also from that of long clips, whose pool1 has another stride and the same weights."""
    path = tmp_path / "classifier.safetensors"
    network = write_classifier(path, replace(SCORER.backbone, pool1_stride=4))
    started = build_scorer(SCORER, body_weights=path)
    assert started.backbone.config.pool1_stride == 2
    own = started.backbone.state_dict()
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(own[name], value.half().to(value.dtype)), name  # files are in half precision
    assert started.region_classifier.out_features == 3  # two actions and background


def test_a_start_from_a_classifier_that_does_not_fit_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    path, flow = tmp_path / "classifier.safetensors", FlowSettings(short_side=48)
    write_classifier(path, replace(SCORER.backbone, widths=(16, 32, 32, 128)))
    with pytest.raises(ValueError, match=r"backbone.widths is \(16, 32, 32, 128\), not \(16, 32, 32, 64\)"):
        build_scorer(SCORER, body_weights=path)
    write_classifier(path, clip=ClipInput(preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)))
    with pytest.raises(ValueError, match="pixels of another range"):
        build_scorer(SCORER, body_weights=path)
    on_flow = replace(SCORER.backbone, input="flow")
    write_classifier(path, on_flow, ClipInput(stream="flow", preprocessing=FLOW_PREPROCESSING, flow=flow))
    with pytest.raises(ValueError, match="flow of other settings"):
        build_scorer(replace(SCORER, backbone=on_flow, flow=replace(flow, bound=10)), body_weights=path)
    build_scorer(replace(SCORER, backbone=on_flow, flow=flow), body_weights=path)


def test_collate_keeps_regions_by_clip(dataset: Dataset) -> None:
    clips = TrainingClips(dataset, CLIPS, seed=0)
    batch, regions, labels, target = collate([clips[0], clips[1]])
    assert batch.shape == (2, 8, 48, 64, 3)
    assert batch.dtype == torch.uint8
    assert len(labels) == sum(map(len, regions))
    assert target.shape == (2, 2)


def test_load_scorer_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.safetensors"):
        load_scorer(tmp_path / "gone.safetensors")
