"""Writing tubes as "CVAT 1.1" XML, which CVAT imports into a task of the same video to be looked at and corrected.

What its importer needs (``load_anno`` in ``cvat/apps/dataset_manager/formats/cvat.py``): only boxes with
keyframe="1" count, a box holds its place until the next one, so the end of a track is a box with outside="1" in the
frame after; and the task must have labels (and the attribute) of the same names. It reads no header; the header here
is for people and for video.cvat.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from linking.files import replace_when_whole
from linking.records import Tube, VideoAnnotation
from video.cvat import UNSET, CvatError
from video.names import is_video_name


def write_cvat(
    annotations: Sequence[VideoAnnotation],
    path: str | os.PathLike[str],
    *,
    attribute: str | None = None,
    track_label: str = "person",
) -> list[Path]:
    """Write one video to ``path``, an .xml, or each of several to ``path/VIDEO.xml``; gives the files.

    The label of a tube becomes that of its track, or, with ``attribute``, the value of that attribute of a track
    called ``track_label``. read_cvat gives the same tubes again without their scores, which the format does not
    hold. A task holds one video, hence a file each; each is written whole or not at all. Raises CvatError.
    """
    path = Path(path)
    names = [annotation.video for annotation in annotations]
    single = path.suffix.lower() == ".xml"
    if single and len(annotations) != 1:
        raise CvatError(f"{path}: a file holds one video, here are {len(annotations)}; give a folder")
    if len(set(names)) < len(names):
        raise CvatError(f"{path}: a video occurs twice; put its tubes together")
    for annotation in annotations:
        _check(annotation, path, attribute, track_label)
    written = []
    for annotation in annotations:
        home = path / annotation.video
        file = path if single else home.with_name(f"{home.name}.xml")
        with replace_when_whole(file) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
            out.writelines(f"{line}\n" for line in _lines(annotation, attribute, track_label))
        written.append(file)
    return written


def _check(annotation: VideoAnnotation, path: Path, attribute: str | None, track_label: str) -> None:
    if not is_video_name(annotation.video):
        raise CvatError(f"{path}: {annotation.video[:80]!r} cannot be the name of a video")
    texts = [tube.label for tube in annotation.tubes] + ([] if attribute is None else [attribute, track_label])
    for text in texts:
        if not text or not text.isprintable() or text != text.strip() or (attribute is not None and text in UNSET):
            raise CvatError(f"{path}: {text[:80]!r} cannot be a label or an attribute in CVAT")
    for tube in annotation.tubes:
        if annotation.num_frames is not None and tube.end_frame > annotation.num_frames:
            raise CvatError(
                f"{path}: tube {tube.id} of {annotation.video[:80]!r} has frame {tube.end_frame - 1}, "
                f"but the video has {annotation.num_frames} frames"
            )


def _lines(annotation: VideoAnnotation, attribute: str | None, track_label: str) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield "<annotations>"
    yield "  <version>1.1</version>"
    yield "  <meta>"
    yield "    <task>"
    yield f"      <name>{escape(annotation.video)}</name>"
    if annotation.num_frames is not None:
        yield f"      <size>{annotation.num_frames}</size>"
    yield "      <mode>interpolation</mode>"
    if annotation.num_frames is not None:
        yield "      <start_frame>0</start_frame>"
        yield f"      <stop_frame>{annotation.num_frames - 1}</stop_frame>"
    yield "      <labels>"
    for label in annotation.labels if attribute is None else [track_label]:
        yield "        <label>"
        yield f"          <name>{escape(label)}</name>"
        yield "          <attributes>"
        if attribute is not None:
            yield "            <attribute>"
            yield f"              <name>{escape(attribute)}</name>"
            yield "              <mutable>True</mutable>"
            yield "              <input_type>select</input_type>"
            yield f"              <values>{escape(chr(10).join(annotation.labels))}</values>"
            yield "            </attribute>"
        yield "          </attributes>"
        yield "        </label>"
    yield "      </labels>"
    if annotation.width is not None or annotation.height is not None:
        yield "      <original_size>"
        if annotation.width is not None:
            yield f"        <width>{annotation.width}</width>"
        if annotation.height is not None:
            yield f"        <height>{annotation.height}</height>"
        yield "      </original_size>"
    yield "    </task>"
    yield "  </meta>"
    for tube in annotation.tubes:
        label = tube.label if attribute is None else track_label
        yield f'  <track id="{tube.id}" label={quoteattr(label)} source="file">'
        value = None if attribute is None else (attribute, tube.label)
        yield from _boxes(tube, annotation.num_frames, value)
        yield "  </track>"
    yield "</annotations>"


def _boxes(tube: Tube, num_frames: int | None, attribute: tuple[str, str] | None) -> Iterator[str]:
    """A box element a frame, and one that is outside after each run of frames unless the video ends there."""
    inside = ""
    if attribute is not None:
        name, value = attribute
        inside = f"\n      <attribute name={quoteattr(name)}>{escape(value)}</attribute>\n    "
    # shortest decimals that are read as the same single-precision number
    places = tube.boxes.astype(str)
    next_frames = np.append(tube.frames[1:], num_frames if num_frames is not None else -1)
    for frame, following, (x1, y1, x2, y2) in zip(tube.frames.tolist(), next_frames.tolist(), places.tolist()):
        corners = f'xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" z_order="0"'
        yield f'    <box frame="{frame}" keyframe="1" outside="0" occluded="0" {corners}>{inside}</box>'
        if following != frame + 1:
            yield f'    <box frame="{frame + 1}" keyframe="1" outside="1" occluded="0" {corners}>{inside}</box>'
