"""The child process of the doctor: imports packages, asks for devices and codecs, tries the whole way on the demo.

    python -m detection.health_probe import:torch device codecs self-test

Prints a JSON line behind ``health.MARK`` when a step begins, for every finding, and when the step has ended.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Literal

from detection.health import (
    MARK,
    NEEDED,
    OPTIONAL,
    ROOT,
    Finding,
    Package,
    broken_package,
    how_to_install,
    is_older,
    requirement,
    section_of,
)

ASSETS = ROOT / "assets"
CHECKSUMS = ASSETS / "SHA256SUMS"
DECODERS = {"h264": "", "hevc": "", "vp9": "", "av1": "libdav1d", "mpeg4": "", "mjpeg": ""}
"""Codecs that users' videos and the usual datasets come in, and another name that will do."""
ENCODERS = ("libx264", "libvpx-vp9", "mpeg4")
SELF_TEST_FRAMES = 12
"""Of the demo clip: enough for a clip of the scorer that is not all repeated frames."""


def import_package(package: Package) -> Iterator[Finding]:
    """Import one package and judge its version."""
    section, wanted = section_of(package), requirement(package.distribution)
    try:
        module = importlib.import_module(package.module)
    except ModuleNotFoundError as error:
        if error.name == package.module:
            advice = how_to_install(package)
            yield Finding(section, package.module, "missing", f"for {package.use}", advice, package.needed)
        else:
            yield broken_package(package, f"cannot be imported: it needs {error.name!r}, which is not installed")
        return
    except Exception as error:  # an extension module may raise anything when its libraries do not fit
        yield broken_package(package, f"cannot be imported: {reason(error)}")
        return
    version = str(getattr(module, "__version__", "") or "") or _version(package.distribution)
    if is_older(version, wanted):
        advice = f"python -m pip install --upgrade '{wanted}'"
        yield Finding(section, package.module, "broken", f"{version} is too old", advice, package.needed)
        return
    detail = version
    if package.module == "av":
        detail += f" with FFmpeg {getattr(module, 'ffmpeg_version_info', '') or 'of unknown version'}, " + ", ".join(
            f"{name} {'.'.join(map(str, module.library_versions[name]))}" for name in ("libavcodec", "libavformat")
        )
    yield Finding(section, package.module, "ok", detail, needed=package.needed)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def device() -> Iterator[Finding]:
    """What the networks would run on."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    fast = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    yield Finding(
        "device", "cpu", "ok", f"{torch.get_num_threads()} threads, {capability}, bf16 {'yes' if fast else 'no'}"
    )
    driver = Path("/proc/driver/nvidia/version")
    if not torch.cuda.is_available():
        if driver.exists() and torch.version.cuda is None:
            detail, advice = "there is an NVIDIA driver, but this PyTorch is without CUDA", "https://pytorch.org"
            yield Finding("device", "cuda", "broken", detail, f"install a build with CUDA: {advice}", needed=False)
        elif driver.exists():
            detail = f"there is an NVIDIA driver, but CUDA {torch.version.cuda} of this PyTorch finds no device"
            advice = "compare nvidia-smi, CUDA_VISIBLE_DEVICES and the driver's version"
            yield Finding("device", "cuda", "broken", detail, advice, needed=False)
        else:
            yield Finding("device", "cuda", "note", "none; everything runs on the CPU", needed=False)
        return
    words = driver.read_text().split("\n")[0].split() if driver.exists() else []
    number = next((word for word in words if word.replace(".", "").isdecimal()), "of unknown version")
    bf16 = "yes" if torch.cuda.is_bf16_supported() else "no"
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        yield Finding(
            "device", f"cuda:{index}", "ok",
            f"{facts.name}, {total / 1e9:.1f} GB, {free / 1e9:.1f} GB free, capability {facts.major}.{facts.minor}, "
            f"bf16 {bf16}, CUDA {torch.version.cuda}, driver {number}",
        )  # fmt: skip


def codecs() -> Iterator[Finding]:
    """Codecs of this FFmpeg, and the one that annotated videos will have."""
    import av

    from video.writing import VideoWriter

    known = av.codecs_available
    found = [name for name, other in DECODERS.items() if _has(name, "r", known) or _has(other, "r", known)]
    lost = [name for name in DECODERS if name not in found]
    if lost:
        advice = "python -m pip install --force-reinstall av (its wheels have them), or convert such videos to H.264"
        yield Finding("codecs", "decoders", "broken", f"without {', '.join(lost)}", advice, needed="h264" in lost)
    else:
        yield Finding("codecs", "decoders", "ok", ", ".join(found))
    encoders = [name for name in ENCODERS if _has(name, "w", known)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.mp4"
        try:
            with VideoWriter(path, width=64, height=48, fps=25) as writer:
                writer.write(_grey(48, 64))
            with av.open(str(path)) as container:
                codec = container.streams.video[0].codec_context.name
        except (ValueError, OSError, IndexError) as error:
            advice = "python -m pip install --force-reinstall av (its wheels have libx264)"
            yield Finding("codecs", "encoders", "broken", reason(error), advice)
            return
    detail = f"{', '.join(encoders)}; annotated videos will be {codec}"
    if codec != "h264":
        advice = "some browsers and players do not show it; python -m pip install --force-reinstall av"
        yield Finding("codecs", "encoders", "broken", detail, advice, needed=False)
    else:
        yield Finding("codecs", "encoders", "ok", detail)


def _has(name: str, mode: Literal["r", "w"], known: set[str]) -> bool:
    import av

    if name not in known:
        return False
    try:
        av.Codec(name, mode)
    except ValueError:  # the name is there in the other direction only
        return False
    return True


def _grey(height: int, width: int):  # type: ignore[no-untyped-def]  # NumPy may be missing: no annotation
    import numpy as np

    return np.full((height, width, 3), 128, np.uint8)


def assets() -> Iterator[Finding]:
    """The bundled files against their recorded checksums."""
    advice = "git checkout -- assets (in the checkout), or clone again"
    try:
        recorded = [line.split() for line in CHECKSUMS.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        yield Finding("bundled files", CHECKSUMS.name, "missing", reason(error), advice)
        return
    for digest, name in recorded:
        try:
            content = (ASSETS / name.lstrip("*")).read_bytes()
        except FileNotFoundError:
            yield Finding("bundled files", name, "missing", "", advice)
            continue
        except OSError as error:
            yield Finding("bundled files", name, "broken", reason(error), advice)
            continue
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            detail = f"{len(content):,} bytes with SHA-256 {found[:12]}..., not {digest[:12]}..."
            if content.startswith(b"version https://git-lfs"):
                detail = "a pointer of Git LFS, not the file"
            yield Finding("bundled files", name, "broken", detail, advice)
        else:
            yield Finding("bundled files", name, "ok", f"SHA-256 {found[:12]}...")


def self_test() -> Iterator[Finding]:
    """Decode, propose, score, link, write and read: the whole way on the first frames of the demo."""
    from detection.self_test import run_self_test

    yield from run_self_test(ASSETS / "demo.mp4", frames=SELF_TEST_FRAMES)


STEPS: dict[str, Callable[[], Iterator[Finding]]] = {
    "device": device,
    "codecs": codecs,
    "bundled files": assets,
    "self-test": self_test,
}


def run_step(step: str) -> Iterator[Finding]:
    """Findings of one step; what nobody expected becomes a finding too."""
    kind, _, name = step.partition(":")
    if kind == "import":
        yield from import_package(next(package for package in (*NEEDED, *OPTIONAL) if package.module == name))
        return
    started = perf_counter()
    try:
        yield from STEPS[step]()
    except ImportError as error:  # the package has a line of its own
        yield Finding(step, step, "broken", f"not tried: {reason(error)}", "first mend the packages above")
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{reason(error)} ({Path(place.filename).name}, line {place.lineno})"
        yield Finding(step, step, "broken", detail, "report it together with this page")
    if step == "self-test":
        yield Finding(step, "time", "note", f"{perf_counter() - started:.1f} s")


def reason(error: BaseException) -> str:
    """One line of at most 200 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def main() -> None:
    for step in sys.argv[1:]:
        say({"begin": step})
        for finding in run_step(step):
            say(asdict(finding))
        say({"end": step})
    # Without the clean-up of libraries: some crash there, when all is said.
    sys.stdout.flush()
    os._exit(0)


def say(line: dict[str, object]) -> None:
    print(f"\n{MARK}{json.dumps(line)}", flush=True)


if __name__ == "__main__":
    main()
