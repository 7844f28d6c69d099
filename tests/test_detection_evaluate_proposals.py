"""Judging a source of boxes: the frames it is asked for, what it is shown, what is counted."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from detection.evaluate_proposals import judge_frames
from detection.motion import frames_around, motion_stack
from detection.train_proposals import spread
from linking.records import Detections
from tests.test_detection_streams import FLOW
from tests.test_detection_train_proposals import small_dataset
from tests.test_detection_two_streams import Watched, write_flow, write_rgb
from video.datasets import open_dataset
from video.flow import FlowReader

TOOL = Path(__file__).parents[1] / "tools" / "evaluate_proposals.py"


def test_frames_are_spread_evenly() -> None:
    assert spread(range(10), 2) == [2, 7]
    assert spread([4, 9], 8) == [4, 9]
    assert spread([], 3) == []


class Half:
    """Finds the first actor of a frame exactly in even frames, nothing in odd ones."""

    def __init__(self, dataset: object) -> None:
        self.boxes = iter([video.annotation.tubes[0].boxes for video in dataset.videos])  # type: ignore[attr-defined]

    def propose(self, frames: list[np.ndarray], indices: list[int]) -> list[Detections]:
        boxes = next(self.boxes)
        kept = [[i] if i % 2 == 0 else [] for i in indices]
        return [Detections(i, boxes[one], np.full(len(one), 0.9, np.float32)) for i, one in zip(indices, kept)]


def test_actors_are_counted_once_a_frame(tmp_path: Path) -> None:
    dataset = open_dataset(str(small_dataset(tmp_path)), part="train")
    frames = {len(video.annotation.tubes[0]) for video in dataset.videos}
    assert frames == {3}
    judged = judge_frames(dataset.videos, Half(dataset), frames_per_video=3)
    assert len(judged.found) == 3 * len(dataset.videos)
    assert judged.quality(0.5)["recall@1"] == pytest.approx(2 / 3, abs=1e-4)


def test_a_network_of_flow_sees_the_flow_around_each_frame(tmp_path: Path) -> None:
    dataset = open_dataset(str(small_dataset(tmp_path)), part="train")
    video, watched = dataset.videos[0], Watched()
    judge_frames([video], watched, frames_per_video=2)
    flow = FlowReader(video.path, FLOW)
    assert len(watched.seen) == 2
    for frame, stack in watched.seen.items():
        around = frames_around(frame, watched.flow_frames, 0, flow.num_frames - 1)
        np.testing.assert_array_equal(stack, motion_stack(list(flow.read(around))))


def test_the_tool_prints_and_writes_a_row_an_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, main = small_dataset(tmp_path / "data"), runpy.run_path(str(TOOL))["main"]
    both = f"{write_rgb(tmp_path / 'rgb.safetensors')},{write_flow(tmp_path / 'flow.safetensors')}"
    words = ["--dataset", str(data), "--fold", "0/2", "--threads", "1", "--frames", "2"]
    out = tmp_path / "numbers.json"
    assert main([*words, "--proposals", both, "--iou", "0.1", "0.5", "--json", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "data: 4 actors in 4 frames of 2 videos"
    assert said[1].split() == ["IoU", "recall@1", "recall@10", "recall@100", "AP"]
    numbers = json.loads(out.read_text())["iou"]
    assert float(said[2].split()[3]) == pytest.approx(100 * numbers["0.1"]["recall@100"], abs=0.06)
    assert numbers["0.1"]["recall@100"] >= numbers["0.5"]["recall@100"]
    assert main([*words, "--proposals", "boxes.csv"]) == 2
    assert "evaluate_tubes.py" in capsys.readouterr().err
