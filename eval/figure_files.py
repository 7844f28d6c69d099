"""How figures are written: the same bytes each time, whole or not at all, text that stays text."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

from linking.files import replace_when_whole

FORMATS = (".png", ".pdf", ".svg")
_WIDE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("Microsoft YaHei", "PingFang SC", "Hiragino Sans", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS"),
)
"""For letters that DejaVu Sans lacks, where one of these is installed."""


def check_format(path: str | os.PathLike[str]) -> None:
    """ValueError unless a figure can be written to ``path``."""
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: figures are written as {', '.join(FORMATS)}, not {suffix or 'without suffix'}")


def styles(texts: Iterable[str]) -> dict[Any, Any]:
    """Settings of matplotlib with which a figure that holds ``texts`` is made and written."""
    families = ["DejaVu Sans"]
    if any(ord(letter) not in _letters() for text in texts for letter in text if letter.isprintable()):
        families += [name for name in _WIDE_FONTS if name in font_manager.get_font_names()]
    # TrueType keeps the text of PDFs searchable and editable
    return {
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "tubes",
        "font.family": [*families, "sans-serif"],
    }


def save(figure: Figure, path: Path, settings: dict[Any, Any]) -> None:
    """Write ``figure`` with the ``settings`` it was made with, as its suffix says; 200 dots an inch."""
    metadata: dict[str, None] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix.lower(), {})
    with mpl.rc_context(settings), replace_when_whole(path) as temporary, warnings.catch_warnings():
        # a letter that no font has is drawn as an empty box, which says it
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, dpi=200, metadata=metadata)


def fitted(text: str, points: float, *, size: float, bold: bool = False) -> str:
    """``text`` in one line, cut with an ellipsis where it is wider than ``points`` at a ``size`` of letters."""
    text = " ".join(text.split())
    letters = font_manager.FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")

    def width(part: str) -> float:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            # the letter at the end makes spaces count
            return text_to_path.get_text_width_height_descent(f"{part}…", letters, ismath=False)[0]

    if width(text) <= points:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        fits, too_long = (middle, too_long) if width(text[:middle]) <= points else (fits, middle)
    return f"{text[:fits].rstrip()}…"


@cache
def _letters() -> frozenset[int]:
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return frozenset(FT2Font(str(path)).get_charmap())
