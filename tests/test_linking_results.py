"""Tables of runs with seconds, and questions whose answers can be counted on the fingers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from linking.records import Tube, VideoAnnotation
from linking.results import action_seconds, at_second, read_results, tube_overlap, tube_summary
from linking.tables import TableError, read_tubes, table_from_annotations, write_tubes


def tube(label: str, first: int, count: int, *, number: int, x: float = 0, score: float = 0.5) -> Tube:
    """Box of 10 x 10 pixels at ``x`` in ``count`` frames."""
    boxes = np.tile(np.array([[x, 0, x + 10, 10]], np.float32), (count, 1))
    return Tube(label, np.arange(first, first + count), boxes, None, score, number)


def run_folder(folder: Path, videos: dict[str, list[Tube]], *, fps: float | None, suffix: str = ".csv") -> Path:
    """A folder as detect_video.py leaves it, as far as it matters here."""
    write_tubes(table_from_annotations([VideoAnnotation(*item) for item in videos.items()]), folder / f"tubes{suffix}")
    if fps is not None:
        entries = [
            {"video": name, "fps": fps, "num_frames": 100, "path": f"{name}.mp4", "tubes": []} for name in videos
        ]
        (folder / "run.json").write_text(json.dumps({"videos": entries}))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Ten frames a second. Tube 0 waves in frames 20-39, tube 1 in 30-44 half a box to the right, tube 2 runs."""
    tubes = [
        tube("wave", 20, 20, number=0, score=0.9),
        tube("wave", 30, 15, number=1, x=5),
        tube("run", 0, 5, number=2, x=100),
    ]
    return run_folder(tmp_path / "run", {"clip": tubes}, fps=10)


def test_the_table_of_a_run_has_seconds_and_keeps_the_columns_of_the_file(run: Path) -> None:
    table = read_results(run)
    plain = read_tubes(run / "tubes.csv")
    pd.testing.assert_frame_equal(table[plain.columns.tolist()], plain, check_like=True)
    assert table.columns.tolist() == [*plain.columns, "second", "fps"]
    assert table["second"].dtype == table["fps"].dtype == np.float64
    assert table["second"].tolist() == [frame / 10 for frame in table["frame"]]
    assert table.attrs["videos"] == {"clip": {"fps": 10.0, "num_frames": 100, "path": "clip.mp4"}}


def test_without_a_rate_there_are_no_seconds_and_a_rate_can_be_given(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", {"a": [tube("wave", 0, 2, number=0)]}, fps=None)
    assert read_results(folder)["second"].isna().all()
    assert read_results(folder, fps=4)["second"].tolist() == [0, 0.25]
    assert read_results(folder / "tubes.csv", fps={"a": 2})["second"].tolist() == [0, 0.5]
    assert read_results(folder, fps={"b": 2})["second"].isna().all()
    with pytest.raises(TableError, match="fps must be above 0, got -1"):
        read_results(folder, fps=-1)


def test_several_runs_become_one_table_each_video_with_its_own_rate(tmp_path: Path) -> None:
    first = run_folder(tmp_path / "runs" / "1", {"a": [tube("wave", 10, 1, number=0)]}, fps=10)
    run_folder(tmp_path / "runs" / "2", {"b": [tube("wave", 10, 1, number=0)]}, fps=20, suffix=".json")
    table = read_results(tmp_path / "runs")
    assert table[["video", "second"]].to_numpy().tolist() == [["a", 10 / 10], ["b", 10 / 20]]
    assert sorted(table.attrs["videos"]) == ["a", "b"]
    with pytest.raises(TableError, match=r"2.tubes.json: video 'a' is in .*1.tubes.csv already"):
        read_results(first, run_folder(tmp_path / "2", {"a": []}, fps=20, suffix=".json"))


def test_what_is_no_result_is_refused_in_a_line(tmp_path: Path, run: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match=r"no tubes.csv in it nor below"):
        read_results(tmp_path / "empty")
    with pytest.raises(TableError, match="no results named"):
        read_results()
    (run / "run.json").write_text("[]")
    with pytest.raises(TableError, match=r"run.json: not the record of a run"):
        read_results(run)


def test_a_run_without_any_tube_gives_empty_answers(tmp_path: Path) -> None:
    table = read_results(run_folder(tmp_path / "run", {"clip": []}, fps=10))
    assert len(table) == len(tube_summary(table)) == len(at_second(table, 1)) == len(action_seconds(table)) == 0
    assert table.attrs["videos"]["clip"]["fps"] == 10


def test_summary_has_a_row_a_tube_with_half_open_ends(run: Path) -> None:
    summary = tube_summary(read_results(run))
    assert summary.columns.tolist() == [
        "video", "tube", "label", "score", "first_frame", "end_frame", "boxes", "start", "end", "seconds",
    ]  # fmt: skip
    assert summary.drop(columns="video").to_numpy().tolist() == [
        [0, "wave", 0.9, 20, 40, 20, 2.0, 4.0, 2.0],
        [1, "wave", 0.5, 30, 45, 15, 3.0, 4.5, 1.5],
        [2, "run", 0.5, 0, 5, 5, 0.0, 0.5, 0.5],
    ]


@pytest.mark.parametrize(
    ("second", "tubes"), [(0, [2]), (0.49, [2]), (0.5, []), (2.95, [0]), (3.0, [0, 1]), (4.0, [1]), (99, [])]
)
def test_who_is_there_at_a_second(run: Path, second: float, tubes: list[int]) -> None:
    assert at_second(read_results(run), second)["tube"].tolist() == tubes


@pytest.mark.parametrize("fps", [24, 25, 29.97, 30000 / 1001, 59.94])
def test_the_second_of_a_frame_leads_back_to_the_frame(tmp_path: Path, fps: float) -> None:
    table = read_results(run_folder(tmp_path / "run", {"a": [tube("wave", 0, 500, number=0)]}, fps=fps))
    for _, row in table.iloc[::7].iterrows():
        assert at_second(table, row["second"])["frame"].tolist() == [row["frame"]]


def test_a_frame_counts_once_for_an_action_however_many_do_it(run: Path) -> None:
    seconds = action_seconds(read_results(run))
    # waving from frame 20 to 44, by one or by two; running from 0 to 4
    assert seconds.loc["clip"].to_dict() == {"run": 5 / 10, "wave": 25 / 10}


def test_overlap_of_two_tubes_frame_by_frame(run: Path) -> None:
    table = read_results(run)
    shared = tube_overlap(table, "clip", 0, 1)
    assert shared["frame"].tolist() == list(range(30, 40))
    assert shared["second"].iloc[0] == 3.0
    assert shared["iou"].tolist() == pytest.approx([50 / 150] * 10)
    assert tube_overlap(table, "clip", 0, 2).empty
    with pytest.raises(ValueError, match="no tube 7; it has 0, 1, 2"):
        tube_overlap(table, "clip", 0, 7)
