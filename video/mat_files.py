"""Reading annotation from MATLAB files: plain numbers, text, cells and structures of MAT-file level 5, nothing else.

Level 5 is what MATLAB's ``save -v6`` and ``-v7`` write (MathWorks, "MAT-File Format"; from -v7 on each variable is
deflated). J-HMDB's puppet masks and the corrected UCF101-24 annotation are such files. Readers in C trust sizes and
nesting that a damaged file may claim; here every size is checked against the bytes that are really there.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

MAX_FILE_BYTES = 2**26
"""Larger files are refused; the whole UCF101-24 annotation has 1.2 MB, a puppet mask 20 kB."""
MAX_INFLATED_BYTES = 2**27
"""What a compressed variable may unfold to: a mask of 500 full-HD frames would still be too large."""
_MAX_VALUES = 2**20  # arrays, texts and structures in one variable; each costs 100 bytes of memory and more
_MAX_DEPTH = 16
_MAX_FIELDS = 256

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800

T = TypeVar("T")


class MatError(ValueError):
    """The file is no MATLAB file of plain data: damaged, too large, or of a kind that annotation does not need."""


def read_mat(path: str | os.PathLike[str], wanted: tuple[str, ...]) -> dict[str, Any]:
    """Those of the variables named ``wanted`` that the file has, by name.

    Numbers become arrays of their MATLAB class and shape (a double that was stored in a byte is a float64
    again), text a string, a cell array a list and a structure array a list of dictionaries, both in MATLAB's order
    (down the columns). Other variables are passed over unread. Raises MatError for whatever is wrong.
    """

    def read(data: bytes) -> dict[str, Any]:
        return {name: variable.matrix(body, 0) for name, variable, body in _variables(data) if name in wanted}

    return _checked(Path(path), read)


def mat_variables(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of a file's variables, which are not read. Raises MatError."""
    return tuple(_checked(Path(path), lambda data: [name for name, _, _ in _variables(data)]))


def is_mat(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (128 bytes or more) is a MATLAB file of level 5 or 7.3."""
    return len(head) >= 128 and head.startswith(b"MATLAB ") and head[126:128] in (b"IM", b"MI")


def _checked(path: Path, read: Callable[[bytes], T]) -> T:
    """What ``read`` makes of the file's bytes; MatError with the file's name whatever happens."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise MatError(f"{size} bytes are more than the limit of {MAX_FILE_BYTES}")
        return read(path.read_bytes())
    except MatError as error:
        raise MatError(f"{path}: {error}") from None
    except OSError as error:
        raise MatError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from None
    # A damaged file can break the reading in any way; the caller gets one kind of error for all of them.
    except Exception as error:
        raise MatError(f"{path}: a damaged MATLAB file ({type(error).__name__})") from None


def _variables(data: bytes) -> Iterator[tuple[str, _Variable, memoryview]]:
    """Name, reader and contents of one variable after the other."""
    if len(data) < 128 or data[126:128] not in (b"IM", b"MI"):
        raise MatError("not a MATLAB file of level 5; save it in MATLAB with -v7")
    order = "<" if data[126:128] == b"IM" else ">"
    version = struct.unpack(order + "H", data[124:126])[0]
    if version == 0x0200 or data.startswith(b"MATLAB 7.3"):
        raise MatError("saved by MATLAB as -v7.3 (HDF5), which is not read; save it again with -v7")
    if version != 0x0100:
        raise MatError(f"unknown version {version:#06x} of the MATLAB format; save it again with -v7")
    file = _Elements(memoryview(data)[128:], order)
    while file.rest:
        kind, body = file.element()
        if kind == _COMPRESSED:
            kind, body = _Elements(memoryview(_inflated(body)), order).element()
        if kind != _MATRIX:
            raise MatError(f"a variable is expected, got an element of type {kind}")
        variable = _Variable(order)
        yield variable.name_of(body), variable, body


def _inflated(body: memoryview) -> bytes:
    machine = zlib.decompressobj()
    try:
        data = machine.decompress(body, MAX_INFLATED_BYTES)
    except zlib.error:
        raise MatError("a compressed variable is damaged") from None
    if not machine.eof:
        if len(data) == MAX_INFLATED_BYTES:
            raise MatError(f"a variable unfolds to more than {MAX_INFLATED_BYTES} bytes")
        raise MatError("a compressed variable ends too early")
    return data


class _Elements:
    """One element after the other of a stretch of bytes: a tag of type and length, then the contents."""

    def __init__(self, data: memoryview, order: str) -> None:
        self.rest = data
        self.order = order

    def element(self) -> tuple[int, memoryview]:
        if len(self.rest) < 8:
            raise MatError("it ends too early")
        kind, length = struct.unpack(self.order + "II", self.rest[:8])
        if kind >> 16:  # up to four bytes stand in the tag itself, their number in its upper half
            kind, length = kind & 0xFFFF, kind >> 16
            if length > 4:
                raise MatError("a small element has more than four bytes")
            body, self.rest = self.rest[4 : 4 + length], self.rest[8:]
            return kind, body
        if length > len(self.rest) - 8:
            raise MatError("it ends too early")
        body = self.rest[8 : 8 + length]
        # Everything is padded to multiples of eight but compressed variables and what stands last.
        padding = 0 if kind == _COMPRESSED else -length % 8
        self.rest = self.rest[8 + length + padding :]
        return kind, body

    def numbers(self) -> np.ndarray:
        """The next element as a flat array of its own type, not copied."""
        kind, body = self.element()
        if kind not in _NUMBERS:
            raise MatError(f"numbers are expected, got an element of type {kind}")
        dtype = np.dtype(self.order + _NUMBERS[kind])
        if len(body) % dtype.itemsize:
            raise MatError("numbers are cut off")
        return np.frombuffer(body, dtype)


class _Variable:
    """The reading of one variable, with budgets against small files that unfold without end."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.values_left = _MAX_VALUES
        self.bytes_left = MAX_INFLATED_BYTES

    def name_of(self, body: memoryview) -> str:
        return self.head(_Elements(body, self.order))[2]

    def head(self, parts: _Elements) -> tuple[int, tuple[int, ...], str]:
        """Flags (the class in the lowest byte), dimensions and name."""
        flags, shape = parts.numbers(), parts.numbers()
        if len(flags) != 2 or flags.dtype.kind != "u" or shape.dtype.kind != "i" or not 2 <= len(shape) <= 8:
            raise MatError("the head of a variable is damaged")
        if (shape < 0).any():
            raise MatError("an array has a negative length")
        name = parts.numbers()
        if name.dtype.itemsize != 1:
            raise MatError("the name of a variable is no text")
        return int(flags[0]), tuple(shape.tolist()), name.tobytes().decode("latin1")

    def matrix(self, body: memoryview, depth: int) -> Any:
        self.spend_values(1)
        if depth > _MAX_DEPTH:
            raise MatError("its values are nested far more deeply than those of annotation")
        if not len(body):
            return np.zeros((0, 0))
        parts = _Elements(body, self.order)
        flags, shape, _ = self.head(parts)
        count = 1
        for length in shape:
            count *= length
        kind = flags & 0xFF
        if kind in _CLASSES:
            return self.array(parts, shape, count, _CLASSES[kind], bool(flags & _COMPLEX))
        if kind == _CHAR:
            return self.text(parts, shape, count)
        if kind == _CELL:
            return [self.cell(parts, depth) for _ in range(count)]
        if kind == _STRUCT:
            names = _field_names(parts)
            self.spend_values(count)
            return [{name: self.cell(parts, depth) for name in names} for _ in range(count)]
        raise MatError(f"MATLAB class number {kind} is refused: only numbers, text, cells and structures are data")

    def spend_values(self, count: int) -> None:
        self.values_left -= count
        if self.values_left < 0:
            raise MatError("it claims far more values than annotation has")

    def cell(self, parts: _Elements, depth: int) -> Any:
        kind, body = parts.element()
        if kind != _MATRIX:
            raise MatError(f"a value inside a cell or structure is expected, got an element of type {kind}")
        return self.matrix(body, depth + 1)

    def array(self, parts: _Elements, shape: tuple[int, ...], count: int, code: str, is_complex: bool) -> np.ndarray:
        if is_complex:
            raise MatError("complex numbers are refused: no annotation needs them")
        stored = parts.numbers()
        if len(stored) != count:
            raise MatError(f"an array of shape {shape} has {len(stored)} numbers")
        self.bytes_left -= count * np.dtype(code).itemsize
        if self.bytes_left < 0:
            raise MatError(f"a variable unfolds to more than {MAX_INFLATED_BYTES} bytes")
        with np.errstate(invalid="ignore"):  # whole numbers are not stored as fractions but by mistake
            return stored.astype(code, copy=False).reshape(shape, order="F")

    def text(self, parts: _Elements, shape: tuple[int, ...], count: int) -> str:
        kind, body = parts.element()
        if kind not in _TEXTS:
            raise MatError(f"text is expected, got an element of type {kind}")
        if count and (len(shape) != 2 or shape[0] != 1):
            raise MatError(f"text of shape {shape} is refused: only a single line is read")
        encoding = _TEXTS[kind]
        if encoding.startswith("utf-") and encoding != "utf-8":
            encoding += "-le" if self.order == "<" else "-be"
        return bytes(body).decode(encoding)


def _field_names(parts: _Elements) -> list[str]:
    width, letters = parts.numbers(), parts.numbers()
    if len(width) != 1 or not 1 <= width[0] <= 64 or letters.dtype.itemsize != 1 or len(letters) % int(width[0]):
        raise MatError("the field names of a structure are damaged")
    step, text = int(width[0]), letters.tobytes().decode("latin1")
    names = [text[k : k + step].split("\0")[0] for k in range(0, len(text), step)]
    if len(names) > _MAX_FIELDS or len(set(names)) != len(names):
        raise MatError("a structure has too many fields, or one twice")
    return names
