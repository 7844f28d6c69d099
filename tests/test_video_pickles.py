"""The restricted unpickler: real kinds of annotation are read as pickle reads them, everything else is refused."""

import os
import pickle
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from video.pickles import MAX_FILE_BYTES, PickleError, load_pickle

SHARED = Path(__file__).parents[2] / "shared"
ARRAYS = {
    "floats": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "none": np.zeros((0, 4), np.float32),
    "names": np.array(["walk", "éat"]),
    "flags": np.array([True, False]),
}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def assert_same(expected: object, got: object) -> None:
    if isinstance(expected, np.ndarray):
        assert isinstance(got, np.ndarray)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    elif isinstance(expected, dict):
        assert list(got) == list(expected)
        for key, value in expected.items():
            assert_same(value, got[key])
    elif isinstance(expected, (list, tuple)):
        assert type(got) is type(expected)
        assert len(got) == len(expected)
        for a, b in zip(expected, got):
            assert_same(a, b)
    else:
        assert got == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_and_arrays_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    shared = [1, 2]
    data = {
        "numbers": [0, 255, -1, 2**31, 2**40, -(2**70), 0.5, 1e300],
        "others": (True, False, None, "naïve", ()),
        "one list twice": [shared, shared],
        "arrays in tuples": [(ARRAYS["floats"], 0.5), ("a", (ARRAYS["floats"], ARRAYS["floats"]), 1)],
        "arrays": list(ARRAYS.values()),
        **ARRAYS,
        7: {"nested": {}},
    }
    got = load_pickle(write(tmp_path / "a.pkl", pickle.dumps(data, protocol)))
    assert_same(data, got)
    assert got["one list twice"][0] is got["one list twice"][1]


def test_numpy_scalars_become_python_numbers_and_text(tmp_path: Path) -> None:
    data = {"numf": np.uint8(200), np.str_("name"): np.float64(0.5)}
    got = load_pickle(write(tmp_path / "a.pkl", pickle.dumps(data, 3)))
    assert got == {"numf": 200, "name": 0.5}
    assert type(got["numf"]) is int
    assert {type(key) for key in got} == {str}
    assert got["numf"] + 100 == 300, "as uint8 this would have been 44"


def test_byte_strings_of_python_2_are_read_as_latin1(tmp_path: Path) -> None:
    # what Python 2 wrote for {'caf\xe9\n': 1L}, protocols 0 and 1
    assert load_pickle(write(tmp_path / "a.pkl", b"(dp0\nS'caf\\xe9\\n'\np1\nL1L\ns.")) == {"café\n": 1}
    assert load_pickle(write(tmp_path / "b.pkl", b"}q\x00U\x05caf\xe9\nK\x01s.")) == {"café\n": 1}


def test_an_array_written_by_python_2(tmp_path: Path) -> None:
    text = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I1\nI2\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
        b"S'\\x00\\x00\\x80?\\x00\\x00\\x00@'\ntb."
    )
    assert_same(np.float32([[1.0, 2.0]]), load_pickle(write(tmp_path / "a.pkl", text)))


class Runs:
    """Pickles as a call of ``function``."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


ATTACKS = {
    "system": lambda marker: pickle.dumps(Runs(os.system, f"touch {marker}")),
    "behind valid data": lambda marker: pickle.dumps({"labels": ["a"], "more": Runs(os.mkdir, str(marker))}),
    "in a state": lambda marker: pickle.dumps([ARRAYS["floats"], Runs(exec, f"open({str(marker)!r}, 'w')")], 2),
    "protocol 0": lambda marker: f"cos\nmkdir\n(S'{marker}'\ntR.".encode(),
    "INST": lambda marker: f"(S'{marker}'\nios\nmkdir\n.".encode(),
    "OBJ": lambda marker: f"(cos\nmkdir\nS'{marker}'\no.".encode(),
    "NEWOBJ": lambda marker: f"cos\nmkdir\n(S'{marker}'\nt\x81.".encode("latin1"),
    "numpy's own helpers": lambda marker: (
        f"cnumpy.testing._private.utils\nrunstring\n(S'open({str(marker)!r}, \"w\")'\n}}tR.".encode()
    ),
    "dotted name": lambda marker: (
        b"\x80\x04\x8c\x05numpy\x8c\x19lib._format_impl.os.mkdir\x93"
        + b"\x8c"
        + bytes([len(str(marker))])
        + str(marker).encode()
        + b"\x85R."
    ),
    "extension registry": lambda marker: b"\x80\x02\x82\x01.",
    "persistent id": lambda marker: b"Pos.mkdir\n.",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_a_pickle_is_run(tmp_path: Path, attack: str) -> None:
    marker = tmp_path / "ran"
    path = write(tmp_path / "attack.pkl", ATTACKS[attack](marker))
    with pytest.raises(PickleError, match="refused"):
        load_pickle(path)
    assert not marker.exists()


def numpy_type(code: bytes, state: bytes = b"(I3\nS'<'\nNNNI-1\nI-1\nI0\nt") -> bytes:
    return b"cnumpy\ndtype\n(S'" + code + b"'\nI0\nI1\ntR" + state + b"b"


def numpy_array(shape: bytes, dtype: bytes, data: bytes) -> bytes:
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    return head + b"(I1\n" + shape + dtype + b"I00\nS'" + data + b"'\ntb."


NESTED_KEY = b"}" + b")" + b"\x86".join(b"2" for _ in range(60)) + b"\x86K\x01s."
HOSTILE = {
    "type state of a wrong length": (numpy_array(b"(I1\nt", numpy_type(b"f4", b"(I3\nS'<'\nt"), b"abcd"), "state"),
    "objects in an array": (numpy_array(b"(I1\nt", numpy_type(b"O8"), b"abcdefgh"), "refused"),
    "two gigabytes of nothing": (b"cnumpy.core.multiarray\nscalar\n(" + numpy_type(b"V2000000000") + b"S''\ntR.", "V2"),
    "a huge shape": (numpy_array(b"(I10000000000\nt", numpy_type(b"u1"), b"x"), "impossible shape"),
    "a negative shape": (numpy_array(b"(I-1\nt", numpy_type(b"u1"), b"x"), "impossible shape"),
    "an empty product of huge axes": (numpy_array(b"(I0\nI99999999999\nt", numpy_type(b"u1"), b""), "impossible"),
    "fewer bytes than the shape says": (numpy_array(b"(I2\nt", numpy_type(b"f4"), b"abcd"), "has 4 bytes"),
    "text that is no text": (numpy_array(b"(I1\nt", numpy_type(b"U1"), b"\\xff\\xff\\xff\\xff"), "no character"),
    "a key whose hash never ends": (NESTED_KEY, "key is a tuple"),
    "an array that never gets contents": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.",
        "c",
    ),
    "a function as data": (b"(lcnumpy\ndtype\na.", "where data is expected"),
    "a list that claims 4 GB": (b"\x80\x02B" + struct.pack("<I", 2**32 - 1) + b"x.", "too early"),
    "half a surrogate pair": (b"V\\ud800\n.", "damaged"),
    "an item for a number": (b"K\x01K\x02a.", "no list"),
    "attributes for a dictionary": (b"}(lb.", "refused"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_sizes_and_states_are_refused(tmp_path: Path, case: str) -> None:
    data, text = HOSTILE[case]
    with pytest.raises(PickleError, match=text):
        load_pickle(write(tmp_path / "hostile.pkl", data))


def test_a_name_that_is_asked_for_is_cut_short(tmp_path: Path) -> None:
    with pytest.raises(PickleError, match="refused") as caught:
        load_pickle(write(tmp_path / "a.pkl", b"c" + b"\0" * 500 + b"\n" + b"\1" * 500 + b"\n."))
    assert len(str(caught.value).removeprefix(str(tmp_path))) < 250
    assert str(caught.value).isprintable()


def test_a_large_memo_number_costs_nothing(tmp_path: Path) -> None:
    assert load_pickle(write(tmp_path / "a.pkl", b"K\x05r" + struct.pack("<I", 2**32 - 1) + b".")) == 5


def test_single_values_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("video.pickles._MAX_INSTRUCTIONS", 100)
    path = write(tmp_path / "a.pkl", b"]" + b"K\x07a" * 49 + b".")  # 1 + 2 x 49 + 1 instructions
    assert load_pickle(path) == [7] * 49
    path = write(tmp_path / "a.pkl", b"]" + b"K\x07a" * 50 + b".")
    with pytest.raises(PickleError, match="single values"):
        load_pickle(path)


def test_repeating_one_text_as_arrays_does_not_fill_the_memory(tmp_path: Path) -> None:
    # 1 MB of text, then 1000 arrays that all refer to it: 1 GB if each were copied from the text
    one = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I1000000\nt" + numpy_type(b"u1") + b"I00\ng1\ntb"
    )
    data = b"S'" + b"x" * 10**6 + b"'\np1\n0(" + one * 1000 + b"l."
    with pytest.raises(PickleError, match="far more data"):
        load_pickle(write(tmp_path / "bomb.pkl", data))


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"version https://git-lfs.github.com/spec/v1\n", b"\x00" * 100])
def test_what_is_no_pickle_is_one_line_with_the_file(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path / "no.pkl", data)
    with pytest.raises(PickleError) as caught:
        load_pickle(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_a_missing_and_a_too_large_file(tmp_path: Path) -> None:
    with pytest.raises(PickleError, match="No such file"):
        load_pickle(tmp_path / "missing.pkl")
    large = tmp_path / "large.pkl"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(PickleError, match="limit"):
        load_pickle(large)


def refusal(path: Path) -> str | None:
    """The message with which a file is refused; any error but PickleError passes through and fails the test."""
    try:
        load_pickle(path)
    except PickleError as error:
        return str(error)
    return None


def test_mutants_of_a_real_layout_raise_nothing_else(tmp_path: Path) -> None:
    tube = np.float32([[1, 2, 3, 4, 5], [2, 2, 3, 4, 6]])
    data = {"labels": ["a"], "gttubes": {"a/x": {0: [tube]}}, "nframes": {"a/x": np.uint8(2)}}
    seeds = [pickle.dumps(data, protocol) for protocol in (0, 2, 3, 5)]
    rng = random.Random(0)
    path = tmp_path / "mutant.pkl"
    refused = 0
    for _ in range(400):
        mutant = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(len(mutant))
            choice = rng.randrange(3)
            if choice == 0:
                mutant[at] = rng.randrange(256)
            elif choice == 1:
                del mutant[at : at + rng.randrange(1, 6)]
            else:
                mutant[at:at] = rng.randbytes(rng.randrange(1, 5))
        message = refusal(write(path, bytes(mutant)))
        refused += message is not None
        assert message is None or (message.isprintable() and len(message) < 300)
    assert refused > 250


@pytest.mark.parametrize(
    "name",
    ["jhmdb/JHMDB-GT.pkl", "realdata/ucf24/pyannot.pkl", "realdata/ava_format/ava_proposals_sample.pkl"],
)
def test_real_files_equal_what_pickle_reads(name: str) -> None:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"the real annotation {name} is not on this machine")
    with path.open("rb") as file:
        expected = pickle.load(file, encoding="latin1")
    assert_same(expected, load_pickle(path))
