"""Videos with their tubes drawn in, as in Figure 5 of the LGD paper: a score at each box, classes at the right."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import numpy as np
from PIL import Image

from linking.colours import TRUTH, Colour
from linking.geometry import box_iou
from linking.looks import PLAIN, Looks
from linking.records import Tube
from video.frames import open_video
from video.marks import Mark, draw_marks
from video.panel import Panel, PanelEntry
from video.source import VideoError
from video.trails import draw_trails
from video.writing import VideoWriter

__all__ = ["Mark", "annotate_video", "draw_boxes", "marks_at"]

MIN_HEIGHT = 480
"""Smaller videos are enlarged to this height, for letters on 240 lines can hardly be read."""
MAX_HEIGHT = 1080
"""Larger videos are scaled down: an annotated video is for looking."""

TopClasses = Mapping[int, Sequence[tuple[str, float]]]


def draw_boxes(frame: np.ndarray, marks: Sequence[Mark]) -> np.ndarray:
    """A copy of ``frame`` ((H, W, 3) uint8 RGB) with ``marks`` drawn in; boxes in pixels of the frame."""
    picture = Image.fromarray(frame)
    draw_marks(picture, marks)
    return np.asarray(picture)


def marks_at(tubes: Sequence[Tube], frame: int, looks: Looks = PLAIN) -> list[Mark]:
    """The boxes of ``tubes`` at ``frame``: label and the box's own score; without a score of its own, dashed."""
    marks = []
    for tube in tubes:
        place = int(np.searchsorted(tube.frames, frame))
        if place == len(tube) or tube.frames[place] != frame:
            continue
        score = _scores(tube)[place]
        interpolated = bool(np.isnan(score)) and _has_scores(tube)
        text = f"#{tube.id} {tube.label}" if np.isnan(score) else f"#{tube.id} {tube.label} {score:.2f}"
        marks.append(Mark(tube.boxes[place], looks.of(tube).colour, text, dashed=interpolated))
    return marks


def annotate_video(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    tubes: Sequence[Tube],
    *,
    top_classes: TopClasses | None = None,
    ground_truth: Sequence[Tube] | None = None,
    progress: Callable[[int], None] | None = None,
    max_frames: int | None = None,
    watch: Callable[[int, np.ndarray], None] | None = None,
    looks: Looks = PLAIN,
    trails: float = 0.0,
) -> int:
    """Write ``source`` to ``destination`` with its tubes drawn in and a panel at the right; number of frames.

    ``top_classes`` are the (label, score) pairs of a tube by its id, best first, of which three are shown; without
    them a tube shows its own. ``ground_truth`` is drawn in thin light lines. ``progress`` is called with the
    number of frames done, ``watch`` with each frame's number and its picture as decoded, for those who want to take
    something else from it. ``looks`` gives tubes other colours than their own, says what these mean and adds words
    to the panel. ``trails`` is for how many seconds the middle of each box leaves a fading path. No more than
    ``max_frames`` are written. Memory does not grow with the length of the video.

    Raises VideoError when the video cannot be read or written, and when a tube has boxes beyond its last frame
    or outside its picture, which means that video and tubes do not belong together; then nothing is written.
    """
    truth = ground_truth or ()
    with open_video(source) as video:
        size, scale = _picture_size(video.width, video.height)
        panel = Panel(size[1], legend=_legend(tubes, truth, looks))
        width, height = size[0] + panel.width, size[1]
        check_places([*tubes, *truth], video.width, video.height, video.name)
        with VideoWriter(destination, width=width, height=height, fps=video.fps) as writer:
            for number, frame in enumerate(islice(video, max_frames)):
                if watch is not None:
                    watch(number, frame)
                canvas = Image.new("RGB", (width, height))
                picture = Image.fromarray(frame)
                if picture.size != size:
                    picture = picture.resize(size, Image.Resampling.BICUBIC)
                if trails > 0:
                    draw_trails(picture, tubes, number, trails * video.fps, scale=scale, looks=looks)
                marks = [*_truth_marks(truth, tubes, number, looks), *marks_at(tubes, number, looks)]
                draw_marks(picture, marks, scale=scale)
                canvas.paste(picture, (0, 0))
                entries = _entries(tubes, number, top_classes or {}, looks)
                canvas.paste(panel.draw(entries, frame=number, seconds=number / video.fps), (size[0], 0))
                writer.write(np.asarray(canvas))
                if progress is not None:
                    progress(number + 1)
            check_frames([*tubes, *truth], writer.num_frames, video.name)
    return writer.num_frames


def check_frames(tubes: Sequence[Tube], num_frames: int, video: str) -> None:
    """VideoError naming tube and frame when a tube goes on where ``video`` has ended."""
    for tube in tubes:
        if tube.end_frame > num_frames:
            beyond = int(tube.frames[np.searchsorted(tube.frames, num_frames)])
            raise VideoError(
                f"{video}: tube {tube.id} ({tube.label}) has a box in frame {beyond}, but the video has {num_frames} "
                f"frames (0 to {num_frames - 1}); are these the tubes of another video?"
            )


def check_places(tubes: Sequence[Tube], width: int, height: int, video: str) -> None:
    """VideoError naming tube, frame and box when a box lies wholly outside a picture of ``width`` x ``height``."""
    for tube in tubes:
        x1, y1, x2, y2 = tube.boxes.T
        outside = np.flatnonzero((x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0))
        if len(outside):
            place = int(outside[0])
            box = ", ".join(f"{side:g}" for side in tube.boxes[place])
            raise VideoError(
                f"{video}: the box of tube {tube.id} ({tube.label}) in frame {tube.frames[place]} ({box}) lies outside "
                f"the picture of {width}x{height}; are these the tubes of another video or size?"
            )


def _picture_size(width: int, height: int) -> tuple[tuple[int, int], float]:
    """(width, height) of the drawn picture, even, and its scale."""
    scale = min(max(height, MIN_HEIGHT), MAX_HEIGHT) / height
    return (max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))), scale


def _truth_marks(truth: Sequence[Tube], tubes: Sequence[Tube], frame: int, looks: Looks) -> list[Mark]:
    """Ground truth at ``frame``, named only where no tube of its label lies on it: there names are worth reading."""
    marks = []
    for tube in truth:
        look = looks.of_true(tube)
        for mark in marks_at([tube], frame):
            rivals = marks_at([other for other in tubes if other.label == tube.label], frame)
            boxes = np.array([rival.box for rival in rivals]).reshape(-1, 4)
            found = bool((box_iou(np.asarray(mark.box)[None], boxes) >= 0.5).any())
            if look.word:
                marks.append(Mark(mark.box, look.colour, f"{look.word}: {tube.label}", dashed=True))
            else:
                marks.append(Mark(mark.box, look.colour, "" if found else f"truth: {tube.label}", thin=True))
    return marks


def _entries(tubes: Sequence[Tube], frame: int, top_classes: TopClasses, looks: Looks) -> list[PanelEntry]:
    """What the panel shows at ``frame``: the tubes that have begun and not ended, by id so that none jumps."""
    visible = sorted((tube for tube in tubes if tube.first_frame <= frame < tube.end_frame), key=lambda tube: tube.id)
    return [
        PanelEntry(
            looks.of(tube).colour,
            f"#{tube.id}",
            looks.of(tube).word or f"frames {tube.first_frame}–{tube.end_frame - 1}",
            tuple(top_classes.get(tube.id, ((tube.label, tube.score),)))[:3],
        )
        for tube in visible
    ]


def _legend(tubes: Sequence[Tube], truth: Sequence[Tube], looks: Looks) -> list[tuple[str, Colour, bool]]:
    # what is said of true tubes only is drawn dashed
    of_tubes = {look.colour for look in looks.tubes.values()}
    lines = [(text, colour, colour not in of_tubes) for text, colour in looks.legend]
    if any(_has_scores(tube) and np.isnan(_scores(tube)).any() for tube in tubes):
        lines.append(("interpolated", (200, 200, 200), True))
    if truth:
        lines.append(("ground truth", TRUTH, False))
    return lines


def _scores(tube: Tube) -> np.ndarray:
    return np.asarray(tube.scores)


def _has_scores(tube: Tube) -> bool:
    """Whether any box of the tube was scored; if none was, boxes without a score are not interpolated ones."""
    return not bool(np.isnan(_scores(tube)).all())
