"""A small part of the 100,000 damaged files of tests/fuzz_annotations.py, and a check that it would notice."""

import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.annotation_samples import Sample, samples
from tests.fuzz_annotations import OPTIONS, Case, call_in_pickle, case, read

ROOT = Path(__file__).parents[1]


def test_damaged_files_are_read_or_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "tests.fuzz_annotations", "--count", "1500", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:3000] + done.stdout
    assert "1500 files" in done.stdout
    assert "'failed': 0" in done.stdout


def test_the_files_are_valid_until_they_are_damaged(tmp_path: Path) -> None:
    for sample in samples():
        one = Case(sample, sample.wrap(sample.data), sample.kind, OPTIONS[1])
        assert read(one, tmp_path) == "accepted", sample


def test_a_file_has_the_same_damage_every_time() -> None:
    all_samples = samples()
    texts = [case(3, 0, all_samples, Path("ran")).data for _ in range(2)]
    assert texts[0] == texts[1]
    assert {case(k, 0, all_samples, Path("ran")).data for k in range(20)} > {texts[0]}


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [
        (KeyError("x"), "Traceback"),
        (ValueError("two\nlines mutant.csv"), "not one short line"),
        (ValueError("mutant.csv" + "x" * 400), "not one short line"),
        (ValueError("no name"), "does not name the file"),
        (ValueError("mutant.csv: damaged (MemoryError)"), "too much memory"),
        (ValueError("mutant.csv: damaged"), "refused"),
    ],
)
def test_what_is_not_an_error_of_one_line_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, verdict: str
) -> None:
    def refuse(one: Case, path: Path) -> None:
        raise type(raised)(str(raised).replace("mutant.csv", str(path)))

    monkeypatch.setattr("tests.fuzz_annotations.open_as", refuse)
    assert read(Case(Sample("table", ".csv", b""), b"", None, OPTIONS[0]), tmp_path).find(verdict) >= 0


class First:
    """Draws the first of everything."""

    @staticmethod
    def choice(options: Sequence) -> object:
        return options[0]


def test_a_command_in_a_pickle_leaves_its_trace_where_it_is_run(tmp_path: Path) -> None:
    data = bytearray(pickle.dumps({"labels": ["a"]}, 2))
    call_in_pickle(data, First, tmp_path / "ran")
    assert pickle.loads(bytes(data)) == {"labels": ["a"]}
    assert (tmp_path / "ran").exists(), "Python's own unpickler has run it"
    (tmp_path / "ran").unlink()
    one = Case(Sample("jhmdb", ".pkl", b""), bytes(data), None, OPTIONS[0])
    assert read(one, tmp_path) == "refused"
    assert not (tmp_path / "ran").exists()
