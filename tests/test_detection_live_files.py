"""The table of a live run: whole at every moment, the same tubes in both files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detection.live_files import LiveTable
from detection.live_tubes import EndedTube
from linking.records import NO_SCORE, Tube
from linking.tables import annotations_from_table, read_tubes


def ended(number: int, first: int, count: int) -> EndedTube:
    frames = np.arange(first, first + count)
    boxes = np.float32([[0.1 * k, 4, 20 + k, 30.3] for k in range(count)])
    scores = np.linspace(0.1, 0.9, count).astype(np.float32)
    scores[1:-1:3] = NO_SCORE
    return EndedTube(Tube("wave, both", frames, boxes, scores, 1 / 3, number), frames / 25 + 7.0, True)


def test_the_table_can_be_read_at_any_time_and_both_files_say_the_same(tmp_path: Path) -> None:
    with LiveTable(tmp_path, 'camera "0"', width=64, height=48) as table:
        assert len(read_tubes(tmp_path / "tubes.csv")) == 0
        table.add([ended(3, 10, 5), ended(1, 2, 20)])
        assert len(read_tubes(tmp_path / "tubes.csv")) == 25
        assert not (tmp_path / "tubes.json").exists()
        table.add([ended(4, 90, 1)])
        table.num_frames = 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tubes.csv", "tubes.json"]
    rows, nested = read_tubes(tmp_path / "tubes.csv"), read_tubes(tmp_path / "tubes.json")
    pd.testing.assert_frame_equal(rows[list(nested.columns)], nested)
    (annotation,) = annotations_from_table(nested)
    assert (annotation.video, annotation.num_frames, annotation.width) == ('camera "0"', 100, 64)
    for one, tube in zip((ended(1, 2, 20), ended(3, 10, 5), ended(4, 90, 1)), annotation.tubes, strict=True):
        assert (tube.id, tube.label, tube.score) == (one.tube.id, "wave, both", 1 / 3)
        np.testing.assert_array_equal(tube.boxes, one.tube.boxes)
        np.testing.assert_array_equal(tube.scores, one.tube.scores)
    times = pd.read_csv(tmp_path / "tubes.csv")["seconds"]
    assert times.iloc[0] == 10 / 25 + 7
    first = json.loads((tmp_path / "tubes.json").read_text())["videos"][0]["tubes"][0]
    assert (first["start_seconds"], first["end_seconds"]) == (7.4, 7.56)


def test_nothing_found_is_a_table_too(tmp_path: Path) -> None:
    with LiveTable(tmp_path, "camera0", width=64, height=48):
        pass
    assert len(read_tubes(tmp_path / "tubes.csv")) == len(read_tubes(tmp_path / "tubes.json")) == 0


def test_an_error_keeps_the_rows_so_far_and_the_old_nested_file(tmp_path: Path) -> None:
    (tmp_path / "tubes.csv").write_text("old")
    (tmp_path / "tubes.json").write_text("old")

    def go() -> None:
        with LiveTable(tmp_path, "camera0", width=64, height=48) as table:
            table.add([ended(0, 0, 3)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go()
    assert len(read_tubes(tmp_path / "tubes.csv")) == 3
    assert (tmp_path / "tubes.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
