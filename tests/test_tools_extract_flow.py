import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.moving_texture import write_moving
from video.datasets import DatasetError
from video.flow import FlowError, FlowSettings
from video.flow_cache import CachedFlow
from video.flow_extraction import FlowJob, extract, flow_jobs
from video.tvl1 import TVL1Config

TOOL = Path(__file__).parents[1] / "tools" / "extract_flow.py"
FAST = FlowSettings(tvl1=TVL1Config(scales=1, warps=1))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two classes with a video each, and one that cannot be read."""
    write_moving(tmp_path / "data" / "left" / "a", [3, 2, 1])
    write_moving(tmp_path / "data" / "right" / "b", [1, 2])
    (tmp_path / "data" / "right" / "broken.mp4").write_bytes(b"no video")
    return tmp_path / "data"


def test_a_dataset_is_done_video_by_video_and_a_broken_one_stops_nothing(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "flow"
    command = [sys.executable, str(TOOL), str(dataset), "--output", str(output), "--workers", "1", "--json"]
    command += ["--short-side", "24", "--set", "tvl1.warps=1", "--set", "tvl1.scales=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1
    assert "broken.mp4" in done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["videos"], summary["computed"], summary["frames"]) == (3, 2, 5)
    assert list(summary["failed"]) == ["right/broken"]
    assert sorted(path.relative_to(output).as_posix() for path in output.rglob("*.*")) == [
        "left/a.flow.zip",
        "right/b.flow.zip",
    ]
    settings = FlowSettings(short_side=24, tvl1=FAST.tvl1)
    assert CachedFlow(output / "left" / "a.flow.zip", settings=settings).num_frames == 3


def test_what_is_done_is_left_alone_until_the_settings_change(dataset: Path, tmp_path: Path) -> None:
    jobs = [job for job in flow_jobs([str(dataset)]) if job.name != "right/broken"]
    first, again, changed = (
        {outcome.job.name: outcome.frames for outcome in extract(jobs, tmp_path / "flow", settings)}
        for settings in (FAST, FAST, FlowSettings(bound=10, tvl1=FAST.tvl1))
    )
    assert first == changed == {"left/a": 3, "right/b": 2}
    assert again == {"left/a": 0, "right/b": 0}


def test_videos_are_named_after_their_files_and_those_of_a_dataset_as_it_names_them(dataset: Path) -> None:
    assert flow_jobs([str(dataset)]) == [
        FlowJob("left/a", str(dataset / "left" / "a")),
        FlowJob("right/b", str(dataset / "right" / "b")),
        FlowJob("right/broken", str(dataset / "right" / "broken.mp4")),
    ]
    assert flow_jobs([str(dataset / "right" / "broken.mp4"), str(dataset / "left" / "a")]) == [
        FlowJob("broken", str(dataset / "right" / "broken.mp4")),
        FlowJob("a", str(dataset / "left" / "a")),
    ]


def test_of_hmdb51_the_videos_of_all_splits_are_meant(tmp_path: Path) -> None:
    """Each split leaves some of its videos out; here one of three."""
    for name in "abc":
        write_moving(tmp_path / "videos" / "wave" / name, [0, 1])
    (tmp_path / "splits").mkdir()
    for split, parts in enumerate(((1, 2, 0), (0, 1, 2), (2, 0, 1)), 1):
        lines = [f"{name}.avi {part} " for name, part in zip("abc", parts)]
        (tmp_path / "splits" / f"wave_test_split{split}.txt").write_text("\n".join(lines))
    assert [job.name for job in flow_jobs([str(tmp_path)])] == ["wave/a", "wave/b", "wave/c"]
    for split in (2, 3):
        (tmp_path / "splits" / f"wave_test_split{split}.txt").unlink()
    assert [job.name for job in flow_jobs([str(tmp_path)])] == ["wave/a", "wave/b"]


def test_two_videos_of_one_name_are_refused_and_the_same_one_twice_is_one(tmp_path: Path) -> None:
    one, other = tmp_path / "x" / "clip.mp4", tmp_path / "y" / "clip.avi"
    assert len(flow_jobs([str(one), str(one)])) == 1
    with pytest.raises(FlowError, match="another --output"):
        flow_jobs([str(one), str(other)])


def test_a_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset"):
        flow_jobs([str(tmp_path)])
