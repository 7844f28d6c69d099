"""A live run as a whole: a file at its own speed, networks that are too slow, a source that is lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detection.detect import DetectConfig
from detection.live import LiveOutcome, watch
from detection.live_settings import LiveConfig
from detection.pipeline import PipelineConfig
from detection.scorer import LoadedScorer
from linking.build import SelectConfig
from linking.online import OnlineConfig
from linking.tables import annotations_from_table, read_tubes
from tests.live_samples import CLASSES, HEIGHT, WIDTH, OneBox, small_scorer
from tests.video_samples import write_numbered
from video.clips import read_video
from video.container import ContainerSource
from video.frames import FILE_OPTIONS
from video.live_frames import LiveReader

CONFIG = DetectConfig(
    pipeline=PipelineConfig(proposal_stride=4, clip_stride=4, precision="fp32"),
    online=OnlineConfig(score_threshold=0.0),
    select=SelectConfig(min_score=0.0),
    trimmed=False,
    live=LiveConfig(adapt=False, show_score=0.0),
)


@pytest.fixture(scope="module")
def scorer() -> LoadedScorer:
    return small_scorer()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("film") / "film.mp4", frames=60, width=WIDTH * 2, height=HEIGHT * 2)


def run(
    film: Path, scorer: LoadedScorer, output: Path, config: DetectConfig = CONFIG, **options: object
) -> LiveOutcome:
    reader = LiveReader(str(film), buffer_frames=config.live.buffer_frames, max_frames=options.pop("max_frames", None))  # type: ignore[arg-type]
    box = options.pop("proposer", None) or OneBox()
    annotated = output / "film.annotated.mp4"
    return watch(reader, "film", box, [scorer], config, output=output, annotated=annotated, **options)  # type: ignore[arg-type]


def test_a_run_leaves_tubes_with_their_times_and_what_was_shown(
    scorer: LoadedScorer, film: Path, tmp_path: Path
) -> None:
    ended: list[str] = []
    outcome = run(film, scorer, tmp_path, on_ended=lambda tubes: ended.extend(one.tube.label for one in tubes))
    (annotation,) = annotations_from_table(read_tubes(tmp_path / "tubes.json"))
    assert (annotation.video, annotation.num_frames, annotation.width) == ("film", 60, 2 * WIDTH)
    # one box that stays, linked for each class over all pictures but those the busy machine dropped at the edges
    assert sorted(tube.label for tube in annotation.tubes) == list(CLASSES) == sorted(ended)
    facts = outcome.facts
    assert facts["looked_at"] + facts["dropped"] == facts["decoded"] == outcome.decoded == 60
    for tube in annotation.tubes:
        np.testing.assert_array_equal(tube.frames, range(tube.first_frame, tube.end_frame))
        assert np.isfinite(np.asarray(tube.scores)).sum() == facts["looked_at"]
        np.testing.assert_allclose(tube.boxes, np.float32([[10, 8, 40, 44]] * len(tube)))
    assert outcome.num_tubes == 3
    assert 0 < facts["latency_seconds"]["median"] <= facts["latency_seconds"]["p95"] <= facts["latency_seconds"]["max"]
    # what was shown has the times of the source
    assert len(read_video(tmp_path / "film.annotated.mp4")) == facts["looked_at"] - facts["undrawn"]
    path = tmp_path / "film.annotated.mp4"
    with ContainerSource(str(path), "shown", 2**26, options=FILE_OPTIONS) as shown:
        times = [frame.time for frame in shown.decoded()]
    assert times[-1] == pytest.approx(59 / 25, abs=0.1)


def test_networks_that_are_too_slow_lose_pictures_and_not_time(
    scorer: LoadedScorer, film: Path, tmp_path: Path
) -> None:
    """Boxes take 0.3 s for every fourth picture, twice as long as those take to come. Without drops the last of 60
    would be 15 * 0.3 - 60 / 25 = 2.1 s late; with a buffer of 8 it is 0.3 s and eight pictures."""
    config = DetectConfig(
        pipeline=CONFIG.pipeline, online=CONFIG.online, select=CONFIG.select, trimmed=False,
        live=LiveConfig(adapt=False, buffer_frames=8, show_score=0.0),
    )  # fmt: skip
    outcome = run(film, scorer, tmp_path, config, proposer=OneBox(seconds=0.3))
    facts = outcome.facts
    assert facts["dropped"] >= 12
    assert facts["looked_at"] + facts["dropped"] == 60
    assert facts["latency_seconds"]["max"] < 2.1 + 1.0  # and what a busy machine adds
    (annotation,) = annotations_from_table(read_tubes(tmp_path / "tubes.csv"))
    assert all(tube.end_frame <= 60 for tube in annotation.tubes)


def test_where_work_can_be_saved_less_is_done_and_that_is_told(
    scorer: LoadedScorer, film: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    config = DetectConfig(pipeline=CONFIG.pipeline, online=CONFIG.online, live=LiveConfig(buffer_frames=4))
    long = write_numbered(tmp_path / "long.mp4", frames=100, width=WIDTH * 2, height=HEIGHT * 2)
    outcome = run(long, scorer, tmp_path, config, proposer=OneBox(seconds=0.4), tell=said.append)
    first, second, *_ = outcome.facts["efforts"]
    assert first["effort"] == "every picture, proposals every 4, a clip every 4, 1 stream"
    assert second["effort"] == "every picture, proposals every 8, a clip every 8, 1 stream"
    assert "less is done from second" in said[0]
    assert second["from_seconds"] > 0


def test_it_ends_when_asked_and_finishes_its_files(scorer: LoadedScorer, film: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def until() -> bool:
        seen.append(0)
        return len(seen) > 25

    outcome = run(film, scorer, tmp_path, until=until)
    assert 0 < outcome.decoded < 60
    (annotation,) = annotations_from_table(read_tubes(tmp_path / "tubes.json"))
    assert annotation.num_frames == outcome.decoded
    assert len(read_video(tmp_path / "film.annotated.mp4")) == outcome.facts["looked_at"]
    assert not [path for path in tmp_path.iterdir() if "part" in path.name]


def test_only_the_asked_labels_are_linked(scorer: LoadedScorer, film: Path, tmp_path: Path) -> None:
    run(film, scorer, tmp_path, labels=["wave"], max_frames=20)
    entries = json.loads((tmp_path / "tubes.json").read_text())["videos"][0]["tubes"]
    assert {entry["label"] for entry in entries} == {"wave"}
    assert entries[0]["end_seconds"] > entries[0]["start_seconds"]


def test_settings_without_a_meaning_for_live_input_are_refused(
    scorer: LoadedScorer, film: Path, tmp_path: Path
) -> None:
    for config, told in [
        (DetectConfig(trim_labels="all"), "trim_labels=own"),
        (DetectConfig(online=OnlineConfig(class_agnostic=True)), "class_agnostic=false"),
    ]:
        with pytest.raises(ValueError, match=told):
            run(film, scorer, tmp_path / "out", config)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="buffer_frames must be 2 or more, got 1"):
        LiveConfig(buffer_frames=1)
