"""What a ``my.toml`` says of a dataset of one's own: where videos and annotation lie, classes, parts, sources.

::

    name = "kitchen"
    videos = "clips"               # folder of video files, by the names in the annotation; default "videos"
    annotations = "boxes.xml"      # a file or folder of any format in video.annotations, or a list of them
    class_names = ["cut", "stir"]  # all classes in their order; without it, the sorted labels
    keep = ["cut", "stir"]         # leave tubes of other classes out
    group = '(.+)_part\\d+'         # names of clips from one source: they are never split apart

    [rename]                       # labels as they stand = as they are meant
    "Cut " = "cut"

    [parts]                        # a file of names, a line each; or names and patterns
    train = "train.txt"
    test = ["kitchen2_*"]          # without train = ..., all others are for training

    [format]                       # what the annotation's format leaves open
    attribute = "action"

Paths are relative to the file. This module reads and checks the text; video.annotations reads what it points to.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from linking.tables import SUFFIXES as TABLE_SUFFIXES
from video.annotation_kinds import kind_of_file

DESCRIPTION = "dataset.toml"
"""Name under which a folder's description is found without being named."""
TABLE_NAMES = tuple(f"tubes{suffix}" for suffix in TABLE_SUFFIXES)
VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")
PARTS = ("train", "test")

_KEYS = (
    *("name", "videos", "annotations", "tubes", "class_names", "keep", "group"),
    *("rename", "parts", "format"),
)
_FORMAT_TYPES: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "attribute": str,
    "label": str,
    "video": str,
    "fps": (int, float),
    "start": (int, float),
    "size": list,
    "as_published": bool,
    "class_names": str,
}
"""Keys of [format]: ``kind`` of the annotation, and fields of video.annotations.FormatOptions."""


class DatasetError(ValueError):
    """The folder is no dataset we know, or does not hold what it says."""


@dataclass(frozen=True)
class Description:
    """A dataset of one's own, as described; nothing of it has been looked for yet."""

    place: Path
    """The .toml, or the folder without one; for messages."""
    folder: Path
    """To which paths are relative."""
    name: str
    videos: Path
    """Folder of the video files."""
    annotations: tuple[Path, ...]
    """Files or folders, at least one."""
    class_names: tuple[str, ...] | None = None
    """Every class, in the order of a model's outputs; None: the sorted labels."""
    keep: tuple[str, ...] | None = None
    """Classes that are kept, by their new names; None keeps all."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Label in the annotation -> class."""
    parts: Mapping[str, Path | tuple[str, ...]] = field(default_factory=dict)
    """"train" and "test": a file of names, or names and patterns."""
    group: str | None = None
    """Regular expression; its first group is what a video was cut from."""
    format: Mapping[str, Any] = field(default_factory=dict)
    """The keys of ``[format]``."""

    def class_of(self, label: str) -> str | None:
        """What a label of the annotation is called here; None where it is left out."""
        name = self.rename.get(label, label)
        return name if self.keep is None or name in self.keep else None


def find_description(path: Path) -> Path | None:
    """The file that describes a dataset: ``path`` itself, or ``dataset.toml`` in it; None where there is none."""
    if path.suffix.lower() == ".toml" and path.is_file():
        return path
    return path / DESCRIPTION if (path / DESCRIPTION).is_file() else None


def read_description(path: Path) -> Description:
    """Read a .toml; DatasetError names the file, the key and what it should be."""
    try:
        document = tomllib.loads(path.read_text("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not a readable TOML file: not UTF-8 text (byte {error.start})") from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DatasetError(f"{path}: not a readable TOML file: {str(error)[:120]}") from None
    _only(document, _KEYS, path, "key")
    folder = path.parent

    def text(key: str) -> str | None:
        value = document.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise DatasetError(f"{path}: {key} must be a text, got {str(value)[:60]!r}")
        return value

    def texts(key: str) -> tuple[str, ...] | None:
        value = document.get(key)
        if value is None:
            return None
        if not _is_texts(value) or len(set(value)) < len(value):
            raise DatasetError(f"{path}: {key} has the wrong type, or repeats a class; write a list of different texts")
        return tuple(value)

    usual = folder.resolve().name if path.name == DESCRIPTION else path.stem
    return Description(
        place=path,
        folder=folder,
        name=text("name") or usual,
        videos=folder / (text("videos") or _usual_videos(folder)),
        annotations=_annotations(document, path),
        class_names=texts("class_names"),
        keep=texts("keep"),
        rename=_texts_by_text(document.get("rename", {}), f"{path}: [rename]"),
        parts=_parts(document.get("parts", {}), path),
        group=_group(text("group"), path),
        format=_format(document.get("format", {}), path),
    )


def describe_folder(folder: Path) -> Description | None:
    """A folder of videos with annotation beside them and no description; None where no annotation is recognised.

    It is ``tubes.csv`` (or .parquet, .json), the folder ``annotations``, or the only file that is recognised, or
    several of CVAT. DatasetError where several could be meant.
    """
    found = [folder / name for name in TABLE_NAMES if (folder / name).is_file()][:1]
    if not found and (folder / "annotations").is_dir():
        found = [folder / "annotations"]
    if not found:
        kinds = [(kind, path) for path in sorted(folder.iterdir()) if (kind := _kind(path)) is not None]
        found = [path for _, path in kinds]
        if len(found) > 1 and {kind for kind, _ in kinds} != {"cvat"}:
            names = ", ".join(path.name for path in found[:4])
            raise DatasetError(f"{folder}: which is the annotation: {names}? say it in a {DESCRIPTION}")
    if not found:
        return None
    return Description(folder, folder, folder.resolve().name, folder / _usual_videos(folder), tuple(found))


def names_by_part(description: Description, known: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The videos of "train" and "test", of which one left out is all the others of ``known``, the annotated videos.

    A name may have the suffix of a video file. A pattern (``*``, ``?``, ``[...]``) is for annotated videos; a plain
    name may also be of a video without a row, in which nothing happens. Empty where no parts are described.
    DatasetError where a list cannot be read or a pattern fits nothing.
    """
    if not description.parts:
        return {}
    chosen = {}
    for part, value in description.parts.items():
        entries = read_names(value) if isinstance(value, Path) else value
        where = value if isinstance(value, Path) else f"{description.place}: parts.{part}"
        chosen[part] = tuple(dict.fromkeys(name for entry in entries for name in _meant(entry, known, where)))
    for part, other in (PARTS, PARTS[::-1]):
        if part not in chosen:
            taken = set(chosen[other])
            chosen[part] = tuple(name for name in known if name not in taken)
    return {part: chosen[part] for part in PARTS}


def read_names(path: Path) -> list[str]:
    """A name a line."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not a readable list of videos ({type(error).__name__})") from None
    return [line.strip() for line in lines if line.strip()]


def _meant(entry: str, known: Sequence[str], where: object) -> list[str]:
    if entry in known:
        return [entry]
    stem, dot, suffix = entry.rpartition(".")
    if dot and f".{suffix.lower()}" in VIDEO_SUFFIXES:
        return [stem]
    if not any(letter in entry for letter in "*?["):
        return [entry]
    names = [name for name in known if fnmatchcase(name, entry)]
    if not names:
        example = f", {known[0][:60]!r} say" if known else ""
        raise DatasetError(f"{where}: no annotated video has a name like {entry[:80]!r}{example}")
    return names


def _annotations(document: Mapping[str, Any], path: Path) -> tuple[Path, ...]:
    if "annotations" in document and "tubes" in document:
        raise DatasetError(f"{path}: 'annotations' and 'tubes' say the same; leave one out")
    key = "tubes" if "tubes" in document else "annotations"
    value = document.get(key)
    if value is None:
        found = describe_folder(path.parent)
        return found.annotations if found is not None else (path.parent / TABLE_NAMES[0],)
    files = [value] if isinstance(value, str) else value
    if not _is_texts(files) or not files:
        raise DatasetError(f"{path}: {key} must be a file, a folder or a list of them, got {str(value)[:60]!r}")
    if len(set(files)) < len(files):
        raise DatasetError(f"{path}: {key} names a file twice")
    return tuple(path.parent / file for file in files)


def _parts(value: Any, path: Path) -> dict[str, Path | tuple[str, ...]]:
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: parts must be a table, [parts]")
    _only(value, PARTS, path, "part")
    parts: dict[str, Path | tuple[str, ...]] = {}
    for part, names in value.items():
        if isinstance(names, str) and names:
            is_pattern = "*" in names and not (path.parent / names).is_file()
            parts[part] = (names,) if is_pattern else path.parent / names
        elif _is_texts(names) and names:
            parts[part] = tuple(names)
        else:
            raise DatasetError(f"{path}: parts.{part} must be a file of names, or a list of names and patterns")
    return parts


def _group(pattern: str | None, path: Path) -> str | None:
    if pattern is None:
        return None
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise DatasetError(f"{path}: group is not a regular expression: {error}") from None
    if groups < 1:
        raise DatasetError(f"{path}: group needs brackets around the name of the source, as in '(.+)_part[0-9]+'")
    return pattern


def _format(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: format must be a table, [format]")
    _only(value, _FORMAT_TYPES, path, "key")
    for key, given in value.items():
        wanted = _FORMAT_TYPES[key]
        if not isinstance(given, wanted) or (isinstance(given, bool) and wanted is not bool):
            raise DatasetError(f"{path}: format.{key} has the wrong type: {str(given)[:60]!r}")
    size = value.get("size", [1, 1])
    if len(size) != 2 or not all(type(side) is int and 0 < side < 2**16 for side in size):
        raise DatasetError(f"{path}: format.size must be width and height in pixels, as in [320, 240]")
    if value.get("fps", 1) <= 0:
        raise DatasetError(f"{path}: format.fps must be above 0, got {value['fps']}")
    return dict(value)


def _only(document: Mapping[str, Any], known: Sequence[str] | Mapping[str, Any], path: Path, thing: str) -> None:
    for key in document:
        if key not in known:
            near = get_close_matches(key, known, 1)
            meant = f"; {near[0]!r} perhaps?" if near else ""
            raise DatasetError(f"{path}: unknown {thing} {key[:60]!r}; known are {', '.join(known)}{meant}")


def _texts_by_text(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(new, str) and new for new in value.values()):
        raise DatasetError(f'{where} must be a table of texts: "old label" = "class"')
    return value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text for text in value)


def _usual_videos(folder: Path) -> str:
    """``videos``, or the folder itself where that is missing and video files lie in it."""
    if (folder / "videos").is_dir() or not folder.is_dir():
        return "videos"
    return "." if any(path.suffix.lower() in VIDEO_SUFFIXES for path in folder.iterdir()) else "videos"


def _kind(path: Path) -> str | None:
    """Of a file that looks like annotation of boxes with classes."""
    if path.suffix.lower() not in (*TABLE_SUFFIXES, ".xml", ".zip") or not path.is_file():
        return None
    try:
        kind = kind_of_file(path)
    except ValueError:
        return None
    if path.suffix.lower() == ".json":
        with path.open("rb") as file:
            return kind if b'"videos"' in file.read(4096) else None
    return kind
