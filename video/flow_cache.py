"""Flow pictures on disk: one ``NAME.flow.zip`` a video, read by frame index.

The archive holds ``flow_x_00001.jpg``, ``flow_y_00001.jpg`` and so on, grey JPEG pictures of the motion from the first
frame to the second and on (the names and the counting of dense_flow and TSN, so an unpacked archive serves programs
that expect those), and ``about.json`` with the settings. Nothing in it is compressed again, so any picture is one read
away. The file appears when it is whole; "done" means that it is there, undamaged, and made from this video with these
settings.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from linking.files import replace_when_whole
from video.flow import (
    NO_MOTION,
    NO_PAIR,
    FlowError,
    FlowReader,
    FlowSettings,
    FlowSource,
    check_indices,
    flow_of_frames,
    pair_of,
    stack,
)
from video.frames import open_video

SUFFIX = ".flow.zip"
FORMAT_VERSION = 1
_ABOUT = "about.json"
_MAX_ABOUT = 2**20
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip entry: signature, lengths of name and extra field
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What zipfile and json raise for bytes that are not theirs."""
_AGAIN = "make it again with tools/extract_flow.py"


@dataclass(frozen=True)
class FlowAbout:
    """What a flow file says about itself."""

    settings: FlowSettings
    frames: int
    """Of the video; there is one pair less."""
    width: int
    """Of the flow pictures."""
    height: int
    fps: float
    source_bytes: int
    """Size of the video file, or of all pictures of the folder: another size is another video."""
    warnings: tuple[str, ...] = ()
    """What reading the video had to say."""


def flow_path(folder: str | os.PathLike[str], name: str) -> Path:
    """Where the flow of the video ``name`` lies; names of datasets hold slashes."""
    return Path(folder) / f"{name}{SUFFIX}"


def open_flow(
    video: str | os.PathLike[str],
    settings: FlowSettings | None = None,
    *,
    cached: str | os.PathLike[str] | None = None,
    device: str = "cpu",
) -> FlowSource:
    """Flow pictures of a video: read from the file ``cached`` where one is given, else computed when asked for.

    FlowError when ``cached`` is not there or was made from another video or with other settings.
    """
    if cached is None:
        return FlowReader(video, settings, device=device)
    return CachedFlow(cached, settings=settings or FlowSettings(), video=video)


def write_flow(
    video: str | os.PathLike[str],
    path: str | os.PathLike[str],
    settings: FlowSettings | None = None,
    *,
    device: str = "cpu",
    on_open: Callable[[int | None], None] = lambda stated_frames: None,
    on_frame: Callable[[int], None] = lambda count: None,
) -> FlowAbout:
    """Compute the flow of a whole video and write ``path``, whole or not at all.

    ``on_open`` is told the number of frames the container states, ``on_frame`` how many are done. VideoError for a
    video that cannot be read or is too small.
    """
    settings = settings or FlowSettings()
    with open_video(video) as source, replace_when_whole(path) as temporary:
        if source.is_live:
            raise FlowError(f"{source.name}: flow files need a video file or a folder of pictures, not a live source")
        on_open(source.stated_frames)
        height, width = settings.size_of(source.height, source.width)
        count = 0
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            try:
                held: np.ndarray | None = None
                for picture in flow_of_frames(source, settings, device=device):
                    if held is not None:  # the last picture is a repetition
                        _write_pair(archive, count - 1, held, settings.quality)
                    held = picture
                    count += 1
                    on_frame(count)
            except ValueError as error:
                text = str(error)
                raise FlowError(text if source.name in text else f"{source.name}: {text}") from None
            about = FlowAbout(
                settings, count, width, height, float(source.fps), source_bytes(video), tuple(source.warnings)
            )
            values = {"format_version": FORMAT_VERSION, **dataclasses.asdict(about)}
            archive.writestr(_entry(_ABOUT), json.dumps(values, indent=1))
    return about


def source_bytes(video: str | os.PathLike[str]) -> int:
    """Size of a video file, or of all files of a folder of pictures; 0 for what is not on disk."""
    path = Path(video)
    if not path.exists():
        return 0
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    return path.stat().st_size


def is_done(path: str | os.PathLike[str], video: str | os.PathLike[str], settings: FlowSettings | None = None) -> bool:
    """Whether ``path`` is the whole flow of ``video`` with these settings; every picture is checked."""
    try:
        flow = CachedFlow(path, settings=settings or FlowSettings(), video=video)
        flow.check()
    except FlowError:
        return False
    return True


class CachedFlow:
    """Flow pictures of one video from a ``.flow.zip``, by frame index; reads as ``ClipReader`` does.

    The file is opened at first use and stays open only while it is read; what is known of it travels with the reader.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        settings: FlowSettings | None = None,
        video: str | os.PathLike[str] | None = None,
    ) -> None:
        """With ``settings`` or ``video``, flow made with others or from another video is refused at first use."""
        self.path = os.fspath(path)
        self._wanted = settings
        self._video = None if video is None else os.fspath(video)
        self._index: tuple[FlowAbout, np.ndarray] | None = None

    @property
    def about(self) -> FlowAbout:
        """Raises FlowError for a file that is no flow, is not whole, or is not the one wanted."""
        return self._open()[0]

    @property
    def num_frames(self) -> int:
        """Of the video."""
        return self.about.frames

    @property
    def width(self) -> int:
        return self.about.width

    @property
    def height(self) -> int:
        return self.about.height

    @property
    def fps(self) -> float:
        return self.about.fps

    def read(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        """(n, H, W, 2) uint8: flow from each frame named to the next, in that order, repeats allowed.

        ``size=(height, width)`` scales the pictures and leaves their values. FlowError for an index outside the video.
        """
        about, entries = self._open()
        wanted = [int(index) for index in indices]
        check_indices(wanted, about.frames, self.path)
        pictures: dict[int, np.ndarray] = {NO_PAIR: np.full((about.height, about.width, 2), NO_MOTION, np.uint8)}
        try:
            with Path(self.path).open("rb") as file:
                for pair in sorted({pair_of(index, about.frames) for index in wanted} - {NO_PAIR}):
                    x, y = (self._decoded(_entry_data(file, *place), about) for place in entries[pair].tolist())
                    pictures[pair] = np.stack([x, y], axis=-1)
        except (OSError, struct.error) as error:
            raise self._damaged(error) from None
        return stack([pictures[pair_of(index, about.frames)] for index in wanted], size or (about.height, about.width))

    def check(self) -> None:
        """FlowError unless every byte is as it was written."""
        _, entries = self._open()
        try:
            with Path(self.path).open("rb") as file:
                for place in entries.reshape(-1, 3).tolist():
                    _entry_data(file, *place)
        except (OSError, struct.error) as error:
            raise self._damaged(error) from None

    def _open(self) -> tuple[FlowAbout, np.ndarray]:
        """What the file says, and (pairs, 2, 3) int64: where the pictures lie, how long they are, their CRC."""
        if self._index is None:
            index = self._read_index()
            self._refuse_other(index[0])
            self._index = index
        return self._index

    def _read_index(self) -> tuple[FlowAbout, np.ndarray]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                about = _about_of(archive)
                entries = {entry.filename: entry for entry in archive.infolist()}
                pairs = [[entries[name] for name in _names(pair)] for pair in range(about.frames - 1)]
        except FileNotFoundError:
            raise FlowError(f"{self.path}: no such flow file; {_AGAIN}") from None
        except _UNREADABLE as error:
            raise self._damaged(error) from None
        if any(entry.compress_type != zipfile.ZIP_STORED for pair in pairs for entry in pair):
            raise FlowError(f"{self.path}: its pictures are compressed once more; {_AGAIN}")
        places = [[(entry.header_offset, entry.file_size, entry.CRC) for entry in pair] for pair in pairs]
        return about, np.array(places, np.int64).reshape(-1, 2, 3)

    def _refuse_other(self, about: FlowAbout) -> None:
        if self._video is not None and about.source_bytes != source_bytes(self._video):
            raise FlowError(f"{self.path}: made from another version of {self._video}; {_AGAIN}")
        if self._wanted is not None and about.settings != self._wanted:
            has, wants = _flat(about.settings.to_dict()), _flat(self._wanted.to_dict())
            name = next(name for name in wants if has.get(name) != wants[name])
            raise FlowError(
                f"{self.path}: made with other settings: {name} is {has.get(name)}, not {wants[name]}; {_AGAIN}"
            )

    def _decoded(self, data: bytes, about: FlowAbout) -> np.ndarray:
        picture = Image.open(io.BytesIO(data), formats=("JPEG",))
        if picture.size != (about.width, about.height) or picture.mode != "L":
            raise OSError(f"a picture of {picture.size[0]}x{picture.size[1]} {picture.mode} is in it")
        return np.asarray(picture)

    def _damaged(self, error: Exception) -> FlowError:
        return FlowError(f"{self.path}: damaged or no flow file ({' '.join(str(error).split())[:80]}); {_AGAIN}")


def _names(pair: int) -> tuple[str, str]:
    """The first pair of frames is number 1."""
    return f"flow_x_{pair + 1:05d}.jpg", f"flow_y_{pair + 1:05d}.jpg"


def _write_pair(archive: zipfile.ZipFile, pair: int, picture: np.ndarray, quality: int) -> None:
    for channel, name in enumerate(_names(pair)):
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture[..., channel])).save(
            buffer, "JPEG", quality=quality, optimize=True
        )
        archive.writestr(_entry(name), buffer.getvalue())


def _entry(name: str) -> zipfile.ZipInfo:
    """Without the time of day, so that the same flow gives the same file."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o644 << 16
    return entry


def _about_of(archive: zipfile.ZipFile) -> FlowAbout:
    entry = archive.getinfo(_ABOUT)
    if entry.file_size > _MAX_ABOUT:
        raise ValueError(f"{_ABOUT} of {entry.file_size:,} bytes")
    values: dict[str, Any] = json.loads(archive.read(entry))
    if values.pop("format_version") != FORMAT_VERSION:
        raise ValueError("written by another version of this program")
    about = FlowAbout(**{**values, "settings": FlowSettings.from_dict(values["settings"]), "warnings": ()})
    if not all(isinstance(number, int) and number > 0 for number in (about.frames, about.width, about.height)):
        raise ValueError("frames, width and height must be whole numbers above 0")
    return dataclasses.replace(about, warnings=tuple(values["warnings"]))


def _entry_data(file: BinaryIO, offset: int, length: int, crc: int) -> bytes:
    """The bytes of a stored entry; OSError unless they are those that were written."""
    file.seek(offset)
    signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    file.seek(name + extra, os.SEEK_CUR)
    data = file.read(length)
    if signature != b"PK\3\4" or len(data) != length or zlib.crc32(data) != crc:
        raise OSError("its bytes have changed")
    return data


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
