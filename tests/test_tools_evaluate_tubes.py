"""tools/evaluate_tubes.py, from the command line on."""

import json
import pickle
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from linking.records import NO_SCORE, Tube, VideoAnnotation
from linking.tables import table_from_annotations, write_tubes

TOOL = Path(__file__).parents[1] / "tools" / "evaluate_tubes.py"
BOX = (10, 10, 20, 20)


def tube(n: int = 4, box=BOX, score: float = NO_SCORE, label: str = "run", id: int = 0) -> Tube:
    return Tube(label, np.arange(n), np.tile(np.float32(box), (n, 1)), np.full(n, score), score, id)


def write(path: Path, *annotations: VideoAnnotation) -> Path:
    write_tubes(table_from_annotations(annotations), path)
    return path


def evaluate(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The script's own main, in this process: starting Python anew for every run would take most of the time."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        code = runpy.run_path(str(TOOL))["main"]([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())


def refused(*arguments: object) -> str:
    done = evaluate(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert len(error) < 320
    return error


def test_json_holds_each_protocol_and_where_it_came_from(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", VideoAnnotation("a", [tube(), tube(label="jump", id=1)]))
    found = write(tmp_path / "found.csv", VideoAnnotation("a", [tube(score=0.9)]))
    out = tmp_path / "result.json"
    done = evaluate("--ground-truth", truth, "--detections", found, "--protocol", "all", "--json", out, "--explain")
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert list(result["protocols"]) == [
        *("saha", "matlab-legacy", "saha-legacy", "act", "road", "yowo", "multisports"), "ava"
    ]  # fmt: skip
    saha = result["protocols"]["saha"]
    assert saha["video_map"]["0.5"] == {"overall": 0.5, "per_class": {"jump": 0.0, "run": 1.0}}
    assert saha["frame_map"]["0.5:0.95"]["overall"] == 0.5
    assert "video_map" not in result["protocols"]["ava"]
    provenance = result["provenance"]
    assert provenance["ground_truth"]["videos"] == 1
    assert provenance["ground_truth"]["tubes"] == 2
    assert len(provenance["detections"][0]["sha256"]) == 64
    assert provenance["judged"]["saha"] == {"tubes": 1, "boxes": 4}
    assert "spread" in done.stdout
    assert "saha, video-mAP:" in done.stdout


def test_details_are_printed_and_written_on_request_and_a_zero_unasked(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", VideoAnnotation("a", [tube()]), VideoAnnotation("b", [tube()]))
    found = write(tmp_path / "found.csv", VideoAnnotation("a", [tube(box=(5, 20, 15, 30), score=0.9)]))
    out, report = tmp_path / "result.json", tmp_path / "report.html"
    done = evaluate(
        *("--ground-truth", truth, "--detections", found, "--iou", "0.5", "--json", out, "--report", report),
        *("--errors", "--confidence", "--ceilings", "--tracking"),
    )
    assert done.returncode == 0, done.stderr
    assert "diagnosis: the detections lie elsewhere" in done.stdout
    result = json.loads(out.read_text())
    assert result["errors"]["counts"]["run"]["background"] == 1
    assert result["confidence"]["0.5"]["mean"] == {"low": 0, "value": 0, "high": 0}
    assert result["ceilings"]["perfect linking"]["0.5"] == 0
    assert result["tracking"]["with labels"]["MOTA"] == 1 - (4 + 8) / 8
    assert "lie elsewhere" in result["diagnosis"]["verdict"]
    assert report.read_text().startswith("<!doctype html>")


def test_what_is_called_what_is_printed_drawn_and_written(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", VideoAnnotation("a", [tube()]), VideoAnnotation("b", [tube(label="jump")]))
    found = write(tmp_path / "found.csv", VideoAnnotation("a", [tube(score=0.9, label="jump")]))
    out, picture = tmp_path / "result.json", tmp_path / "confusion.svg"
    inputs = ("--ground-truth", truth, "--detections", found)
    done = evaluate(*inputs, "--iou", "0.5", "--json", out, "--confusion", picture)
    assert done.returncode == 0, done.stderr
    assert "labels at IoU 0.5: 0 of 2 true tubes called right, 1 wrong, 1 not found\n  run is called jump: 1 of 1" in (
        done.stdout
    )
    assert json.loads(out.read_text())["confusion"]["counts"] == [[0, 0, 1], [1, 0, 0]]  # jump, run; not found
    assert "not found" in picture.read_text()
    assert "figures are written as .png" in refused(*inputs, "--confusion", tmp_path / "confusion.txt")


def test_warnings_are_on_the_terminal_and_in_the_result(tmp_path: Path) -> None:
    many = [VideoAnnotation(f"v{k:02d}", [replace(tube(), frames=np.arange(4), id=0)], 4) for k in range(9)]
    truth = write(tmp_path / "truth.json", *many)
    late = [replace(v, tubes=[replace(tube(score=0.5), frames=np.arange(1, 5))], num_frames=None) for v in many]
    found, out = write(tmp_path / "found.csv", *late), tmp_path / "result.json"
    done = evaluate("--ground-truth", truth, "--detections", found, "--iou", "0.5", "--json", out)
    said = [line.removeprefix("warning: ") for line in done.stderr.splitlines()]
    assert said == [
        "9 detected tubes end after the last frame of their video: 'v00' tube 0 has frame 4, the last is 3 counted"
        " from 0",
        "all 9 detected tubes have the score 0.5, so their order, by name, is arbitrary",
        "with the detections one frame earlier, they overlap the ground truth by 1.00 on the average, not 0.60. Is a"
        " frame counted from 1? (--diagnose says more)",
    ]
    result = json.loads(out.read_text())
    assert result["provenance"]["warnings"] == said
    assert result["diagnosis"]["overlap"]["with the detections one frame earlier"] == 1
    assert "diagnosis:" not in done.stdout


def test_a_zero_of_loose_boxes_and_of_several_splits_explains_itself(tmp_path: Path) -> None:
    table = table_from_annotations([VideoAnnotation("a", [tube(box=(10, 40, 20, 50), score=0.9)])])
    table["tube"], table["tube_score"] = table["tube"].mask(table["frame"] >= 0), float("nan")
    table[["x1", "y1", "x2", "y2"]] = table[["y1", "x1", "y2", "x2"]].to_numpy()
    turned = VideoAnnotation("a", [tube(box=(10, 40, 20, 50))])
    write_tubes(table, tmp_path / "found.csv")
    done = evaluate("--ground-truth", write(tmp_path / "turned.json", turned), "--detections", tmp_path / "found.csv")
    assert "diagnosis: with x and y of the detections swapped, they overlap" in done.stdout
    splits = jhmdb_pickle(tmp_path / "truth.pkl")
    found = write(tmp_path / "tubes.csv", VideoAnnotation("run/a", [tube(label="3", score=1)]))
    report = tmp_path / "report.html"
    done = evaluate("--ground-truth", splits, "--detections", found, "--split", "mean", "--report", report)
    assert done.returncode == 0, done.stderr
    assert "diagnosis: not one label of the detections occurs in the ground truth" in done.stdout
    assert "are numbers, not names of classes" in report.read_text()
    assert (
        "details need tubes, one split"
        in evaluate("--ground-truth", splits, "--detections", found, "--split", "mean", "--errors").stderr
    )


def test_a_table_of_loose_boxes_gets_frame_map_only(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.json", VideoAnnotation("a", [tube()]))
    table = table_from_annotations([VideoAnnotation("a", [tube(score=0.9)])])
    table["tube"], table["tube_score"] = table["tube"].mask(table["frame"] >= 0), float("nan")
    write_tubes(table, tmp_path / "found.csv")
    done = evaluate("--ground-truth", truth, "--detections", tmp_path / "found.csv", "--iou", "0.5")
    assert done.returncode == 0, done.stderr
    assert "frame 0.5" in done.stdout
    assert "video 0.5" not in done.stdout


def jhmdb_pickle(path: Path) -> Path:
    """Three videos; each is the test part of one of three splits."""
    names = ["run/a", "run/b", "jump/c"]
    rows = np.float32([(f, 10, 10, 19, 19) for f in range(1, 5)])
    data = {
        "labels": ["run", "jump"],
        "gttubes": {name: {int(name == "jump/c"): [rows]} for name in names},
        "nframes": dict.fromkeys(names, 4),
        "resolution": dict.fromkeys(names, (240, 320)),
        "train_videos": [["run/b"], ["run/a"], ["run/a", "run/b"]],
        "test_videos": [["run/a", "jump/c"], ["run/b", "jump/c"], ["run/b", "jump/c"]],
    }
    path.write_bytes(pickle.dumps(data, protocol=2))
    return path


def test_jhmdb_is_judged_by_split_or_as_the_mean_of_three(tmp_path: Path) -> None:
    truth = jhmdb_pickle(tmp_path / "truth.pkl")
    found = write(
        tmp_path / "found.csv", VideoAnnotation("run/a", [tube(score=1)]), VideoAnnotation("jump/c", [tube(score=1)])
    )
    out = tmp_path / "result.json"
    for split, overall in ((1, 1 / 2 / 2), (2, 0), ("mean", 1 / 2 / 2 / 3)):
        # the tube in c has the wrong label and, of equal score, goes first: run/a is found at rank 2
        done = evaluate("--ground-truth", truth, "--detections", found, "--split", split, "--json", out)
        assert done.returncode == 0, done.stderr
        result = json.loads(out.read_text())
        assert result["protocols"]["saha"]["video_map"]["0.5"]["overall"] == pytest.approx(overall)
        assert list(result["protocols"]["saha"]["video_map"]) == ["0.2", "0.5", "0.75", "0.5:0.95"]
    assert "detections in 1 videos of another part were left out" in done.stderr


def test_published_coordinates_of_jhmdb_are_a_pixel_smaller(tmp_path: Path) -> None:
    truth = jhmdb_pickle(tmp_path / "truth.pkl")
    found = write(tmp_path / "found.csv", VideoAnnotation("run/a", [tube(score=1)]))
    out = tmp_path / "result.json"
    scores = []
    for extra in ([], ["--as-published"]):
        done = evaluate("--ground-truth", truth, "--detections", found, "--iou", "0.9", "--json", out, *extra)
        assert done.returncode == 0, done.stderr
        scores.append(json.loads(out.read_text())["protocols"]["saha"]["video_map"]["0.9"]["per_class"]["run"])
    assert scores == [1, 0]  # 81 / 100 with the published numbers


def test_tubes_and_boxes_of_the_act_programs_are_detections_of_j_hmdb(tmp_path: Path) -> None:
    truth = jhmdb_pickle(tmp_path / "truth.pkl")
    rows = np.float32([(f, 10, 10, 19, 19, 0.5) for f in range(1, 5)])
    for name, label in (("run/a", 0), ("jump/c", 1)):
        (tmp_path / name).parent.mkdir()
        tubes = {0: [], 1: [], label: [(rows, 0.5)]}
        (tmp_path / f"{name}_tubes.pkl").write_bytes(pickle.dumps(tubes))
    done = evaluate("--ground-truth", truth, "--detections", tmp_path, "--iou", "0.9", "--protocol", "act")
    assert done.stdout.splitlines()[-3].split() == ["mean", "100.00", "2", "2", "100.00", "8", "8"], done.stderr
    # boxes of frames: video 0 is run/a, the first of the test list; its label is 0; inclusive pixels again
    boxes = np.float32([(0, f, 0, 0.5, 10, 10, 19, 19) for f in range(1, 5)])
    (tmp_path / "frame_detections.pkl").write_bytes(pickle.dumps(boxes))
    done = evaluate("--ground-truth", truth, "--detections", tmp_path / "frame_detections.pkl", "--iou", "0.9")
    assert done.stdout.splitlines()[2].split() == ["run", "100.00", "4", "4"]
    assert "no video-mAP: the boxes belong to no tubes" in done.stdout
    # one file cannot count in three lists, three can: video 0 is run/a of split 1 and run/b of the others
    arguments = ("--ground-truth", truth, "--split", "mean", "--iou", "0.9", "--detections")
    found = tmp_path / "frame_detections.pkl"
    assert "give the list of test videos" in refused(*arguments, found)
    assert "takes one table or 3" in refused(*arguments, found, found)
    assert evaluate(*arguments, found, found, found).stdout.splitlines()[2].split() == ["run", "100.00", "12", "12"]


def test_multisports_numbers_classes_and_videos_by_its_ground_truth(tmp_path: Path) -> None:
    rows = np.float32([(f, 10, 10, 20, 20) for f in range(1, 5)])
    data = {
        "labels": ["run", "jump"],
        "gttubes": {"football/a": {1: [rows]}, "football/b": {0: [rows]}},
        "nframes": {"football/a": 9, "football/b": 9},
        "test_videos": [["football/b", "football/a"]],
    }
    (tmp_path / "truth.pkl").write_bytes(pickle.dumps(data))
    scored = np.insert(rows, 5, 0.5, axis=1)
    tubes = {0: [("football/b", 0.5, scored)], 1: [("football/a", 0.5, scored)]}
    (tmp_path / "tubes.pkl").write_bytes(pickle.dumps(tubes))
    boxes = np.float32([(1, f, 1, 0.5, 10, 10, 20, 20) for f in range(1, 5)])
    (tmp_path / "frames.pkl").write_bytes(pickle.dumps(boxes))
    arguments = ("--ground-truth", tmp_path / "truth.pkl", "--iou", "0.95", "--protocol", "multisports")
    done = evaluate(*arguments, "--detections", tmp_path / "tubes.pkl")
    assert done.stdout.splitlines()[-3].split() == ["mean", "100.00", "2", "2", "100.00", "8", "8"], done.stderr
    assert "MultiSports: 2 videos, 2 tubes" in done.stdout
    done = evaluate(*arguments, "--detections", tmp_path / "frames.pkl")
    assert [line.split() for line in done.stdout.splitlines()[2:4]] == [
        ["run", "0.00", "4", "0"],
        ["jump", "100.00", "4", "4"],
    ]


def test_ava_is_judged_by_its_own_protocol_with_its_list_of_actions(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("a,902,.1,.1,.5,.5,7,0\na,903,.1,.1,.5,.5,7,0\na,904,.1,.1,.5,.5,7,0\n")
    (tmp_path / "found.csv").write_text("a,902,.1,.1,.5,.5,7,0.9\na,903,.6,.6,.8,.8,7,0.8\n")
    (tmp_path / "actions.pbtxt").write_text('item { name: "sit" id: 7 }')
    (tmp_path / "excluded.csv").write_text("a,904\n")
    done = evaluate(
        *("--ground-truth", tmp_path / "truth.csv", "--detections", tmp_path / "found.csv"),
        *("--classes", tmp_path / "actions.pbtxt", "--excluded", tmp_path / "excluded.csv"),
    )
    assert done.returncode == 0, done.stderr
    # the excluded second does not count: one of two boxes is found, at rank 1
    assert done.stdout.splitlines()[2].split() == ["sit", "50.00", "2", "2"]
    assert "protocol ava" in done.stdout


def test_what_a_reader_leaves_out_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text("1,1,11,11,10,10,1,-1\n1,2,1,1,10,10,0,-1\n2,1,11,11,10,10,1,-1\n")
    found = write(tmp_path / "found.csv", VideoAnnotation(tmp_path.name, [tube(n=2, score=1, label="person")]))
    done = evaluate("--ground-truth", tmp_path / "gt.txt", "--detections", found, "--iou", "0.5")
    assert done.stdout.splitlines()[-3].split() == ["mean", "100.00", "1", "1", "100.00", "2", "2"]
    assert done.stderr.count("1 boxes to be ignored were left out") == 1


def test_several_tables_are_taken_together(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", VideoAnnotation("a", [tube()]), VideoAnnotation("b", [tube()]))
    parts = [write(tmp_path / f"{name}.csv", VideoAnnotation(name, [tube(score=0.5)])) for name in "ab"]
    done = evaluate("--ground-truth", truth, "--detections", *parts, "--iou", "0.5")
    assert done.stdout.splitlines()[-3].split() == ["mean", "100.00", "2", "2", "100.00", "8", "8"]
    assert "is in" in refused("--ground-truth", truth, "--detections", parts[0], parts[0])


def test_a_list_of_test_videos_chooses_from_a_table(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", VideoAnnotation("a", [tube()]), VideoAnnotation("b", [tube()]))
    found = write(tmp_path / "found.csv", VideoAnnotation("a", [tube(score=1)]), VideoAnnotation("b", []))
    (tmp_path / "test.txt").write_text("a\n")
    arguments = ("--ground-truth", truth, "--detections", found, "--test-list", tmp_path / "test.txt")
    assert "1 videos, 1 tubes" in evaluate(*arguments).stdout
    (tmp_path / "test.txt").write_text("c\n")
    assert "no video of the test part" in refused(*arguments)


def test_bad_input_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", VideoAnnotation("a", [tube()]))
    found = write(tmp_path / "found.csv", VideoAnnotation("a.mp4", [replace(tube(score=1))]))
    out = tmp_path / "result.json"
    message = refused("--ground-truth", truth, "--detections", found, "--json", out)
    assert "'a.mp4' and 'a' agree without suffix (1 of 1 names do)" in message
    assert not out.exists()
    loosely = evaluate("--ground-truth", truth, "--detections", found, "--iou", "0.5", "--loose-names")
    assert "mean      100.00" in loosely.stdout
    (tmp_path / "bad.pkl").write_bytes(b"not a pickle")
    assert "bad.pkl" in refused("--ground-truth", tmp_path / "bad.pkl", "--detections", found)
    assert "missing.csv" in refused("--ground-truth", tmp_path / "missing.csv", "--detections", found)
    assert "known: saha" in refused("--ground-truth", truth, "--detections", found, "--protocol", "best")


def test_started_as_a_program_it_ends_with_the_code_of_its_outcome(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", VideoAnnotation("a", [tube()]))
    found = write(tmp_path / "found.csv", VideoAnnotation("a", [tube(score=0.9)]))
    for last, code in ((found, 0), (tmp_path / "missing.csv", 2)):
        command = [sys.executable, str(TOOL), "--ground-truth", str(truth), "--detections", str(last)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_help_starts_with_an_example_and_imports_nothing_heavy() -> None:
    code = f"import sys, runpy; sys.argv = ['x', '--help']; runpy.run_path({str(TOOL)!r}, run_name='__main__')"
    check = f"try:\n  {code}\nexcept SystemExit:\n  print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    assert "python tools/evaluate_tubes.py --ground-truth truth.csv --detections tubes.csv" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
