"""Writing plain data as a pickle that the published programs of the field can open, whatever their NumPy.

Only for those programs: our own results are tables. ``pickle.dumps`` under NumPy 2 names modules that earlier releases
do not have; here arrays are named as NumPy 1 did, which NumPy 2 still understands. Protocol 2, which Python 2 reads
too. The inverse of video/pickles.py.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np


def dump_pickle(value: Any) -> bytes:
    """The pickle of nested dictionaries, lists and tuples of text, numbers, None and arrays of numbers.

    TypeError for anything else.
    """
    return b"\x80\x02" + b"".join(_pieces(value)) + b"."


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        yield b"}("
        for key, item in value.items():
            yield from _pieces(key)
            yield from _pieces(item)
        yield b"u"
    elif isinstance(value, list):
        yield b"]("
        for item in value:
            yield from _pieces(item)
        yield b"e"
    elif isinstance(value, tuple):
        yield b"("
        for item in value:
            yield from _pieces(item)
        yield b"t"
    elif isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        yield from _array(value)
    elif isinstance(value, str):
        text = value.encode("utf-8")
        yield b"X" + struct.pack("<I", len(text)) + text
    elif value is None or isinstance(value, bool | int | float):
        # without the protocol's two bytes in front and the full stop behind
        yield pickle.dumps(value, 2)[2:-1]
    else:
        raise TypeError(f"{type(value).__name__} is no plain data")


def _array(values: np.ndarray) -> Iterator[bytes]:
    little = values.astype(values.dtype.newbyteorder("<"))
    yield b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    yield from _pieces((0,))
    yield from _pieces("b")
    yield b"\x87R(K\x01"
    yield from _pieces(tuple(values.shape))
    yield b"cnumpy\ndtype\n"
    yield from _pieces((values.dtype.str[1:], False, True))
    yield b"R"
    yield from _pieces((3, "<", None, None, None, -1, -1, 0))
    yield b"b\x89"
    # Bytes as the text of which they are the latin1 encoding: so Python 3 writes them for readers of Python 2.
    yield b"c_codecs\nencode\n"
    yield from _pieces((little.tobytes().decode("latin1"), "latin1"))
    yield b"Rtb"
