"""MATLAB files are read by their bytes: every kind of value against SciPy, every lie of a damaged file refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from video.mat_files import MAX_FILE_BYTES, MatError, is_mat, read_mat

HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"


def element(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", kind, len(body)) + body + b"\0" * (-len(body) % 8)


def matrix(class_number: int, shape: tuple[int, ...], *parts: bytes, name: bytes = b"") -> bytes:
    """A variable or nested value: class and flags, dimensions, name, and what follows for its class."""
    flags = element(6, struct.pack("<II", class_number, 0))
    return element(14, flags + element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, name) + b"".join(parts))


def write(path: Path, *elements: bytes) -> Path:
    path.write_bytes(HEAD + b"".join(elements))
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_is_read_back(tmp_path: Path, compressed: bool) -> None:
    tubes = np.zeros((1, 2), [("sf", "O"), ("boxes", "O")])
    tubes[0, 0] = (np.float64(1), np.arange(8.0).reshape(2, 4))
    tubes[0, 1] = (np.float64(7), np.zeros((0, 4)))
    cell = np.array(["one", "two"], object)
    values = {
        "mask": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        "numbers": np.float32([[1.5, -2]]),
        "signed": np.int16([[-3]]),
        "name": "Basketball/v_1",
        "greek": "λ",
        "cell": cell,
        "tubes": tubes,
        "unwanted": np.eye(2),
    }
    savemat(tmp_path / "a.mat", values, do_compression=compressed)
    found = read_mat(tmp_path / "a.mat", ("mask", "numbers", "signed", "name", "greek", "cell", "tubes", "absent"))
    assert found.keys() == values.keys() - {"unwanted"}
    for name in ("mask", "numbers", "signed"):
        assert found[name].dtype == values[name].dtype
        assert np.array_equal(found[name], values[name])
    assert (found["name"], found["greek"], found["cell"]) == ("Basketball/v_1", "λ", ["one", "two"])
    first, second = found["tubes"]
    assert first["sf"].tolist() == [[1]]
    assert first["boxes"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert second["boxes"].shape == (0, 4)


def test_doubles_stored_in_bytes_are_doubles_again(tmp_path: Path) -> None:
    # 200 and 100 fit bytes, in which MATLAB stores them; their sum does not
    path = write(tmp_path / "a.mat", matrix(6, (1, 2), element(2, bytes([200, 100])), name=b"x"))
    (values,) = read_mat(path, ("x",)).values()
    assert values.dtype == np.float64
    assert values.sum() == 200 + 100


def test_big_endian_files_and_small_elements(tmp_path: Path) -> None:
    def big(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, len(body)) + body + b"\0" * (-len(body) % 8)

    small_name = struct.pack(">HH", 1, 1) + b"x\0\0\0"  # up to four bytes stand in the tag itself
    small_value = struct.pack(">HHh", 2, 3, -5) + b"\0\0"
    body = big(6, struct.pack(">II", 10, 0)) + big(5, struct.pack(">ii", 1, 1)) + small_name + small_value
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + big(14, body))
    assert read_mat(path, ("x",))["x"].tolist() == [[-5]]


def deep(levels: int) -> bytes:
    value = matrix(9, (1, 1), element(2, b"\7"))
    for _ in range(levels):
        value = matrix(1, (1, 1), value)
    return matrix(1, (1, 1), value, name=b"x")


def bomb() -> bytes:
    machine = zlib.compressobj(9)
    zeros = machine.compress(struct.pack("<II", 14, 2**31)) + machine.compress(bytes(2**24)) * 1
    for _ in range(8):
        zeros += machine.compress(bytes(2**24))
    return zeros + machine.flush()


NUMBER = element(2, b"\7")
FIELDS = element(5, struct.pack("<i", 8)) + element(1, b"a".ljust(8, b"\0"))
NO_FIELDS = element(5, struct.pack("<i", 8)) + element(1, b"")
BAD = {
    "cut off": (matrix(9, (1, 1), NUMBER, name=b"x")[:-12], "ends too early"),
    "a length beyond the end": (struct.pack("<II", 14, 2**31), "ends too early"),
    "no variable": (element(2, b"1234"), "element of type 2"),
    "fewer numbers than the shape says": (matrix(9, (2, 2), NUMBER, name=b"x"), "has 1 numbers"),
    "a negative length": (matrix(9, (-1, 2), NUMBER, name=b"x"), "negative length"),
    "one dimension": (matrix(9, (1,), NUMBER, name=b"x"), "head of a variable"),
    "nested without end": (deep(40), "nested"),
    "four billion cells": (matrix(1, (2**16, 2**16), name=b"x"), "too early"),
    "four billion structures": (matrix(2, (2**16, 2**16), FIELDS, name=b"x"), "far more values"),
    "structures of nothing": (matrix(2, (2**16, 2**16), NO_FIELDS, name=b"x"), "far more values"),
    "a field name twice": (
        matrix(2, (1, 1), element(5, struct.pack("<i", 2)) + element(1, b"a\0a\0"), name=b"x"),
        "one twice",
    ),
    "field names of no width": (
        matrix(2, (1, 1), element(5, struct.pack("<i", 0)) + element(1, b"a"), name=b"x"),
        "field names",
    ),
    "text of two lines": (matrix(4, (2, 1), element(16, b"ab"), name=b"x"), "single line"),
    "a function": (matrix(16, (1, 1), NUMBER, name=b"x"), "class number 16 is refused"),
    "a sparse matrix": (matrix(5, (1, 1), NUMBER, name=b"x"), "class number 5 is refused"),
    "complex numbers": (matrix(6 | 0x0800, (1, 1), NUMBER, NUMBER, name=b"x"), "complex"),
    "half a number": (matrix(6, (1, 1), element(9, b"1234567"), name=b"x"), "cut off"),
    "a text that is no text": (matrix(4, (1, 1), element(16, b"\xff"), name=b"x"), "UnicodeDecodeError"),
    "damaged compression": (element(15, b"not deflated"), "compressed variable is damaged"),
    "compression cut off": (element(15, zlib.compress(bytes(1000))[:-6]), "ends too early"),
    "a compression bomb": (element(15, bomb()), "unfolds to more than"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line_with_the_file(tmp_path: Path, case: str) -> None:
    data, text = BAD[case]
    path = write(tmp_path / "bad.mat", data)
    with pytest.raises(MatError, match=text) as caught:
        read_mat(path, ("x",))
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not a MATLAB file"),
        (b"\x80\x02}.", "not a MATLAB file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\0" * 384 + b"\x89HDF", "-v7.3"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x07IM", "version 0x0700"),
    ],
)
def test_other_files_say_what_they_are_and_what_to_do(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "other.mat"
    path.write_bytes(data)
    with pytest.raises(MatError, match=text) as caught:
        read_mat(path, ("x",))
    assert "-v7" in str(caught.value)


def test_a_missing_and_a_too_large_file(tmp_path: Path) -> None:
    with pytest.raises(MatError, match="No such file"):
        read_mat(tmp_path / "missing.mat", ("x",))
    with (tmp_path / "large.mat").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(MatError, match="limit"):
        read_mat(tmp_path / "large.mat", ("x",))


def test_recognised_by_its_first_bytes() -> None:
    assert is_mat(HEAD)
    assert not is_mat(HEAD[:100])
    assert not is_mat(b"video,tube,label".ljust(200))
