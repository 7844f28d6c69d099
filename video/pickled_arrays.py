"""Stand-ins for the NumPy names in annotation pickles: what they build is checked before it is allocated.

NumPy's own ``dtype.__setstate__`` and ``ndarray.__setstate__`` trust their input and crash on hostile states, so they
are never reached; arrays are made with ``np.frombuffer`` from bytes that are already there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_MAX_AXIS = 10**7
_MAX_TEXT = 256  # characters of one fixed-width string
_NUMBERS = frozenset({"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"})


class PickleError(ValueError):
    """The file is no pickle of plain data: damaged, too large, or asking for more than data needs."""


@dataclass(eq=False)
class PickledType:
    """Stands for ``numpy.dtype`` until its state says the byte order."""

    code: str
    dtype: np.dtype | None = None

    def build(self, state: Any) -> None:
        """What ``dtype.__setstate__`` does for plain types: version 3, a byte order, nothing structured."""
        if not (isinstance(state, tuple) and len(state) == 8 and state[0] == 3 and state[2:5] == (None,) * 3):
            raise PickleError("unknown state of a NumPy type")
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise PickleError("unknown byte order of a NumPy type")
        self.dtype = np.dtype(self.code).newbyteorder(order)


@dataclass(eq=False)
class PickledArray:
    """Stands for an array until its state brings shape, type and bytes; ``values`` is then the array."""

    values: np.ndarray | None = None


def make_type(code: Any, *flags: Any) -> PickledType:
    """``numpy.dtype(code, align, copy)`` for numbers and short text, nothing else."""
    if not isinstance(code, str) or len(flags) > 2:
        raise PickleError("unknown description of a NumPy type")
    if code not in _NUMBERS and not _is_short_text(code):
        raise PickleError(f"NumPy type {code[:20]!a} is refused: only numbers and short text are data")
    return PickledType(code)


def _is_short_text(code: str) -> bool:
    width = code[1:]
    return code[:1] == "U" and len(width) <= 3 and width.isascii() and width.isdecimal() and int(width) <= _MAX_TEXT


def array_of(data: bytes, description: Any, shape: Any, order: Any) -> np.ndarray:
    """Read-only view of ``data`` as an array; a pickle that repeats one text a million times costs no memory."""
    if type(description) is not PickledType or description.dtype is None:
        raise PickleError("a NumPy value without a type")
    if type(shape) is not tuple or len(shape) > 8:
        raise PickleError("a NumPy array with an impossible shape")
    count = 1
    for length in shape:
        if type(length) is not int or not 0 <= length <= _MAX_AXIS:
            raise PickleError("a NumPy array with an impossible shape")
        count *= length
    if order not in ("C", "F"):
        raise PickleError("unknown memory order of a NumPy array")
    if len(data) != count * description.dtype.itemsize:
        raise PickleError(f"a NumPy array of shape {shape} has {len(data)} bytes")
    if count == 0:
        return np.zeros(shape, description.dtype)
    values = np.frombuffer(data, description.dtype)
    if values.dtype.kind == "U":
        codes = values.view(values.dtype.byteorder.replace("|", "=") + "u4")
        if (codes > 0x10FFFF).any() or ((codes >= 0xD800) & (codes < 0xE000)).any():
            raise PickleError("a NumPy text with something that is no character")
    return values.reshape(shape, order=order)
