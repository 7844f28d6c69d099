"""A dataset of small videos in which a bright square moves right or down: the least that training can be tried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations, write_tubes
from video.datasets import Dataset, LabelledVideo
from video.writing import VideoWriter

WIDTH, HEIGHT, FRAMES = 64, 48, 12


def square_videos(folder: Path, count: int = 8) -> Dataset:
    """``count`` videos, alternately "right" and "down", in ``folder/videos``, annotated in ``folder/tubes.csv``."""
    videos = []
    for number in range(count):
        label = ("right", "down")[number % 2]
        background = np.random.default_rng(number).integers(0, 100, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        path = folder / "videos" / f"{label}{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        boxes = []
        with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=25) as writer:
            for k in range(FRAMES):
                x, y = (8 + 3 * k, 16) if label == "right" else (24, 2 + 2 * k)
                frame = background.copy()
                frame[y : y + 16, x : x + 16] = (250, 200, 40)
                boxes.append((x, y, x + 16, y + 16))
                writer.write(frame)
        tube = Tube(label, np.arange(FRAMES), np.array(boxes, np.float32))
        videos.append(LabelledVideo(path, VideoAnnotation(path.stem, [tube], FRAMES, WIDTH, HEIGHT)))
    write_tubes(table_from_annotations([video.annotation for video in videos]), folder / "tubes.csv")
    return Dataset("squares", ("right", "down"), tuple(videos))
