import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from detection.table_report import link_settings, record_beside, table_video_report
from linking.actors import group_by_actor
from linking.build import TubeConfig
from linking.link import LinkConfig
from linking.records import Detections, Tube, VideoAnnotation
from linking.scores import ScoredVideo, ScoresError

TUBE = Tube("run", np.arange(4, 10), np.tile(np.float32([0, 0, 10, 20]), (6, 1)), np.full(6, 0.5), 0.5)
ACTORS = group_by_actor([TUBE])


def test_the_record_of_a_table_is_found_by_its_name(tmp_path: Path) -> None:
    assert record_beside(tmp_path / "tubes.csv") == {}
    (tmp_path / "run.json").write_text('{"made": "run"}')
    (tmp_path / "mine.settings.json").write_text('{"made": "link"}')
    assert record_beside(tmp_path / "tubes.csv") == {"made": "run"}
    assert record_beside(tmp_path / "mine.csv") == {"made": "link"}
    assert record_beside(tmp_path / "other.csv") == {}, "run.json is of tubes.csv"
    (tmp_path / "tubes.settings.json").write_text("[1")
    assert record_beside(tmp_path / "tubes.csv") == {"made": "run"}


def test_settings_of_linking_come_from_the_record_if_they_can() -> None:
    config = TubeConfig(link=LinkConfig(max_gap=3))
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    assert link_settings({"settings": settings}) == config.link
    assert link_settings({"settings": settings | {"linker": "online"}}) == config.online
    assert link_settings({"settings": {"link": {"max_gap": 3}}}) == config.link
    for record in ({}, {"settings": 1}, {"settings": {}}, {"settings": {"link": {"of_old": 1}}}):
        assert link_settings(record) is None


def test_what_the_table_does_not_say_the_record_does() -> None:
    known = {"video": "clip", "num_frames": 50, "fps": 10.0, "width": 96, "height": 64, "timings": {"decode": 1.5}}
    annotation = VideoAnnotation("clip", [TUBE])
    report = table_video_report(annotation, ACTORS, {"videos": [{"video": "other", "fps": 1}, known]})
    assert (report.num_frames, report.fps, report.width, report.height) == (50, 10.0, 96, 64)
    assert report.seconds == {"decode": 1.5}
    assert report.warnings == []
    file_says = dataclasses.replace(annotation, num_frames=40, width=48, height=32)
    report = table_video_report(file_says, ACTORS, {"videos": [known]}, fps=20.0)
    assert (report.num_frames, report.fps, report.width, report.height) == (40, 20.0, 48, 32)


def test_what_nobody_knows_is_said() -> None:
    truth = [dataclasses.replace(TUBE, frames=TUBE.frames + 10)]
    report = table_video_report(VideoAnnotation("clip", [TUBE]), ACTORS, {}, truth=truth)
    assert report.num_frames == 20, "as far as tubes and ground truth go"
    assert (report.width, report.height, report.fps) == (0, 0, 25)
    assert "frames a second the video has is not known" in report.warnings[0]
    assert report.truth is not None
    assert report.truth[0].found is None, "frames 14 to 20 and 4 to 10 share none"
    empty = table_video_report(VideoAnnotation("clip"), [], {})
    assert (empty.num_frames, empty.lanes) == (1, ())


def test_scores_of_a_shorter_video_are_refused() -> None:
    nothing = tuple(Detections(t, np.zeros((0, 4)), np.zeros(0), np.zeros((0, 1))) for t in range(9))
    scored = ScoredVideo("clip", ("run",), nothing, 96, 64, 10.0)
    with pytest.raises(ScoresError, match="clip: tubes go on after the 9 frames of its scores"):
        table_video_report(VideoAnnotation("clip", [TUBE]), ACTORS, {}, scored=scored)
