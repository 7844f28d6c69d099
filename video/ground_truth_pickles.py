"""Writing ground truth as the pickles of J-HMDB, MultiSports and UCF101-24, for the published programs that read them.

The layouts are described where they are read: video/jhmdb.py, video/multisports.py, video/ucf24.py. Our readers give
back the same tubes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from linking.files import replace_when_whole
from linking.records import Tube, VideoAnnotation
from video.jhmdb import JhmdbError, Split
from video.pickle_writing import dump_pickle
from video.ucf24 import Ucf24Error


def write_jhmdb(
    videos: Sequence[VideoAnnotation],
    path: str | os.PathLike[str],
    class_names: Sequence[str],
    splits: Sequence[Split] = (),
    *,
    inclusive: bool = True,
) -> None:
    """A pickle in the layout of ``JHMDB-GT.pkl``; not ``inclusive``, one of ``multisports_GT.pkl``.

    Without ``splits`` all videos are for testing. A video of unknown length is as long as its last tube, one of
    unknown size has no resolution. JhmdbError for a label that is not in ``class_names``.
    """
    numbers = {name: number for number, name in enumerate(class_names)}
    pixel = 1 if inclusive else 0
    tubes: dict[str, dict[int, list[np.ndarray]]] = {}
    for video in videos:
        by_label = tubes.setdefault(video.video, {})
        for tube in video.tubes:
            if tube.label not in numbers:
                raise JhmdbError(f"{video.video[:100]}: label {tube.label[:40]!r} is not among the class names")
            boxes = tube.boxes.astype(np.float64) - (0, 0, pixel, pixel)
            by_label.setdefault(numbers[tube.label], []).append(np.column_stack([tube.frames + 1, boxes]))
    splits = splits or (Split((), tuple(video.video for video in videos)),)
    data: dict[str, Any] = {
        "labels": list(class_names),
        "gttubes": tubes,
        "nframes": {video.video: _length(video) for video in videos},
        "train_videos": [list(split.train) for split in splits],
        "test_videos": [list(split.test) for split in splits],
        "resolution": {video.video: (video.height, video.width) for video in videos if video.height and video.width},
    }
    with replace_when_whole(path) as temporary:
        temporary.write_bytes(dump_pickle(data))


def write_ucf24(
    videos: Sequence[VideoAnnotation],
    path: str | os.PathLike[str],
    class_names: Sequence[str],
    train: Sequence[str] | None = None,
) -> None:
    """A pickle in the layout of ``pyannot_with_class_names.pkl``, which names its classes and training videos.

    A tube with holes becomes several, one a run of frames: the layout knows no holes. Without ``train`` no video is
    for training. Ucf24Error for a label that is not in ``class_names``.
    """
    numbers = {name: number for number, name in enumerate(class_names)}
    database: dict[str, Any] = {}
    for video in videos:
        annotations = []
        for tube in video.tubes:
            if tube.label not in numbers:
                raise Ucf24Error(f"{video.video[:100]}: label {tube.label[:40]!r} is not among the class names")
            for frames, boxes in runs(tube):
                corners = boxes.astype(np.float64)
                annotations.append(
                    {
                        "label": numbers[tube.label],
                        "sf": int(frames[0]),
                        "ef": int(frames[-1]) + 1,
                        "boxes": np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]]),
                    }
                )
        label = annotations[0]["label"] if annotations else numbers.get(video.video.partition("/")[0], 0)
        database[video.video] = {"annotations": annotations, "label": label, "numf": _length(video)}
    data = {"db": database, "trainvideos": list(train or ()), "classes": list(class_names)}
    with replace_when_whole(path) as temporary:
        temporary.write_bytes(dump_pickle(data))


def runs(tube: Tube) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames and boxes of a tube, cut where frames are missing."""
    cuts = np.flatnonzero(np.diff(tube.frames) > 1) + 1
    return list(zip(np.split(tube.frames, cuts), np.split(tube.boxes, cuts)))


def _length(video: VideoAnnotation) -> int:
    """Number of frames; the annotation's own, or the least that holds its tubes."""
    if video.num_frames:
        return video.num_frames
    return max((tube.end_frame for tube in video.tubes), default=1)
