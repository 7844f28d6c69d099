"""Reading J-HMDB's puppet masks: the outline of the actor in every frame, from which its boxes were made.

The dataset's ``puppet_mask.zip`` unpacks to ``puppet_mask/<class>/<clip>/puppet_mask.mat``, a MATLAB file with one
variable, ``part_mask``, height x width x frames, not 0 where the actor is. The box of a frame goes from the smallest
to the largest such pixel, as in the ``JHMDB-GT.pkl`` of the literature.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from linking.records import Tube, VideoAnnotation
from video.mat_files import MatError, read_mat
from video.names import is_video_name

FILE_NAME = "puppet_mask.mat"


def puppet_mask_files(path: str | os.PathLike[str]) -> list[Path]:
    """The mask files in a folder (the whole dataset's, a class's or a clip's), sorted; a file stands for itself."""
    path = Path(path)
    return sorted(path.rglob(FILE_NAME)) if path.is_dir() else [path]


def read_puppet_masks(path: str | os.PathLike[str], *, as_published: bool = False) -> list[VideoAnnotation]:
    """The tube of every clip whose mask lies in the folder ``path`` (or is that file), sorted by name.

    Video names are ``class/clip``, told by the folders. A frame without a pixel of the actor is left out; a clip in
    which all are has no tube. Boxes are continuous, or with ``as_published`` the inclusive pixels of the literature,
    which are one less in x2 and y2. Raises MatError.
    """
    files = puppet_mask_files(path)
    if not files:
        raise MatError(f"{path}: no {FILE_NAME} in this folder or below")
    return sorted((_clip(file, as_published) for file in files), key=lambda video: video.video)


def _clip(file: Path, as_published: bool) -> VideoAnnotation:
    clip = file.resolve().parent
    label, name = clip.parent.name, f"{clip.parent.name}/{clip.name}"
    if not is_video_name(name):
        raise MatError(f"{file}: expected in folders <class>/<clip>, by which the video is named")
    mask = read_mat(file, ("part_mask",)).get("part_mask")
    if not isinstance(mask, np.ndarray) or mask.ndim not in (2, 3) or mask.size == 0:
        raise MatError(f"{file}: no puppet mask: expected a variable part_mask of height x width x frames")
    height, width, num_frames = (*mask.shape, 1)[:3]  # MATLAB drops a last dimension of one frame
    inside = mask.reshape(height, width, num_frames) != 0
    rows, columns = inside.any(axis=1), inside.any(axis=0)
    frames = np.flatnonzero(rows.any(axis=0))
    tubes = []
    if len(frames):
        first, last = _extent(columns[:, frames]), _extent(rows[:, frames])
        boxes = np.stack([first[0], last[0], first[1], last[1]], axis=1).astype(np.float32)
        if not as_published:
            boxes[:, 2:] += 1
        try:
            tubes = [Tube(label, frames, boxes)]
        except ValueError as error:
            raise MatError(f"{file}: {error}") from None
    return VideoAnnotation(name, tubes, num_frames=num_frames, width=width, height=height)


def _extent(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first and of the last True in every column."""
    return inside.argmax(axis=0), len(inside) - 1 - inside[::-1].argmax(axis=0)
