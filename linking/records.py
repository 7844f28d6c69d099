"""The records every package speaks: detections of a frame, tube, video annotation.

Conventions (the whole program keeps them; readers of other formats convert on the way in):
frames are 0-based indices of *decoded* pictures; boxes are float32 ``x1, y1, x2, y2``, continuous corner
coordinates in pixels of the original, upright frame, so a box of one pixel is 1 wide (``x2 = x1 + 1``).
Bad values are refused at construction, so nothing downstream has to check again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

NO_SCORE = float("nan")
"""Score of what no detector scored: ground truth, and boxes interpolated into a gap of a tube."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Candidate boxes of one frame; ``n = 0`` is a frame in which nothing was found."""

    frame: int
    """0-based index of the decoded picture."""
    boxes: np.ndarray
    """(n, 4) float32, x1 y1 x2 y2, pixels of the original frame."""
    scores: np.ndarray
    """(n,) float32, how sure the proposal network is that the box holds an actor, 0..1."""
    class_scores: np.ndarray | None = None
    """(n, classes) float32, one score a class, or None before the boxes are scored."""

    def __post_init__(self) -> None:
        boxes = _as_boxes(self.boxes, f"detections of frame {self.frame}")
        scores = np.asarray(self.scores, np.float32)
        if self.frame < 0:
            raise ValueError(f"frame must be 0 or more, got {self.frame}")
        if scores.shape != (len(boxes),):
            raise ValueError(f"expected {len(boxes)} scores, one a box, got shape {scores.shape}")
        if not np.isfinite(scores).all():
            raise ValueError(f"scores of frame {self.frame} must be finite numbers")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        if self.class_scores is not None:
            class_scores = np.asarray(self.class_scores, np.float32)
            if class_scores.ndim != 2 or len(class_scores) != len(boxes):
                raise ValueError(
                    f"class_scores must be ({len(boxes)}, classes), one row a box, got {class_scores.shape}"
                )
            if not np.isfinite(class_scores).all():
                raise ValueError(f"class scores of frame {self.frame} must be finite numbers")
            object.__setattr__(self, "class_scores", class_scores)

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Tube:
    """One actor doing one action over a run of frames; ground truth and prediction alike."""

    label: str
    """Class name."""
    frames: np.ndarray
    """(n,) int64, strictly ascending 0-based frame indices, n >= 1. Predictions have no holes."""
    boxes: np.ndarray
    """(n, 4) float32, x1 y1 x2 y2, pixels of the original frame."""
    scores: np.ndarray | None = None
    """(n,) float32; NaN marks a box without a score of its own (interpolated, or ground truth).

    None at construction stands for all NaN."""
    score: float = NO_SCORE
    """Score of the whole tube; NaN for ground truth."""
    id: int = 0
    """Unique among the tubes of a video."""

    def __post_init__(self) -> None:
        frames = np.asarray(self.frames)
        if frames.ndim != 1 or len(frames) == 0:
            raise ValueError(f"a tube needs at least one frame, got frames of shape {frames.shape}")
        if not np.issubdtype(frames.dtype, np.integer):
            raise ValueError(f"frames must be integers, got {frames.dtype}")
        frames = frames.astype(np.int64)
        if frames[0] < 0 or (np.diff(frames) <= 0).any():
            raise ValueError("frames of a tube must be 0 or more and strictly ascending")
        boxes = _as_boxes(self.boxes, f"tube {self.id}")
        if len(boxes) != len(frames):
            raise ValueError(f"tube {self.id} has {len(frames)} frames but {len(boxes)} boxes")
        if self.scores is None:
            scores = np.full(len(frames), NO_SCORE, np.float32)
        else:
            scores = np.asarray(self.scores, np.float32)
        if scores.shape != frames.shape:
            raise ValueError(f"tube {self.id} has {len(frames)} frames but scores of shape {scores.shape}")
        if np.isinf(scores).any() or np.isinf(self.score):
            raise ValueError(f"scores of tube {self.id} must not be infinite")
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.frames)

    @property
    def first_frame(self) -> int:
        return int(self.frames[0])

    @property
    def end_frame(self) -> int:
        """One past the last frame, as in ``range``."""
        return int(self.frames[-1]) + 1


@dataclass(frozen=True, eq=False)
class VideoAnnotation:
    """The tubes of one video, and what is known of the video itself."""

    video: str
    """Name by which ground truth and predictions are matched: ``Basketball/v_Basketball_g01_c01``, say."""
    tubes: Sequence[Tube] = field(default_factory=tuple)
    num_frames: int | None = None
    """Number of annotated (or decoded) frames, where known."""
    width: int | None = None
    """Pixels, where known."""
    height: int | None = None
    """Pixels, where known."""

    def __post_init__(self) -> None:
        ids = [tube.id for tube in self.tubes]
        if len(set(ids)) != len(ids):
            raise ValueError(f"{self.video}: tube ids must be unique within a video, got {ids}")
        object.__setattr__(self, "tubes", tuple(self.tubes))

    @property
    def labels(self) -> list[str]:
        """Sorted class names that occur in this video."""
        return sorted({tube.label for tube in self.tubes})


def _as_boxes(values: np.ndarray, owner: str) -> np.ndarray:
    """(n, 4) float32 copy-if-needed of ``values``; ValueError unless finite with x2 > x1 and y2 > y1."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite and is refused below
        boxes = np.asarray(values, np.float32)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes of {owner} must be (n, 4), got shape {boxes.shape}")
    if not np.isfinite(boxes).all():
        raise ValueError(f"boxes of {owner} must be finite numbers")
    empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    if empty.any():
        bad = boxes[int(np.flatnonzero(empty)[0])].tolist()
        raise ValueError(f"a box of {owner} has no area: x1 y1 x2 y2 = {bad} needs x2 > x1 and y2 > y1")
    return boxes
