"""Reading annotation pickles without ever running what a pickle may contain.

J-HMDB and UCF101-24 are distributed as pickles (so are weights of detectron2), and a pickle is a program for a
small stack machine whose REDUCE and BUILD instructions call arbitrary functions. This module is such a machine
with only the instructions that plain data needs: no import takes place, and the few NumPy names that real files use are
matched exactly and answered by our own stand-ins (video/pickled_arrays.py).

The instructions are those of the standard library's ``pickle`` (documented in ``pickletools``), protocols 0-5.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from video.pickled_arrays import PickledArray, PickledType, PickleError, array_of, make_type

__all__ = ["MAX_FILE_BYTES", "PickleError", "load_pickle"]

MAX_FILE_BYTES = 2**29
"""Larger files are refused. Real annotation has a few MB, the boxes of a detector in every frame hundreds."""

_MAX_INSTRUCTIONS = 2**23  # each can cost 64 bytes of memory and more; the whole of UCF101-24 takes 0.4 million
_MAX_KEY = 2**31  # beyond it, integers with equal hashes are easy to find


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """The plain data in a pickle file: dicts, lists, tuples, text, numbers, and read-only NumPy arrays.

    Byte strings of Python 2 come back as text, each byte one character (``encoding="latin1"``), and NumPy
    scalars as Python numbers and text. Raises PickleError for whatever is wrong with the file.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise PickleError(f"{size} bytes are more than the limit of {MAX_FILE_BYTES}")
        return _Machine(path.read_bytes()).run()
    except PickleError as error:
        raise PickleError(f"{path}: {error}") from None
    except OSError as error:
        raise PickleError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from None
    # A damaged file can break any instruction in any way; the caller gets one kind of error for all of them.
    except Exception as error:
        kind = "it ends too early" if isinstance(error, EOFError) else type(error).__name__
        raise PickleError(f"{path}: not a pickle of plain data, or damaged ({kind})") from None


class _Name:
    """What an allowed global name stands for; never called with anything but checked arguments."""

    def __init__(self, call: Callable[..., Any] | None) -> None:
        self.call = call


class _Machine:
    """One run over the bytes of a pickle."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        # One text may be named many times by reference; without a budget, a small file becomes much memory.
        self.copied_bytes_left = 16 * len(data) + 2**20
        self.names: dict[tuple[str, str], _Name] = {}
        ndarray = _Name(None)
        for module in ("numpy.core", "numpy._core"):
            self.names[f"{module}.multiarray", "_reconstruct"] = _Name(self.reconstruct)
            self.names[f"{module}.multiarray", "scalar"] = _Name(self.scalar)
            self.names[f"{module}.numeric", "_frombuffer"] = _Name(self.from_buffer)
        self.names["numpy", "ndarray"] = ndarray
        self.names["numpy", "dtype"] = _Name(make_type)
        self.names["_codecs", "encode"] = _Name(self.encode)
        self.names["collections", "OrderedDict"] = _Name(_ordered)  # weights; its items follow as a dictionary's do
        self.names["__builtin__", "bytes"] = _Name(lambda: b"")  # how protocols 0-2 write no bytes at all
        self.ndarray = ndarray

    def run(self) -> Any:
        for _ in range(_MAX_INSTRUCTIONS):
            code = self.read(1)
            if code == b".":
                return _finished(self.stack.pop())
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise PickleError(f"instruction {code!r} is refused: plain data does not need it")
            instruction(self)
        raise PickleError(f"more than {_MAX_INSTRUCTIONS} single values; large data must be in arrays")

    # ---- reading the instruction's argument

    def read(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise EOFError
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise EOFError
        piece = self.data[self.at : end]
        self.at = end + 1
        return piece

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    # ---- the instructions that do more than push a value

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def top_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise PickleError("a tuple takes more items than there are")
        self.stack[-count:] = [_tuple(self.stack[-count:])]

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def append_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise PickleError("items are appended to something that is no list")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise PickleError("keys are set in something that is no dictionary")
        for key, value in zip(items[::2], items[1::2]):
            # A tuple can be nested so that hashing it never ends.
            if type(key) is not str and not (type(key) is int and abs(key) < _MAX_KEY):
                raise PickleError(f"a dictionary key is a {type(key).__name__}, not text or a small number")
            target[key] = value

    def find(self, module: str, name: str) -> None:
        found = self.names.get((module, name))
        if found is None:
            asked = ".".join(ascii(part)[1:-1][:60] for part in (module, name))
            raise PickleError(f"refused: it asks for {asked}, which annotation does not need")
        self.stack.append(found)

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise PickleError("a global name is not text")
        self.find(module, name)

    def reduce(self) -> None:
        arguments = self.stack.pop()
        name = self.stack.pop()
        if type(name) is not _Name or name.call is None or type(arguments) is not tuple:
            raise PickleError("a call of something that is no function is refused")
        self.stack.append(name.call(*arguments))

    def build(self) -> None:
        """Give a stand-in its contents; nothing else has a state to set."""
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is PickledType:
            target.build(state)
        elif type(target) is PickledArray and isinstance(state, tuple) and len(state) == 5:
            version, shape, dtype, is_fortran, data = state
            if version != 1:
                raise PickleError("unknown state of a NumPy array")
            target.values = array_of(self.as_bytes(data), dtype, shape, "F" if is_fortran else "C")
        elif type(target) is dict and type(state) is dict and set(state) == {"_metadata"}:
            pass  # torch's note about the modules that weights come from
        else:
            raise PickleError("a state for something that has none is refused")

    # ---- what the allowed names do

    def reconstruct(self, kind: Any, shape: Any, code: Any) -> PickledArray:
        if kind is not self.ndarray or shape != (0,):
            raise PickleError("unknown way to make a NumPy array")
        return PickledArray()

    def scalar(self, dtype: Any, data: Any) -> Any:
        return array_of(self.as_bytes(data), dtype, (), "C").item()

    def from_buffer(self, data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
        return PickledArray(array_of(self.as_bytes(data), dtype, shape, order))

    def encode(self, text: Any, encoding: Any) -> bytes:
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise PickleError("only text in latin1 may be encoded")
        return self.as_bytes(text)

    def as_bytes(self, data: Any) -> bytes:
        if type(data) is bytes:
            return data
        if type(data) is not str:
            raise PickleError("the bytes of a NumPy value are neither bytes nor text")
        self.copied_bytes_left -= len(data)
        if self.copied_bytes_left < 0:
            raise PickleError("it unfolds to far more data than it holds")
        return data.encode("latin1")


def _ordered(items: Any = None) -> dict[Any, Any]:
    if items is not None:
        raise PickleError("an ordered dictionary in an unknown form")
    return {}


def _finished(root: Any) -> Any:
    """Replace the stand-ins in the containers by the arrays they stand for; every container is seen once."""
    if type(root) in (PickledArray, PickledType, _Name):
        root = _value(root)
    waiting, seen = [root], set()
    while waiting:
        container = waiting.pop()
        if id(container) in seen:
            continue
        seen.add(id(container))
        if type(container) is dict:
            for key, value in container.items():
                container[key] = _value(value)
            waiting.extend(v for v in container.values() if type(v) in (dict, list, tuple))
        elif type(container) is list:
            container[:] = [_value(value) for value in container]
            waiting.extend(v for v in container if type(v) in (dict, list, tuple))
        elif type(container) is tuple:
            if any(type(value) in (PickledArray, PickledType, _Name) for value in container):
                raise PickleError("a type, a function or an unfinished array stands in a tuple")
            waiting.extend(v for v in container if type(v) in (dict, list, tuple))
    return root


def _tuple(items: list[Any]) -> tuple[Any, ...]:
    """A tuple cannot be changed when all is read, so the arrays in it, which are whole by now, are put in at once."""
    return tuple(item.values if type(item) is PickledArray and item.values is not None else item for item in items)


def _value(value: Any) -> Any:
    if type(value) is PickledArray:
        if value.values is None:
            raise PickleError("a NumPy array without contents")
        return value.values
    if type(value) in (PickledType, _Name):
        raise PickleError("a type or function stands where data is expected")
    return value


def _python2_text(line: bytes) -> str:
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise PickleError("a text without quotes")
    return _whole(line[1:-1].decode("unicode_escape"))


def _whole(text: str) -> str:
    """The text itself; UnicodeEncodeError where it has half of a surrogate pair, which nobody can print."""
    text.encode("utf-8")
    return text


def _line_int(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    return int(line)


def _sized(machine: _Machine, layout: str) -> bytes:
    return machine.read(machine.number(layout))


def _utf8(data: bytes) -> str:
    return data.decode("utf-8")


def _instructions() -> dict[bytes, Callable[[_Machine], None]]:
    pushes: dict[bytes, Callable[[_Machine], Any]] = {
        b"N": lambda m: None,
        b"\x88": lambda m: True,
        b"\x89": lambda m: False,
        b"I": lambda m: _line_int(m.line()),
        b"J": lambda m: m.number("<i"),
        b"K": lambda m: m.number("<B"),
        b"M": lambda m: m.number("<H"),
        b"L": lambda m: int(m.line().rstrip(b"L")),
        b"\x8a": lambda m: int.from_bytes(_sized(m, "<B"), "little", signed=True),
        b"F": lambda m: float(m.line()),
        b"G": lambda m: m.number(">d"),
        b"S": lambda m: _python2_text(m.line()),
        b"T": lambda m: _sized(m, "<i").decode("latin1"),
        b"U": lambda m: _sized(m, "<B").decode("latin1"),
        b"V": lambda m: _whole(m.line().decode("raw_unicode_escape")),
        b"X": lambda m: _utf8(_sized(m, "<I")),
        b"\x8c": lambda m: _utf8(_sized(m, "<B")),
        b"\x8d": lambda m: _utf8(_sized(m, "<Q")),
        b"B": lambda m: _sized(m, "<I"),
        b"C": lambda m: _sized(m, "<B"),
        b"\x8e": lambda m: _sized(m, "<Q"),
        b"\x96": lambda m: _sized(m, "<Q"),
        b")": lambda m: (),
        b"]": lambda m: [],
        b"}": lambda m: {},
        b"t": lambda m: _tuple(m.pop_mark()),
        b"l": lambda m: m.pop_mark(),
    }
    effects: dict[bytes, Callable[[_Machine], Any]] = {
        b"\x80": lambda m: m.number("<B"),  # protocol: its instructions are told apart without it
        b"\x95": lambda m: m.number("<Q"),  # frame: a hint for buffered reading
        b"(": _Machine.mark,
        b"0": _Machine.pop,
        b"1": _Machine.pop_mark,
        b"2": lambda m: m.push(m.stack[-1]),
        b"\x85": lambda m: m.top_tuple(1),
        b"\x86": lambda m: m.top_tuple(2),
        b"\x87": lambda m: m.top_tuple(3),
        b"p": lambda m: m.put(int(m.line())),
        b"q": lambda m: m.put(m.number("<B")),
        b"r": lambda m: m.put(m.number("<I")),
        b"\x94": lambda m: m.put(len(m.memo)),
        b"g": lambda m: m.get(int(m.line())),
        b"h": lambda m: m.get(m.number("<B")),
        b"j": lambda m: m.get(m.number("<I")),
        b"a": lambda m: m.append_items([m.stack.pop()]),
        b"e": lambda m: m.append_items(m.pop_mark()),
        b"s": lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
        b"u": lambda m: m.set_items(m.pop_mark()),
        b"c": lambda m: m.find(_utf8(m.line()), _utf8(m.line())),
        b"\x93": _Machine.stack_global,
        b"R": _Machine.reduce,
        b"b": _Machine.build,
    }

    def pushing(make: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
        # pop_mark replaces the stack, so the value must exist before the stack is looked up
        return lambda m: m.push(make(m))

    table: dict[bytes, Callable[[_Machine], None]] = {code: pushing(make) for code, make in pushes.items()}
    # The protocol-0 dictionary instruction carries its items between the mark and itself.
    table[b"d"] = _load_dict
    return table | effects


def _load_dict(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.push({})
    machine.set_items(items)


_INSTRUCTIONS = _instructions()
