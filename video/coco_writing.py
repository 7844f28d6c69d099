"""Writing boxes of videos as COCO's JSON, with which detectors of single pictures are trained.

The format: ``images`` (id, file_name, width, height), ``annotations`` (id, image_id, category_id, bbox as left, top,
width, height, area, iscrowd), ``categories`` (id, name); ids count from 1 and boxes are continuous, as ours.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from linking.files import replace_when_whole
from linking.table_checks import BOX_COLUMNS, checked

FRAME_FILES = "{video}/{frame:05d}.png"
"""How the pictures of J-HMDB are named; those of UCF101-24 end in .jpg."""
_FIELDS = re.compile(r"\{video\}|\{frame(?::0?\d{1,2}d)?\}")


class CocoError(ValueError):
    """Boxes that cannot be written as COCO's JSON; one line with the file, the cause and what to do."""


def write_coco(
    table: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    frame_files: str = FRAME_FILES,
    one_class: str | None = None,
    every: int = 1,
    size: tuple[int, int] | None = None,
) -> int:
    """Write a tube table; the number of its pictures, which are the frames with a box.

    Args:
        frame_files: names of the pictures below the folder of them: ``{video}`` and ``{frame}``, which counts from 1.
        one_class: name of the only class, for detectors of actors whatever they do; boxes that are equal are one then.
        every: take every K-th frame only; neighbours hardly differ.
        size: width and height of videos for which the table has none.

    Raises CocoError for a video of unknown size and a pattern without both names.
    """
    if re.sub(_FIELDS, "", frame_files).count("{") or not {"{video}", "{frame"} <= set(
        re.findall(r"\{video\}|\{frame", frame_files)
    ):
        raise CocoError(f"{path}: names of pictures need {{video}} and {{frame}}, as {FRAME_FILES}; got {frame_files}")
    table = checked(table, lambda row: f"row {row + 1}", "tube table")
    sizes = table.attrs.get("videos", {})
    table = table[table["frame"] % every == 0]
    if one_class is not None:
        table = table.assign(label=one_class).drop_duplicates(["video", "frame", *BOX_COLUMNS])
    if (table["label"] == "").any():
        raise CocoError(f"{path}: some boxes have no label; give all of them one class")
    labels = sorted(table["label"].unique())
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    for (video, frame), rows in table.groupby(["video", "frame"], sort=True):
        known = sizes.get(video, {})
        width, height = known.get("width"), known.get("height")
        if width is None or height is None:
            if size is None:
                raise CocoError(f"{path}: size of video {str(video)[:80]!r} is unknown; give it as WxH")
            width, height = size
        number = len(images) + 1
        name = frame_files.format(video=video, frame=int(frame) + 1)
        images.append({"id": number, "file_name": name, "width": int(width), "height": int(height)})
        corners = np.clip(rows[list(BOX_COLUMNS)].to_numpy(np.float64), 0, [width, height, width, height])
        for label, (left, top, right, bottom) in zip(rows["label"], corners.round(4).tolist()):
            wide, high = round(right - left, 4), round(bottom - top, 4)
            if wide <= 0 or high <= 0:
                raise CocoError(f"{path}: a box of video {str(video)[:80]!r}, frame {frame} lies outside of {name}")
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": labels.index(label) + 1,
                    "bbox": [left, top, wide, high],
                    "area": round(wide * high, 4),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": label} for number, label in enumerate(labels, 1)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    with replace_when_whole(Path(path)) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return len(images)
