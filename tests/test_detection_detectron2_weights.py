"""Checkpoints of detectron2 in torchvision's parts: the boxes that detectron2 itself found, and what is refused.

The boxes in detectron2_recorded.json were found by detectron2 (benchmarks/record_detectron2.py) with weights that
detectron2_checkpoints.py makes up in the same way here.
"""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from detection.detector_files import as_actor_detector, batch_maker, load_detector, save_detector
from detection.detectors import detection_losses
from detection.detectron2_networks import (
    ANCHOR_RATIOS,
    AlignedPooler,
    Detectron2Config,
    ExactAnchors,
    build_detectron2_network,
    unfilled_detectron2_network,
)
from detection.detectron2_weights import COCO_CLASSES, config_of, convert_checkpoint, read_checkpoint, torchvision_name
from detection.proposal_batches import ProposalConfig, network_size
from detection.proposals import ProposalError, Proposer, open_proposer
from linking.geometry import box_iou
from recognition.model_files import ModelFileError
from tests.detectron2_checkpoints import checkpoint, names_and_shapes, picture

RECORD = json.loads(Path(__file__).with_name("detectron2_recorded.json").read_text())
CASES = {(case["pyramid"], case["mode"]): case for case in RECORD["boxes"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Converted files of ResNet-50 with a pyramid, from a .pkl of the zoo, and without, from a .pth."""
    folder = tmp_path_factory.mktemp("converted")
    zoo = {"model": checkpoint(), "__author__": "Detectron2 Model Zoo"}
    (folder / "fpn.pkl").write_bytes(pickle.dumps(zoo, protocol=4))
    c4 = {name: torch.from_numpy(value) for name, value in checkpoint(pyramid=False).items()}
    torch.save({"model": c4, "optimizer": {"state": {}}, "iteration": 90_000}, folder / "c4.pth")
    made = {}
    for name in ("fpn.pkl", "c4.pth"):
        pyramid = name.startswith("fpn")
        converted = convert_checkpoint(folder / name, proposals=CASES[pyramid, "actor"]["proposals"])
        (folder / name).unlink()
        made[pyramid] = (folder / name).with_suffix(".safetensors")
        save_detector(
            made[pyramid],
            converted.model,
            converted.config,
            {"from": name},
            preprocessing=converted.preprocessing,
            class_names=converted.class_names,
            store="float32",
        )
    return made


def source(path: Path, **settings: object) -> Proposer:
    return open_proposer(path, config=ProposalConfig(**{"max_boxes": 25, "short_side": 128, **settings}))


@pytest.mark.parametrize("mode", ["actor", "objectness"])
@pytest.mark.parametrize("pyramid", [True, False], ids=["fpn", "c4"])
def test_the_boxes_are_those_of_detectron2(files: dict[bool, Path], pyramid: bool, mode: str) -> None:
    """Convolutions add up in another order on another machine: detectron2 with and without oneDNN is 3e-4 px apart."""
    proposer = source(files[pyramid], mode=mode)
    for case in CASES[pyramid, mode]["pictures"]:
        (found,) = proposer.propose([picture(*case["size"], seed=case["seed"])], [0])
        assert len(found) == len(case["boxes"]) > 10
        np.testing.assert_allclose(found.scores, case["scores"], atol=2e-5)
        np.testing.assert_allclose(found.boxes, case["boxes"], atol=5e-3)


@pytest.mark.parametrize(("height", "width", "to_height", "to_width"), RECORD["resized"])
def test_frames_are_scaled_to_the_sizes_of_detectron2(height: int, width: int, to_height: int, to_width: int) -> None:
    config = ProposalConfig(short_side=800)
    assert network_size(height, width, config, short_side=800, long_side=1333) == (to_height, to_width)


def test_of_all_classes_one_thing_with_two_names_is_one_box(files: dict[bool, Path]) -> None:
    frame = picture(96, 128)
    (people,) = source(files[True]).propose([frame], [0])
    (all_things,) = source(files[True], classes="all").propose([frame], [0])
    assert all_things.scores[0] >= people.scores[0]
    overlap = box_iou(all_things.boxes, all_things.boxes)
    assert (overlap[~np.eye(len(overlap), dtype=bool)] <= 0.5 + 1e-4).all()


def test_the_file_says_what_it_is(files: dict[bool, Path]) -> None:
    trained = load_detector(files[True])
    assert trained.config == Detectron2Config("resnet50", proposals=100)
    assert trained.class_names == COCO_CLASSES
    assert (COCO_CLASSES[0], COCO_CLASSES[-1], len(COCO_CLASSES)) == ("person", "toothbrush", 80)
    assert trained.provenance == {"from": "fpn.pkl"}
    np.testing.assert_allclose(np.array(trained.preprocessing.mean) * 255, [123.675, 116.28, 103.53])
    np.testing.assert_allclose(np.array(trained.preprocessing.std) * 255, [1, 1, 1])


def test_a_training_begins_with_the_person_as_the_actor(files: dict[bool, Path]) -> None:
    trained = load_detector(files[True])
    actor = as_actor_detector(trained, files[True])
    assert actor.class_names == ("actor",)
    theirs, ours = (d.model.roi_heads.box_predictor for d in (trained, actor))
    assert torch.equal(ours.cls_score.weight, theirs.cls_score.weight[:2])  # background, person
    assert torch.equal(ours.bbox_pred.bias, theirs.bbox_pred.bias[:8])
    assert as_actor_detector(actor, "x") is actor
    pictures = torch.from_numpy(picture(64, 96)).permute(2, 0, 1)[None]
    batch = batch_maker(actor.config, actor.preprocessing)(pictures)
    losses = detection_losses(actor.model.train(), batch, [torch.tensor([[8.0, 8, 60, 60]])])
    torch.stack(list(losses.values())).sum().backward()
    assert ours.cls_score.weight.grad.isfinite().all()
    assert ours.cls_score.weight.grad.abs().max() > 0
    body = actor.model.backbone.body
    assert body.conv1.weight.grad is None  # frozen, as BACKBONE.FREEZE_AT: 2
    assert body.layer1[0].conv1.weight.grad is None
    assert body.layer2[0].conv1.weight.grad is not None


# ---- names


@pytest.mark.parametrize("depth", [50, 101])
@pytest.mark.parametrize(
    ("settings", "options"),
    [
        pytest.param((True, 80, False), {}, id="fpn"),
        pytest.param((False, 80, False), {"features": "c4"}, id="c4"),
        pytest.param((True, 0, False), {"classes": 0}, id="rpn"),
        pytest.param((False, 0, False), {"features": "c4", "classes": 0}, id="rpn c4"),
        pytest.param((True, 80, True), {"pyramid_norm": True, "rpn_convolutions": 2, "head_convolutions": 4}, id="lsj"),
    ],
)
def test_every_weight_has_its_place(depth: int, settings: tuple, options: dict) -> None:
    shapes = dict(names_and_shapes(depth, *settings))
    empty = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    config = config_of(empty, "x.pkl", stride_in_3x3=False, proposals=1000)
    before = 6000 if options.get("features") == "c4" else 1000
    assert config == Detectron2Config(f"resnet{depth}", proposals_before_nms=before, **options)
    own = unfilled_detectron2_network(config).state_dict()
    named = {torchvision_name(name, config): shape for name, shape in shapes.items()}
    background = {"roi_heads.box_predictor.bbox_pred.weight": 4, "roi_heads.box_predictor.bbox_pred.bias": 4}
    for name, rows in background.items():
        if name in named:
            named[name] = (named[name][0] + rows, *named[name][1:])
    assert named == {name: tuple(value.shape) for name, value in own.items()}


# ---- the parts


def test_anchors_are_not_rounded_and_go_size_by_size() -> None:
    anchors = ExactAnchors(((32, 64),), (ANCHOR_RATIOS,), strides=(16,))
    wide = [-16 * 2**0.5, -16 / 2**0.5, 16 * 2**0.5, 16 / 2**0.5]  # of area 32 * 32, half as high as wide
    expected = [wide, [-16, -16, 16, 16], [wide[1], wide[0], wide[3], wide[2]]]
    np.testing.assert_allclose(anchors.cell_anchors[0][:3], expected, rtol=1e-6)
    np.testing.assert_allclose(anchors.cell_anchors[0][3:], 2 * np.array(expected), rtol=1e-6)


def test_the_coarsest_anchors_keep_their_stride_on_sides_that_it_does_not_divide() -> None:
    """A picture of 96 pixels has two rows at stride 64; torchvision makes that a stride of 48."""
    pictures, level = ImageList(torch.zeros(1, 3, 96, 96), [(96, 96)]), torch.zeros(1, 1, 2, 2)
    exact = ExactAnchors(((512,),), ((1.0,),), strides=(64,))(pictures, [level])[0]
    theirs = AnchorGenerator(((512,),), ((1.0,),))(pictures, [level])[0]
    assert (exact[:, 0] + 256).tolist() == [0, 64, 0, 64]
    assert (theirs[:, 0] + 256).tolist() == [0, 48, 0, 48]


def test_a_pooled_region_is_aligned_with_its_pixels() -> None:
    """Features that grow by 1 a cell of 4 pixels: the middle of cell 0 is at 2 pixels and has the value 0."""
    level = torch.arange(16.0).expand(1, 1, 16, 16)
    empty = [torch.zeros(1, 1, side, side) for side in (8, 4, 2)]
    features = dict(zip("0123", [level, *empty]))
    pooler = AlignedPooler(["0", "1", "2", "3"], (4, 8, 16, 32), output_size=2)
    pooled = pooler(features, [torch.tensor([[8.0, 8, 24, 24]])], [(64, 64)])
    # columns 2 to 6 in cells, halves with middles at 3 and 5, of pixels whose middles lie at +0.5
    assert pooled[0, 0].tolist() == [[2.5, 4.5], [2.5, 4.5]]


@pytest.mark.parametrize(("side", "level"), [(111, 0), (112, 1), (223, 1), (224, 2), (447, 2), (448, 3), (2000, 3)])
def test_large_regions_are_pooled_from_coarse_levels(side: float, level: int) -> None:
    features = {str(k): torch.full((1, 1, 8, 8), float(k)) for k in range(4)}
    pooler = AlignedPooler(["0", "1", "2", "3"], (256, 256, 256, 256), output_size=1)
    assert pooler(features, [torch.tensor([[0.0, 0, side, side]])], [(2048, 2048)]).item() == level


# ---- what is refused


def save(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    torch.save({"model": weights}, path)
    return path


def small(**changes: tuple[int, ...] | None) -> dict[str, torch.Tensor]:
    """Enough of a ResNet-50-FPN to be taken for one; ``changes`` give names other shapes, or remove them."""
    shapes = {
        name: shape
        for name, shape in names_and_shapes(50, True, 80, False)
        if "conv3.weight" in name or "stem.conv1.weight" in name or "res2.0.conv2.weight" in name or "fpn" in name
    }
    wanted = shapes | changes
    return {name: torch.zeros(1).expand(shape) for name, shape in wanted.items() if shape is not None}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"backbone.bottom_up.stem.conv1.weight": None}, "no backbone.bottom_up.stem.conv1.weight"),
        ({"backbone.bottom_up.res4.5.conv3.weight": None}, "no plain ResNet-50, 101 or 152"),
        ({"backbone.bottom_up.res2.0.conv2.weight": (256, 8, 3, 3)}, "no plain ResNet"),  # 32 groups of 8
        ({"backbone.bottom_up.res3.0.conv2_offset.weight": (1,)}, "no plain ResNet"),  # deformable
        ({"backbone.fpn_output2.norm.weight": (256,)}, "group norm"),
        ({"proposal_generator.rpn_head.objectness_logits.bias": (9,)}, "its anchors are not those"),
        ({"proposal_generator.anchor_generator.cell_anchors.0": (3, 4)}, "its anchors are not those"),
        (
            {
                "roi_heads.box_predictor.cls_score.weight": (81, 1024),
                "roi_heads.box_predictor.bbox_pred.weight": (4, 1024),
            },
            "not regressed class by class",
        ),
        ({}, r"weights do not fit the network: \d+ missing \(backbone.body.bn1.weight, ...\)"),
        ({"roi_heads.box_head.0.fc1.weight": (1,)}, r"1 unexpected \(roi_heads.box_head.0.fc1.weight\)"),  # a cascade
    ],
)
def test_other_networks_are_refused_in_one_line(tmp_path: Path, changes: dict, text: str) -> None:
    with pytest.raises(ModelFileError, match=text) as caught:
        convert_checkpoint(save(tmp_path / "m.pth", small(**changes)))
    assert str(caught.value).startswith(str(tmp_path / "m.pth"))
    assert len(str(caught.value).removeprefix(str(tmp_path))) < 300


def test_weights_of_caffe2_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"blobs": {"conv1_w": np.zeros(3)}}))
    with pytest.raises(ModelFileError, match=r"m\.pkl: weights in the layout of Caffe2"):
        read_checkpoint(tmp_path / "m.pkl")


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.pth", b"<html>"), ("m.pkl", b"<html>"), ("m.pkl", pickle.dumps([1])), ("m.pkl", pickle.dumps({"a": "b"}))],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=name.replace(".", r"\.")):
        read_checkpoint(tmp_path / name)


class Bomb:
    def __reduce__(self) -> tuple:
        return Path.write_text, (Path("exploded"), "")


@pytest.mark.parametrize("name", ["m.pkl", "m.pth"])
def test_a_checkpoint_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "m.pkl":
        Path(name).write_bytes(pickle.dumps({"model": {"a": Bomb()}}))
    else:
        torch.save({"model": {"a": Bomb()}}, name)
    with pytest.raises(ModelFileError):
        read_checkpoint(name)
    assert not Path("exploded").exists()


def test_weights_of_old_files_are_read_as_detectron2_reads_them(tmp_path: Path) -> None:
    """Batch norms were folded into weight and bias, state dicts were ordered dictionaries, counters are no weights."""
    weights = torch.nn.Linear(2, 3).state_dict()
    weights["bn.num_batches_tracked"] = torch.tensor(7)
    arrays = type(weights)((name, value.numpy()) for name, value in weights.items())
    arrays._metadata = weights._metadata
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}, protocol=2))
    read = read_checkpoint(tmp_path / "m.pkl")
    assert torch.equal(read["weight"], weights["weight"])
    assert read["weight"].dtype == torch.float32


def test_a_region_proposal_network_finds_no_actors(tmp_path: Path) -> None:
    config = Detectron2Config("resnet50", "c4", classes=0)
    save_detector(tmp_path / "rpn.safetensors", build_detectron2_network(config), config, {}, class_names=())
    with pytest.raises(ProposalError, match=r"rpn\.safetensors: .* set proposals.mode to objectness"):
        open_proposer(tmp_path / "rpn.safetensors")
