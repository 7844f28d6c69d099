"""One colour per tube, the same in annotated videos, contact sheets and plots."""

from __future__ import annotations

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

# The first seven are the palette of Okabe and Ito ("Color Universal Design", 2008) without its black, in an
# order that keeps neighbours far apart for all kinds of colour vision; the rest extends it in other brightnesses.
PALETTE = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (213, 94, 0),  # vermilion
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (170, 255, 195),  # mint
    (136, 34, 85),  # wine
    (190, 170, 255),  # lavender
)
TRUTH = (235, 235, 235)
"""Ground truth on pictures; plots on white paper take a grey instead."""

VERDICTS: dict[str, Colour] = {
    "found": (0, 158, 115),
    "localisation": (230, 159, 0),
    "time": (86, 180, 233),
    "label": (204, 121, 167),
    "both": (240, 228, 66),
    "duplicate": (0, 114, 178),
    "background": (180, 180, 180),
    "missed": (213, 94, 0),
}
"""What the evaluator says of a tube (eval.breakdown): the colours of Okabe and Ito, with a grey that differs."""


def tube_colour(tube_id: int) -> Colour:
    """Red, green, blue 0..255, by the id alone: a tube keeps its colour in every picture of every run."""
    return PALETTE[tube_id % len(PALETTE)]


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever is read better on ``background``."""
    red, green, blue = background
    # relative luminance of Rec. 709 on gamma-coded values: near enough for a choice of two
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 110 else (255, 255, 255)
