"""Watching cameras and streams by the command line: what is left when it ends, however it ends."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from detection.detector_files import save_detector
from detection.detectors import build_detector
from detection.detectors import tiny as tiny_detector
from detection.inputs import inputs_of
from detection.live_run import has_no_end
from detection.live_stop import StopSignals
from detection.scorer import KIND
from linking.tables import annotations_from_table, read_tubes
from recognition.model_files import save_model
from recognition.preprocessing import Preprocessing
from tests.live_samples import CLASSES, small_scorer
from tests.stream_server import StreamServer
from tests.video_samples import write_numbered
from video.clips import read_video

TOOL = Path(__file__).parents[1] / "tools" / "detect_video.py"
FAST = {"g": "10", "tune": "zerolatency", "preset": "ultrafast"}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks with random weights, a stream and a long film."""
    folder = tmp_path_factory.mktemp("files")
    network = small_scorer().network
    header = {"kind": KIND, "config": network.config.to_dict(), "preprocessing": Preprocessing().to_dict()}
    save_model(folder / "scorer.safetensors", network.state_dict(), class_names=CLASSES, provenance={}, **header)  # type: ignore[arg-type]
    save_detector(folder / "boxes.safetensors", build_detector(tiny_detector()), tiny_detector(), {})
    write_numbered(folder / "camera.ts", frames=40, container="mpegts", options=FAST)
    # the index in front, so that a server need not know how to give parts of it
    write_numbered(folder / "long.mp4", frames=3000, options=FAST, container_options={"movflags": "+faststart"})
    return folder


def words_for(files: Path, output: Path, *words: object) -> list[str]:
    networks = ["--weights", files / "scorer.safetensors", "--proposals", files / "boxes.safetensors"]
    quick = ["--set", "pipeline.precision=fp32", "--set", "live.first_wait=0.1", "--score-threshold", 0]
    return [str(word) for word in [*networks, *quick, "--clip-stride", 8, "--output", output, *words]]


@pytest.fixture
def run(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    main = runpy.run_path(str(TOOL))["main"]

    def call(*words: object) -> tuple[int, str, str]:
        code = main(words_for(files, tmp_path / "out", *words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def when_there(path: Path, act: Callable[[], object]) -> None:
    """Act from a thread once ``path`` exists."""

    def wait() -> None:
        while not path.exists():
            time.sleep(0.05)
        act()

    threading.Thread(target=wait, daemon=True).start()


def test_ctrl_c_leaves_finished_files(files: Path, tmp_path: Path) -> None:
    """And while it runs the page says how it goes."""
    output = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, str(TOOL), *words_for(files, output, files / "long.mp4", "--live", "--port", 0)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # a shell's background jobs start with Ctrl-C ignored, and so would this process
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    line = next(line for line in process.stderr if "watch at" in line)
    assert line.startswith("long: watch at http://127.0.0.1:")
    address = line.split()[-1]
    state: dict = {}
    deadline = time.monotonic() + 100
    while state.get("frame", 0) < 20 and time.monotonic() < deadline:
        time.sleep(0.1)
        with urllib.request.urlopen(f"{address}tubes.json", timeout=30) as answer:
            state = json.load(answer)
    assert state["latency"]["median"] > 0
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "finishing the files; once more quits at once" in said
    assert "Traceback" not in said
    assert out.startswith("tube")
    assert {path.name for path in output.iterdir()} == {"tubes.csv", "tubes.json", "run.json", "long.annotated.mp4"}
    record = json.loads((output / "run.json").read_text())
    (video,) = record["videos"]
    live = video["live"]
    assert live["ended_by"] == "SIGINT"
    assert live["looked_at"] + live["dropped"] + live["dropped_at_connecting"] + live["skipped"] <= live["decoded"]
    assert 0 < live["looked_at"] <= live["decoded"] < 3000  # a loaded machine leaves some out
    assert set(live["latency_seconds"]) == {"median", "p95", "max"}
    assert record["settings"]["live"]["buffer_frames"] == 16
    (annotation,) = annotations_from_table(read_tubes(output / "tubes.json"))
    assert annotation.num_frames == video["num_frames"] == live["decoded"]
    assert len(annotation.tubes) == video["num_tubes"]
    assert len(read_video(output / "long.annotated.mp4")) == live["looked_at"] - live["undrawn"]


def test_sigterm_ends_it_too_and_the_second_signal_does_not_wait(run: Run, files: Path, tmp_path: Path) -> None:
    table = tmp_path / "out" / "tubes.csv"
    when_there(table, lambda: os.kill(os.getpid(), signal.SIGTERM))
    code, _, said = run(files / "long.mp4", "--live", "--show", "none", "--no-video")
    assert code == 0, said
    assert json.loads((tmp_path / "out" / "run.json").read_text())["videos"][0]["live"]["ended_by"] == "SIGTERM"
    for path in (tmp_path / "out").iterdir():
        path.unlink()

    def twice() -> None:
        # at once, before the files are finished; two of the same kind might arrive as one
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    when_there(table, twice)
    code, _, said = run(files / "long.mp4", "--live", "--show", "none")
    assert code == 130
    assert said.rstrip().endswith("interrupted")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tubes.csv"]  # it is whole at any time
    read_tubes(table)


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        assert not stop.asked()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        assert stop.asked()
        assert stop.reason == "SIGINT"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stream_that_is_lost_leaves_what_was_seen_and_code_2(run: Run, files: Path, tmp_path: Path) -> None:
    with StreamServer(files / "camera.ts", seconds=[1.6, 1.6, 1.6, 0], cut_after=[1, 0.5]) as server:
        # the first connection asks whether it is live
        code, out, said = run(server.url, "--show", "page", "--port", 0, "--max-reconnects", 2)
    assert code == 2
    lines = said.splitlines()
    name = server.url.split("://")[1].replace(":", "_").replace("/", "_")
    assert any(line.startswith(f"{name}: watch at http://127.0.0.1:") for line in lines)
    assert sum("connected again after" in line for line in lines) == 1
    assert lines[-1].startswith("error: ")
    assert "lost, and not back after 2 attempts" in lines[-1]
    assert len(lines[-1]) < 300
    assert out.startswith("tube")
    (video,) = json.loads((tmp_path / "out" / "run.json").read_text())["videos"]
    assert (video["live"]["reconnects"], video["live"]["ended_by"]) == (1, "lost")
    assert video["live"]["holes"] >= 1
    assert (tmp_path / "out" / f"{name}.annotated.mp4").exists()
    (annotation,) = annotations_from_table(read_tubes(tmp_path / "out" / "tubes.json"))
    assert annotation.num_frames == video["live"]["decoded"]


def test_a_run_can_be_one_json_record(run: Run, files: Path) -> None:
    code, out, _ = run(files / "camera.ts", "--live", "--show", "none", "--json", "--max-frames", 12, "--no-video")
    assert code == 0
    (video,) = json.loads(out)["videos"]
    assert (video["num_frames"], video["live"]["ended_by"]) == (12, "end of the source")


def test_which_inputs_are_live(files: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(files)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        # a film that lies on a server has an end, and all of its pictures are looked at
        lying = f"http://127.0.0.1:{server.server_address[1]}/long.mp4"
        assert [has_no_end(item) for item in inputs_of([lying, str(files / "long.mp4"), "0"])] == [False, False, True]
    finally:
        server.shutdown()
        server.server_close()
    with StreamServer(files / "camera.ts", seconds=[1.0]) as stream:
        assert has_no_end(inputs_of([stream.url])[0])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["97"], "camera 97: there is no /dev/video97; is the camera plugged in?"),
        (["rtsp://user:secret@127.0.0.1:9/camera"], "rtsp://127.0.0.1:9/camera: cannot be read as a video"),
        (["97", "--proposals", "boxes.csv"], "the boxes of a table belong to a finished video"),
        (["LONG", "--live", "--port", "99999"], "the page cannot be at 127.0.0.1, port 99999"),
        (["LONG", "--live", "--set", "trim_labels=all"], "set trim_labels=own"),
        (["LONG", "--live", "--max-reconnects", "-1"], "max_reconnects must be 0 or more"),
    ],
)
def test_what_cannot_be_watched_is_one_line(run: Run, files: Path, tmp_path: Path, words: list[str], told: str) -> None:
    code, out, said = run(*(str(files / "long.mp4") if word == "LONG" else word for word in words))
    assert code == 2
    assert out == ""
    assert said.startswith("error: ")
    assert told in said
    assert said.count("\n") == 1
    assert "secret" not in said
    assert not (tmp_path / "out").exists()


def test_one_live_input_at_a_time(run: Run, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(files / "long.mp4", files / "camera.ts", "--live")
    assert "--live is for one video at a time" in capsys.readouterr().err
