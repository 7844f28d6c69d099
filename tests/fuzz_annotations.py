"""Damaged annotation files, by the thousand: each must be read or refused in one line, quickly, and run nothing.

    python -m tests.fuzz_annotations --count 100000 --seed 0

Small valid files of every format (tests/annotation_samples.py) are changed: bits, pieces, numbers, lines; into pickles
go instructions that call ``os.system``. Every file is read in a child process with a limit of CPU time and of
memory. It counts as passed if it is accepted, or refused with a ValueError whose text is one line of at most 300
characters that names the file. Any other exception, a warning of another kind than readers give, a crash, a file
that takes too long or too much memory, or the trace that the called command would leave, is a failure; then the
exit code is 1. ``--only N`` makes the one file again and writes it here.
"""

from __future__ import annotations

import argparse
import mmap
import os
import pickletools
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from linking.scores import read_scores
from tests.annotation_samples import CLASSES, Sample, samples
from video.annotations import KINDS, FormatOptions, read_annotations
from video.ground_truth import read_class_names, read_test_names

CPU_SECONDS = 10
EXTRA_MEMORY = 2**29
LONGEST_TEXT = 300
LARGEST = 2**20

OPTIONS = (
    FormatOptions(),
    FormatOptions(class_names=CLASSES, video_names=("wave/a",), inclusive=True),
    FormatOptions(class_names={1: "jump", 2: "wave"}, size=(320, 240), fps=25, start=900, as_published=True),
    FormatOptions(video="mine", video_names=("wave/a", "b"), inclusive=False, attribute="action"),
)
INTERESTING = (b"0", b"-1", b"1e999", b"nan", b"inf", b"99999999999999999999", b"1e-320", b"2147483648", b"0.5", b"")
LENGTHS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


# ---- making a damaged file


def mutant(sample: Sample, others: list[Sample], rng: random.Random, canary: Path) -> bytes:
    """The sample with one to four changes; of twenty, one is left as it is."""
    data = bytearray(sample.data)
    changes = [flip_bits, cut_off, remove, repeat, put_foreign_piece, swap_number, swap_length, repeat_line]
    for _ in range(rng.choice((0, *[1] * 10, *[2] * 5, 3, 3, 4, 4))):
        if sample.is_pickle and rng.random() < 0.25:
            call_in_pickle(data, rng, canary)
        else:
            rng.choice(changes)(data, rng, rng.choice(others).data)
        del data[LARGEST:]
    return sample.wrap(bytes(data))


def flip_bits(data: bytearray, rng: random.Random, other: bytes) -> None:
    for _ in range(rng.choice((1, 1, 1, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut_off(data: bytearray, rng: random.Random, other: bytes) -> None:
    del data[rng.randrange(len(data) + 1) :]


def remove(data: bytearray, rng: random.Random, other: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.choice((1, 2, 4, 8, 64))]


def repeat(data: bytearray, rng: random.Random, other: bytes) -> None:
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 4, 16, 64))
    data[at:at] = data[at : at + length] * rng.choice((1, 1, 2, 50))


def put_foreign_piece(data: bytearray, rng: random.Random, other: bytes) -> None:
    start, at = rng.randrange(len(other)), rng.randrange(len(data) + 1)
    piece = other[start : start + rng.choice((1, 8, 32, 128))]
    data[at : at + rng.choice((0, len(piece)))] = piece


def swap_number(data: bytearray, rng: random.Random, other: bytes) -> None:
    """Another number where one is written as text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if found:
        place = rng.choice(found)
        data[place.start() : place.end()] = rng.choice(INTERESTING)


def swap_length(data: bytearray, rng: random.Random, other: bytes) -> None:
    """Another number where one is written as four or eight bytes."""
    size = rng.choice((2, 4, 8))
    if len(data) >= size:
        at = rng.randrange(len(data) - size + 1)
        at -= at % size if rng.random() < 0.5 else 0
        value = struct.pack("<Q", rng.choice(LENGTHS))[:size]
        data[at : at + size] = value if rng.random() < 0.8 else value[::-1]


def repeat_line(data: bytearray, rng: random.Random, other: bytes) -> None:
    lines = bytes(data).splitlines(keepends=True)
    if lines:
        at = rng.randrange(len(lines))
        lines[at:at] = [lines[rng.randrange(len(lines))]] * rng.choice((1, 1, 100))
        data[:] = b"".join(lines)


def call_in_pickle(data: bytearray, rng: random.Random, canary: Path) -> None:
    """Put a call of ``os.system`` before a random instruction."""
    command = f"touch {canary}".encode()
    short = b"\x8c" + bytes([len(command)]) + command
    calls = (
        b"cos\nsystem\n(S'" + command + b"'\ntR0",
        b"cposix\nsystem\n" + short + b"\x85R",
        b"\x8c\x02os\x8c\x06system\x93" + short + b"\x85R0",
        b"(S'" + command + b"'\nios\nsystem\n",
        b"(cos\nsystem\n" + short + b"o",
        b"cos\nsystem\n" + short + b"\x85\x81",
        b'cbuiltins\neval\n(S\'__import__("os").system("' + command + b"\")'\ntR0",
        b"cnumpy.testing._private.utils\nrunstring\n(S'import os; os.system(\"" + command + b"\")'\n}tR0",
        b"\x8c\x05numpy\x8c\x19lib._format_impl.os.system\x93" + short + b"\x85R0",
        b"ccopyreg\n__reduce_ex__\n",
        b"}(S'__setstate__'\ncos\nsystem\nub",
    )
    try:
        places = [at for _, _, at in pickletools.genops(bytes(data)) if at is not None]
    except Exception:  # what is damaged already, and Python 2 text, is no pickle to this module
        places = [rng.randrange(len(data) + 1)]
    at = rng.choice(places) if places else 0
    data[at:at] = rng.choice(calls)


# ---- reading it


@dataclass(frozen=True)
class Case:
    """One damaged file and how it is read."""

    sample: Sample
    data: bytes
    kind: str | None
    options: FormatOptions


def case(index: int, seed: int, all_samples: list[Sample], canary: Path) -> Case:
    rng = random.Random(f"{seed}:{index}")
    sample = all_samples[rng.randrange(len(all_samples))]
    kind = rng.choice((None, None, None, sample.kind))
    if sample.kind in KINDS and rng.random() < 0.03:
        kind = rng.choice(list(KINDS))
    return Case(sample, mutant(sample, all_samples, rng, canary), kind, rng.choice(OPTIONS))


def read(one: Case, folder: Path) -> str:
    """``accepted``, ``refused`` or what is wrong with the way in which it was refused."""
    path = folder / (one.sample.name or f"mutant{one.sample.suffix}")
    for name, data in ((str(path.relative_to(folder)), one.data), *one.sample.others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    try:
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            open_as(one, folder / path.relative_to(folder).parts[0])
        texts = [str(warning.message) for warning in given]
        stray = [warning for warning in given if warning.category is not UserWarning]
        if stray:
            return f"a stray {stray[0].category.__name__}: {stray[0].message}"
        verdict = "accepted"
    except ValueError as error:
        texts, verdict = [str(error)], "refused"
        if "MemoryError" in texts[0]:
            return "asks for too much memory"
        if str(folder / path.relative_to(folder).parts[0]) not in texts[0]:
            return f"does not name the file: {texts[0]!r}"
    except Exception:
        return traceback.format_exc()
    for text in texts:
        if not text.isprintable() or len(text.replace(str(folder), "")) > LONGEST_TEXT:
            return f"not one short line: {text!r}"
    return verdict


def open_as(one: Case, path: Path) -> None:
    kind = one.sample.kind
    if kind == "scores":
        read_scores(path)
    elif kind == "classes":
        read_class_names(path)
    elif kind == "names":
        read_test_names(path)
    else:
        annotations = read_annotations(path, kind=one.kind, options=one.options)
        len(annotations.table)
        if not annotations.has_loose_boxes:
            len(annotations.videos)


# ---- running them in children that may die


def run(count: int, seed: int, minutes: float | None = None) -> tuple[dict[str, int], list[tuple[int, str]], int]:
    """Read ``count`` files; the counts of what came of them, the failures by number, and how many were read."""
    ends = None if minutes is None else time.monotonic() + 60 * minutes
    all_samples = samples()
    failures: list[tuple[int, str]] = []
    shared = mmap.mmap(-1, 32)  # of the child: the file it is at, how many it accepted, how many it refused
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start, done = 0, count
        while start < count:
            child = os.fork()
            if child == 0:
                try:
                    read_range(start, count, seed, all_samples, folder, shared, ends)
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(70)
            status = os.waitpid(child, 0)[1]
            at = struct.unpack_from("<Q", shared)[0]
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
                done = at
                break
            reason = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "the runner failed"
            failures.append((at, "took too long" if reason in ("SIGPROF", "SIGALRM") else f"died of {reason}"))
            start = at + 1
        log = folder / "failures"
        for entry in log.read_text("utf-8").split("\0")[:-1] if log.exists() else ():
            number, _, text = entry.partition(" ")
            failures.append((int(number), text))
        _, accepted, refused = struct.unpack_from("<3Q", shared)
    counts = {"accepted": accepted, "refused": refused, "failed": len(failures)}
    return counts, sorted(failures), done


def read_range(
    start: int, stop: int, seed: int, all_samples: list[Sample], folder: Path, shared: mmap.mmap, ends: float | None
) -> None:
    """In the child: read the files from ``start`` on; a limit that is passed ends the process by a signal."""
    canary = folder / "ran"
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    at, accepted, refused = struct.unpack_from("<3Q", shared)
    for sample in all_samples:  # what is loaded on first use is not what a damaged file takes
        read(Case(sample, sample.wrap(sample.data), None, OPTIONS[1]), folder)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (space + 4 * EXTRA_MEMORY, resource.RLIM_INFINITY))
    for at in range(start, stop):
        struct.pack_into("<3Q", shared, 0, at, accepted, refused)
        if ends is not None and time.monotonic() > ends:
            return
        one = case(at, seed, all_samples, canary)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, 30 * CPU_SECONDS)
        verdict = read(one, folder)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if canary.exists():
            canary.unlink()
            verdict = "the command in the file was run"
        elif now - used > EXTRA_MEMORY:
            verdict = f"took {(now - used) >> 20} MB"
            used = now
        accepted += verdict == "accepted"
        refused += verdict == "refused"
        if verdict not in ("accepted", "refused"):
            with (folder / "failures").open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{at} {one.sample.kind} {verdict}\0")
    struct.pack_into("<3Q", shared, 0, stop, accepted, refused)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="how many files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so long")
    parser.add_argument("--only", type=int, metavar="N", help="make file N again, write it here and read it")
    args = parser.parse_args(argv)
    if args.only is not None:
        one = case(args.only, args.seed, samples(), Path("ran"))
        print(one.sample.kind, one.kind, one.options)
        print(read(one, Path()))
        return 0
    started = time.monotonic()
    counts, failures, done = run(args.count, args.seed, args.minutes)
    for number, text in failures[:100]:
        print(f"--- file {number}: {text}", file=sys.stderr)
    print(f"{done} files, {counts}, {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
