"""Names of videos as annotation files give them; they become paths, so what escapes a folder is no name."""

from __future__ import annotations

from typing import TypeGuard


def is_video_name(name: object) -> TypeGuard[str]:
    """Whether ``name`` is text such as ``class/clip`` that stays below any folder it is put into.

    No control characters, no backslash, no empty part, no ``..`` and not absolute.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 512 or not name.isprintable() or "\\" in name:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def is_label(name: object) -> TypeGuard[str]:
    """Whether ``name`` is text that any file and any message can hold: not empty, no control characters."""
    return isinstance(name, str) and 0 < len(name) <= 512 and name.isprintable()
