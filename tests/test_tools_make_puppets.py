"""tools/make_puppets.py as a user runs it."""

import subprocess
import sys
from pathlib import Path

from linking.tables import annotations_from_table, read_tubes

TOOL = Path(__file__).parents[1] / "tools" / "make_puppets.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False)


def test_it_makes_a_dataset_and_says_what_it_made(tmp_path: Path) -> None:
    small = ("--classes", "wave,sit", "--videos-per-class", "1", "--test-videos-per-class", "1")
    done = run(str(tmp_path / "new"), *small, "--size", "64x48", "--frames", "4-4", "--seed", "2")
    assert done.returncode == 0, done.stderr
    assert "4 videos of 2 classes (jhmdb layout), 4 tubes, 16 frames, 4 sources, seed 2" in done.stdout
    assert (tmp_path / "new" / "JHMDB-GT.pkl").is_file()
    assert len(list((tmp_path / "new" / "videos").rglob("*.avi"))) == 4


def test_wrong_wishes_are_one_line_and_code_2(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for arguments, message in (
        ((str(tmp_path / "full"),), "exists and is not empty"),
        ((str(tmp_path / "new"), "--frames", "many"), "--frames many: expected two numbers as in 32-40"),
    ):
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_the_demo_clip_comes_with_its_ground_truth(tmp_path: Path) -> None:
    done = run("--demo", str(tmp_path / "demo.mp4"), "--truth", str(tmp_path / "truth.csv"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'demo.mp4'}: wave in frames 8-75, jump in frames 56-117\n"
    (video,) = annotations_from_table(read_tubes(tmp_path / "truth.csv"))
    assert video.video == "demo"
    assert [(tube.label, tube.first_frame, tube.end_frame) for tube in video.tubes] == [
        ("wave", 8, 76),
        ("jump", 56, 118),
    ]
    assert run("--truth", "truth.csv", str(tmp_path / "x")).returncode == 2
