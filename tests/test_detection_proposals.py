"""Boxes from detectors and from tables; what all sources share is in test_detection_proposal_contract.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from detection.detector_files import save_detector
from detection.detectors import DetectorConfig, tiny
from detection.proposals import BUNDLED, DetectorProposer, ProposalConfig, ProposalError, open_proposer
from linking.records import Detections, Tube, VideoAnnotation
from linking.tables import table_from_annotations, table_from_detections, write_tubes
from recognition.model_files import ModelFileError
from tests.proposal_samples import INDICES, assert_same, detector_proposer, eager_detector, frames
from video.clips import ClipReader

DEMO = Path(__file__).parents[1] / "assets" / "demo.mp4"

# ---- detectors


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (31, 33)])
@pytest.mark.parametrize("mode", ["actor", "objectness"])
def test_a_detector_takes_frames_smaller_than_its_stride(size: tuple[int, int], mode: str) -> None:
    (found,) = detector_proposer(mode=mode).propose(frames([size]), [0])
    assert (found.boxes[:, 2:] <= size[::-1]).all()


def test_frames_are_never_enlarged_unless_asked() -> None:
    proposer = detector_proposer()
    assert proposer._network_size(120, 160) == (120, 160)
    assert proposer._network_size(480, 640) == (240, 320)
    assert detector_proposer(short_side=480)._network_size(120, 160) == (480, 640)


def test_boxes_of_scaled_frames_are_in_pixels_of_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 192x256 frame is seen at 96x128: what the network finds at 10 lies at 20."""

    def one_box(model: object, batch: ImageList, **settings: object) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        assert batch.image_sizes == [(96, 128)]
        return [torch.tensor([[10.0, 20, 30, 200]])], [torch.tensor([0.9])]

    monkeypatch.setattr("detection.proposals.detect_boxes", one_box)
    (found,) = detector_proposer(short_side=96).propose(frames([(192, 256)]), [0])
    assert found.boxes.tolist() == [[20, 40, 60, 192]]  # and cut at the lower edge


def test_weak_boxes_are_dropped() -> None:
    scores = detector_proposer().propose(frames(), INDICES)[0].scores
    between = float(scores[1] + scores[2]) / 2
    assert len(detector_proposer(min_score=between).propose(frames(), INDICES)[0]) == 2


def test_boxes_of_a_mirrored_frame_are_the_mirrored_boxes(tmp_path: Path) -> None:
    (picture,) = frames([(64, 96)])
    names, sizes = ["plain", "looks in the mirror"], {}
    for name, mirror in zip(names, (False, True)):
        path = tmp_path / f"{name}.safetensors"
        save_detector(path, eager_detector(), replace(tiny(), mirror=mirror), provenance={})
        for allowed in (True, False):
            proposer = open_proposer(path, config=ProposalConfig(max_boxes=100, min_score=0.0, mirror=allowed))
            found, other = proposer.propose([picture, picture[:, ::-1].copy()], [0, 1])
            turned = np.stack([96 - other.boxes[:, 2], other.boxes[:, 1], 96 - other.boxes[:, 0], other.boxes[:, 3]], 1)
            same = len(found) == len(other) and np.allclose(found.boxes, turned, atol=1e-2)
            assert same == (mirror and allowed)
            sizes[name, allowed] = found.scores
    np.testing.assert_array_equal(sizes[names[1], False], sizes[names[0], True])
    assert sizes[names[1], True][0] == pytest.approx(max(sizes[names[1], True]))


def test_bf16_finds_the_surest_box_nearly_where_fp32_does() -> None:
    exact = detector_proposer(mode="objectness").propose(frames(), INDICES)[0]
    rough = detector_proposer(mode="objectness", precision="bf16").propose(frames(), INDICES)[0]
    assert rough.scores[0] == pytest.approx(exact.scores[0], abs=0.05)


# ---- tables


def annotation() -> VideoAnnotation:
    boxes = np.array([[1, 2, 30, 40], [2, 2, 31, 40]], np.float32)
    walk = Tube("walk", np.array([3, 4]), boxes, id=0)
    talk = Tube("talk", np.array([4]), boxes[1:], id=1)
    return VideoAnnotation("acts/clip", [walk, talk])


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_annotated_tubes_serve_as_sure_boxes_to_the_last_bit(tmp_path: Path, suffix: str) -> None:
    write_tubes(table_from_annotations([annotation()]), tmp_path / f"truth{suffix}")
    proposer = open_proposer(tmp_path / f"truth{suffix}", video_name="acts/clip")
    before, third, fourth = proposer.propose(frames([(48, 64)] * 3), [2, 3, 4])
    assert len(before) == 0
    assert third.boxes.tolist() == [[1, 2, 30, 40]]
    assert third.scores.tolist() == [1]
    # two labels of one actor are one box
    assert fourth.boxes.tolist() == [[2, 2, 31, 40]]


def test_a_box_over_the_edge_is_cut(tmp_path: Path) -> None:
    write_tubes(table_from_detections("v", [Detections(0, [[-5, 10, 70, 60]], [0.5])]), tmp_path / "b.csv")
    (found,) = open_proposer(tmp_path / "b.csv", video_name="v").propose(frames([(48, 64)]), [0])
    assert found.boxes.tolist() == [[0, 10, 64, 48]]


def test_a_box_outside_of_the_picture_is_refused(tmp_path: Path) -> None:
    write_tubes(table_from_detections("v", [Detections(4, [[100, 10, 170, 60]], [0.5])]), tmp_path / "b.csv")
    proposer = open_proposer(tmp_path / "b.csv", video_name="v")
    with pytest.raises(ProposalError, match=r"b\.csv: box .* of video 'v', frame 4 lies outside .* 64x48"):
        proposer.propose(frames([(48, 64)]), [4])


def test_a_file_name_finds_the_video_of_its_class(tmp_path: Path) -> None:
    write_tubes(table_from_annotations([annotation()]), tmp_path / "truth.csv")
    for name in ("clip", "clip.avi", "other/clip.mp4"):
        (found,) = open_proposer(tmp_path / "truth.csv", video_name=name).propose(frames([(48, 64)]), [3])
        assert len(found) == 1


def test_a_name_that_two_videos_share_is_not_guessed(tmp_path: Path) -> None:
    same = [VideoAnnotation(f"{label}/clip", [Tube(label, np.array([0]), [[0, 0, 9, 9]])]) for label in "ab"]
    write_tubes(table_from_annotations(same), tmp_path / "truth.csv")
    with pytest.raises(ProposalError, match="'a/clip', 'b/clip'"):
        open_proposer(tmp_path / "truth.csv", video_name="clip")


def test_a_video_the_table_lacks_is_named_with_the_nearest(tmp_path: Path) -> None:
    write_tubes(table_from_annotations([annotation()]), tmp_path / "truth.csv")
    with pytest.raises(ProposalError, match=r"truth\.csv: video 'acts/clap' is not in the table; it has 'acts/clip'"):
        open_proposer(tmp_path / "truth.csv", video_name="acts/clap")


# ---- opening by a word


def test_a_model_file_gives_the_boxes_of_the_network_that_was_saved(tmp_path: Path) -> None:
    model = eager_detector().half().float()  # as stored
    save_detector(tmp_path / "m.safetensors", model, tiny(), {"by": "test"})
    config = ProposalConfig(min_score=0.0)
    from_file = open_proposer(tmp_path / "m.safetensors", config=config)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    direct = DetectorProposer(model, config, trained_short_side=240, mean=mean, std=std)
    for a, b in zip(from_file.propose(frames(), INDICES), direct.propose(frames(), INDICES)):
        assert_same(a, b)


def test_a_model_file_of_another_network_is_refused(tmp_path: Path) -> None:
    wider = DetectorConfig(**{**vars(tiny()), "stem_width": 24})
    save_detector(tmp_path / "m.safetensors", eager_detector(), wider, {})
    with pytest.raises(ModelFileError, match=r"m\.safetensors: weights do not fit"):
        open_proposer(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("nonsense", "unknown source of boxes.*bundled"),
        ("torchvision:yolo", "no such detector.*fasterrcnn_resnet50_fpn_v2"),
        ("boxes.csv", "its name is needed"),
        ("missing.safetensors", "no such model file"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(word: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        open_proposer(word)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    not (BUNDLED.is_file() and DEMO.is_file()), reason="the bundled weights or the demo clip are not here"
)
def test_the_bundled_detector_finds_both_actors_of_the_demo() -> None:
    frame = ClipReader(DEMO).read([56])[0]
    (found,) = open_proposer("bundled").propose([frame], [56])
    middles = (found.boxes[found.scores > 0.7, 0] + found.boxes[found.scores > 0.7, 2]) / 2 / frame.shape[1]
    assert (middles < 0.5).any()
    assert (middles > 0.5).any()
    assert len(middles) <= 3
    assert BUNDLED.stat().st_size < 20e6
