"""What stands in a CVAT XML file, element by element, checked but not yet interpreted (that is video.cvat's)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from linking.table_checks import MAX_FRAME
from video.safe_xml import XmlError, walk_xml

_SHAPES = ("polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton")
_HEADERS = (("task",), ("job",), ("project", "tasks", "task"))
"""Where under <meta> the fields of a task stand in the export of a task, a job, a project."""

Corners = tuple[float, float, float, float]


@dataclass
class CvatTrack:
    """A track element."""

    place: str
    """For messages."""
    id: str
    label: str
    task: str
    """Id of its task, in the export of a project."""
    frames: list[int] = field(default_factory=list)
    """By box, in the order of the file; so are the next four."""
    boxes: list[Corners] = field(default_factory=list)
    outside: list[bool] = field(default_factory=list)
    values: list[str | None] = field(default_factory=list)
    """Of the attribute asked for; None where the box does not say."""
    lines: list[int] = field(default_factory=list)
    """Of the file, from 1."""
    value: str | None = None
    """Of that attribute where it stands beside the boxes."""
    other_shapes: int = 0


@dataclass
class CvatDocument:
    """All tracks of a file and the header fields of its tasks."""

    tracks: list[CvatTrack]
    tasks: list[dict[str, str]]
    """Text by name: id, name, source, size, start_frame, stop_frame, width, height, as far as they are there."""
    attributes: Counter[str]
    """How often each attribute occurs."""


def read_document(data: bytes, attribute: str | None) -> CvatDocument:
    """Raises XmlError, which names the line, for XML that is damaged, hostile or not CVAT's for video."""
    reader = _Reader(attribute)
    walk_xml(data, reader.start, reader.end)
    return CvatDocument(reader.tracks, reader.tasks[1:] or reader.tasks, reader.attributes)


class _Reader:
    """Collects tracks and header while the document goes by."""

    def __init__(self, attribute: str | None) -> None:
        self.attribute = attribute
        self.tracks: list[CvatTrack] = []
        self.tasks: list[dict[str, str]] = [{}]
        """The first is that of a task or job; a project's follow it."""
        self.attributes: Counter[str] = Counter()
        self.open_attribute = ""

    def start(self, path: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        if path[0] != "annotations":
            raise XmlError(f"expected <annotations>, the root of a CVAT export, got <{path[0][:40]}>")
        below = path[1:]
        if below == ("track", "box"):
            _add_box(self.tracks[-1], attributes, line)
        elif below in (("track", "box", "attribute"), ("track", "attribute")):
            self.open_attribute = attributes.get("name", "")
        elif below == ("track",):
            place = f"track {attributes.get('id', '')[:20]!r}"
            label = attributes.get("label", "")
            if not label or not label.isprintable():
                raise XmlError(f"{place}: its label is empty or not text")
            self.tracks.append(CvatTrack(place, attributes.get("id", ""), label, attributes.get("task_id", "")))
        elif below[:1] == ("track",) and len(below) == 2 and below[1] in _SHAPES:
            self.tracks[-1].other_shapes += 1
        elif below == ("image",):
            raise XmlError(
                "this is an export 'CVAT for images 1.1', in which tracks are cut into single pictures; "
                "export the task as 'CVAT for video 1.1'"
            )
        elif below == ("meta", "project", "tasks", "task"):
            self.tasks.append({})

    def end(self, path: tuple[str, ...], text: str) -> None:
        below = path[1:]
        if below in (("track", "box", "attribute"), ("track", "attribute")):
            self.attributes[self.open_attribute] += 1
            if self.open_attribute == self.attribute:
                if below[1] == "box":
                    self.tracks[-1].values[-1] = text.strip()
                else:
                    self.tracks[-1].value = text.strip()
        elif below[:1] == ("meta",) and len(below) > 1:
            outer, key = below[1:-1], below[-1]
            if outer[-1:] == ("original_size",):
                outer = outer[:-1]
            if outer in _HEADERS or (outer == () and key in ("source", "width", "height")):
                self.tasks[-1][key] = text.strip()


def _add_box(track: CvatTrack, attributes: Mapping[str, str], line: int) -> None:
    frame = attributes.get("frame", "")
    if not re.fullmatch(r"[0-9]{1,10}", frame) or int(frame) > MAX_FRAME:
        raise XmlError(f"{track.place}: frame must be a whole number from 0 to {MAX_FRAME}, got {frame[:40]!r}")
    place = f"{track.place}, frame {frame}"
    x1, y1, x2, y2 = (_number(attributes, side, place) for side in ("xtl", "ytl", "xbr", "ybr"))
    if x2 < x1 or y2 < y1:
        raise XmlError(f"{place}: the corners of the box are swapped, xtl > xbr or ytl > ybr")
    outside = attributes.get("outside", "0")
    if outside not in ("0", "1"):
        raise XmlError(f"{place}: outside must be 0 or 1, got {outside[:40]!r}")
    corners = (x1, y1, x2, y2)
    if "rotation" in attributes:
        corners = _around_rotated(corners, _number(attributes, "rotation", place))
    track.frames.append(int(frame))
    track.boxes.append(corners)
    track.outside.append(outside == "1")
    track.values.append(None)
    track.lines.append(line)


def _number(attributes: Mapping[str, str], name: str, place: str) -> float:
    text = attributes.get(name)
    if text is None:
        raise XmlError(f"{place}: the box has no {name}")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    # beyond 1e30, a product of two sides is not a single-precision number
    if not abs(number) < 1e30 or "_" in text:
        raise XmlError(f"{place}: {name} must be a number, got {text[:40]!r}")
    return number


def _around_rotated(corners: Corners, degrees: float) -> Corners:
    """The upright box around one that is turned about its centre."""
    x1, y1, x2, y2 = corners
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    width, height = (x2 - x1) * cosine + (y2 - y1) * sine, (x2 - x1) * sine + (y2 - y1) * cosine
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
