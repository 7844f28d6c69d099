"""The dense scores of a video on disk: one ``.npz`` from which linking can be repeated without the networks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linking.files import replace_when_whole
from linking.records import Detections
from linking.table_checks import one_line

FORMAT = "lgd scored video"
VERSION = 1


class ScoresError(ValueError):
    """A score file that cannot be used; the text names the file and the cause."""


@dataclass(frozen=True, eq=False)
class ScoredVideo:
    """Every frame of a video with its candidate boxes and their class scores: what linking starts from."""

    video: str
    """Name by which results are matched with annotations."""
    class_names: tuple[str, ...]
    """Names of the columns of ``class_scores``; the background is not among them."""
    detections: tuple[Detections, ...]
    """One per frame, in order: ``detections[k].frame == k``; each with ``class_scores`` (n, classes)."""
    width: int
    """Pixels of the original, upright frame."""
    height: int
    """Pixels of the original, upright frame."""
    fps: float
    """Frames a second."""
    cuts: tuple[int, ...] = ()
    """Ascending first frames of new shots, where known: nothing is linked across them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "detections", tuple(self.detections))
        object.__setattr__(self, "cuts", tuple(int(cut) for cut in self.cuts))
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise ValueError(f"{self.video}: class names must be there and unique, got {self.class_names}")
        for frame, found in enumerate(self.detections):
            if found.frame != frame:
                raise ValueError(f"{self.video}: detections[{frame}] belong to frame {found.frame}")
            if found.class_scores is None:
                raise ValueError(f"{self.video}: the boxes of frame {frame} have no class scores")
            if found.class_scores.shape[1] != len(self.class_names):
                raise ValueError(
                    f"{self.video}: frame {frame} has {found.class_scores.shape[1]} class scores a box "
                    f"for {len(self.class_names)} class names"
                )
        if not (self.width > 0 and self.height > 0 and 0 < self.fps < float("inf")):
            raise ValueError(
                f"{self.video}: width, height and fps must be above 0, got {self.width} x {self.height} at {self.fps}"
            )
        if any(b <= a for a, b in zip(self.cuts, self.cuts[1:])) or (self.cuts and self.cuts[0] < 0):
            raise ValueError(f"{self.video}: cuts must be ascending frames, got {self.cuts}")

    @property
    def num_frames(self) -> int:
        return len(self.detections)


def write_scores(path: str | os.PathLike[str], scored: ScoredVideo) -> None:
    """Write ``scored`` as an ``.npz`` without pickles; ``read_scores`` gives back every bit."""
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ScoresError(f"{path}: scores are written as .npz, not as {path.suffix or 'a file without suffix'}")
    about = {
        "format": FORMAT,
        "version": VERSION,
        "video": scored.video,
        "class_names": scored.class_names,
        "width": scored.width,
        "height": scored.height,
        "fps": scored.fps,
        "cuts": scored.cuts,
    }
    classes = len(scored.class_names)
    arrays = {
        "about": np.array(json.dumps(about)),
        "counts": np.array([len(found) for found in scored.detections], np.int64),
        "boxes": _joined([found.boxes for found in scored.detections], (0, 4)),
        "scores": _joined([found.scores for found in scored.detections], (0,)),
        "class_scores": _joined([found.class_scores for found in scored.detections], (0, classes)),
    }
    with replace_when_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_scores(path: str | os.PathLike[str]) -> ScoredVideo:
    """Read what ``write_scores`` wrote. ScoresError (one line: file, cause) for anything else."""
    with _named(Path(path)):
        return _from_arrays(_stored(Path(path), ("about", "counts", "boxes", "scores", "class_scores")))


def read_video_name(path: str | os.PathLike[str]) -> str:
    """Name of the video in a score file, without reading its scores. ScoresError as for ``read_scores``."""
    with _named(Path(path)):
        return str(_about(_stored(Path(path), ("about",)))["video"])


def files_by_video(paths: Iterable[Path]) -> dict[str, Path]:
    """Score files by the name of their video, in the order given. ScoresError for two files of one video."""
    files: dict[str, Path] = {}
    for path in paths:
        video = read_video_name(path)
        if video in files:
            raise ScoresError(f"{path}: video {video!r} is in {files[video]} already")
        files[video] = path
    return files


def _stored(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays ``names`` of a score file."""
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ScoresError(f"{path}: a single array, not a score file; expected an .npz of this program")
        with stored:
            missing = [name for name in names if name not in stored]
            if missing:
                raise ScoresError(f"{path}: not a score file of this program: no array {missing[0]!r} in it")
            arrays = {name: stored[name] for name in names}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("a member of the archive is no array")
        return arrays
    except ScoresError:
        raise
    except OSError as error:
        # a directory, a missing file, no permission: strerror says which
        raise ScoresError(f"{path}: cannot be read as scores: {error.strerror or error}") from error
    # A damaged archive breaks NumPy's reading in any way, down to the parser of Python that reads its headers.
    except Exception as error:
        raise ScoresError(f"{path}: not a whole .npz score file; score the video again") from error


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What contradicts itself in a file becomes a ScoresError that names the file."""
    try:
        yield
    except ScoresError:
        raise
    # Python itself stumbles over text with letters that are none: SystemError.
    except (ValueError, KeyError, TypeError, OverflowError, SystemError) as error:
        raise ScoresError(f"{path}: not a usable score file: {one_line(error, 180)}") from error


def _about(arrays: dict[str, np.ndarray]) -> dict:
    about = json.loads(str(arrays["about"]))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"its header does not say {FORMAT!r}")
    if about.get("version") != VERSION:
        raise ValueError(f"version {about.get('version')!r} of the format, this program reads {VERSION}")
    return about


def _from_arrays(arrays: dict[str, np.ndarray]) -> ScoredVideo:
    about = _about(arrays)
    counts, boxes = arrays["counts"], arrays["boxes"]
    scores, class_scores = arrays["scores"], arrays["class_scores"]
    if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise ValueError("'counts' must be whole numbers, one a frame")
    total = int(counts.sum())
    for name, array in (("boxes", boxes), ("scores", scores), ("class_scores", class_scores)):
        if array.dtype != np.float32:
            raise ValueError(f"{name!r} must be float32, got {array.dtype}")
        if array.ndim == 0 or len(array) != total:
            raise ValueError(f"{name!r} must have {total} rows as 'counts' says, got shape {array.shape}")
    ends = np.cumsum(counts)
    return ScoredVideo(
        video=str(about["video"]),
        class_names=tuple(str(name) for name in about["class_names"]),
        detections=tuple(
            Detections(frame, boxes[end - n : end], scores[end - n : end], class_scores[end - n : end])
            for frame, (n, end) in enumerate(zip(counts.tolist(), ends.tolist()))
        ),
        width=int(about["width"]),
        height=int(about["height"]),
        fps=float(about["fps"]),
        cuts=tuple(about.get("cuts", ())),
    )


def _joined(parts: list, empty_shape: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([np.zeros(empty_shape, np.float32), *parts])
