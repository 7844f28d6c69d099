"""Videos that are folders of pictures, as J-HMDB and UCF101-24 circulate: frame k is the k-th picture by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from video.source import VideoError, VideoSource

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})

_EXIF_ORIENTATION = 0x0112
_UPRIGHT, _LYING = 1, range(5, 9)  # the latter exchange width and height


def picture_paths(folder: Path) -> list[Path]:
    """The pictures directly in ``folder`` in natural order: frame2.jpg comes before frame10.jpg."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    return sorted((path for path in found if not path.name.startswith(".")), key=_natural_key)


def read_picture(path: Path, *, max_pixels: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned upright as its EXIF tag says; VideoError when it is damaged or too large."""
    try:
        with Image.open(path) as picture:
            _check_size(path, picture, max_pixels)
            turn = _orientation(picture) != _UPRIGHT
            return np.array((ImageOps.exif_transpose(picture) if turn else picture).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, VideoError):
            raise
        raise VideoError(f"{path}: cannot read this picture ({error}); replace or remove it") from error


class PictureFolder(VideoSource):
    """The pictures of a folder as a video; all must be of one size.

    A damaged picture is an error, not a skip: leaving it out would move the index of every later frame.
    """

    def __init__(self, folder: Path, name: str, max_pixels: int) -> None:
        super().__init__(name)
        self.paths = picture_paths(folder)
        self._max_pixels = max_pixels
        if not self.paths:
            wanted = ", ".join(sorted(PICTURE_SUFFIXES))
            raise VideoError(
                f"{name}: no pictures ({wanted}) in this folder; give a video file or a folder of frames"
            )
        sizes = (_upright_size(path, max_pixels) for path in self.paths)
        self.width, self.height = next(sizes)
        for path, size in zip(self.paths[1:], sizes):
            if size != (self.width, self.height):
                raise VideoError(
                    f"{name}: pictures of a video must be of one size, but {self.paths[0].name} is "
                    f"{self.width}x{self.height} and {path.name} is {size[0]}x{size[1]}"
                )
        self.stated_frames = len(self.paths)

    def _frames(self) -> Iterator[np.ndarray]:
        for path in self.paths:
            yield read_picture(path, max_pixels=self._max_pixels)


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Digits compare as numbers, the rest as text."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts]


def _upright_size(path: Path, max_pixels: int) -> tuple[int, int]:
    """(width, height) from the header alone."""
    try:
        with Image.open(path) as picture:
            _check_size(path, picture, max_pixels)
            width, height = picture.size
            lying = _orientation(picture) in _LYING
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(f"{path}: cannot read this picture ({error}); replace or remove it") from error
    return (height, width) if lying else (width, height)


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation by the header; of a PNG without one Pillow would decode all pixels to look behind them."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return _UPRIGHT
    return picture.getexif().get(_EXIF_ORIENTATION, _UPRIGHT)


def _check_size(path: Path, picture: Image.Image, max_pixels: int) -> None:
    if picture.width * picture.height > max_pixels:
        raise VideoError(
            f"{path}: {picture.width}x{picture.height} pixels are more than the limit of {max_pixels}; "
            "scale it down or raise max_pixels"
        )
