"""Words and numbers of the report page; whatever comes from data goes through ``safe`` on its way into HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from linking.colours import tube_colour
from linking.records import Tube


def safe(value: object) -> str:
    """Text that cannot become markup, in elements and in quoted attributes."""
    # what HTML cannot hold at all (control characters) is shown as the mark for that
    text = "".join("�" if ord(c) < 32 and c not in "\n\t" else c for c in str(value))
    return escape(text.encode("utf-8", "replace").decode("utf-8"), quote=True)


def clock(seconds: float) -> str:
    """``4.20 s`` below a minute, ``1:04.2`` and ``2:01:04.2`` above."""
    if round(seconds, 2) < 60:
        return f"{seconds:.2f} s"
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def number(score: float) -> str:
    """Two digits; a dash where there is no score."""
    return "–" if math.isnan(score) else f"{score:.2f}"


def size(num_bytes: int) -> str:
    """Of a file, in the unit people say it in."""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{max(1, round(num_bytes / 1e3))} kB"


def colour(tube: Tube) -> str:
    """The tube's colour in its video, as CSS says it."""
    return "#{:02x}{:02x}{:02x}".format(*tube_colour(tube.id))


def when(tube: Tube, fps: float) -> str:
    return f"{clock(tube.first_frame / fps)} to {clock(tube.end_frame / fps)}"


def frames_text(tube: Tube) -> str:
    last = tube.end_frame - 1
    return f"frame {last}" if tube.first_frame == last else f"frames {tube.first_frame}–{last}"


def count(amount: int, thing: str, things: str = "") -> str:
    """``1 tube``, ``2 tubes``; ``things`` where an s does not do."""
    return f"{amount} {thing if amount == 1 else things or thing + 's'}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """A table of cells that are HTML already; the first column names the row."""
    titles = "".join(f"<th scope=col>{cell}" for cell in head)
    lines = [f"<tr><th scope=row>{row[0]}" + "".join(f"<td>{cell}" for cell in row[1:]) for row in rows]
    body = "\n".join(lines)
    return f'<div class=wide tabindex=0><table class="{kind}"><thead><tr>{titles}\n<tbody>{body}</table></div>'


def jump(html: str, player: str | None, seconds: float, *, stay: bool = False, attributes: str = "") -> str:
    """``html`` as a link to the second of a video, at ``player``, the id of its player; as it is without a player.

    Without JavaScript the link still leads to the player. ``stay`` shows the frame and does not play on.
    """
    if player is None:
        return f"<span {attributes}>{html}</span>"
    return f'<a href="#{player}" data-{"at" if stay else "from"}="{seconds:.4f}" {attributes}>{html}</a>'
