"""Lists of Kinetics-400, -600 and -700, and the files that its clips are found under."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from video.datasets import VIDEO_SUFFIXES, DatasetError
from video.video_folder import video_files

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_PARTS: dict[str, Literal["train", "val", "test"]] = {
    "train": "train",
    "val": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class KineticsClip:
    """A row of a list."""

    label: str
    youtube_id: str
    start: float
    """Seconds in the video at YouTube."""
    end: float
    part: Literal["train", "val", "test"]

    @property
    def name(self) -> str:
        """``label/id_start_end``, the times in six digits as in the names of files."""
        return f"{self.label}/{self.youtube_id}_{self.start:06.0f}_{self.end:06.0f}"


def is_kinetics_list(path: Path) -> bool:
    """Whether a CSV file has the columns of a Kinetics list with labels (test lists without labels are of no use)."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return set(_COLUMNS) <= {name.strip() for name in header}


def read_kinetics_lists(paths: Iterable[Path]) -> list[KineticsClip]:
    """The clips of several lists in their order, each once; DatasetError with file and line for a damaged row.

    A list without the column ``split`` belongs to the part that its file name begins or ends with.
    """
    clips: dict[tuple[str, str], KineticsClip] = {}
    for path in paths:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, skipinitialspace=True)
                for row in reader:
                    clip = _clip(row, f"{path}, line {reader.line_num}", path)
                    clips.setdefault((clip.part, clip.name), clip)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{path}: not a readable CSV file: {str(error)[:120]}") from None
    return list(clips.values())


def files_by_name(folder: Path) -> dict[str, Path]:
    """Every video file and folder of pictures below ``folder`` by its name without suffix; the first of equal names."""
    found: dict[str, Path] = {}
    for path in video_files(folder):
        found.setdefault(path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name, path)
    return found


def find_clip(clip: KineticsClip, files: Mapping[str, Path]) -> Path | None:
    """The file of a clip among ``files_by_name``, or None.

    Clips are named ``<id>_<start>_<end>``, the times in six digits (the official crawler and the archives of CVDF, in
    folders by class or all in one) or as they are, or by the id alone (also the whole video, see ``frame_range``).
    """
    times = f"{clip.start:.0f}_{clip.end:.0f}"
    names = (clip.name.rpartition("/")[2], f"{clip.youtube_id}_{times}", clip.youtube_id)
    return next((files[name] for name in names if name in files), None)


def _clip(row: Mapping[str, str | None], place: str, path: Path) -> KineticsClip:
    label, video, start, end = ((row.get(column) or "").strip() for column in _COLUMNS)
    if not label or not video or "/" in label or "/" in video:
        raise DatasetError(f"{place}: expected a label and a youtube_id, got {label[:40]!r} and {video[:40]!r}")
    try:
        times = float(start), float(end)
    except ValueError:
        times = math.nan, math.nan
    if not 0 <= times[0] < times[1] < math.inf:
        raise DatasetError(f"{place}: expected time_start < time_end in seconds, got {start[:20]!r} and {end[:20]!r}")
    return KineticsClip(label, video, *times, _part((row.get("split") or "").strip().lower(), place, path))


def _part(split: str, place: str, path: Path) -> Literal["train", "val", "test"]:
    if not split:
        words = path.stem.lower().replace("-", "_").split("_")
        split = next((word for word in (words[0], words[-1]) if word in _PARTS), "")
    if split not in _PARTS:
        raise DatasetError(f"{place}: expected split to be one of {', '.join(_PARTS)}, got {split[:20]!r}")
    return _PARTS[split]
