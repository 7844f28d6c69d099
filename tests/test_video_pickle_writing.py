"""Pickles for the programs of others: what pickle itself reads is what was written, under the names of NumPy 1."""

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from video.pickle_writing import dump_pickle
from video.pickles import load_pickle

ROWS = np.float64([[1, 2.5, 3, 4, -5], [2, 2.5, 3, 4, 1e300]])
DATA = {
    "labels": ["run", "naïve", ""],
    "gttubes": {"run/a": {0: [ROWS, ROWS[:0].astype(np.float32)]}},
    "numbers": [0, 255, -1, 2**31, 2**40, -(2**70), 0.5, True, False, None],
    "tuples": (("run/a", 0.25, np.uint8([[200, 255]])), ()),
    3: np.arange(300, dtype=">i2"),
}


def assert_same(expected: object, got: object) -> None:
    assert type(got) is type(expected)
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype.newbyteorder("<")
    elif isinstance(expected, dict):
        assert list(got) == list(expected)
        for key in expected:
            assert_same(expected[key], got[key])
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected)
        for a, b in zip(expected, got):
            assert_same(a, b)
    else:
        assert got == expected


@pytest.mark.filterwarnings("ignore:numpy.core")
def test_pickle_and_our_reader_give_back_what_was_written(tmp_path: Path) -> None:
    data = dump_pickle(DATA)
    assert_same(DATA, pickle.loads(data))
    (tmp_path / "a.pkl").write_bytes(data)
    assert_same(DATA, load_pickle(tmp_path / "a.pkl"))


def test_only_protocol_2_and_names_that_old_numpy_has() -> None:
    operations = list(pickletools.genops(dump_pickle(DATA)))
    assert max(operation.proto for operation, _, _ in operations) == 2
    names = {argument for operation, argument, _ in operations if operation.name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype", "_codecs encode"}


@pytest.mark.parametrize("value", [np.array(["text"]), {1, 2}, b"bytes", np.array([None])])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no plain data"):
        dump_pickle([value])
