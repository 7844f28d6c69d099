import csv
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linking.records import Detections, Tube, VideoAnnotation
from linking.tables import (
    COLUMNS,
    TableError,
    annotations_from_table,
    check_suffix,
    detections_from_table,
    read_tubes,
    table_from_annotations,
    table_from_detections,
    write_tubes,
)

SUFFIXES = [".csv", ".json", ".parquet"]
HEADER = ",".join(COLUMNS)
GOOD = "clip,0,run,5,10,20,30,40,0.5,0.75"

every_format = pytest.mark.parametrize("suffix", SUFFIXES)
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tube(number=0, label="run", first=3, n=4, score=0.9, scores=None, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.random((n, 2)) * 200
    boxes = np.concatenate([corner, corner + 1 + rng.random((n, 2)) * 50], axis=1)
    return Tube(label, np.arange(first, first + n), boxes, scores, score, number)


def assert_same_tubes(ours, theirs):
    assert [annotation.video for annotation in theirs] == [annotation.video for annotation in ours]
    for a, b in zip(ours, theirs):
        assert (a.num_frames, a.width, a.height) == (b.num_frames, b.width, b.height)
        assert len(a.tubes) == len(b.tubes)
        for x, y in zip(a.tubes, b.tubes):
            assert (x.id, x.label, x.frames.tolist()) == (y.id, y.label, y.frames.tolist())
            assert x.boxes.tobytes() == y.boxes.tobytes()
            np.testing.assert_array_equal(x.scores, y.scores)  # NaN equals NaN
            np.testing.assert_array_equal(x.score, y.score)


class TestRoundTrip:
    @every_format
    def test_predictions_ground_truth_and_interpolated_boxes(self, tmp_path, suffix):
        annotations = [
            VideoAnnotation("a/b c.mp4", [tube(0), tube(7, "jump", scores=np.float32([0.1, np.nan, 1, 0]))]),
            VideoAnnotation("b", [tube(0, score=np.nan)]),
        ]
        path = tmp_path / f"t{suffix}"
        write_tubes(table_from_annotations(annotations), path)
        assert_same_tubes(annotations, annotations_from_table(read_tubes(path)))

    @every_format
    def test_names_and_labels_are_text_whatever_they_look_like(self, tmp_path, suffix):
        names = [
            "NA",
            "nan",
            "1",
            "007",
            "1e5",
            "True",
            "null",
            " blank ",
            "a,b",
            'say "hi"',
            "zwei\nZeilen",
            "\r",
            "a\r\nb",
            "走る🏃",
            "-",
        ]
        annotations = [VideoAnnotation(name, [tube(0, label=name)]) for name in sorted(names)]
        path = tmp_path / f"t{suffix}"
        write_tubes(table_from_annotations(annotations), path)
        again = read_tubes(path)
        assert sorted(again["video"].unique()) == sorted(names)
        assert (again["video"] == again["label"]).all()
        assert_same_tubes(annotations, annotations_from_table(again))

    @every_format
    def test_per_frame_detections_leave_tube_and_label_empty(self, tmp_path, suffix):
        boxes = tube(n=2).boxes
        found = [Detections(4, boxes, [0.5, 0.25]), Detections(5, np.zeros((0, 4)), []), Detections(9, boxes[:1], [1])]
        path = tmp_path / f"t{suffix}"
        write_tubes(table_from_detections("clip", found), path)
        table = read_tubes(path)
        assert table["tube"].isna().all()
        assert (table["label"] == "").all()
        again = detections_from_table(table, "clip")
        assert [(d.frame, d.scores.tolist()) for d in again] == [(4, [0.5, 0.25]), (9, [1.0])]
        assert again[0].boxes.tobytes() == boxes.tobytes()
        assert detections_from_table(table, "other") == []

    @every_format
    def test_tubes_and_labelled_detections_of_single_frames_in_one_table(self, tmp_path, suffix):
        loose = table_from_detections(
            "a", [Detections(4, tube(n=3).boxes, [0.5, 0.25, 1]), Detections(5, tube(n=1).boxes, [1])]
        )
        loose["label"] = ["run", "jump", "run", ""]
        table = pd.concat(
            [table_from_annotations([VideoAnnotation("a", [tube(1), tube(0)])]), loose], ignore_index=True
        )
        path = tmp_path / f"t{suffix}"
        write_tubes(table, path)
        again = read_tubes(path)
        by = ["tube", "frame", "label", "x1"]
        ours, theirs = (t.sort_values(by).reset_index(drop=True) for t in (table, again))
        pd.testing.assert_frame_equal(theirs, ours, check_exact=True)

    @every_format
    def test_a_table_without_rows(self, tmp_path, suffix):
        path = tmp_path / f"t{suffix}"
        write_tubes(table_from_annotations([]), path)
        table = read_tubes(path)
        assert list(table.columns) == list(COLUMNS)
        assert len(table) == 0
        assert annotations_from_table(table) == []

    @pytest.mark.parametrize("suffix", [".json", ".parquet"])
    def test_what_is_known_of_a_video_survives_even_without_tubes(self, tmp_path, suffix):
        annotations = [VideoAnnotation("a", [tube()], 40, 320, 240), VideoAnnotation("b", [], 10)]
        path = tmp_path / f"t{suffix}"
        write_tubes(table_from_annotations(annotations), path)
        assert_same_tubes(annotations, annotations_from_table(read_tubes(path)))

    @every_format
    @quick
    @given(data=st.data())
    def test_every_bit_of_any_table_comes_back(self, tmp_path, suffix, data):
        text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
        number = st.floats(-(2.0**90), 2.0**90, width=32)
        score = st.one_of(st.just(float("nan")), st.floats(0, 1, width=32), st.floats(allow_infinity=False, width=32))
        annotations = []
        for video in sorted(data.draw(st.sets(text, min_size=1, max_size=3))):
            tubes = []
            for number_of_tube in sorted(data.draw(st.sets(st.integers(0, 2**53), max_size=2))):
                frames = sorted(data.draw(st.sets(st.integers(0, 2**31 - 1), min_size=1, max_size=4)))
                sides = [sorted(data.draw(st.tuples(number, number))) for _ in range(2 * len(frames))]
                sides = [(low, high) if high > low else (low, low + max(1, abs(low))) for low, high in sides]
                boxes = [(a[0], b[0], a[1], b[1]) for a, b in zip(sides[::2], sides[1::2])]
                scores = data.draw(st.lists(score, min_size=len(frames), max_size=len(frames)))
                whole = data.draw(st.one_of(st.just(float("nan")), st.floats(allow_infinity=False, allow_nan=False)))
                tubes.append(Tube(data.draw(text), np.array(frames), boxes, scores, whole, number_of_tube))
            if tubes:
                annotations.append(VideoAnnotation(video, tubes))
        path = tmp_path / f"t{suffix}"
        write_tubes(table_from_annotations(annotations), path)
        assert_same_tubes(annotations, annotations_from_table(read_tubes(path)))

    def test_columns_have_their_documented_types(self, tmp_path):
        write_tubes(table_from_annotations([VideoAnnotation("a", [tube()])]), tmp_path / "t.csv")
        table = read_tubes(tmp_path / "t.csv")
        assert [str(table[name].dtype) for name in ("tube", "frame", "x1", "score", "tube_score")] == [
            "Int64",
            "int64",
            "float32",
            "float32",
            "float64",
        ]

    def test_frames_and_tubes_come_in_order_whatever_the_order_of_rows(self):
        annotations = [VideoAnnotation("a", [tube(0), tube(2)]), VideoAnnotation("b", [tube(1)])]
        shuffled = table_from_annotations(annotations).sample(frac=1, random_state=0)
        assert_same_tubes(annotations, annotations_from_table(shuffled))

    def test_boxes_without_a_score_are_certain_as_proposals(self):
        table = table_from_annotations([VideoAnnotation("a", [tube(score=np.nan)])])
        assert all(found.scores.tolist() == [1.0] for found in detections_from_table(table, "a"))


def refused(path):
    with pytest.raises(TableError) as error:
        read_tubes(path)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 300
    assert path.name in message
    return message


def refused_csv(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return refused(path)


class TestCsvRefusals:
    @pytest.mark.parametrize(
        ("row", "column", "cause"),
        [
            pytest.param("clip,0,run,6,nan,20,30,40,,", "x1", "finite number", id="NaN box"),
            pytest.param("clip,0,run,6,,20,30,40,,", "x1", "finite number", id="empty box"),
            pytest.param("clip,0,run,6,10,20,inf,40,,", "x2", "finite number", id="infinite box"),
            pytest.param(
                "clip,0,run,6,30,20,10,40,,", "x2", "no area: x2 = 10.0 must be above x1 = 30.0", id="reversed"
            ),
            pytest.param("clip,0,run,6,10,20,30,20,,", "y2", "no area: y2 = 20.0 must be above y1 = 20.0", id="flat"),
            pytest.param("clip,0,run,-1,10,20,30,40,,", "frame", "0 or more, got -1", id="negative frame"),
            pytest.param("clip,0,run,1.5,10,20,30,40,,", "frame", "whole number, got 1.5", id="half a frame"),
            pytest.param("clip,0,run,,10,20,30,40,,", "frame", "whole number, got nan", id="no frame"),
            pytest.param("clip,0,run,1e12,10,20,30,40,,", "frame", "above 2147483647", id="frame too large"),
            pytest.param("clip,0.5,run,6,10,20,30,40,,", "tube", "whole number, got 0.5", id="half a tube"),
            pytest.param("clip,-2,run,6,10,20,30,40,,", "tube", "0 or more, got -2", id="negative tube"),
            pytest.param(",0,run,6,10,20,30,40,,", "video", "belongs to a video", id="no video"),
            pytest.param("clip,0,run,6,ten,20,30,40,,", "x1", "expected a number, got 'ten'", id="word"),
            pytest.param("clip,0,run,6,10,20,30,40,high,", "score", "expected a number, got 'high'", id="word score"),
            pytest.param("clip,0,run,6,10,20,30,40,inf,0.75", "score", "finite number or empty", id="infinite score"),
            pytest.param("clip,,run,6,10,20,30,40,,0.75", "tube_score", "column 'tube' is empty", id="no tube"),
            pytest.param("clip,0,run,5,1,2,3,4,0.5,0.75", "frame", "second box in frame 5", id="duplicate"),
            pytest.param("clip,0,jump,6,1,2,3,4,0.5,0.75", "label", "two labels, 'run' and 'jump'", id="two labels"),
            pytest.param("clip,0,run,6,1,2,3,4,0.5,0.7", "tube_score", "two scores, 0.75 and 0.7", id="two scores"),
            pytest.param("clip,0,run,6,1,2,3,4,0.5,", "tube_score", "two scores, 0.75 and nan", id="score missing"),
        ],
    )
    def test_a_bad_cell_is_named_by_line_and_column(self, tmp_path, row, column, cause):
        message = refused_csv(tmp_path, f"{HEADER}\n{GOOD}\n{row}\n")
        assert f"line 3, column '{column}'" in message
        assert cause in message

    def test_the_line_is_the_one_an_editor_shows(self, tmp_path):
        # a name with a line break, then a blank line: the bad row is the third record, on line 6
        text = f'{HEADER}\n"two\nlines",0,run,5,1,2,3,4,,\n\n{GOOD}\nclip,0,run,6,1,2,x,4,,\n'
        assert "line 6, column 'x2'" in refused_csv(tmp_path, text)
        assert "line 6, column 'x2'" in refused_csv(tmp_path, text.replace("x,4", "0,4"))
        assert "line 6, column 'x2'" in refused_csv(tmp_path, text.replace("x,4", "0,4").replace("\n", "\r\n"))

    @pytest.mark.parametrize("column", COLUMNS)
    def test_a_missing_column_is_named(self, tmp_path, column):
        header = ",".join(name for name in COLUMNS if name != column)
        row = ",".join(cell for name, cell in zip(COLUMNS, GOOD.split(",")) if name != column)
        assert f"missing column '{column}'" in refused_csv(tmp_path, f"{header}\n{row}\n")

    def test_semicolons_are_no_commas(self, tmp_path):
        message = refused_csv(tmp_path, f"{HEADER}\n{GOOD}\n".replace(",", ";"))
        assert "missing column 'video'" in message
        assert "found video;tube" in message

    def test_rows_of_another_length(self, tmp_path):
        assert "line 3: 11 cells for 10 columns" in refused_csv(tmp_path, f"{HEADER}\n{GOOD}\n{GOOD},1\n")
        assert "line 2: 11 cells for 10 columns" in refused_csv(tmp_path, f"{HEADER}\n{GOOD},1\n{GOOD},1\n")
        assert "line 3, column 'x2'" in refused_csv(tmp_path, f"{HEADER}\n{GOOD}\nclip,0,run,6,10,20\n")

    def test_files_of_another_kind(self, tmp_path):
        assert "the file is empty" in refused_csv(tmp_path, "")
        assert "binary" in refused_csv(tmp_path, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
        assert "web page" in refused_csv(tmp_path, "\n<!DOCTYPE html><html></html>")
        assert "not UTF-8" in refused_csv(tmp_path, f"{HEADER}\nkörper,0,run,5,1,2,3,4,,\n".encode("latin-1"))
        assert "missing column 'video'" in refused_csv(tmp_path, "just a sentence")
        assert "t.csv" in refused_csv(tmp_path, "\n\n\n")
        assert "not a table" in refused_csv(tmp_path, f'{HEADER}\nclip,0,"run,5,1,2,3,4,,\n')

    def test_missing_files_folders_and_suffixes(self, tmp_path):
        assert "No such file" in refused(tmp_path / "missing.csv")
        (tmp_path / "folder.csv").mkdir()
        assert "cannot be read" in refused(tmp_path / "folder.csv")
        assert "unknown suffix '.txt'; tube tables are .csv, .parquet, .json" in refused(tmp_path / "t.txt")
        assert "unknown suffix ''" in refused(tmp_path / "tubes")

    def test_other_columns_are_ignored_and_order_is_free(self, tmp_path):
        path = tmp_path / "t.csv"
        header, row = [*COLUMNS, "note"], [*GOOD.split(","), "x"]
        path.write_text(f"{','.join(reversed(header))}\n{','.join(reversed(row))}\n")
        assert read_tubes(path).iloc[0].tolist() == ["clip", 0, "run", 5, 10, 20, 30, 40, 0.5, 0.75]

    def test_a_byte_order_mark_is_no_part_of_a_name(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\n{GOOD}\n".encode())
        assert len(read_tubes(path)) == 1

    @quick
    @given(st.binary(max_size=300))
    def test_any_bytes_give_a_table_or_one_line(self, tmp_path, content):
        for suffix in SUFFIXES:
            path = tmp_path / f"t{suffix}"
            path.write_bytes(content)
            refused(path)

    @quick
    @given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
    def test_a_changed_byte_gives_a_table_or_one_line(self, tmp_path, at, change):
        annotations = [VideoAnnotation("a", [tube(n=3), tube(1, "jump")])]
        for suffix in (".csv", ".json"):
            path = tmp_path / f"t{suffix}"
            write_tubes(table_from_annotations(annotations), path)
            content = path.read_bytes()
            path.write_bytes(content[:at] + change + content[at + len(change) :])
            try:
                read_tubes(path)
            except TableError as error:
                assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
                assert path.name in str(error)  # noqa: PT017


def json_table(**changes):
    box = [10, 20, 30, 40]
    entry = {"id": 0, "label": "run", "score": 0.75, "frames": [5, 6], "boxes": [box, box], "scores": [0.5, None]}
    return {"format": "tubes", "version": 1, "videos": [{"video": "clip", "tubes": [{**entry, **changes}]}]}


class TestJsonRefusals:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"boxes": [[10, 20, 30, 40], [30, 20, 10, 40]]},
                "videos[0].tubes[0], entry 1, column 'x2': the box has no",
            ),
            ({"boxes": [[10, 20, 30, 40], [30, 20, 10]]}, "videos[0].tubes[0].boxes: expected numbers, evenly nested"),
            ({"boxes": [[10, 20, 30], [10, 20, 30]]}, "videos[0].tubes[0].boxes: expected [x1, y1, x2, y2]"),
            ({"boxes": [[10, 20, 30, None]] * 2}, "videos[0].tubes[0], entry 0, column 'y2': a box needs a finite"),
            ({"boxes": [[10, 20, 30, "40"]] * 2}, "videos[0].tubes[0].boxes: expected numbers"),
            ({"boxes": []}, "videos[0].tubes[0]: a tube without boxes"),
            ({"boxes": 3}, "videos[0].tubes[0].boxes: expected a list"),
            ({"frames": [5]}, "videos[0].tubes[0].frames: expected 2 numbers"),
            ({"frames": [5, 5]}, "entry 1, column 'frame': tube 0 of 'clip' has a second box in frame 5"),
            ({"frames": [5, 6.5]}, "entry 1, column 'frame': expected a whole number, got 6.5"),
            ({"frames": [5, True]}, "videos[0].tubes[0].frames: expected numbers"),
            ({"frames": [5, 10**400]}, "videos[0].tubes[0].frames: expected numbers"),
            ({"scores": [0.5]}, "videos[0].tubes[0].scores: expected 2 numbers"),
            ({"label": 3}, "videos[0].tubes[0].label: expected text"),
            ({"id": "first"}, "videos[0].tubes[0].id: expected numbers"),
            ({"id": -1}, "column 'tube': must be 0 or more"),
        ],
    )
    def test_a_bad_entry_is_named_by_its_place(self, tmp_path, changes, message):
        path = tmp_path / "t.json"
        path.write_text(json.dumps(json_table(**changes)))
        assert message in refused(path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"videos": [}', "line 1, column 13: not JSON"),
            ("[1, 2]", "expected an object with a list 'videos'"),
            ('{"videos": [3]}', "videos[0]: expected an object with a text 'video'"),
            ('{"videos": [{"video": "a"}, {"video": "a"}]}', "videos[1]: video 'a' is there twice"),
            ('{"videos": [{"video": "a", "tubes": 3}]}', "videos[0].tubes: expected a list"),
            ('{"videos": [{"video": "a", "tubes": [3]}]}', "videos[0].tubes[0]: expected an object"),
            ('{"videos": [{"video": "a", "tubes": [{"id": 1}]}]}', "videos[0].tubes[0]: missing 'label'"),
            ('{"videos": [{"video": "a", "width": -1}]}', "videos[0].width: expected a whole number"),
            ('{"videos": [{"video": "a", "detections": [{"boxes": []}]}]}', "videos[0].detections[0]: missing 'frame'"),
            ('{"version": 2, "videos": []}', "version 2 of the format, this program reads 1"),
            ('{"videos": [NaN]}', "NaN is not a number in JSON"),
            ("[" * 100_000, "not usable JSON"),
            ("<html>", "not JSON"),
        ],
    )
    def test_a_bad_document_is_refused(self, tmp_path, text, message):
        path = tmp_path / "t.json"
        path.write_text(text)
        assert message in refused(path)

    def test_bytes_that_are_no_text(self, tmp_path):
        (tmp_path / "t.json").write_bytes(b"\x89PNG\r\n")
        assert "binary" in refused(tmp_path / "t.json")

    def test_the_good_document_is_read(self, tmp_path):
        (tmp_path / "t.json").write_text(json.dumps(json_table()))
        table = read_tubes(tmp_path / "t.json")
        assert table["frame"].tolist() == [5, 6]
        assert np.isnan(table["score"].iloc[1])

    def test_the_text_is_strict_json_with_null_for_nothing(self, tmp_path):
        annotation = VideoAnnotation("a", [tube(n=1, score=np.nan)])
        write_tubes(table_from_annotations([annotation]), tmp_path / "t.json")
        document = json.loads((tmp_path / "t.json").read_text(), parse_constant=pytest.fail)
        assert document["videos"][0]["tubes"][0]["score"] is None
        assert document["videos"][0]["tubes"][0]["scores"] == [None]


class TestParquet:
    @pytest.mark.parametrize(
        ("videos", "text"),
        [
            (5, "does not hold facts by name of video"),
            ({"v": 7}, "does not hold facts by name of video"),
            ({"v": {"num_frames": "x"}}, "expected a whole number, got 'x'"),
            ({"v": {"num_frames": -3}}, "expected a whole number, got '-3'"),
        ],
    )
    def test_what_other_programs_say_of_videos_in_parquet_is_checked(self, tmp_path, videos, text):
        table = table_from_annotations([VideoAnnotation("v", [tube()])])
        table.attrs = {"videos": videos}
        table.to_parquet(tmp_path / "t.parquet")
        assert text in refused(tmp_path / "t.parquet")

    def test_damaged_metadata_of_parquet_is_an_error_of_the_table(self, tmp_path):
        table = pyarrow.Table.from_pandas(table_from_annotations([VideoAnnotation("v", [tube()])]))
        metadata = {b"pandas": table.schema.metadata[b"pandas"].replace(b'"str"', b'"sDr"')}
        pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "t.parquet")
        assert "not a Parquet file: data type 'sDr' not understood" in refused(tmp_path / "t.parquet")

    def test_a_text_file_is_no_parquet(self, tmp_path):
        (tmp_path / "t.parquet").write_text("video,tube")
        assert "not a Parquet file" in refused(tmp_path / "t.parquet")

    def test_a_bad_cell_is_named_by_row(self, tmp_path):
        table = table_from_annotations([VideoAnnotation("a", [tube()])]).astype({"x2": "float64"})
        table.loc[2, "x2"] = -1.0
        table.to_parquet(tmp_path / "t.parquet")
        assert "row 3, column 'x2'" in refused(tmp_path / "t.parquet")

    def test_without_pyarrow_one_line_says_what_to_do(self, tmp_path):
        code = (
            "import sys; sys.modules['pyarrow'] = None\n"
            "from linking.tables import check_suffix\n"
            "try: check_suffix('t.parquet')\n"
            "except ValueError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == "t.parquet: Parquet needs pyarrow: pip install pyarrow, or use .csv or .json\n"


class TestTablesMadeElsewhere:
    table = table_from_annotations([VideoAnnotation("a", [tube(0), tube(1)])])

    def test_writing_checks_and_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "t.csv"
        write_tubes(self.table, path)
        before = path.read_bytes()
        with pytest.raises(TableError, match=r"t\.csv, row 2, column 'y2'"):
            write_tubes(self.table.assign(y2=[500.0, 0.0, *[500.0] * 6]), path)
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]

    @pytest.mark.parametrize("name", ["a\0b", "lone surrogate \udc80"])
    def test_names_that_no_file_can_keep(self, tmp_path, name):
        for annotation in (VideoAnnotation(name, [tube()]), VideoAnnotation("a", [tube(label=name)])):
            with pytest.raises(TableError, match="characters that no text file can keep"):
                table_from_annotations([annotation])
        with pytest.raises(TableError, match="characters that no text file can keep"):
            table_from_detections(name, [])
        document = json_table()
        document["videos"][0]["video"] = name
        (tmp_path / "t.json").write_text(json.dumps(document))
        assert "characters that no text file can keep" in refused(tmp_path / "t.json")
        (tmp_path / "t.json").write_text(json.dumps(json_table(label=name)))
        assert "characters that no text file can keep" in refused(tmp_path / "t.json")

    def test_nothing_is_written_under_a_name_that_no_file_can_keep(self, tmp_path):
        with pytest.raises(TableError, match="characters that no text file can keep"):
            write_tubes(self.table.assign(video="a\0b"), tmp_path / "t.csv")
        assert list(tmp_path.iterdir()) == []

    def test_columns_of_words_or_twice(self):
        with pytest.raises(TableError, match="row 1, column 'x1': expected a number, got 'wide'"):
            annotations_from_table(self.table.assign(x1="wide"))
        with pytest.raises(TableError, match="column 'x1' is there twice"):
            annotations_from_table(pd.concat([self.table, self.table[["x1"]]], axis=1))

    def test_detections_of_single_frames_are_no_annotation(self):
        table = table_from_detections("a", [Detections(0, tube(n=1).boxes, [1])])
        with pytest.raises(TableError, match=r"row 1, column 'tube': empty; .* link them into tubes first"):
            annotations_from_table(table)

    def test_filtered_and_concatenated_tables_work(self):
        other = table_from_annotations([VideoAnnotation("b", [tube(0)])])
        both = pd.concat([self.table[self.table["tube"] == 1], other])
        assert [(a.video, len(a.tubes)) for a in annotations_from_table(both)] == [("a", 1), ("b", 1)]

    def test_the_suffix_is_checked_before_work_is_done(self):
        check_suffix("a.CSV")
        with pytest.raises(TableError, match=r"unknown suffix '\.xlsx'"):
            check_suffix("a.xlsx")


def test_a_csv_opens_in_other_programs(tmp_path):
    write_tubes(table_from_annotations([VideoAnnotation("a,b", [tube(n=1)])]), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["video"] == "a,b"
    assert np.float32(rows[0]["x1"]) == tube(n=1).boxes[0, 0]
    assert rows[0]["score"] == ""
