"""Small valid files of every annotation format, to be damaged (tests/fuzz_annotations.py)."""

from __future__ import annotations

import io
import pickle
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import savemat

from linking.records import Detections, Tube, VideoAnnotation
from linking.scores import ScoredVideo, write_scores
from linking.tables import table_from_annotations, write_tubes
from video.annotation_writing import write_annotations
from video.annotations import Annotations

CLASSES = ("jump", "wave")
NAN = float("nan")


@dataclass(frozen=True)
class Sample:
    """A valid file: what is damaged, and how the damaged bytes become a file again."""

    kind: str
    """As in video.annotations.KINDS, or the reader: scores, classes, names."""
    suffix: str
    data: bytes
    wrap: Callable[[bytes], bytes] = bytes
    """Packs the damaged bytes, so that the damage is behind the checksum."""
    name: str = ""
    """Where the file must lie, if it is one of several that are read together."""
    others: tuple[tuple[str, bytes], ...] = ()
    """Names and contents of the others."""

    @property
    def is_pickle(self) -> bool:
        return self.suffix == ".pkl"


def samples() -> list[Sample]:
    """One or more of each format, 100 bytes to a few thousand."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            *_tables(Path(folder)),
            *_pickles(),
            *_matlab(Path(folder)),
            *_texts(Path(folder)),
            *_scores(Path(folder)),
        ]


def _annotations(score: float = NAN) -> Annotations:
    boxes = np.float32([[10, 20, 30.5, 60], [11, 20, 31, 60], [250, 20, 300, 60]])
    tubes = [
        Tube("wave", np.arange(3), boxes, np.full(3, score), score, 0),
        Tube("jump", np.array([0, 4, 5]), boxes, np.full(3, score), score, 1),
    ]
    return Annotations("table", (VideoAnnotation("wave/a", tubes, 9, 320, 240),), CLASSES)


def _tables(folder: Path) -> list[Sample]:
    found = []
    for suffix in (".csv", ".json", ".parquet"):
        write_tubes(table_from_annotations(_annotations(0.5).videos), folder / f"a{suffix}")
        found.append(Sample("table", suffix, (folder / f"a{suffix}").read_bytes()))
    return found


def _pickles() -> list[Sample]:
    rows = np.float32([[1, 10, 20, 29, 59, 0.5], [2, 11, 20, 30, 59, 0.75]])
    truth = {
        "labels": list(CLASSES),
        "gttubes": {"wave/a": {1: [rows[:, :5]], 0: [rows[:, :5], rows[:1, :5]]}},
        "nframes": {"wave/a": 9},
        "train_videos": [[]],
        "test_videos": [["wave/a"]],
        "resolution": {"wave/a": (240, 320)},
    }
    tube = {"label": 0, "sf": 3, "ef": 5, "boxes": np.uint8([[200, 10, 100, 50], [201, 10, 100, 50]])}
    ucf = {"Walk/v_Walk_g01_c01": {"annotations": [tube, tube], "label": 0, "numf": np.uint8(240)}}
    data = {
        "jhmdb": truth,
        "multisports": {**truth, "gttubes": {"football/a": {1: [rows[:, :5]]}}, "nframes": {"football/a": 9}},
        "ucf24": ucf,
        "ucf24 named": {"db": ucf, "classes": ["Walk"], "trainvideos": []},
        "act": {0: [], 1: [(rows, np.float32(0.5)), [rows[:1], 0.25]]},
        "multisports tubes": {0: [("wave/a", 0.5, rows)], 1: [("wave/b", 0.5, rows)]},
        "act frames": np.float32([[0, 1, 1, 0.5, 10, 20, 29, 59], [0, 2, 0, 0.5, 10, 20, 29, 59]]),
        "ava-proposals": {"a,0902": np.float64([[0.25, 0.5, 0.75, 1, 0.9]]), "a,0903": np.zeros((0, 5))},
    }
    return [
        Sample(name.partition(" ")[0], ".pkl", pickle.dumps(content, protocol))
        for name, content in data.items()
        for protocol in (0, 2, 5)
    ]


def _matlab(folder: Path) -> list[Sample]:
    mask = np.zeros((12, 16, 3), np.uint8)
    mask[2:9, 3:5, :2] = 1
    tubes = np.zeros((1, 2), [(name, "O") for name in ("ef", "sf", "class", "boxes")])
    tubes[0, :] = [(2.0, 1.0, 1.0, np.float64([[10, 20, 20, 40], [11, 20, 20, 40]]))] * 2
    annot = np.zeros((1, 1), [(name, "O") for name in ("num_imgs", "name", "tubes")])
    annot[0, 0] = (9.0, "wave/a", tubes)
    found = []
    for kind, content in (("jhmdb-masks", {"part_mask": mask}), ("ucf24-mat", {"annot": annot})):
        for compressed in (False, True):
            savemat(folder / "a.mat", content, do_compression=compressed)
            found.append(Sample(kind, ".mat", (folder / "a.mat").read_bytes()))
        plain = found[-2].data

        def deflated(body: bytes, head: bytes = plain[:128]) -> bytes:
            packed = zlib.compress(body)
            return head + (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed

        found.append(Sample(kind, ".mat", plain[128:], deflated))
    return found


def _texts(folder: Path) -> list[Sample]:
    def zipped(xml: bytes) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("annotations.xml", xml)
        return packed.getvalue()

    write_annotations(_annotations(), folder / "a.xml")
    xml = (folder / "a.xml").read_bytes()
    ava = b"a,0902,0.25,0.5,0.75,1,2,%b\na,0903,0.25,0.5,0.75,1,1,%b\na,0904\n"
    sequence = {
        "sequence/gt/gt.txt": b"1,1,10.5,20,30,40,1,1,1\n2,1,10,20,30,40,1,1,1\n",
        "sequence/gt/labels.txt": b"person\ncar\n",
        "sequence/seqinfo.ini": b"[Sequence]\nname=a\nframeRate=25\nseqLength=71\nimWidth=640\nimHeight=480\n",
    }
    mot = b"1,%b,10.5,20,30,40,0.5,-1,-1,-1\n2,%b,10,20,30,40,1,-1,-1,-1\n"
    return [
        Sample("cvat", ".xml", xml),
        Sample("cvat", ".zip", zipped(xml)),
        Sample("cvat", ".zip", xml, zipped),
        Sample("ava", ".csv", ava % (b"0", b"1")),
        Sample("ava", ".csv", ava % (b"0.5", b"1e-1")),
        Sample("mot", ".txt", mot % (b"1", b"2")),
        Sample("mot", ".txt", mot % (b"-1", b"-1")),
        *(
            Sample("mot", Path(name).suffix, data, bytes, name, tuple((o, d) for o, d in sequence.items() if o != name))
            for name, data in sequence.items()
        ),
        Sample("classes", ".pbtxt", b'item {\n  name: "bend"\n  id: 1\n}\nitem {\n  name: "sit"\n  id: 3\n}\n'),
        Sample("classes", ".txt", b"1: bend\n3: sit\n"),
        Sample("classes", ".txt", b"jump\nwave\n"),
        Sample("names", ".txt", b"Walk/v_Walk_g01_c01.avi\nWalk/v_Walk_g01_c02 2\n"),
    ]


def _scores(folder: Path) -> list[Sample]:
    boxes = np.float32([[1, 2, 3, 4], [5, 6, 7, 8]])
    scored = np.float32([0.5, 0.25])
    frames = [Detections(k, boxes, scored, np.float32([[0.5, 0.1], [0.2, 0.3]])) for k in range(2)]
    write_scores(folder / "a.npz", ScoredVideo("a", CLASSES, frames, 320, 240, 25.0))
    whole = (folder / "a.npz").read_bytes()
    found = [Sample("scores", ".npz", whole)]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for damaged in members:

        def packed(body: bytes, damaged: str = damaged) -> bytes:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in members.items():
                    archive.writestr(name, body if name == damaged else content)
            return file.getvalue()

        found.append(Sample("scores", ".npz", members[damaged], packed))
    return found
