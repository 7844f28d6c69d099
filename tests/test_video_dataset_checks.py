"""Checks of a dataset: each thing that can be wrong is made on purpose, and is found with its place, alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube, VideoAnnotation
from linking.tables import COLUMNS
from tests.squares import FRAMES, HEIGHT, WIDTH
from video.cvat_writing import write_cvat
from video.dataset_checks import CheckedDataset, check_dataset
from video.dataset_findings import MAX_KEPT, Finding, Findings, report_text
from video.datasets import DatasetError
from video.frames import open_video
from video.writing import VideoWriter

LINES_OF_A_VIDEO = FRAMES
"""Rows of each video in boxes.csv; the header is line 1."""


def write_video(path: Path, seed: int, frames: int = FRAMES, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """A picture of large coloured fields, in which a square moves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    picture = fields.repeat(size[1] // 6, axis=0).repeat(size[0] // 8, axis=1)
    with VideoWriter(path, width=size[0], height=size[1], fps=25) as writer:
        for k in range(frames):
            frame = picture.copy()
            frame[10:20, 2 * k : 2 * k + 10] = 255
            writer.write(frame)


NAMES = ("a1", "a2", "b1", "b2")


def rows(video: str, label: str = "wave", tube: int = 0, frames: range = range(FRAMES)) -> list[str]:
    return [f"{video},{tube},{label},{k},{8 + k},4,{24 + k},20,," for k in frames]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(NAMES):
        write_video(folder / f"{name}.mp4", number)
    return folder


@pytest.fixture
def make(videos: Path, tmp_path: Path) -> Callable[..., CheckedDataset]:
    """Check four videos of "wave", 12 rows each in lines 2-13, 14-25, ..., changed as the test says."""
    (tmp_path / "clips").mkdir()
    for video in videos.iterdir():
        (tmp_path / "clips" / video.name).write_bytes(video.read_bytes())

    def call(
        edit: Callable[[list[str]], list[str] | None] = lambda lines: None, toml: str = "", **options: bool
    ) -> CheckedDataset:
        lines = [",".join(COLUMNS), *(row for name in NAMES for row in rows(name))]
        lines = edit(lines) or lines
        (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (tmp_path / "my.toml").write_text(f'videos = "clips"\nannotations = "boxes.csv"\n{toml}', encoding="utf-8")
        return check_dataset(tmp_path / "my.toml", **options)

    return call


def only(checked: CheckedDataset, kind: str, severity: str = "error") -> Finding:
    """The one finding, besides the class being rare in four videos."""
    kept = [one for one in checked.findings.kept if one.kind != "label-rare"]
    assert [(one.kind, one.severity) for one in kept] == [(kind, severity)], report_text(checked.findings)
    return kept[0]


Make = Callable[..., CheckedDataset]


def test_a_sound_dataset_has_no_findings_but_numbers(make: Make) -> None:
    checked = make()
    assert [one.kind for one in checked.findings.kept] == ["label-rare"], "four tubes are few"
    numbers = checked.statistics
    assert (numbers.videos, numbers.readable, numbers.frames) == (4, 4, 4 * FRAMES)
    assert numbers.seconds == pytest.approx(4 * FRAMES / 25)
    (wave,) = numbers.classes
    assert (wave.name, wave.tubes, wave.videos, wave.sources, wave.median_frames) == ("wave", 4, 4, 4, FRAMES)
    assert numbers.box_height is not None
    assert numbers.box_height.quantiles == pytest.approx([100 * 16 / HEIGHT] * 5)
    assert numbers.annotated_share == 1


def change(line: int, old: str, new: str) -> Callable[[list[str]], None]:
    def edit(lines: list[str]) -> None:
        assert old in lines[line - 1]
        lines[line - 1] = lines[line - 1].replace(old, new, 1)

    return edit


@pytest.mark.parametrize(
    ("edit", "kind", "line", "text"),
    [
        (change(5, ",11,", ",eleven,"), "cell-wrong", 5, "column 'x1': expected a number, got 'eleven'"),
        (change(5, ",11,", ",,"), "cell-wrong", 5, "column 'x1': expected a number, got ''"),
        (change(13, "wave,11,", "wave,11.5,"), "cell-wrong", 13, "column 'frame': expected a whole number from 0"),
        (change(13, "wave,11,", "wave,-1,"), "cell-wrong", 13, "expected a whole number from 0, got '-1'"),
        (change(13, "a1,0,", "a1,,"), "cell-wrong", 13, "column 'tube'"),
        (change(13, ",35,20,,", ""), "cell-wrong", 13, "column 'x2': expected a number, got ''"),
        (change(13, "wave,11,19,4,35,20,,", ""), "cell-wrong", 13, "column 'label': '' cannot be a label"),
        (change(13, "wave", ""), "cell-wrong", 13, "column 'label': '' cannot be a label"),
        (change(13, "a1", "../a1"), "cell-wrong", 13, "column 'video': '../a1' cannot be the name"),
        (change(13, ",35,20", ",19,20"), "box-empty", 13, "x1 y1 x2 y2 = 19 4 19 20 has no area"),
        (change(13, "wave,11,", "wave,10,"), "box-twice", 13, "second box in frame 10"),
        (change(13, "wave", "jump"), "tube-labels", 13, "tube 0 is 'wave' before and 'jump' here"),
    ],
)
def test_a_row_that_training_would_refuse_is_found_with_its_line(
    make: Make, edit: Callable, kind: str, line: int, text: str
) -> None:
    checked = make(edit)
    found = [one for one in checked.findings.kept if one.kind == kind]
    assert [one.line for one in found] == [line]
    assert text in found[0].text
    assert found[0].file is not None
    assert found[0].file.endswith("boxes.csv")
    assert checked.findings.number("error") == 1


def test_all_wrong_rows_are_found_at_once_and_counted_beyond_the_limit(make: Make) -> None:
    checked = make(lambda lines: lines + [f"a1,{k},wave,0,9,9,1,1,," for k in range(1, MAX_KEPT + 11)])
    assert checked.findings.counts["error", "box-empty"] == MAX_KEPT + 10
    assert len([one for one in checked.findings.kept if one.kind == "box-empty"]) == MAX_KEPT


def test_lines_are_right_after_names_with_line_breaks_and_blank_lines(make: Make) -> None:
    def edit(lines: list[str]) -> list[str]:
        return [lines[0], '"x\ny",0,wave,0,1,1,9,9,,', "", *lines[1:], "a1,7,wave,0,9,9,1,1,,"]

    found = {one.kind: one for one in make(edit).findings.kept}
    assert found["cell-wrong"].line == 2, "a line break in a name"
    assert found["box-empty"].line == 1 + 2 + 1 + 4 * FRAMES + 1


def test_a_table_without_a_column_is_one_finding(make: Make) -> None:
    one = make(lambda lines: [lines[0].replace("x2", "x3"), *lines[1:]])
    assert one.findings.kept[0].text.startswith("missing column 'x2'")
    assert one.findings.kept[0].kind == "annotation-unreadable"


def test_another_encoding_is_one_finding(make: Make, tmp_path: Path) -> None:
    make()
    (tmp_path / "boxes.csv").write_bytes((tmp_path / "boxes.csv").read_bytes() + "ä".encode("latin-1"))
    found = check_dataset(tmp_path / "my.toml").findings.kept[0]
    assert (found.kind, found.severity) == ("annotation-unreadable", "error")
    assert "not UTF-8 text" in found.text


def test_scores_that_training_would_refuse_are_found_too(make: Make) -> None:
    one = make(change(13, ",,", ",high,")).findings.kept[0]
    assert "line 13, column 'score': expected a number, got 'high'" in one.text


def test_boxes_beyond_the_picture_are_told_by_tube(make: Make) -> None:
    def edit(lines: list[str]) -> list[str]:
        moved = [f"a1,0,wave,{k},{WIDTH - 8 + k},4,{WIDTH + 8 + k},20,," for k in range(FRAMES)]
        return [lines[0], *moved, *lines[1 + FRAMES :]]

    found = [one for one in make(edit).findings.kept if one.kind == "box-outside"]
    assert [(one.severity, one.line, one.frame) for one in found] == [("error", 2 + 8, 8), ("warning", 2, 0)]
    assert f"{FRAMES - 8} boxes are outside the picture: {WIDTH} 4 {WIDTH + 16} 20" in found[0].text
    assert f"the picture is {WIDTH} x {HEIGHT}" in found[0].text


def test_half_a_pixel_beyond_is_nothing(make: Make) -> None:
    make_right = f"a1,0,wave,11,40,4,{WIDTH + 1},20,,"
    checked = make(lambda lines: [*lines[:12], make_right, *lines[13:]])
    assert {one.kind for one in checked.findings.kept} == {"label-rare"}


def test_a_tiny_box_is_found(make: Make) -> None:
    one = only(make(change(13, ",19,4,35,20", ",34.5,4,35,20")), "box-tiny", "warning")
    assert (one.line, one.text) == (13, "1 box is tiny: 0.5 x 16 pixels")


def test_a_box_beyond_the_end_of_its_video_is_found(make: Make) -> None:
    one = only(make(lambda lines: [*lines, *rows("b2", frames=range(FRAMES, FRAMES + 3))]), "frame-beyond-end")
    assert one.line == 1 + 4 * FRAMES + 1
    assert one.text == f"frame 12 to 14, but the video has {FRAMES} frames, the last is {FRAMES - 1}"


def test_a_hole_in_a_tube_is_found(make: Make) -> None:
    def edit(lines: list[str]) -> None:
        del lines[5:8]  # frames 4, 5, 6

    one = only(make(edit), "tube-gap", "warning")
    assert (one.line, one.text) == (5, "3 frames missing in 1 hole, the first between frames 3 and 7")


def test_annotation_of_every_third_frame_has_no_holes(make: Make) -> None:
    checked = make(lambda lines: [lines[0], *(row for name in NAMES for row in rows(name, frames=range(0, 12, 3)))])
    assert {one.kind for one in checked.findings.kept} == {"label-rare"}


def test_a_box_that_jumps_is_found(make: Make) -> None:
    one = only(make(change(8, ",14,4,30,20", ",50,24,58,32")), "box-jump", "warning")
    assert (one.line, one.frame) == (8, 6)
    # centres 21 and 54
    assert one.text == "jumps by 33 pixels from the frame before, 2 times in all"


def test_a_tube_that_hardly_begins_is_found(make: Make) -> None:
    one = only(make(lambda lines: [*lines, "b2,5,wave,3,40,30,60,44,,"]), "tube-short", "warning")
    assert one.text == f"1 frame; half of all have {FRAMES} or more"


def test_a_tube_drawn_twice_is_found_and_two_actions_of_one_actor_are_not(make: Make) -> None:
    one = only(make(lambda lines: [*lines, *rows("a1", tube=3)]), "tube-twice")
    assert (one.line, one.tube, one.text) == (50, 3, "the same boxes as tube 0 (line 2), both 'wave'")
    nearly = [row.replace(",20,,", ",20.5,,") for row in rows("a1", tube=3, frames=range(9))]
    assert (
        only(make(lambda lines: [*lines, *nearly]), "tube-twice", "warning").text
        == "nearly tube 0 (line 2), both 'wave'"
    )
    other = make(lambda lines: [*lines, *(row for name in NAMES for row in rows(name, "talk", 3))])
    assert {one.kind for one in other.findings.kept} == {"label-rare"}


@pytest.mark.parametrize(
    ("label", "kind", "severity", "text"),
    [
        ("Wave", "label-spelling", "error", "'wave' (4 tubes) and 'Wave' (1 tube) differ in spelling only"),
        ("wave ", "label-spelling", "error", "'wave' (4 tubes) and 'wave ' (1 tube)"),
        ("waves", "label-similar", "warning", "'wave' and 'waves'"),
    ],
)
def test_labels_that_may_mean_the_same_are_found(make: Make, label: str, kind: str, severity: str, text: str) -> None:
    one = only(make(lambda lines: [*lines, *rows("a1", label, 4)]), kind, severity)
    assert one.line == 50
    assert one.text.startswith(text)
    renamed = make(lambda lines: [*lines, *rows("a1", label, 4)], f'[rename]\n"{label}" = "wave"\n')
    assert "label" not in {one.kind.split("-")[0] for one in renamed.findings.kept}, "five tubes of one class now"


def test_labels_with_commas_quotes_and_letters_of_any_script_are_labels(make: Make) -> None:
    names = ('"say ""hi"", twice"', "Fußball", "走る")
    checked = make(lambda lines: [*lines, *(row for k, name in enumerate(names) for row in rows("a1", name, 5 + k))])
    assert {one.name for one in checked.statistics.classes} == {"wave", 'say "hi", twice', "Fußball", "走る"}
    assert checked.findings.number("error") == 0


def test_classes_are_compared_with_those_that_are_named(make: Make) -> None:
    def kinds(toml: str) -> list[tuple[str, str]]:
        found = make(toml=toml).findings.kept
        return [(one.kind, one.text) for one in found if one.kind != "label-rare"]

    assert kinds('class_names = ["wave"]') == []
    assert kinds('class_names = ["jump"]') == [
        ("label-unknown", "'wave' (4 tubes)"),
        ("label-unused", "class_names: 'jump'"),
    ]
    assert kinds('keep = ["wave", "fly"]\n[rename]\nhop = "jump"') == [
        ("label-unused", "keep: 'fly'"),
        ("label-unused", "rename: 'hop'"),
    ]


def test_missing_and_unannotated_videos_are_found(make: Make, tmp_path: Path) -> None:
    (tmp_path / "clips" / "a2.mp4").rename(tmp_path / "clips" / "A2.mp4")
    found = {one.kind: one for one in make().findings.kept}
    assert found["video-missing"].line == 2 + FRAMES
    assert "no file for 'a2'" in found["video-missing"].text
    assert "is it 'A2.mp4'?" in found["video-missing"].text
    assert found["video-unannotated"].file == str(tmp_path / "clips" / "A2.mp4")


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "the file is empty"), (b"not a video\n" * 40, "it is a text file"), (b"PK\x03\x04", "it is a zip archive")],
)
def test_what_is_no_video_is_found_with_its_cause(make: Make, tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "clips" / "b1.mp4").write_bytes(content)
    assert text in only(make(), "video-unreadable").text


def test_a_video_that_is_cut_off_is_found(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "clips" / "b1.mp4"
    path.unlink()
    write_video(path.with_suffix(".mkv"), 2)
    whole = path.with_suffix(".mkv").read_bytes()
    path.with_suffix(".mkv").write_bytes(whole[: len(whole) * 2 // 3])
    found = {one.kind: one for one in make().findings.kept}
    assert found["video-damaged"].text.startswith(f"cut off: {len(whole) * 2 // 3:,} of ")
    assert found["frame-beyond-end"].video == "b1"


def test_another_size_and_another_length_than_annotated_are_found(make: Make, tmp_path: Path) -> None:
    make()
    tube = Tube("wave", np.arange(FRAMES), np.tile(np.float32([8, 4, 24, 20]), (FRAMES, 1)))
    about = {"a1": (64, 48, 12), "a2": (128, 96, 12), "b1": (48, 64, 12), "b2": (64, 48, 20)}
    for name, (width, height, frames) in about.items():
        write_cvat([VideoAnnotation(name, [tube], frames, width, height)], tmp_path / "tasks" / f"{name}.xml")
    (tmp_path / "my.toml").write_text('videos = "clips"\nannotations = "tasks"\n')
    found = [one for one in check_dataset(tmp_path / "my.toml").findings.kept if one.kind != "label-rare"]
    assert [(one.kind, one.severity, one.video) for one in found] == [
        ("video-size", "warning", "a2"),
        ("video-size", "error", "b1"),
        ("video-length", "warning", "b2"),
    ]
    assert found[1].text == "64 x 48, annotated at 48 x 64: turned by a quarter?"
    assert found[2].text == "12 frames, the annotation says 20"


def test_copies_are_found_and_across_parts_they_are_errors(make: Make, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    (clips / "b1.mp4").write_bytes((clips / "a1.mp4").read_bytes())
    assert only(make(), "video-twice", "warning").text == "the same bytes as a1.mp4"
    one = only(make(toml='[parts]\ntest = ["b*"]'), "video-twice")
    assert one.text == "the same bytes as a1.mp4 (test, that is in train)"


def test_a_copy_in_another_size_is_found_by_its_looks(make: Make, tmp_path: Path) -> None:
    first, copy = tmp_path / "clips" / "a1.mp4", tmp_path / "clips" / "b1.mp4"
    write_video(copy, 0, size=(WIDTH * 2, HEIGHT * 2))
    assert {one.kind for one in make().findings.kept} == {"label-rare"}, "its square moves elsewhere"
    with open_video(first) as source, VideoWriter(copy, width=WIDTH * 2, height=HEIGHT * 2, fps=25) as writer:
        for frame in source:
            writer.write(frame.repeat(2, axis=0).repeat(2, axis=1))
    assert only(make(), "video-alike", "warning").text == "looks like a1.mp4"
    leak = only(make(toml='[parts]\ntest = ["b*"]'), "video-alike", "warning")
    assert leak.text == "looks like a1.mp4 (test, that is in train)"


def test_what_is_in_both_parts_is_found(make: Make) -> None:
    one = only(make(toml='[parts]\ntrain = ["a*", "b1"]\ntest = ["b*"]'), "part-overlap")
    assert one.video == "b1"
    toml = "group = '([ab])'\n[parts]\ntest = ['a1', 'b1']\n"
    found = [one for one in make(toml=toml).findings.kept if one.kind == "part-source"]
    assert [(one.severity, one.text) for one in found] == [
        ("error", "'a': 'a2' to train on, 'a1' to test with"),
        ("error", "'b': 'b2' to train on, 'b1' to test with"),
    ]


def test_lists_are_compared_with_what_is_annotated(make: Make) -> None:
    found = make(toml='[parts]\ntrain = ["a1", "a2", "c9"]\ntest = ["b1"]').findings.kept
    kinds = {(one.kind, one.video) for one in found} - {("label-rare", None)}
    assert kinds == {("part-unknown", "c9"), ("part-none", "b2")}


def test_a_class_that_is_only_tested_is_found(make: Make) -> None:
    checked = make(lambda lines: [*lines, *rows("b2", "jump", 1)], '[parts]\ntest = ["b2"]')
    assert only(checked, "label-not-trained").text == "'jump': 1 tube to test with, none to train on"


def test_boxes_of_cvat_have_their_line_in_the_xml(make: Make, tmp_path: Path) -> None:
    make()
    boxes = np.tile(np.float32([8, 4, 24, 20]), (FRAMES, 1))
    boxes[5] = (60, 4, 90, 20)
    write_cvat([VideoAnnotation("a1", [Tube("wave", np.arange(FRAMES), boxes)])], tmp_path / "a1.xml")
    (tmp_path / "my.toml").write_text('videos = "clips"\nannotations = "a1.xml"\n')
    one = next(one for one in check_dataset(tmp_path / "my.toml").findings.kept if one.kind == "box-outside")
    text = (tmp_path / "a1.xml").read_text().splitlines()
    assert one.line is not None
    assert 'frame="5"' in text[one.line - 1]


def test_a_bad_file_among_many_is_a_finding_and_the_others_are_read(make: Make, tmp_path: Path) -> None:
    make()
    tube = Tube("wave", np.arange(FRAMES), np.tile(np.float32([8, 4, 24, 20]), (FRAMES, 1)))
    write_cvat([VideoAnnotation(name, [tube]) for name in NAMES], tmp_path / "tasks")
    bomb = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "bbbb">]>\n<annotations><version>&b;</version></annotations>'
    (tmp_path / "tasks" / "b2.xml").write_text(bomb)
    (tmp_path / "my.toml").write_text('videos = "clips"\nannotations = "tasks"\n')
    checked = check_dataset(tmp_path / "my.toml")
    assert checked.statistics.tubes == 3
    found = {one.kind: one for one in checked.findings.kept}
    assert "line 2: a document type declaration" in found["annotation-unreadable"].text


def test_no_box_at_all_is_an_error(make: Make) -> None:
    checked = make(lambda lines: lines[:1])
    assert [one.text for one in checked.findings.kept if one.severity == "error"] == ["it holds no box"]
    assert checked.findings.counts["warning", "video-unannotated"] == 4


def test_deep_counts_every_frame(make: Make) -> None:
    checked = make(lambda lines: [line for line in lines if ",11," not in line[8:13]], deep=True)
    assert all(seen.is_counted and seen.num_frames == FRAMES for seen in checked.videos.facts.values())


def test_an_empty_folder_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset"):
        check_dataset(tmp_path)


def test_findings_are_one_line_each_whatever_is_in_the_names() -> None:
    findings = Findings()
    findings.add("error", "cell-wrong", "x\ny" * 300, file="a\nb.csv", line=3)
    (line,) = [text for text in report_text(findings).splitlines() if "b.csv" in text]
    assert len(line) <= 402
