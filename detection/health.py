"""What works on this machine: findings, and the child process in which everything that could break is tried.

This module and ``detection.health_machine`` import the standard library only, so that they work where nothing else
does. Packages are imported, and networks run, by ``python -m detection.health_probe`` in a process of its own: a
library that crashes or hangs is a finding there, not the end of the report.
"""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTION = "lgd-action-detection"
MARK = "\x1eLGD "
"""Begins the lines of the child that are meant for us; libraries print others."""
STEP_SECONDS = 300
"""A child that has not ended by then is given up."""

Status = Literal["ok", "missing", "broken", "note"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    section: str
    name: str
    status: Status
    """missing: not there; broken: there and does not work; note: a fact that is neither good nor bad."""
    detail: str = ""
    advice: str = ""
    """What to do; empty where there is nothing to do."""
    needed: bool = True
    """Whether detection, training and evaluation need it; what is optional never makes the exit code 1."""

    @property
    def is_trouble(self) -> bool:
        return self.needed and self.status in ("missing", "broken")


@dataclass(frozen=True)
class Package:
    """A Python package by the name under which it is imported."""

    module: str
    distribution: str
    use: str
    extra: str = ""
    """Extra of setup.cfg that brings it."""
    needed: bool = False
    install: str = ""
    """How to install it where neither an extra nor its name on PyPI does."""


NEEDED = tuple(
    Package(module, distribution, use, needed=True)
    for module, distribution, use in (
        ("torch", "torch", "networks"),
        ("torchvision", "torchvision", "networks"),
        ("numpy", "numpy", "arrays"),
        ("av", "av", "videos"),
        ("pandas", "pandas", "tables"),
        ("matplotlib", "matplotlib", "plots"),
        ("motmetrics", "motmetrics", "tracking metrics"),
        ("safetensors", "safetensors", "model files"),
        ("tqdm", "tqdm", "progress bars"),
        ("PIL", "pillow", "pictures"),
    )
)
OPTIONAL = (
    Package("pyarrow", "pyarrow", "tube tables in Parquet", "parquet"),
    Package("timm", "timm", "Inception-ResNet-v2 and weights of Xception", "timm"),
    Package("onnx", "onnx", "export", "export"),
    Package("onnxruntime", "onnxruntime", "export", "export"),
    Package("onnxscript", "onnxscript", "export", "export"),
    Package("tensorboard", "tensorboard", "training curves"),
    Package("huggingface_hub", "huggingface_hub", "weights from its hub"),
    Package("detectron2", "detectron2", "its detectors as proposals", install="docs/backends.md has the line"),
    Package("cv2", "opencv-python", "comparing optical flow"),
)


def program_findings() -> list[Finding]:
    """Python, this program and its commit."""
    section = "program"
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info >= (3, 11):  # noqa: UP036  # an older one is what this is to find
        python = Finding(section, "python", "ok", f"{version} on {platform.system()} {platform.machine()}")
    else:
        python = Finding(section, "python", "broken", version, "3.11 or newer is needed: make PYTHON=python3.12")
    try:
        own = importlib.metadata.version(DISTRIBUTION)
        installed = Finding(section, DISTRIBUTION, "ok", f"{own}{_commit()}")
    except importlib.metadata.PackageNotFoundError:
        advice = "make demo, or in the checkout: python -m pip install -e ."
        installed = Finding(section, DISTRIBUTION, "missing", "not installed in this Python", advice)
    return [python, installed]


def _commit() -> str:
    """The commit of the checkout, where it is one and git is there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty=, with changes"],
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f", commit {done.stdout.strip()}" if done.returncode == 0 and (ROOT / ".git").exists() else ""


def requirement(distribution: str) -> str:
    """What setup.cfg asks of a package, ``numpy>=2.0`` for example; the bare name where it asks nothing."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return distribution
    return next((line for text in lines if _name(line := text.split(";")[0].strip()) == distribution), distribution)


def is_older(version: str, wanted: str) -> bool:
    """Whether ``version`` is below the ``>=`` of ``wanted``, by the numbers both begin with."""
    least = wanted.partition(">=")[2]
    return bool(least) and _numbers(version) < _numbers(least)


def _name(line: str) -> str:
    return re.split(r"[<>=!~ ]", line, maxsplit=1)[0].lower()


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def probe(steps: Sequence[str], *, seconds: float = STEP_SECONDS) -> Iterator[Finding]:
    """Run ``steps`` of ``detection.health_probe``; a step that kills its process is a finding, the others go on."""
    remaining = list(steps)
    while remaining:
        lines, end, errors = _child(remaining, seconds)
        begun = None
        for line in lines:
            if "begin" in line:
                begun = line["begin"]
                remaining = remaining[remaining.index(begun) + 1 :]
            elif "end" in line:
                begun = None
            else:
                yield Finding(**line)
        if begun is None and end == "exit code 0":
            return
        lost = begun or remaining.pop(0)
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "")
        yield _lost(lost, f"its process ended with {end}" + (f": {last.strip()[:160]}" if last else ""))


def _lost(step: str, detail: str) -> Finding:
    kind, _, name = step.partition(":")
    package = next((package for package in (*NEEDED, *OPTIONAL) if package.module == name), None)
    if kind == "import" and package is not None:
        return broken_package(package, detail)
    return Finding(step, step, "broken", detail, "report it together with this page")


def how_to_install(package: Package) -> str:
    if package.extra:
        return f"python -m pip install -e '.[{package.extra}]'"
    return package.install or f"python -m pip install '{requirement(package.distribution)}'"


def broken_package(package: Package, detail: str) -> Finding:
    advice = package.install or f"python -m pip install --force-reinstall '{requirement(package.distribution)}'"
    if not package.needed:
        advice += f" (only for: {package.use})"
    return Finding(section_of(package), package.module, "broken", detail, advice, package.needed)


def section_of(package: Package) -> str:
    return "packages" if package.needed else "optional packages"


def _child(steps: Sequence[str], seconds: float) -> tuple[list[dict[str, Any]], str, str]:
    """(our lines, how it ended, stderr) of a process that runs ``steps``."""
    # the checkout comes last: what is installed, or put in front by the user, is what is looked at
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    command = [sys.executable, "-m", "detection.health_probe", *steps]
    try:
        done = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=seconds)
        out, errors = done.stdout, done.stderr
        end = f"exit code {done.returncode}" if done.returncode >= 0 else f"signal {-done.returncode}"
    except subprocess.TimeoutExpired as late:
        out, errors, end = late.stdout or b"", late.stderr or b"", f"no answer in {seconds:g} s"
    lines = [line for line in out.decode("utf-8", "replace").split("\n") if line.startswith(MARK)]
    return [json.loads(line[len(MARK) :]) for line in lines], end, errors.decode("utf-8", "replace")


def without_names(finding: Finding) -> Finding:
    """The finding with home folders and the user's name taken out, so that it can be shown to strangers."""
    return replace(finding, detail=anonymous(finding.detail), advice=anonymous(finding.advice))


def anonymous(text: str) -> str:
    """``text`` without the place of the checkout, home folders and the user's name."""
    places = ((str(ROOT), "CHECKOUT"), (sys.prefix, "PYTHON"), (sys.base_prefix, "PYTHON"), (str(Path.home()), "~"))
    for place, name in places:
        if len(place) > 1:
            text = text.replace(place, name)
    text = re.sub(r"(/home/|/Users/|[A-Za-z]:\\Users\\)[^/\\\s:'\"]+", "~", text)
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name in the environment nor in the system's list
        return text
    # a name of one or two letters would be found inside ordinary words
    return re.sub(rf"\b{re.escape(user)}\b", "USER", text) if len(user) > 2 and user != "root" else text
