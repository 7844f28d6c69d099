"""CVAT's "for video" XML: what lies between the boxes of a track, attributes, headers, hostile files, and back."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube, VideoAnnotation
from video.cvat import CvatError, looks_like_cvat, read_cvat
from video.cvat_writing import write_cvat

HEADER = """\
<meta>
  <task>
    <id>4</id><name>kitchen</name><size>20</size><mode>interpolation</mode>
    <start_frame>0</start_frame><stop_frame>19</stop_frame><frame_filter></frame_filter>
    <labels><label><name>person</name><attributes/></label></labels>
    <owner><username>someone</username></owner>
    <original_size><width>320</width><height>240</height></original_size>
  </task>
  <dumped>2024-01-01 00:00:00</dumped>
</meta>
"""


def box(frame: object, left: object = 10, outside: object = 0, inside: str = "", more: str = "") -> str:
    """20 wide and 40 high, its top at 5."""
    right = left + 20 if isinstance(left, (int, float)) else 1000
    return (
        f'<box frame="{frame}" keyframe="1" outside="{outside}" occluded="0" '
        f'xtl="{left}" ytl="5" xbr="{right}" ybr="45" {more}>{inside}</box>'
    )


def action(value: str, name: str = "action") -> str:
    return f'<attribute name="{name}">{value}</attribute>'


def track(*boxes: str, number: object = 0, label: str = "person", more: str = "") -> str:
    return f'<track id="{number}" label="{label}" source="manual" {more}>\n' + "\n".join(boxes) + "\n</track>\n"


def write(path: Path, *tracks: str, header: str = HEADER) -> Path:
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n{header}{"".join(tracks)}'
    path.write_text(text + "</annotations>\n", encoding="utf-8")
    return path


def tubes_of(path: Path, **options: object) -> list[tuple]:
    """(label, frames, left sides) of each tube of the one video in a file."""
    (video,) = read_cvat(path, **options)  # type: ignore[arg-type]
    return [(tube.label, tube.frames.tolist(), tube.boxes[:, 0].tolist()) for tube in video.tubes]


def test_boxes_between_two_given_ones_lie_on_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", track(box(2, 10), box(6, 18), box(7, 18, outside=1)))
    (video,) = read_cvat(path)
    (tube,) = video.tubes
    assert tube.frames.tolist() == [2, 3, 4, 5, 6]
    assert tube.boxes[:, 0].tolist() == [10, 10 + 8 / 4, 10 + 2 * 8 / 4, 10 + 3 * 8 / 4, 18]
    assert tube.boxes[0].tolist() == [10, 5, 30, 45]
    assert (video.video, video.num_frames, video.width, video.height) == ("kitchen", 20, 320, 240)
    assert np.isnan(tube.score)


def test_the_line_goes_on_to_the_box_that_is_outside(tmp_path: Path) -> None:
    """As in CVAT, which interpolates from a box to the next one whatever that is."""
    path = write(tmp_path / "a.xml", track(box(2, 10), box(6, 18, outside=1)))
    assert tubes_of(path) == [("person", [2, 3, 4, 5], [10, 12, 14, 16])]


def test_the_last_box_holds_its_place_until_the_end_of_the_task(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", track(box(17, 10)))
    assert tubes_of(path) == [("person", [17, 18, 19], [10, 10, 10])]
    path = write(tmp_path / "a.xml", track(box(17, 10)), header="")  # without a header there is no end
    assert tubes_of(path) == [("person", [17], [10])]


def test_an_export_with_every_frame_is_read_as_it_stands(tmp_path: Path) -> None:
    boxes = [
        box(frame, left).replace('keyframe="1"', f'keyframe="{key}"') for frame, left, key in ((0, 3, 1), (1, 9, 0))
    ]
    assert tubes_of(write(tmp_path / "a.xml", track(*boxes, box(2, 9, outside=1)))) == [("person", [0, 1], [3, 9])]


def test_who_leaves_and_comes_back_is_one_tube_with_a_hole_unless_it_is_split(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", track(box(1), box(3, outside=1), box(6), box(7, outside=1)))
    assert [frames for _, frames, _ in tubes_of(path)] == [[1, 2, 6]]
    assert [frames for _, frames, _ in tubes_of(path, split_holes=True)] == [[1, 2], [6]]


def test_the_order_of_boxes_in_the_file_does_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", track(box(4, outside=1), box(2, 14), box(0, 10)))
    assert tubes_of(path) == [("person", [0, 1, 2, 3], [10, 12, 14, 12])]


def test_a_run_of_equal_values_of_an_attribute_is_a_tube(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.xml",
        track(
            box(0, inside=action("walk") + action("no", "carries")),
            box(2, inside=action(" wave ")),
            box(4),  # an attribute keeps its value until it changes
            box(5, outside=1, inside=action("wave")),
            box(7, inside=action("wave")),
            box(8, inside=action("__undefined__")),
            box(9, inside=action("walk")),
            box(10, outside=1),
        ),
        track(box(0), box(1, outside=1), number=1, label="ball"),
    )
    found = tubes_of(path, attribute="action")
    assert [(label, frames) for label, frames, _ in found] == [
        ("walk", [0, 1]),
        ("wave", [2, 3, 4, 7]),
        ("walk", [9]),
    ]
    assert [label for label, *_ in tubes_of(path, attribute="action", split_holes=True)] == [
        "walk",
        "wave",
        "wave",
        "walk",
    ]
    assert [label for label, *_ in tubes_of(path, attribute="carries")] == ["no"]
    assert [label for label, *_ in tubes_of(path)] == ["person", "ball"]
    with pytest.raises(CvatError, match="no track has the attribute 'activity'; there are: 'action', 'carries'"):
        read_cvat(path, attribute="activity")


def test_an_attribute_of_the_whole_track_counts_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", track(action("walk"), box(0), box(1, outside=1)))
    assert [label for label, *_ in tubes_of(path, attribute="action")] == ["walk"]


def test_ids_are_those_of_the_tracks_where_a_track_is_a_tube(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", track(box(0), number=7), track(box(0), number=3))
    assert [tube.id for tube in read_cvat(path)[0].tubes] == [7, 3]
    path = write(tmp_path / "a.xml", track(box(0), number="x"), track(box(0), number=3))
    assert [tube.id for tube in read_cvat(path)[0].tubes] == [0, 1]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER.replace("<dumped>", "<source>clip_01.mp4</source><dumped>"), ("clip_01", 20, 320, 240)),
        (HEADER.replace("<stop_frame>19</stop_frame>", ""), ("kitchen", 20, 320, 240)),
        # a task with a frame step has fewer frames than its video
        (HEADER.replace("<size>20", "<size>4"), ("kitchen", 20, 320, 240)),
        ("<meta><job><id>9</id><size>5</size><start_frame>10</start_frame></job></meta>", ("a", 15, None, None)),
        ("<meta><original_size><width>8</width><height>6</height></original_size></meta>", ("a", None, 8, 6)),
        ("", ("a", None, None, None)),
    ],
    ids=["source", "size", "step", "job", "old", "none"],
)
def test_what_the_header_knows_of_the_video(tmp_path: Path, header: str, expected: tuple) -> None:
    (video,) = read_cvat(write(tmp_path / "a.xml", track(box(2), box(3, outside=1)), header=header))
    assert (video.video, video.num_frames, video.width, video.height) == expected
    (video,) = read_cvat(tmp_path / "a.xml", video="wave/clip")
    assert video.video == "wave/clip"


def test_a_project_has_a_video_for_each_task(tmp_path: Path) -> None:
    tasks = "".join(
        f"<task><id>{number}</id><name>{name}</name><size>{size}</size></task>"
        for number, name, size in ((5, "stairs", 3), (6, "door", 4))
    )
    header = f"<meta><project><id>1</id><name>all</name><tasks>{tasks}</tasks></project></meta>"
    path = write(
        tmp_path / "a.xml", track(box(2), more='task_id="5"'), track(box(2), more='task_id="6"'), header=header
    )
    door, stairs = read_cvat(path)
    assert (door.video, door.num_frames, door.tubes[0].frames.tolist()) == ("door", 4, [2, 3])
    assert (stairs.video, stairs.num_frames, stairs.tubes[0].frames.tolist()) == ("stairs", 3, [2])
    with pytest.raises(CvatError, match="one video name for 2 tasks"):
        read_cvat(path, video="x")
    with pytest.raises(CvatError, match="2 tasks are of a video 'door'"):
        read_cvat(write(path, header=header.replace("stairs", "door")))
    with pytest.raises(CvatError, match="track '0' belongs to task '8', which the header does not list"):
        read_cvat(write(path, track(box(2), more='task_id="8"'), header=header))


def test_other_shapes_and_boxes_without_area_are_left_out_with_a_warning(tmp_path: Path) -> None:
    polygon = track('<polygon frame="0" keyframe="1" outside="0" points="1,1;2,2;3,1"/>', number=1)
    path = write(tmp_path / "a.xml", track(box(0), box(1, outside=1)), polygon)
    with pytest.warns(UserWarning, match="the shapes of 1 tracks that are not boxes were left out"):
        (video,) = read_cvat(path)
    assert len(video.tubes) == 1
    flat = '<box frame="0" outside="0" xtl="4" ytl="5" xbr="4" ybr="9"/>'
    with pytest.warns(UserWarning, match="1 boxes without area were left out"):
        assert tubes_of(write(path, track(flat, box(1), box(2, outside=1)))) == [("person", [1], [10])]


def test_a_turned_box_becomes_the_upright_one_around_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", track(box(0, 10, more='rotation="90"'), box(1, outside=1)))
    (tube,) = read_cvat(path)[0].tubes
    # 20 x 40 about (20, 25) becomes 40 x 20
    assert tube.boxes[0].tolist() == pytest.approx([20 - 20, 25 - 10, 20 + 20, 25 + 10])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (track(box(-1)), "line 15: track '0': frame must be a whole number from 0"),
        (track(box("1.5")), "frame must be a whole number from 0 to 2147483647, got '1.5'"),
        (track(box(99999999999)), "frame must be a whole number"),
        (track(box(0, "nan")), "line 15: track '0', frame 0: xtl must be a number, got 'nan'"),
        (track(box(0, "-1e308")), "xtl must be a number, got '-1e308'"),
        (track(box(0, "1_0")), "xtl must be a number, got '1_0'"),
        (track(box(0, 2000).replace("2020", "7")), "the corners of the box are swapped"),
        (track(box(0).replace("xtl", "x")), "the box has no xtl"),
        (track(box(0, outside="yes")), "outside must be 0 or 1, got 'yes'"),
        (track(box(0), box(0)), "track '0' has two boxes in frame 0"),
        (track(box(20)), "track '0' has a box in frame 20, but the last frame of the task is 19"),
        (track(box(0), label=""), "line 14: track '0': its label is empty"),
        ('<image id="0" name="frame_000000" width="3" height="4"/>', "export the task as 'CVAT for video 1.1'"),
        (track("</box>"), "line 15: damaged XML: mismatched tag"),
        ("&undefined;", "line 14: damaged XML: undefined entity"),
        ("<a>" * 40, "elements lie more than 32 deep in each other"),
        ("<meta>" + "x" * 70_000 + "</meta>", "more than 65536 characters of text in element 'meta'"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_place(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "a.xml", content)
    with pytest.raises(CvatError) as caught:
        read_cvat(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no element found"),
        (b"\0" * 9, "damaged XML"),
        (b"<html><body/></html>", "expected <annotations>, the root of a CVAT export, got <html>"),
        (b'<?xml version="1.0" encoding="utf-7"?><annotations/>', "damaged XML"),
        (b"PK\x03\x04 and nothing more", "a damaged or encrypted zip"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/hostname"><annotations/>', "DOCTYPE"),
        (
            b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
            b"<annotations>&c;</annotations>",
            "DOCTYPE",
        ),
        (b'<annotations x="' + b"y" * 1_000_000, "damaged XML: unclosed token"),
    ],
    ids=["empty", "nul", "html", "encoding", "zip", "external", "entities", "unclosed"],
)
def test_hostile_files_end_in_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(data)
    with pytest.raises(CvatError) as caught:
        read_cvat(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gaps_and_lengths_beyond_reason_are_refused_before_they_are_filled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", track(box(0), box(10**9, outside=1)))
    with pytest.raises(CvatError, match="needs 1000000000 boxes between those of the file, more than the limit"):
        read_cvat(path)
    path = write(tmp_path / "a.xml", track(box(0)), header="<meta><task><size>1000000000</size></task></meta>")
    with pytest.raises(CvatError, match="more than the limit of 2000000"):
        read_cvat(path)
    path = write(tmp_path / "a.xml", header="<meta><task><size>1e9</size></task></meta>")
    with pytest.raises(CvatError, match="size must be a whole number, got '1e9'"):
        read_cvat(path)


def test_a_zip_as_cvat_offers_it_and_other_encodings_are_read(tmp_path: Path) -> None:
    text = write(tmp_path / "a.xml", track(box(0), box(1, outside=1), label="größer")).read_text("utf-8")
    expected = [("größer", [0], [10])]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("annotations.xml", text)
        out.writestr("images/frame_000000.jpg", b"")
    for data in (
        archive.getvalue(),
        b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
        text.replace("utf-8", "utf-16").encode("utf-16"),
        text.replace("utf-8", "latin-1").encode("latin-1"),
    ):
        (tmp_path / "a").write_bytes(data)
        assert tubes_of(tmp_path / "a") == expected
    with zipfile.ZipFile(tmp_path / "a", "w") as out:
        out.writestr("labels.txt", "")
    with pytest.raises(CvatError, match=r"a zip with 0 files annotations\.xml"):
        read_cvat(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_LZMA) as out:
        out.writestr("annotations.xml", text)
    with pytest.raises(CvatError, match="a zip in a compression that CVAT does not use"):
        read_cvat(tmp_path / "a")
    with pytest.raises(CvatError, match="cannot be read"):
        read_cvat(tmp_path / "missing.xml")


def test_recognised_by_its_root(tmp_path: Path) -> None:
    text = write(tmp_path / "a.xml").read_bytes()
    assert looks_like_cvat(text)
    assert looks_like_cvat(b"\xef\xbb\xbf \r\n" + text)
    assert looks_like_cvat(text.decode().encode("utf-16")[:151])
    assert looks_like_cvat(b"PK\x03\x04..............annotations.xml")
    assert not looks_like_cvat(b"<html><annotation>")
    assert not looks_like_cvat(b"frame,annotations\n")
    assert not looks_like_cvat(b"")


def some_tubes() -> list[VideoAnnotation]:
    rng = np.random.default_rng(5)

    def tube(label: str, frames: list[int], number: int) -> Tube:
        corners = rng.uniform(-20, 700, (len(frames), 2, 2)).astype(np.float32)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        return Tube(label, np.array(frames), boxes, id=number)

    tubes = [tube('a "b" <&> c', [3, 4, 5], 8), tube("größer", [0, 1, 5, 6, 9], 2), tube("wave", [9], 4)]
    return [VideoAnnotation("wave/clip", tubes, 10, 640, 480), VideoAnnotation("wave/open", [tube("wave", [2, 3], 0)])]


def facts(video: VideoAnnotation) -> tuple:
    tubes = [(tube.id, tube.label, tube.frames.tobytes(), tube.boxes.tobytes()) for tube in video.tubes]
    return (video.video, video.num_frames, video.width, video.height, tubes)


@pytest.mark.parametrize("attribute", [None, "what <he> does"])
def test_what_was_written_is_read_again_to_the_bit(tmp_path: Path, attribute: str | None) -> None:
    videos = some_tubes()
    files = write_cvat(videos, tmp_path, attribute=attribute)
    assert files == [tmp_path / "wave" / "clip.xml", tmp_path / "wave" / "open.xml"]
    assert [facts(read_cvat(file, attribute=attribute)[0]) for file in files] == [facts(video) for video in videos]
    if attribute is not None:
        assert read_cvat(files[0])[0].labels == ["person"]


def test_a_track_is_closed_where_the_video_goes_on(tmp_path: Path) -> None:
    """The importer holds a box until the next one, so each run needs a box outside behind it, but not in no frame."""
    boxes = np.tile(np.float32([0, 0, 1.5, 1]), (4, 1))
    (file,) = write_cvat([VideoAnnotation("v", [Tube("a", np.array([1, 2, 5, 9]), boxes)], 10)], tmp_path / "v.xml")
    lines = [line.split() for line in file.read_text().splitlines() if "<box" in line]
    assert [(line[1], line[3]) for line in lines] == [
        ('frame="1"', 'outside="0"'),
        ('frame="2"', 'outside="0"'),
        ('frame="3"', 'outside="1"'),
        ('frame="5"', 'outside="0"'),
        ('frame="6"', 'outside="1"'),
        ('frame="9"', 'outside="0"'),  # the last frame of the video
    ]
    assert {line[2] for line in lines} == {'keyframe="1"'}
    assert {line[7] for line in lines} == {'xbr="1.5"'}


def test_a_long_track_is_read(tmp_path: Path) -> None:
    """The blanks between the boxes of a track are no text that could be too long."""
    boxes = np.tile(np.float32([0, 0, 1, 1]), (20_000, 1))
    (file,) = write_cvat([VideoAnnotation("v", [Tube("a", np.arange(20_000), boxes)])], tmp_path / "v.xml")
    assert len(read_cvat(file)[0].tubes[0]) == 20_000


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ([VideoAnnotation("../v")], "cannot be the name of a video"),
        ([VideoAnnotation("v"), VideoAnnotation("v")], "a video occurs twice"),
        ([VideoAnnotation("v", [Tube("a\x01", np.arange(1), np.float32([[0, 0, 1, 1]]))])], "cannot be a label"),
        (
            [VideoAnnotation("v", [Tube("a", np.arange(3), np.float32([[0, 0, 1, 1]] * 3))], 2)],
            "but the video has 2 frames",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_refused_and_nothing_written(
    tmp_path: Path, videos: list[VideoAnnotation], message: str
) -> None:
    with pytest.raises(CvatError, match=message):
        write_cvat(videos, tmp_path / "out")
    with pytest.raises(CvatError, match=r"a file holds one video, here are 2; give a folder"):
        write_cvat([VideoAnnotation("v"), VideoAnnotation("w")], tmp_path / "out.xml")
    assert list(tmp_path.iterdir()) == []
